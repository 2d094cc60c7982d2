"""Int8 with the last layer in float32: for scores that 256 levels are too coarse for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.model_object import from_bytes, to_bytes, weighted_operators
from kit.errors import ConversionError

_UINT8, _FLOAT32 = 3, 0  # TensorType in schema.fbs


def head_outputs(float32: bytes) -> list[str]:
    """What the last layer with weights, and all behind it, write to: names of tensors."""
    model = from_bytes(float32)
    graph = model.subgraphs[0]
    first = graph.operators.index(weighted_operators(model)[-1])
    return [
        graph.tensors[output].name.decode()
        for operator in graph.operators[first:]
        for output in operator.outputs
    ]


def with_float_head(converter: Any, head: Sequence[str]) -> bytes:
    """Converts to int8 from uint8 pixels, but for the operators that write to `head`.

    Args:
        converter: a tf.lite.TFLiteConverter with a representative data set.
        head: from `head_outputs` of the same network.

    Raises ConversionError where TensorFlow quantises the last layer nevertheless.
    """
    import tensorflow as tf

    options = tf.lite.experimental.QuantizationDebugOptions(denylisted_nodes=list(head))
    debugger = tf.lite.experimental.QuantizationDebugger(
        converter=converter,
        debug_dataset=converter.representative_dataset,
        debug_options=options,
    )
    model = from_bytes(bytes(debugger.get_nondebug_quantized_model()))
    graph = model.subgraphs[0]
    last = weighted_operators(model)[-1]
    if graph.tensors[last.inputs[1]].type != _FLOAT32:
        raise ConversionError("expected a float32 head, TensorFlow Lite quantised it: use int16x8")
    _take_uint8(graph)
    return to_bytes(model)


def _take_uint8(graph: Any) -> None:
    """The quantisation of a float32 input becomes one of uint8 pixels, as `int8` files have it."""
    image = graph.tensors[graph.inputs[0]]
    users = [op for op in graph.operators if graph.inputs[0] in op.inputs]
    inside = graph.tensors[users[0].outputs[0]]
    if len(users) != 1 or inside.quantization.scale is None:
        raise ConversionError("expected the input to be quantised once, it is not: use int16x8")
    image.type = _UINT8
    image.quantization = type(inside.quantization)()
    image.quantization.scale = inside.quantization.scale
    image.quantization.zeroPoint = np.asarray(inside.quantization.zeroPoint) + 128
