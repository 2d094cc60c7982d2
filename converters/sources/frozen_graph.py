"""Frozen TensorFlow graphs: where the image goes in, how it is normalised, where the answer is.

Written for the graphs of the 2017 retraining tutorials, whose input is a placeholder (MobileNet)
or a JPEG's bytes (Inception v3: DecodeJpeg, ResizeBilinear, Sub, Mul). SavedModels and Keras
files come here too, once they are frozen, so that each fact is found in one way.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.network import node_of, of_graph
from converters.sources.source import SourceModel, SourceOptions, Triple
from kit.errors import ConversionError
from kit.quiet import quiet_native

_DECODERS = ("DecodeJpeg", "DecodePng", "DecodeBmp", "DecodeImage", "DecodeAndCropJpeg")
_CHANNELS = (3, 1, -1)  # RGB, grey, or left open
_BEGINNINGS = ("Placeholder", *_DECODERS)
_RESIZERS = ("ResizeBilinear", "ResizeBicubic", "ResizeArea", "ResizeNearestNeighbor")
_PASSING = ("Identity", "Cast", "ExpandDims", "Squeeze")
_AS_IDENTITY = ("PlaceholderWithDefault", "CheckNumerics", "StopGradient", "Print")
_VARIABLES = ("Variable", "VariableV2", "VarHandleOp", "ReadVariableOp", "AutoReloadVariable")
_CONTROL_FLOW = (
    *("Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"),
    *("If", "StatelessIf", "While", "StatelessWhile", "For", "Case", "StatelessCase"),
)
_OLD_EIGHT_BIT = (  # how the names begin
    *("Quantized", "QuantizeV2", "QuantizeDown", "Requantiz", "Dequantize"),
)
_RANDOM = (  # how the names begin; dropout's Bernoulli is one of uniform numbers
    *("Random", "StatelessRandom", "StatefulUniform", "StatefulStandardNormal"),
    *("StatelessTruncatedNormal", "StatefulTruncatedNormal", "TruncatedNormal", "Multinomial"),
)
# Of TensorFlow's operators without state, those that read files, reach a network, carry programs
# or end the process.
OUTSIDE = (
    *("ReadFile", "MatchingFiles", "ImmutableConst"),
    *("DebugIdentity", "DebugNanCount", "DebugNumericSummary", "CopyHost", "Copy"),
    *("PyFuncStateless", "Abort", "DecodeProtoV2", "EncodeProto"),
    *("XlaCustomCall", "XlaCustomCallV2", "XlaLaunchV2"),
)
_NORMALIZATION_2015 = "BatchNormWithGlobalNormalization"
# Nodes that only networks with this input, about -1 to 1, have: mean and std, whose they are.
_BY_NAME = {
    "MobilenetV1/": (127.5, "TensorFlow-Slim's MobileNet v1"),
    "MobilenetV2/": (127.5, "TensorFlow-Slim's MobileNet v2"),
    "InceptionV3/": (127.5, "TensorFlow-Slim's Inception v3"),
    "/conv_pw_13": (127.5, "Keras' MobileNet"),
    "/block_16_project": (127.5, "Keras' MobileNetV2"),
    "/mixed10": (127.5, "Keras' InceptionV3"),
    "mixed_10/join": (128.0, "the Inception v3 of 2015"),
}

Factor = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Place:
    """A node on the way of the pixels: its value is `factor * pixel + offset`.

    `reversed`: its channels are in another order, so the network cannot begin there.
    """

    name: str
    factor: Factor
    offset: Factor
    side: tuple[int, int] | None
    reversed: bool = False


def read_frozen_graph(path: str | os.PathLike[str], options: SourceOptions) -> SourceModel:
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
        raise ConversionError(
            f"{path}: expected a frozen TensorFlow graph, got another or a damaged file ({error}): "
            "copy it again, or give the folder of a SavedModel"
        ) from error
    if not graph.node:
        raise ConversionError(
            f"{path}: expected a frozen TensorFlow graph, got a file without nodes: copy it "
            "again, or give the folder of a SavedModel"
        )
    return source_of_graph(graph, "frozen graph", options)


def source_of_graph(graph: Any, kind: str, options: SourceOptions) -> SourceModel:
    """A SourceModel from a tf.compat.v1.GraphDef; raises as `read_frozen_graph`."""
    nodes = {node.name: node for node in graph.node}
    output = options.output_tensor or _only_output(graph)
    for flag, name in (("--output-tensor", output), ("--input-tensor", options.input_tensor)):
        if name is not None and node_of(name) not in nodes:
            raise ConversionError(f"expected {flag} to be a node of the graph, got {name!r}")
    output = node_of(output)
    needed = ancestors(nodes, output)
    image = _image_node(nodes, needed, options)
    place, remarks = _place(nodes, needed, image, options)
    kept = ancestors(nodes, output, place.name)
    if place.name not in kept:
        raise ConversionError(
            f"expected the output to depend on the image, {output!r} does not on {place.name!r}"
        )
    _refuse(graph, kept, place.name)
    size = _size(nodes[image], place, options)
    mean, std, why = _normalization(nodes, needed, image, place, options)
    with quiet_native:
        network, done = of_graph(_cut(graph, kept, place.name), place.name, output, size)
    height, width, channels = size
    described = f"{height} pixels" if height == width else f"{height} by {width} pixels"
    grey = ", grey" if channels == 1 else ""
    said = (f"input {place.name}, {described}{grey}; output {output}", why, *remarks, done)
    return SourceModel(
        *(kind, network, height, mean, std, tuple(line for line in said if line)),
        None if height == width else width,
        channels,
    )


def is_random(op: str) -> bool:
    """Whether an operator draws random numbers."""
    return op.startswith(_RANDOM)


def _data(node: Any) -> list[str]:
    """A node's inputs but for control inputs, which carry no value."""
    return [of for of in node.input if not of.startswith("^")]


