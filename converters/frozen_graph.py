"""Frozen TensorFlow graphs: where the image goes in, how it is normalised, where the answer is.

Written for the graphs of the 2017 retraining tutorials, whose input is a placeholder (MobileNet)
or a JPEG's bytes (Inception v3: DecodeJpeg, ResizeBilinear, Sub, Mul). SavedModels and Keras
files come here too, once they are frozen, so that each fact is found in one way.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.network import Network, of_graph
from kit.errors import ConversionError
from kit.noise import quiet_native

_DECODERS = ("DecodeJpeg", "DecodePng", "DecodeBmp", "DecodeImage", "DecodeAndCropJpeg")
_RESIZERS = ("ResizeBilinear", "ResizeBicubic", "ResizeArea", "ResizeNearestNeighbor")
_PASSING = ("Identity", "Cast", "ExpandDims", "Squeeze")
_AS_IDENTITY = ("PlaceholderWithDefault", "CheckNumerics", "StopGradient", "Print")
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp", "AutoReloadVariable")
_CONTROL_FLOW = (
    *("Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"),
    *("If", "StatelessIf", "While", "StatelessWhile", "Case", "StatelessCase"),
)
_OLD_EIGHT_BIT = ("QuantizeV2", "QuantizedConv2D", "QuantizedMatMul", "RequantizationRange")
# Nodes that only networks with this input, -1 to 1, have.
_MINUS_ONE_TO_ONE = {
    "MobilenetV1/": "TensorFlow-Slim's MobileNet v1",
    "MobilenetV2/": "TensorFlow-Slim's MobileNet v2",
    "InceptionV3/": "TensorFlow-Slim's Inception v3",
    "/conv_pw_13": "Keras' MobileNet",
    "/block_16_project": "Keras' MobileNetV2",
    "/mixed10": "Keras' InceptionV3",
}

Triple = tuple[float, float, float]
Factor = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Options:
    """What the user says of a source; None: find it in the source.

    Attributes:
        mean: subtracted from pixels of 0 to 255 at the input.
        std: then divides.
        input_resolution: side of the input, for a source that leaves it open.
        input_tensor: name of the node where the image goes in.
        output_tensor: name of the node with the answer.
        unsafe: load code that the source carries.
    """

    mean: Triple | None = None
    std: Triple | None = None
    input_resolution: int | None = None
    input_tensor: str | None = None
    output_tensor: str | None = None
    unsafe: bool = False


@dataclass(frozen=True)
class Source:
    """A network that others made.

    Attributes:
        kind: of file.
        network: from normalised pixels to scores.
        input_resolution: side of its input.
        mean: that its input wants subtracted from pixels of 0 to 255.
        std: which then divides.
        remarks: what was found, and what was done, in words.
    """

    kind: str
    network: Network
    input_resolution: int
    mean: Triple
    std: Triple
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Place:
    """A node on the way of the pixels: its value is `factor * pixel + offset`."""

    name: str
    factor: Factor
    offset: Factor
    side: tuple[int, int] | None


def read_frozen_graph(path: str | os.PathLike[str], options: Options) -> Source:
    """Reads a `.pb` file.

    Raises ConversionError where it is no frozen graph, has several candidates for input or
    output, has control flow or an operator that TensorFlow does not know, or does not say its
    resolution or normalisation.
    """
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(Path(path).read_bytes())
    except (DecodeError, OSError) as error:
        raise ConversionError(f"{path}: expected a frozen TensorFlow graph: {error}") from error
    if not graph.node:
        raise ConversionError(
            f"{path}: expected a frozen TensorFlow graph, got a file without nodes: "
            "of a SavedModel give the folder"
        )
    return source_of_graph(graph, "frozen graph", options)


def source_of_graph(graph: Any, kind: str, options: Options) -> Source:
    """A Source from a tf.compat.v1.GraphDef; raises as `read_frozen_graph`."""
    nodes = {node.name: node for node in graph.node}
    output = options.output_tensor or _only_output(graph)
    for flag, name in (("--output-tensor", output), ("--input-tensor", options.input_tensor)):
        if name is not None and _node(name) not in nodes:
            raise ConversionError(f"expected {flag} to be a node of the graph, got {name!r}")
    output = _node(output)
    needed = _ancestors(nodes, output, stop=None)
    image = _image_node(nodes, needed, options)
    place, remarks = _place(nodes, needed, image, options)
    side = _side(nodes[image], place, options)
    mean, std, why = _normalization(nodes, needed, image, place, options)
    needed = _ancestors(nodes, output, stop=place.name)
    if place.name not in needed:
        raise ConversionError(
            f"expected the output to depend on the image, {output!r} does not on {place.name!r}"
        )
    _refuse(nodes, needed)
    with quiet_native:
        network, done = of_graph(_cut(graph, needed, place.name), place.name, output, side)
    said = (f"input {place.name}, {side} pixels; output {output}", why, *remarks, done)
    return Source(kind, network, side, mean, std, tuple(line for line in said if line))


def _node(name: str) -> str:
    """A tensor's node: `final_result:0` is `final_result`, a control input `^a` is `a`."""
    return name.split(":")[0].lstrip("^")


