"""Batch normalisation in one kernel, for training on a CPU.

Keras computes it from a dozen operations, each of which passes over the whole batch: half of the
time of a training step of a MobileNet. TensorFlow has one kernel for all of them and one for their
gradient, which Keras 3 does not call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def fused(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A layer that does what batch normalisation does, with the same variables.

    Any other layer is returned as it is, and so is one that the kernel can't stand in for: where it
    normalises anything but the channels of maps or has no scale or offset, and on a GPU, where the
    kernel does not learn deterministically.
    """
    import keras
    import tensorflow

    if not (
        isinstance(layer, keras.layers.BatchNormalization)
        and len(layer.input.shape) == 4
        and layer.axis in (-1, 3)
        and layer.scale
        and layer.center
        and not getattr(layer, "renorm", False)  # Keras has it since 3.14
        and not tensorflow.config.list_physical_devices("GPU")
    ):
        return layer

    class Fused(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name=layer.name)
            self.wrapped = layer

        def call(self, values: Any, training: bool = False, mask: Any = None) -> Any:
            learns = bool(training) and layer.trainable
            known = {} if learns else {"mean": layer.moving_mean, "variance": layer.moving_variance}
            normal, mean, variance = tensorflow.compat.v1.nn.fused_batch_norm(
                *(values, layer.gamma, layer.beta),
                epsilon=layer.epsilon,
                is_training=learns,
                **known,
            )
            if learns:
                # The kernel divides by the number of values less one, Keras by their number.
                count = tensorflow.reduce_prod(tensorflow.shape(values)[:-1])
                count = tensorflow.cast(count, variance.dtype)
                for moving, new in (
                    (layer.moving_mean, mean),
                    (layer.moving_variance, variance * (count - 1) / count),
                ):
                    moving.assign(moving * layer.momentum + new * (1 - layer.momentum))
            return normal

    return Fused()