def ancestors(
    nodes: Mapping[str, Any], name: str, stop: str | None = None, control: bool = False
) -> set[str]:
    """A node and all that its value depends on; with `control`, all that runs before it."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name in found or name not in nodes:
            continue
        found.add(name)
        if name != stop:
            waiting += map(node_of, nodes[name].input if control else _data(nodes[name]))
    return found


def _only_output(graph: Any) -> str:
    used = {node_of(name) for node in graph.node for name in node.input}
    ends = [
        node.name
        for node in graph.node
        if node.name not in used and node.op not in ("Const", "NoOp", "Assert", "Placeholder")
    ]
    # Old control flow has ends of its own, which the image does not reach.
    nodes = {node.name: node for node in graph.node}
    reached = [
        end for end in ends if any(nodes[name].op in _BEGINNINGS for name in ancestors(nodes, end))
    ]
    ends = reached or ends
    if len(ends) != 1:
        for node in graph.node:
            if node.op in _VARIABLES:  # what saves and restores them are the further ends
                raise _unfrozen(node.op, node.name)
        raise ConversionError(
            f"expected one output, the graph has {len(ends)}: {', '.join(ends[:20])}: "
            "choose one with --output-tensor"
        )
    return str(ends[0])


def _image_node(nodes: Mapping[str, Any], needed: set[str], options: SourceOptions) -> str:
    """The node with pixels: a decoder, or a placeholder of an image's shape."""
    decoders = [name for name in needed if nodes[name].op in _DECODERS]
    places = [
        name for name in needed if nodes[name].op == "Placeholder" and _like_image(nodes[name])
    ]
    found = sorted(decoders or places)
    if options.input_tensor is not None:
        given = node_of(options.input_tensor)
        # A node behind the only decoder keeps what the graph says of the pixels on the way.
        return found[0] if len(found) == 1 and given not in found else given
    if not found:
        others = [
            f"{name} {_shape(nodes[name]) or ''}".strip()
            for name in sorted(needed)
            if nodes[name].op == "Placeholder"
        ]
        raise ConversionError(
            "expected an input [batch, side, side, 3] for an RGB image, got "
            f"{', '.join(others) or 'a graph without inputs'}: choose another --output-tensor, or "
            "save the model with its channels last"
        )
    if len(found) != 1:
        raise ConversionError(
            f"expected one input for an RGB image, the graph has {len(found)}: "
            f"{', '.join(found[:20])}: choose one with --input-tensor"
        )
    return found[0]


def _shape(node: Any) -> list[int] | None:
    """Shape of a placeholder; -1 for a length that is left open, None for an unknown rank."""
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
    return shape is None or (len(shape) == 4 and shape[3] in _CHANNELS)


