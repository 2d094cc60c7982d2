"""Takes the constant part of the weights' rounding error out of the biases before quantisation.

Rounding a convolution's weights to 8 bits shifts the mean of each output channel. Where batch
normalisation divides by a tiny variance, as in MobileNet v1's channels that hardly vary, the shift
is magnified and pushes the answers about. The mean shift is known from the mean input, so it can
be subtracted (M. Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias
Correction", ICCV 2019, section 4.2; here with data).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[np.float32]

_DYNAMIC_MINIMUM = 1024  # dynamic mode leaves smaller weights as they are (converter's default)
_IMAGES = 64
_BATCH = 8


@contextmanager
def corrected_biases(model: keras.Model, inputs: Array, mode: str) -> Iterator[None]:
    """Within it the model's biases are those for 8-bit weights; afterwards they are as before.

    Args:
        model: a functional model; convolutions in nested models are not corrected.
        inputs: what the model sees, float32 `[images, side, side, 3]`; none: nothing is corrected.
        mode: `dynamic`, `int8` or `int16x8`.
    """
    before = model.get_weights()
    try:
        if len(inputs):
            _correct(model, inputs[:_IMAGES], mode)
        yield
    finally:
        model.set_weights(before)


def _correct(model: keras.Model, inputs: Array, mode: str) -> None:
    import keras

    minimum = _DYNAMIC_MINIMUM if mode == "dynamic" else 0
    convolutions = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
        and not isinstance(layer, keras.layers.Conv2DTranspose)
        and layer.kernel.shape.num_elements() >= minimum
    ]
    if not convolutions:
        return
    means = _mean_inputs(model, [layer.input for layer in convolutions], inputs)
    # All shifts are found before any bias changes: each is relative to the float model.
    shifts = [
        _mean_shift(layer, _batch_normalization(model, layer), mean)
        for layer, mean in zip(convolutions, means, strict=True)
    ]
    for layer, shift in zip(convolutions, shifts, strict=True):
        normalization = _batch_normalization(model, layer)
        if normalization is not None and normalization.center:
            normalization.beta.assign_sub(shift)
        elif normalization is None and layer.use_bias:
            layer.bias.assign_sub(shift)


def _mean_inputs(model: keras.Model, tensors: list[Any], inputs: Array) -> list[Array]:
    """Mean over the images of each tensor, float32 `[1, height, width, channels]`."""
    import keras

    probe = keras.Model(model.inputs[0], tensors)
    sums: list[Array] | None = None
    for start in range(0, len(inputs), _BATCH):
        outputs = probe(inputs[start : start + _BATCH], training=False)
        outputs = outputs if isinstance(outputs, list) else [outputs]
        batch = [np.asarray(value).sum(axis=0, keepdims=True) for value in outputs]
        sums = batch if sums is None else [a + b for a, b in zip(sums, batch, strict=True)]
    assert sums is not None
    return [np.asarray(total / len(inputs), np.float32) for total in sums]


def _batch_normalization(model: keras.Model, layer: Any) -> Any:
    """The batch normalisation that TensorFlow Lite folds into this convolution, or None."""
    import keras

    consumers = [node.operation for node in layer._outbound_nodes]
    consumers = [operation for operation in consumers if operation in model.layers]
    if len(consumers) == 1 and isinstance(consumers[0], keras.layers.BatchNormalization):
        return consumers[0]
    return None


def _mean_shift(layer: Any, normalization: Any, mean_input: Array) -> Array:
    """How far rounding moves the mean of each output channel, in the units of the bias.

    A convolution is linear, so the mean of its output is its output for the mean input.
    """
    import keras

    kernel = np.asarray(layer.kernel)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    channels = int(np.prod(kernel.shape[2:])) if depthwise else kernel.shape[3]
    factor = np.ones(channels, np.float32)
    if normalization is not None:
        factor = 1 / np.sqrt(np.asarray(normalization.moving_variance) + normalization.epsilon)
        if normalization.scale:
            factor = factor * np.asarray(normalization.gamma)
    factors = factor.reshape(kernel.shape[2:]) if depthwise else factor
    folded = kernel * factors
    error = _rounded(folded, (0, 1) if depthwise else (0, 1, 2)) - folded
    convolve = keras.ops.depthwise_conv if depthwise else keras.ops.conv
    shifted = convolve(
        mean_input,
        error.astype(np.float32),
        strides=layer.strides,
        padding=layer.padding,
        dilation_rate=layer.dilation_rate,
    )
    return np.asarray(np.asarray(shifted).mean(axis=(0, 1, 2)), np.float32)


def _rounded(weights: Array, axes: tuple[int, ...]) -> Array:
    """Symmetric, 127 levels a side, a scale for each channel, as TensorFlow Lite quantises."""
    scale = np.abs(weights).max(axis=axes, keepdims=True) / 127
    scale[scale == 0] = 1
    return np.asarray(np.round(weights / scale) * scale)
