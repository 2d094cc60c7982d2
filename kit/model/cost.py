"""What a model costs: multiply-adds and parameters, counted from the operators of its file.

The rule: convolutions, dense layers and matrix products count, as in the papers of the MobileNets
(Howard et al. 2017, Sandler et al. 2018, Howard et al. 2019): one multiply-add for each product of
a weight and an input, padding included; nothing for biases, activations, pooling, additions and
scaling. Parameters are the weights and biases of these operators. So every quantisation of a
network counts the same.

In a file each batch normalisation is folded into the weights and bias of its convolution. Where a
publication counts parameters otherwise, that is why: tests/model/test_cost.py has its figures.
Field numbers are those of tensorflow/lite/schema.fbs.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from math import prod
from typing import Any

from kit.errors import ModelFileError
from kit.model.flatbuffer import Buffer, Table
from kit.model.operators import operator_codes

_CONV_2D, _DEPTHWISE_CONV_2D, _FULLY_CONNECTED = 3, 4, 9
_TRANSPOSE_CONV, _BATCH_MATMUL, _DEQUANTIZE = 67, 126, 6
_WEIGHTS_INPUT = 1  # of each of them; a bias follows, or in TRANSPOSE_CONV the image and a bias
_BIAS_INPUT = {_CONV_2D: 2, _DEPTHWISE_CONV_2D: 2, _FULLY_CONNECTED: 2, _TRANSPOSE_CONV: 3}
COUNTED = {
    _CONV_2D: "CONV_2D",
    _DEPTHWISE_CONV_2D: "DEPTHWISE_CONV_2D",
    _FULLY_CONNECTED: "FULLY_CONNECTED",
    _TRANSPOSE_CONV: "TRANSPOSE_CONV",
    _BATCH_MATMUL: "BATCH_MATMUL",
}
"""Operators that count, by their code; all others count nothing."""


@dataclass(frozen=True)
class Cost:
    """The cost of one inference.

    Attributes:
        multiply_adds: multiply-adds of the operators in COUNTED.
        weights: constants that they multiply with.
        biases: constants that they add.
    """

    multiply_adds: int
    weights: int
    biases: int

    @property
    def parameters(self) -> int:
        return self.weights + self.biases

    def to_json(self) -> dict[str, Any]:
        return {
            "multiply_adds": self.multiply_adds,
            "parameters": self.parameters,
            "weight_parameters": self.weights,
            "bias_parameters": self.biases,
            "counted_operators": list(COUNTED.values()),
        }


def count_file(path: str | os.PathLike[str]) -> Cost:
    """The cost of a .tflite file that `read_model_file` has read.

    Raises ModelFileError where its graph is damaged.
    """
    with (
        open(path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        try:
            return count(content)
        except ModelFileError as error:
            raise ModelFileError(f"{path}: {error}") from error


def count(flatbuffer: Buffer) -> Cost:
    """The cost of a model's first graph; raises ModelFileError where it is damaged."""
    model = Table.root(flatbuffer, b"TFL3")
    codes = [code for code, _, _ in operator_codes(model)]
    stored = [buffer.length(0) > 0 for buffer in model.tables(4)]
    graph = next(model.tables(2), None)
    if graph is None:
        raise ModelFileError("expected a model with a graph, got one without")
    tensors = list(graph.tables(0))
    shapes = [tensor.integers(0) for tensor in tensors]
    multiply_adds = biases = 0
    weights: set[int] = set()
    try:
        constant = {i for i, tensor in enumerate(tensors) if stored[tensor.integer(2, "<I")]}
        for node in graph.tables(3):
            code = codes[node.integer(0, "<I")]
            inputs, outputs = node.integers(1), node.integers(2)
            if code == _DEQUANTIZE and inputs[0] in constant:
                constant.add(outputs[0])  # float16 weights are widened before they are used
            if code not in COUNTED:
                continue
            adjoint = node.table(4) if code == _BATCH_MATMUL else None
            multiply_adds += _multiply_adds(
                code, [shapes[i] if i >= 0 else () for i in inputs], shapes[outputs[0]], adjoint
            )
            weights |= {inputs[_WEIGHTS_INPUT]} & constant
            # A bias counts wherever it is added: converters merge equal constants, such as zeros.
            biases += sum(
                prod(shapes[i])
                for i in inputs[_BIAS_INPUT.get(code, len(inputs)) :]
                if i in constant
            )
    except IndexError as error:
        raise ModelFileError(
            "expected a sound graph, got an operator without its tensors: copy the file again"
        ) from error
    return Cost(multiply_adds, sum(prod(shapes[i]) for i in weights), biases)


def _multiply_adds(
    code: int, inputs: list[tuple[int, ...]], output: tuple[int, ...], options: Table | None
) -> int:
    kernel = inputs[_WEIGHTS_INPUT]
    if code == _DEPTHWISE_CONV_2D:  # kernel [1, height, width, channels]
        return prod(output) * prod(kernel[1:3])
    if code == _TRANSPOSE_CONV:  # kernel [outputs, height, width, inputs], over the image
        return prod(inputs[2]) * prod(kernel[:3])
    if code == _BATCH_MATMUL:  # [..., rows, inner] x [..., inner, columns], or its adjoint
        is_adjoint = options is not None and options.integer(0, "<b") == 1
        return prod(output) * inputs[0][-2 if is_adjoint else -1]
    return prod(output) * prod(kernel[1:])  # [outputs, ..., inputs]: for each output one of these