def _place(
    nodes: Mapping[str, Any], needed: set[str], image: str, options: SourceOptions
) -> tuple[_Place, tuple[str, ...]]:
    """Where the network begins: behind decoding, resizing and normalising, which the kit does."""
    way = list(_way(nodes, needed, image))
    names = [place.name for place in way]
    if options.input_tensor is not None:
        given = node_of(options.input_tensor)
        if given in names:
            return way[names.index(given)], ()
        return _Place(given, np.ones(3), np.zeros(3), None), ()
    way = [place for place in way if not place.reversed]
    if options.mean is not None and nodes[image].op == "Placeholder":
        # The flags say how pixels enter the placeholder. One of bytes is left to its cast.
        return next((place for place in way if _is_real(nodes[place.name])), way[-1]), ()
    resized = any(nodes[name].op in _RESIZERS for name in names)
    remark = "decoding and resizing in the graph are left out: the kit does them" if resized else ""
    return way[-1], (remark,)


def _is_real(node: Any) -> bool:
    import tensorflow as tf

    kind = node.attr["DstT" if node.op == "Cast" else "dtype"].type
    return bool(kind and tf.as_dtype(kind).is_floating)


def _way(nodes: Mapping[str, Any], needed: set[str], image: str) -> Iterator[_Place]:
    """The places from the image to where more than a factor and an offset happens to it."""
    users: dict[str, list[Any]] = {}
    for name in needed:
        for position, of in enumerate(_data(nodes[name])):
            users.setdefault(node_of(of), []).append((nodes[name], position))
    place = _Place(image, np.ones(3), np.zeros(3), None)
    yield place
    while len(users.get(place.name, ())) == 1:
        node, position = users[place.name][0]
        others = [of for index, of in enumerate(_data(node)) if index != position]
        constant = _constant(nodes, others[0]) if len(others) == 1 else None
        factor, offset, side = place.factor, place.offset, place.side
        if _reverses_channels(nodes, node) and position == 0:
            place = _Place(node.name, factor, offset, side, reversed=True)
            yield place
            continue
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
        place = _Place(node.name, factor, offset, side, place.reversed)
        yield place


def _reverses_channels(nodes: Mapping[str, Any], node: Any) -> bool:
    """Whether it makes BGR of RGB, as Caffe's networks have it."""
    if node.op == "ReverseV2":
        axes = _constant(nodes, _data(node)[1])
        return axes is not None and axes.reshape(-1).tolist() in ([3], [-1])
    if node.op != "StridedSlice":
        return False
    strides = _constant(nodes, _data(node)[3])
    whole = int(node.attr["begin_mask"].i) & int(node.attr["end_mask"].i)
    return (
        strides is not None
        and strides.tolist()[-1] == -1
        and all(step == 1 for step in strides.tolist()[:-1])
        and bool(whole >> (len(strides) - 1) & 1)
    )


def _constant(nodes: Mapping[str, Any], name: str) -> Any:
    import tensorflow as tf

    node = nodes.get(node_of(name))
    while node is not None and node.op in _PASSING and node.input:
        node = nodes.get(node_of(node.input[0]))
    if node is None or node.op != "Const":
        return None
    return tf.make_ndarray(node.attr["value"].tensor)


def _size(image: Any, place: _Place, options: SourceOptions) -> tuple[int, int, int]:
    """Height and width in pixels, and channels."""
    shape = _shape(image) if image.op == "Placeholder" else None
    if shape and (len(shape) != 4 or shape[3] not in _CHANNELS):
        raise ConversionError(
            f"expected an input [batch, side, side, 3], got {shape}: save the model with its "
            "channels last"
        )
    channels = 1 if _is_grey(image, shape) else 3
    sides = place.side or (tuple(shape[1:3]) if shape else (-1, -1))
    given = options.input_resolution
    if max(sides) < 1 and given is None:
        raise ConversionError(
            "expected an input of a known size, the source leaves it open: give --input-resolution"
        )
    if given is not None and any(side not in (given, -1) for side in sides):
        own = " by ".join(dict.fromkeys(str(side) for side in sides))
        raise ConversionError(
            f"expected the source's input resolution, {own}, got --input-resolution {given}"
        )
    height, width = (side if side > 0 else int(given or max(sides)) for side in sides)
    return height, width, channels


