"""A packaged model as C source for TensorFlow Lite Micro.

Which operators it has is in its micro_mutable_op_resolver.h (the Add functions); which types, in
the Prepare functions of its kernels.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from converters.model_object import from_bytes, to_bytes
from converters.operators import operator_name
from kit.errors import ConversionError, ModelFileError
from kit.model.model_file import ModelFile, read_model_file
from kit.model.spec import PreprocessSpec

if TYPE_CHECKING:
    from kit.runtime.interpreter import Tensor

# fmt: off
_OPERATORS = (
    "Abs", "Add", "ArgMax", "ArgMin", "AveragePool2D", "BatchToSpaceNd", "BroadcastArgs",
    "BroadcastTo", "Cast", "Ceil", "Concatenation", "Conv2D", "Cos", "CumSum", "DepthToSpace",
    "DepthwiseConv2D", "Dequantize", "Div", "Equal", "ExpandDims", "Fill", "Floor", "FloorDiv",
    "FloorMod", "FullyConnected", "Gather", "GatherNd", "Greater", "GreaterEqual", "HardSwish",
    "L2Normalization", "L2Pool2D", "LeakyRelu", "Less", "LessEqual", "Log", "Logistic",
    "Maximum", "MaxPool2D", "Mean", "Minimum", "MirrorPad", "Mul", "Neg", "NotEqual", "Pack",
    "Pad", "PadV2", "Prelu", "Quantize", "ReduceMax", "Relu", "Relu6", "Reshape",
    "ResizeBilinear", "ResizeNearestNeighbor", "Round", "Rsqrt", "SelectV2", "Shape", "Sin",
    "Slice", "Softmax", "SpaceToBatchNd", "SpaceToDepth", "Split", "SplitV", "Sqrt", "Square",
    "SquaredDifference", "Squeeze", "StridedSlice", "Sub", "Sum", "Tanh", "Transpose", "Unpack",
    "ZerosLike",
)
# fmt: on
"""As in `resolver.AddConv2D()`; of those that it has, those whose memory `arena_bytes` bounds."""

_WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
_WEIGHTED_TYPES = (("FLOAT32", "FLOAT32"), ("INT8", "INT8"), ("INT8", "INT4"), ("INT16", "INT8"))
_INPUT_TYPES: Mapping[str, Sequence[tuple[str, ...]]] = {
    **dict.fromkeys(_WEIGHTED, _WEIGHTED_TYPES),
    "DEQUANTIZE": (("INT8",), ("INT16",), ("UINT8",)),
}
"""Types of an operator's first inputs, where Micro takes fewer than TensorFlow Lite."""

_C_TYPES = {"float32": "float", "uint8": "uint8_t", "int8": "int8_t", "int16": "int16_t"}

# What lasts in the arena, in bytes where a pointer has 8; microcontrollers' have 4.
_BASE_BYTES = 1024
_TENSOR_BYTES = 24
_END_TENSOR_BYTES = 80  # the input and the output are described in full
_OPERATOR_BYTES = 192  # its registration, its options and what its kernel keeps
_CHANNEL_BYTES = 8  # multiplier and shift of a weighted operator's output channel
_SOFTMAX_TABLES_BYTES = 2 * 513 * 2  # of int16
_PLANNING_BYTES = 96  # for each tensor, gone when the others are placed


