"""Takes the constant part of the weights' rounding error out of the biases after quantisation.

Rounding a convolution's weights to 8 bits shifts the mean of each output channel. Where batch
normalisation divides by a tiny variance, as in MobileNet v1's channels that hardly vary, the shift
is magnified and pushes the answers about. The mean shift is known from the mean input, so it can
be subtracted (M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", ICCV 2019, section 4.2; here with data). It works on the converted files, the float32
one and the quantised one, and so needs to know nothing of where the network came from.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.model_object import (
    constant_values,
    from_bytes,
    stored_values,
    to_bytes,
    weighted_operators,
)
from kit.errors import ConversionError
from kit.quiet import quiet_native

Array = npt.NDArray[np.float32]

IMAGES = 64
"""More change nothing that can be measured."""


def corrected_biases(quantized: bytes, float32: bytes, inputs: Sequence[Array]) -> bytes:
    """The quantised file with biases that make up for its rounded weights.

    Args:
        quantized: a flatbuffer with 8-bit weights.
        float32: the same network's flatbuffer without quantisation.
        inputs: what the network sees, each float32 `[side, side, 3]`.

    Raises:
        ConversionError: the two are not of one network.
    """
    reference, model = from_bytes(float32), from_bytes(quantized)
    layers, quantized_layers = weighted_operators(reference), weighted_operators(model)
    shapes = [_tensor(reference, layer, 1).shape.tolist() for layer in layers]
    if shapes != [_tensor(model, layer, 1).shape.tolist() for layer in quantized_layers]:
        raise ConversionError(
            "expected the quantised file to have the float32 file's layers, got others: "
            "convert both from one network"
        )
    means = _mean_inputs(reference, [layer.inputs[0] for layer in layers], inputs[:IMAGES])
    for layer, rounded, mean in zip(layers, quantized_layers, means, strict=True):
        error = constant_values(model, _tensor(model, rounded, 1)) - constant_values(
            reference, _tensor(reference, layer, 1)
        )
        if error.any() and len(rounded.inputs) > 2 and rounded.inputs[2] >= 0:
            _subtract_from_bias(model, rounded, _mean_output(layer, mean, error))
    return to_bytes(model)


def _tensor(model: Any, op: Any, position: int) -> Any:
    return model.subgraphs[0].tensors[op.inputs[position]]


def _mean_inputs(model: Any, tensors: list[int], inputs: Sequence[Array]) -> list[Array]:
    """Mean over the images of each tensor, with a batch axis of 1."""
    from ai_edge_litert.interpreter import Interpreter

    probe = copy.copy(model)
    probe.subgraphs = [copy.copy(model.subgraphs[0])]
    probe.subgraphs[0].outputs = sorted(set(tensors))
    probe.signatureDefs = None
    with quiet_native:
        interpreter = Interpreter(model_content=to_bytes(probe))
        interpreter.allocate_tensors()
    image = interpreter.get_input_details()[0]["index"]
    places = [detail["index"] for detail in interpreter.get_output_details()]
    sums: dict[int, Any] = dict.fromkeys(probe.subgraphs[0].outputs, 0.0)
    for values in inputs:
        interpreter.set_tensor(image, values[None])
        interpreter.invoke()
        for tensor, place in zip(sums, places, strict=True):
            sums[tensor] = sums[tensor] + interpreter.get_tensor(place).astype(np.float64)
    return [np.asarray(sums[tensor] / len(inputs), np.float32) for tensor in tensors]


def _mean_output(op: Any, mean: Array, weights: npt.NDArray[np.float64]) -> Array:
    """What a linear operator makes of a mean input, as a mean of each channel, `[channels]`."""
    result = np.asarray(_LAYERS[type(op.builtinOptions).__name__](op.builtinOptions, mean, weights))
    return np.asarray(result.reshape(-1, result.shape[-1]).mean(axis=0), np.float32)


def _convolve(options: Any, mean: Array, weights: npt.NDArray[np.float64]) -> Any:
    import tensorflow as tf

    kernel = weights.astype(np.float32).transpose(1, 2, 3, 0)
    return tf.nn.conv2d(mean, kernel, **_geometry(options))


def _convolve_depthwise(options: Any, mean: Array, weights: npt.NDArray[np.float64]) -> Any:
    import tensorflow as tf

    _, height, width, _ = weights.shape
    kernel = weights.astype(np.float32).reshape(height, width, mean.shape[3], -1)
    geometry = _geometry(options)
    return tf.nn.depthwise_conv2d(mean, kernel, **geometry)


def _geometry(options: Any) -> dict[str, Any]:
    return {
        "strides": [1, options.strideH, options.strideW, 1],
        "padding": ("SAME", "VALID")[options.padding],
        "dilations": [options.dilationHFactor, options.dilationWFactor],
    }


def _multiply(options: Any, mean: Array, weights: npt.NDArray[np.float64]) -> Any:
    return mean.reshape(-1, weights.shape[1]) @ weights.T


_LAYERS = {
    "Conv2DOptionsT": _convolve,
    "DepthwiseConv2DOptionsT": _convolve_depthwise,
    "FullyConnectedOptionsT": _multiply,
}


def _subtract_from_bias(model: Any, op: Any, shift: Array) -> None:
    graph = model.subgraphs[0]
    # Equal constants are stored once: give this operator a bias of its own.
    uses = Counter(index for other in graph.operators for index in other.inputs)
    tensor = graph.tensors[op.inputs[2]]
    sharers = Counter(other.buffer for other in graph.tensors)
    if uses[op.inputs[2]] > 1 or sharers[tensor.buffer] > 1:
        tensor = copy.copy(tensor)
        tensor.buffer = len(model.buffers)
        model.buffers.append(copy.copy(model.buffers[graph.tensors[op.inputs[2]].buffer]))
        op.inputs = np.array([*op.inputs[:2], len(graph.tensors), *op.inputs[3:]], np.int32)
        graph.tensors.append(tensor)
    stored = stored_values(model, tensor)
    bias = constant_values(model, tensor) - shift
    if stored.dtype.kind == "i":
        limits = np.iinfo(stored.dtype)
        bias = np.clip(np.round(bias / tensor.quantization.scale), limits.min, limits.max)
    data = bias.astype(stored.dtype).tobytes()
    model.buffers[tensor.buffer].data = np.frombuffer(data, np.uint8)