def _is_grey(image: Any, shape: list[int] | None) -> bool:
    if shape is not None:
        return shape[3] == 1
    return image.op in _DECODERS and int(image.attr["channels"].i) == 1


def _normalization(
    nodes: Mapping[str, Any], needed: set[str], image: str, place: _Place, options: SourceOptions
) -> tuple[Triple, Triple, str]:
    """Mean and std for the network's input, and how they are known."""
    import tensorflow as tf

    if options.mean is not None and options.std is not None:
        return options.mean, options.std, "normalisation as given"
    factor, offset = _last_arithmetic(nodes, needed, image, place)
    stated = not (np.all(factor == 1) and np.all(offset == 0))
    node = nodes[image]
    if node.op in _DECODERS or node.attr["dtype"].type == tf.uint8.as_datatype_enum:
        levels = 255.0
    elif stated and np.all(factor >= 0.5) and np.all(np.abs(offset) <= 8):
        levels = 1.0  # values of 0 to 1 arrive, as from TensorFlow Hub's and Keras' examples
    elif stated and (np.all(np.abs(factor) < 0.05) or np.all(offset < -50)):
        levels = 255.0
    else:
        for part, (middle, network) in _BY_NAME.items():
            if not stated and any(part in name for name in needed):
                return (middle,) * 3, (middle,) * 3, f"normalised to -1 to 1, as {network} is"
        raise ConversionError(
            "expected to find in the source how its input is normalised, it does not say: give "
            "--mean and --std (127.5 and 127.5 for -1 to 1, 0 and 255 for 0 to 1, 0 and 1 for "
            "plain pixels)"
        )
    factor, offset = np.broadcast_to(place.factor, 3), np.broadcast_to(place.offset, 3)
    # factor * pixel * levels / 255 + offset is (pixel - mean) / std.
    std: Factor = 255 / levels / factor
    mean: Factor = 0 - offset * std
    why = f"mean {_brief(mean)} and std {_brief(std)}, found in the graph behind {image!r}"
    return _triple(mean), _triple(std), why


def _last_arithmetic(
    nodes: Mapping[str, Any], needed: set[str], image: str, place: _Place
) -> tuple[Factor, Factor]:
    """Factor and offset as far as they go; behind a change of channels they tell the range."""
    way = list(_way(nodes, needed, image))
    last = way[-1] if any(place.name == other.name for other in way) else place
    return np.broadcast_to(last.factor, 3), np.broadcast_to(last.offset, 3)


def _triple(values: Factor) -> Triple:
    # Constants of float32 make 127.50000189989805 of 127.5.
    rounded = [float(f"{value:.7g}") for value in values]
    return (rounded[0], rounded[1], rounded[2])


def _brief(values: Factor) -> str:
    return ", ".join(dict.fromkeys(f"{value:g}" for value in values))


def _refuse(graph: Any, needed: set[str], image: str) -> None:
    """Raises ConversionError for what no device could run, or must not run here."""
    from tensorflow.python.framework import op_def_registry

    nodes = {node.name: node for node in graph.node}
    bodies = {function.signature.name for function in graph.library.function}
    own = [node for node in graph.node if node.name in needed and node.name != image]
    for node in sorted(called_nodes(graph.library, own), key=lambda node: str(node.name)):
        op, name = node.op, node.name
        definition = op_def_registry.get(op)
        if (op in bodies and definition is None) or op in _AS_IDENTITY:
            continue
        if op in _VARIABLES:
            raise _unfrozen(op, name)
        if op in _CONTROL_FLOW:
            reason = f"control flow: {op} {name!r}. Freeze it for inference, not training"
        elif op == "Placeholder":
            reason = f"a second input: {op} {name!r}. Freeze it with a constant there"
        elif is_random(op) and definition is not None and not definition.is_stateful:
            reason = (
                f"a random number: {op} {name!r}. Save the model for inference, or leave out its "
                "random layers"
            )
        elif op.startswith(_OLD_EIGHT_BIT) and not _is_folded(nodes, node):
            reason = (
                f"{op} {name!r} of the old quantize_graph tool, which TensorFlow Lite lacks. "
                "Convert the float graph that it was made from, with --quantize int8"
            )
        elif op == _NORMALIZATION_2015 and not _are_constant(nodes, node.input[1:]):
            reason = f"{op} {name!r} of values that are no constants. Freeze it for inference"
        elif definition is None:
            reason = f"a custom operator: {op} {name!r}. Make it from TensorFlow's own"
        elif op in OUTSIDE or (definition.is_stateful and not op.endswith("PartitionedCall")):
            reason = f"an operator that acts outside the graph: {op} {name!r}. Remove it"
        else:
            continue
        raise ConversionError(f"expected a graph of arithmetic alone, got {reason}")