def c_sources(model: bytes, name: str = "model") -> dict[str, str]:
    """A model, its labels and what firmware must know of it; C11, the header for C++ too.

    The array holds what the interpreter reads: no appended files, metadata or names of tensors.

    Args:
        model: content of a .tflite image classifier, packaged by the kit or not.
        name: name of the files, and the beginning of each name in them.

    Returns:
        The text of `<name>.h` and `<name>.c`, by file name.

    Raises:
        ConversionError: as `micro_operators`; `name` is none in C, or the model a screening form.
        ModelFileError, InferenceError: the model is damaged, or is no image classifier.
    """
    from kit.runtime.interpreter import Runner

    if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ConversionError(
            f"expected a name of letters, digits and _, as C has them, got {name!r}: choose another"
        )
    file = _read(model)
    if file.card is not None and file.card.screening is not None:
        raise ConversionError(
            "expected a file with scores alone, got a screening form, which has more outputs: take "
            "the plain file that it was made from"
        )
    operators = micro_operators(model)
    data = _stripped(model)
    runner = Runner(data)
    if file.card is not None and not file.card.is_plain():
        raise ConversionError(
            "expected a square input in RGB, channels last, and scores as output, as the C sources "
            "describe them, got another model"
        )
    labels = file.labels or ()
    if labels and len(labels) != runner.output_width:
        raise ModelFileError(
            f"expected {runner.output_width} labels, one for each score, got {len(labels)}: "
            "these labels belong to another model"
        )
    preprocessing, normalisation = _preprocessing(file, runner.input)
    answering, thresholds = _operating_point(file)
    described = file.card or file.metadata
    macros = {
        "INPUT_RESOLUTION": runner.image.height,
        **_tensor_macros("INPUT", runner.input),
        **normalisation,
        "OUTPUT_COUNT": runner.output_width,
        **_tensor_macros("OUTPUT", runner.output),
        "SCORE_THRESHOLD": _real(described.score_threshold or 0.0 if described else 0.0),
        **thresholds,
        "LABEL_COUNT": len(labels),
        "ARENA_BYTES": arena_bytes(model),
        "OPERATOR_COUNT": len(operators),
    }
    upper = name.upper()
    return {
        f"{name}.h": _HEADER.format(
            name=name,
            upper=upper,
            preprocessing="".join(f" * {line}\n" for line in preprocessing),
            answering="".join(f" * {line}\n" for line in answering),
            macros="\n".join(f"#define {upper}_{key} {value}" for key, value in macros.items()),
            operators="".join(f"    (resolver).Add{operator}(); \\\n" for operator in operators),
            labels=f"extern const char* const {name}_labels[{len(labels)}];\n" if labels else "",
        ),
        f"{name}.c": _SOURCE.format(
            name=name,
            data="\n".join(_rows(data)),
            labels=_label_array(name, labels) if labels else "",
        ),
    }


def micro_operators(model: bytes) -> tuple[str, ...]:
    """The operators to register: `Conv2D` for `resolver.AddConv2D()`; each once, sorted.

    Raises ConversionError where `model` is no TensorFlow Lite model, or an operator, or the types
    that it computes with, are not known to run in TensorFlow Lite Micro.
    """
    known = {name.lower(): name for name in _OPERATORS}
    found = set()
    for operator in _graph(model).operators:
        micro_name = known.get(operator.name.replace("_", "").lower())
        if micro_name is None:
            raise ConversionError(
                "expected operators that are known to run in TensorFlow Lite Micro, got "
                f"{operator.name}: choose another backbone"
            )
        if accepted := _INPUT_TYPES.get(operator.name):
            types = tuple(tensor.type for tensor in operator.inputs[: len(accepted[0])])
            if types not in accepted:
                raise ConversionError(
                    f"expected types that TensorFlow Lite Micro computes with, got {operator.name} "
                    f"of {' and '.join(types)}: convert the model to int8"
                )
        found.add(micro_name)
    return tuple(sorted(found))


def arena_bytes(model: bytes) -> int:
    """A bound on the memory that TensorFlow Lite Micro's interpreter needs, a multiple of 16.

    Tensors that are no constants share memory, and are placed as its GreedyMemoryPlanner does:
    the largest first, each at the lowest offset that is free while it is in use, in steps of 16
    bytes. So are the scratch buffers of the reference and CMSIS-NN kernels; others, such as
    ESP-NN's, may be larger. To that comes what lasts: structures for each tensor, operator and
    output channel, counted with pointers of 8 bytes, so that pointers of 4 leave some over.

    Raises ConversionError where `model` is no TensorFlow Lite model.
    """
    graph = _graph(model)
    first = dict.fromkeys(graph.inputs, 0)
    last = dict(first)
    scratch = []
    lasting = (
        _BASE_BYTES
        + _TENSOR_BYTES * graph.tensor_count
        + _END_TENSOR_BYTES * (len(graph.inputs) + len(graph.outputs))
        + sum(map(_lasting_bytes, graph.operators))
    )
    for step, operator in enumerate(graph.operators, start=1):
        first |= dict.fromkeys(operator.outputs, step)
        last |= dict.fromkeys((*operator.inputs, *operator.outputs), step)
        scratch.append((_scratch_bytes(operator), step, step))
    last |= dict.fromkeys(graph.outputs, len(graph.operators))
    ordered = sorted(first, key=lambda tensor: tensor.index)
    buffers = [*((tensor.size_bytes, first[tensor], last[tensor]) for tensor in ordered), *scratch]
    planning = _PLANNING_BYTES * (graph.tensor_count + len(scratch))
    return _aligned(lasting) + max(planned_bytes(buffers), _aligned(planning))