def _ancestors(nodes: Mapping[str, Any], output: str, stop: str | None) -> set[str]:
    found: set[str] = set()
    waiting = [output]
    while waiting:
        name = waiting.pop()
        if name in found or name not in nodes:
            continue
        found.add(name)
        if name != stop:
            waiting += [_node(of) for of in nodes[name].input if not of.startswith("^")]
    return found


def _only_output(graph: Any) -> str:
    used = {_node(name) for node in graph.node for name in node.input}
    ends = [
        node.name
        for node in graph.node
        if node.name not in used and node.op not in ("Const", "NoOp", "Assert", "Placeholder")
    ]
    if len(ends) != 1:
        raise ConversionError(
            f"expected one output, the graph has {len(ends)}: {', '.join(ends[:20])}: "
            "choose one with --output-tensor"
        )
    return str(ends[0])


def _image_node(nodes: Mapping[str, Any], needed: set[str], options: Options) -> str:
    """The node with pixels: a decoder, or a placeholder of an image's shape."""
    decoders = [name for name in needed if nodes[name].op in _DECODERS]
    places = [
        name for name in needed if nodes[name].op == "Placeholder" and _like_image(nodes[name])
    ]
    found = sorted(decoders or places)
    if options.input_tensor is not None:
        given = _node(options.input_tensor)
        # A node behind the only decoder keeps what the graph says of the pixels on the way.
        return found[0] if len(found) == 1 and given not in found else given
    if len(found) != 1:
        raise ConversionError(
            f"expected one input for an RGB image, the graph has {len(found)}"
            f"{': ' if found else ''}{', '.join(found[:20])}: choose one with --input-tensor"
        )
    return found[0]


def _shape(node: Any) -> list[int] | None:
    """Of a placeholder; -1 for a length that is left open, None for an unknown rank."""
    for name in ("shape", "_output_shapes"):
        attribute = node.attr.get(name)
        if attribute is None:
            continue
        shape = attribute.shape if name == "shape" else next(iter(attribute.list.shape), None)
        if shape is not None and not shape.unknown_rank and shape.dim:
            return [int(dim.size) for dim in shape.dim]
    return None


def _like_image(node: Any) -> bool:
    import tensorflow as tf

    shape = _shape(node)
    if node.attr["dtype"].type == tf.string.as_datatype_enum:
        return False
    return shape is None or (len(shape) == 4 and shape[3] in (3, -1))


def _place(
    nodes: Mapping[str, Any], needed: set[str], image: str, options: Options
) -> tuple[_Place, tuple[str, ...]]:
    """Where the network begins: behind decoding, resizing and normalising, which the kit does."""
    way = list(_way(nodes, needed, image))
    names = [place.name for place in way]
    if options.input_tensor is not None:
        given = _node(options.input_tensor)
        if given in names:
            return way[names.index(given)], ()
        return _Place(given, np.ones(3), np.zeros(3), None), ()
    if options.mean is not None and nodes[image].op == "Placeholder":
        return way[0], ()  # the flags say how pixels enter the placeholder
    resized = any(nodes[name].op in _RESIZERS for name in names)
    remark = "decoding and resizing in the graph are left out: the kit does them" if resized else ""
    return way[-1], (remark,)