def _unfrozen(op: str, name: str) -> ConversionError:
    return ConversionError(
        f"expected a frozen graph, got one with variables: {op} {name!r}: freeze it first"
    )


def called_nodes(library: Any, nodes: Iterable[Any]) -> Iterator[Any]:
    """These nodes, and those of every function that they call."""
    nodes = list(nodes)
    yield from nodes
    called = called_functions(library, nodes)
    for function in library.function:
        if function.signature.name in called:
            yield from function.node_def


def called_functions(library: Any, nodes: Iterable[Any]) -> set[str]:
    """Names of the functions that these nodes call, and those that the functions call."""
    bodies = {function.signature.name: function.node_def for function in library.function}
    found: set[str] = set()
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        called = {node.op}
        for value in node.attr.values():
            called |= {value.func.name, *(function.name for function in value.list.func)}
        for name in called & bodies.keys() - found:
            found.add(name)
            waiting += bodies[name]
    return found


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
        new.input.extend(_data(node))
        if node.op in _AS_IDENTITY:
            _make_identity(new)
    _fold_weights(cut)
    _renew_normalization(cut)
    return cut


def _make_identity(node: Any) -> None:
    kind = node.attr["T" if "T" in node.attr else "dtype"].type
    node.op = "Identity"
    del node.input[1:]
    node.attr.clear()
    node.attr["T"].type = kind


def _are_constant(nodes: Mapping[str, Any], names: Iterable[str]) -> bool:
    return all(_constant(nodes, name) is not None for name in names)


def _is_folded(nodes: Mapping[str, Any], node: Any) -> bool:
    return node.op == "Dequantize" and _are_constant(nodes, node.input)


def _fold_weights(graph: Any) -> None:
    """Weights that the old tools stored in eight bits become float32 constants."""
    import tensorflow as tf

    nodes = {node.name: node for node in graph.node}
    for node in [node for node in graph.node if _is_folded(nodes, node)]:
        values = tf.raw_ops.Dequantize(
            input=tf.constant(_constant(nodes, node.input[0]), tf.as_dtype(node.attr["T"].type)),
            min_range=_constant(nodes, node.input[1]).reshape(()),
            max_range=_constant(nodes, node.input[2]).reshape(()),
            mode=node.attr["mode"].s.decode() or "MIN_COMBINED",
        )
        _make_constant(node, node.name, values.numpy())


def _make_constant(node: Any, name: str, values: npt.NDArray[np.float32]) -> None:
    import tensorflow as tf

    node.Clear()
    node.name, node.op = name, "Const"
    node.attr["dtype"].type = tf.float32.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(values))


def _renew_normalization(graph: Any) -> None:
    """Batch normalisation of 2015, whose operator newer graphs must not have, as Mul and Add."""
    import tensorflow as tf

    nodes = {node.name: node for node in graph.node}
    for node in [node for node in graph.node if node.op == _NORMALIZATION_2015]:
        name, image = node.name, node.input[0]
        mean, variance, beta, gamma = (_constant(nodes, of) for of in node.input[1:])
        factor = 1 / np.sqrt(variance + np.float32(node.attr["variance_epsilon"].f))
        if node.attr["scale_after_normalization"].b:
            factor = factor * gamma
        _make_constant(graph.node.add(), f"{name}/factor", factor)
        _make_constant(graph.node.add(), f"{name}/offset", beta - mean * factor)
        scaled = graph.node.add()
        scaled.name, scaled.op = f"{name}/scaled", "Mul"
        scaled.input.extend([image, f"{name}/factor"])
        node.Clear()
        node.name, node.op = name, "AddV2"
        node.input.extend([scaled.name, f"{name}/offset"])
        for arithmetic in (scaled, node):
            arithmetic.attr["T"].type = tf.float32.as_datatype_enum