def planned_bytes(buffers: Sequence[tuple[int, int, int]]) -> int:
    """Memory for buffers that share it, as the planner places them.

    Each is its size in bytes, and the first and the last step at which it is in use.
    """
    aligned = [(_aligned(size), first, last) for size, first, last in buffers]
    placed: list[tuple[int, int, int, int]] = []
    # Of equal ones the planner takes the last first.
    for size, first, last in sorted(aligned, key=lambda buffer: buffer[0])[::-1]:
        offset = 0
        for start, end, other_first, other_last in sorted(placed):
            if other_first <= last and first <= other_last:
                if start - offset >= size:
                    break
                offset = max(offset, end)
        placed.append((offset, offset + size, first, last))
    return max(end for _, end, _, _ in placed)


def _aligned(size: int) -> int:
    return -(-size // 16) * 16


@dataclass(frozen=True)
class _Tensor:
    index: int
    type: str
    shape: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        import numpy as np

        return prod(self.shape) * np.dtype(self.type.lower()).itemsize


@dataclass(frozen=True)
class _Operator:
    name: str
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]


@dataclass(frozen=True)
class _Graph:
    operators: tuple[_Operator, ...]
    inputs: tuple[_Tensor, ...]
    outputs: tuple[_Tensor, ...]
    tensor_count: int


def _graph(model: bytes) -> _Graph:
    from ai_edge_litert import schema_py_generated as schema

    content = from_bytes(model)
    graph = content.subgraphs[0]
    types = {value: name for name, value in vars(schema.TensorType).items()}
    all_tensors = [
        _Tensor(
            index, types[tensor.type], () if tensor.shape is None else tuple(tensor.shape.tolist())
        )
        for index, tensor in enumerate(graph.tensors)
    ]
    names = [
        operator_name(
            max(code.builtinCode, code.deprecatedBuiltinCode), (code.customCode or b"").decode()
        )
        for code in content.operatorCodes
    ]

    def tensors(indices: Iterable[int]) -> tuple[_Tensor, ...]:
        return tuple(all_tensors[index] for index in indices if index >= 0)

    return _Graph(
        tuple(
            _Operator(names[one.opcodeIndex], tensors(one.inputs), tensors(one.outputs))
            for one in graph.operators
        ),
        tensors(graph.inputs),
        tensors(graph.outputs),
        len(all_tensors),
    )


def _lasting_bytes(operator: _Operator) -> int:
    if operator.name in _WEIGHTED:
        return _OPERATOR_BYTES + _CHANNEL_BYTES * operator.outputs[0].shape[-1]
    if operator.name == "SOFTMAX" and operator.inputs[0].type == "INT16":
        return _OPERATOR_BYTES + _SOFTMAX_TABLES_BYTES
    return _OPERATOR_BYTES


def _scratch_bytes(operator: _Operator) -> int:
    """The largest that the reference and CMSIS-NN kernels ask for."""
    if operator.name == "CONV_2D":  # four columns of int8, or two of int16
        return 4 * _aligned(prod(operator.inputs[1].shape[1:]))
    if operator.name == "DEPTHWISE_CONV_2D":  # int16, or blocks of 4 x 124 channels of int8
        _, height, width, channels = operator.inputs[1].shape
        return height * width * max(2 * channels, 4 * 124)
    if operator.name in ("FULLY_CONNECTED", "MEAN", "SUM"):  # sums, int32
        return 4 * prod(operator.outputs[0].shape)
    return 0


def _stripped(model: bytes) -> bytes:
    """The flatbuffer without what only people and tools read."""
    content = from_bytes(model)
    for entry in content.metadata or []:
        content.buffers[entry.buffer].data = None
    content.metadata = content.signatureDefs = content.description = None
    for tensor in content.subgraphs[0].tensors:
        tensor.name = None
    return to_bytes(content)


def _read(model: bytes) -> ModelFile:
    with tempfile.TemporaryDirectory(prefix="kit-") as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(model)
        try:
            return read_model_file(path)
        except ModelFileError as error:
            raise ModelFileError(str(error).removeprefix(f"{path}: ")) from error


def _tensor_macros(end: str, tensor: Tensor) -> dict[str, object]:
    quantization = tensor.quantization
    return {
        f"{end}_TYPE": _C_TYPES[tensor.dtype],
        f"{end}_SCALE": _real(quantization.scale if quantization else 1.0),
        f"{end}_ZERO_POINT": quantization.zero_point if quantization else 0,
    }