def _way(nodes: Mapping[str, Any], needed: set[str], image: str) -> Iterator[_Place]:
    """The places from the image to where more than a factor and an offset happens to it."""
    users: dict[str, list[Any]] = {}
    for name in needed:
        for position, of in enumerate(nodes[name].input):
            users.setdefault(_node(of), []).append((nodes[name], position))
    place = _Place(image, np.ones(3), np.zeros(3), None)
    yield place
    while len(users.get(place.name, ())) == 1:
        node, position = users[place.name][0]
        others = [of for index, of in enumerate(node.input) if index != position]
        constant = _constant(nodes, others[0]) if len(others) == 1 else None
        factor, offset, side = place.factor, place.offset, place.side
        if node.op in _RESIZERS and constant is not None and constant.size == 2:
            side = (int(constant.flat[0]), int(constant.flat[1]))
        elif node.op not in _PASSING:
            if constant is None or constant.size not in (1, 3):
                return
            value = constant.reshape(-1).astype(np.float64)
            if node.op in ("Add", "AddV2", "BiasAdd"):
                offset = offset + value
            elif node.op == "Sub" and position == 0:
                offset = offset - value
            elif node.op == "Mul":
                factor, offset = factor * value, offset * value
            elif node.op in ("RealDiv", "Div") and position == 0:
                factor, offset = factor / value, offset / value
            else:
                return
        place = _Place(node.name, factor, offset, side)
        yield place


def _constant(nodes: Mapping[str, Any], name: str) -> Any:
    import tensorflow as tf

    node = nodes.get(_node(name))
    while node is not None and node.op in _PASSING and node.input:
        node = nodes.get(_node(node.input[0]))
    if node is None or node.op != "Const":
        return None
    return tf.make_ndarray(node.attr["value"].tensor)


def _side(image: Any, place: _Place, options: Options) -> int:
    shape = _shape(image) if image.op == "Placeholder" else None
    sides = place.side or (tuple(shape[1:3]) if shape and len(shape) == 4 else (-1, -1))
    if sides[0] != sides[1]:
        raise ConversionError(f"expected a square input, got {sides[0]} by {sides[1]} pixels")
    given = options.input_resolution
    if place.side is None and sides[0] < 1 and given is None:
        raise ConversionError(
            "expected an input of a known size, the source leaves it open: give --input-resolution"
        )
    if given is not None and sides[0] > 0 and sides[0] != given:
        raise ConversionError(
            f"expected the source's input resolution, {sides[0]}, got --input-resolution {given}"
        )
    return sides[0] if sides[0] > 0 else int(given or 0)


def _normalization(
    nodes: Mapping[str, Any], needed: set[str], image: str, place: _Place, options: Options
) -> tuple[Triple, Triple, str]:
    """Mean and std for the network's input, and how they are known."""
    import tensorflow as tf

    if options.mean is not None and options.std is not None:
        return options.mean, options.std, "normalisation as given"
    factor, offset = np.broadcast_to(place.factor, 3), np.broadcast_to(place.offset, 3)
    stated = not (np.all(factor == 1) and np.all(offset == 0))
    node = nodes[image]
    if node.op in _DECODERS or node.attr["dtype"].type == tf.uint8.as_datatype_enum:
        levels = 255.0
    elif stated and np.all(factor >= 0.5) and np.all(np.abs(offset) <= 8):
        levels = 1.0  # values of 0 to 1 arrive, as from TensorFlow Hub's and Keras' examples
    elif stated and (np.all(np.abs(factor) < 0.05) or np.all(offset < -50)):
        levels = 255.0
    else:
        for part, architecture in _MINUS_ONE_TO_ONE.items():
            if not stated and any(part in name for name in needed):
                return (127.5,) * 3, (127.5,) * 3, f"normalised to -1 to 1, as {architecture} is"
        raise ConversionError(
            "expected to find in the source how its input is normalised, it does not say: give "
            "--mean and --std (127.5 and 127.5 for -1 to 1, 0 and 255 for 0 to 1, 0 and 1 for "
            "plain pixels)"
        )
    # factor * pixel * levels / 255 + offset is (pixel - mean) / std.
    std: Factor = 255 / levels / factor
    mean: Factor = 0 - offset * std
    why = f"mean {_brief(mean)} and std {_brief(std)}, found in the graph behind {image!r}"
    return _triple(mean), _triple(std), why


def _triple(values: Factor) -> Triple:
    # Constants of float32 make 127.50000189989805 of 127.5.
    rounded = [float(f"{value:.7g}") for value in values]
    return (rounded[0], rounded[1], rounded[2])


def _brief(values: Factor) -> str:
    return ", ".join(dict.fromkeys(f"{value:g}" for value in values))


def _refuse(nodes: Mapping[str, Any], needed: set[str]) -> None:
    """Raises ConversionError for what no device could run, or must not run here."""
    from tensorflow.python.framework import op_def_registry

    for name in sorted(needed):
        op = nodes[name].op
        definition = op_def_registry.get(op)
        if op in _CONTROL_FLOW:
            reason = f"control flow: {op} {name!r}. Freeze it for inference, not training"
        elif op in _VARIABLES:
            reason = f"variables: {op} {name!r}. Freeze it first"
        elif op in _OLD_EIGHT_BIT:
            reason = (
                f"{op} {name!r} of the old quantize_graph tool, which TensorFlow Lite lacks. "
                "Convert the float graph that it was made from, with --quantize int8"
            )
        elif definition is None:
            reason = f"a custom operator: {op} {name!r}. Make it from TensorFlow's own"
        elif definition.is_stateful and not op.endswith("PartitionedCall"):
            reason = f"an operator that acts outside the graph: {op} {name!r}. Remove it"
        else:
            continue
        raise ConversionError(f"expected a graph of arithmetic alone, got {reason}")


def _cut(graph: Any, needed: set[str], image: str) -> Any:
    """The needed nodes alone, the image as a placeholder, constants computed."""
    import tensorflow as tf

    cut = tf.compat.v1.GraphDef()
    cut.versions.CopyFrom(graph.versions)
    cut.library.CopyFrom(graph.library)
    for node in graph.node:
        if node.name not in needed:
            continue
        new = cut.node.add()
        if node.name == image:
            new.name, new.op = image, "Placeholder"
            new.attr["dtype"].type = tf.float32.as_datatype_enum
            continue
        new.CopyFrom(node)
        del new.input[:]
        new.input.extend(of for of in node.input if not of.startswith("^"))
        if node.op in _AS_IDENTITY:
            _make_identity(new)
    _fold_weights(cut)
    return cut


def _make_identity(node: Any) -> None:
    kind = node.attr["T" if "T" in node.attr else "dtype"].type
    node.op = "Identity"
    del node.input[1:]
    node.attr.clear()
    node.attr["T"].type = kind


def _fold_weights(graph: Any) -> None:
    """Weights that the old tools stored in eight bits become float32 constants."""
    import tensorflow as tf

    nodes = {node.name: node for node in graph.node}
    packed = [
        node
        for node in graph.node
        if node.op == "Dequantize" and all(_constant(nodes, of) is not None for of in node.input)
    ]
    for node in packed:
        values = tf.raw_ops.Dequantize(
            input=tf.constant(_constant(nodes, node.input[0]), tf.as_dtype(node.attr["T"].type)),
            min_range=_constant(nodes, node.input[1]).reshape(()),
            max_range=_constant(nodes, node.input[2]).reshape(()),
            mode=node.attr["mode"].s.decode() or "MIN_COMBINED",
        )
        name = node.name
        node.Clear()
        node.name, node.op = name, "Const"
        node.attr["dtype"].type = tf.float32.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values.numpy()))