def _preprocessing(file: ModelFile, image: Tensor) -> tuple[list[str], dict[str, object]]:
    """How pixels become inputs: sentences, and the macros that they speak of."""
    import numpy as np

    from kit.model.preprocess import input_table

    spec = PreprocessSpec(image.shape[1])
    sentences = []
    if file.card is not None:
        spec = file.card.preprocess
        sentences = [f"To the input resolution: fit {spec.fit}, resize {spec.resize}."]
    elif image.dtype != "uint8" and file.metadata and file.metadata.mean and file.metadata.std:
        mean, std = _triple(file.metadata.mean), _triple(file.metadata.std)
        spec = PreprocessSpec(image.shape[1], mean=mean, std=std)
    elif image.dtype == "float32":
        return ["The model file does not say how pixels become inputs."], {}
    quantised = image.dtype != "float32"
    if quantised:
        inputs = input_table(spec, image.dtype, image.quantization).astype(int)
        differences = np.unique(inputs - np.arange(256)[:, None])
        if len(differences) == 1:
            shift = f" minus {-differences[0]}" if differences[0] else ", 0 to 255, as it is"
            return [*sentences, f"An input is the pixel{shift}."], {}
    if spec.mean is None or spec.std is None:
        return [*sentences, "An input is the pixel, 0 to 255."], {}
    sentences.append("x = (pixel - MEAN) / STD of its channel" + ("," if quantised else "."))
    if quantised:
        sentences.append("an input is round(x / INPUT_SCALE) + INPUT_ZERO_POINT, clamped.")
    macros = (("MEAN", spec.mean), ("STD", spec.std))
    return sentences, {key: f"{{{', '.join(map(_real, values))}}}" for key, values in macros}


def _operating_point(file: ModelFile) -> tuple[list[str], dict[str, object]]:
    """How a score becomes an answer: sentences, and the macros that they speak of."""
    point = None if file.card is None else file.card.operating_point
    if file.card is None or point is None:
        return [], {}
    sentences = [
        "By the score of label POSITIVE_INDEX an image is positive from POSITIVE_FROM on, negative",
        "below NEGATIVE_BELOW, and uncertain in between.",
    ]
    return sentences, {
        "POSITIVE_INDEX": file.card.labels.index(point.positive),
        "NEGATIVE_BELOW": _real(point.negative_below),
        "POSITIVE_FROM": _real(point.positive_from),
    }


def _triple(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = values if len(values) == 3 else values[:1] * 3
    return red, green, blue


def _real(value: float) -> str:
    return f"{value!r}f"


def _rows(data: bytes) -> Iterable[str]:
    for start in range(0, len(data), 20):
        yield f"  {','.join(map(str, data[start : start + 20]))},"


def _label_array(name: str, labels: Iterable[str]) -> str:
    rows = "".join(f"  {_string(label)},\n" for label in labels)
    return f"\nconst char* const {name}_labels[] = {{\n{rows}}};\n"


def _string(text: str) -> str:
    """A string literal of the text in UTF-8."""

    def character(byte: int) -> str:
        # Octal: three digits end an escape, where one in hexadecimal takes in all that follow. A
        # question mark may begin a trigraph.
        plain = 0x20 <= byte < 0x7F and chr(byte) not in '"\\?'
        return chr(byte) if plain else f"\\{byte:03o}"

    return f'"{"".join(map(character, text.encode()))}"'


_HEADER = """\
#ifndef {upper}_H
#define {upper}_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* Capitals are the macros below without {upper}_.
 * The input is [1, INPUT_RESOLUTION, INPUT_RESOLUTION, 3]: rows from the top, channels RGB.
{preprocessing}\
 * A score is (output - OUTPUT_ZERO_POINT) * OUTPUT_SCALE; below SCORE_THRESHOLD it is no answer.
{answering}\
 * ARENA_BYTES is a computed bound, not a measurement, for TensorFlow Lite Micro's reference
 * kernels and CMSIS-NN: tflite::MicroInterpreter::arena_used_bytes() tells what a build needs. */
{macros}

/* tflite::MicroMutableOpResolver<{upper}_OPERATOR_COUNT> resolver;
 * {upper}_ADD_OPERATORS(resolver) */
#define {upper}_ADD_OPERATORS(resolver) \\
  do {{ \\
{operators}  }} while (0)

extern const unsigned char {name}_data[];
extern const unsigned int {name}_data_len;
{labels}
#ifdef __cplusplus
}}
#endif

#endif
"""

_SOURCE = """\
#include "{name}.h"

#include <stdalign.h>

alignas(16) const unsigned char {name}_data[] = {{
{data}
}};
const unsigned int {name}_data_len = sizeof({name}_data);
{labels}"""
