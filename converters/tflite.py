"""Keras to TensorFlow Lite, in five quantisation modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converters.bias_correction import corrected_biases
from kit.errors import ConversionError
from kit.noise import quiet_native
from kit.preprocess import Pixels, to_input
from kit.spec import QUANTIZATION_MODES, PreprocessSpec

if TYPE_CHECKING:
    import keras

MODES_WITH_REPRESENTATIVE_DATASET = ("int8", "int16x8")


def convert_model(
    model: keras.Model,
    mode: str,
    spec: PreprocessSpec,
    representative_dataset: Sequence[Pixels] = (),
) -> bytes:
    """Converts an image classifier; its answer for one image at a time.

    `int8` takes uint8 pixels and gives float32 scores; the others take and give float32. 8-bit
    weights come with corrected biases (see converters.bias_correction).

    Args:
        model: from float32 `[batch, side, side, 3]` as `spec` makes it, to scores. (For `float32`
            any input dtype will do.)
        mode: one of QUANTIZATION_MODES.
        spec: how pixels become its input.
        representative_dataset: pixels, uint8 `[side, side, 3]`, that show the range of every
            tensor; needed for `int8` and `int16x8`, of use for `dynamic`.

    Returns:
        A .tflite flatbuffer without metadata.

    Raises:
        ConversionError: TensorFlow cannot convert the model.
        ValueError: an unknown mode, or no representative data where it is needed.
    """
    if mode not in QUANTIZATION_MODES:
        raise ValueError(f"expected a mode of {', '.join(QUANTIZATION_MODES)}, got {mode!r}")
    if mode in MODES_WITH_REPRESENTATIVE_DATASET and not representative_dataset:
        raise ValueError(f"expected representative images for {mode}, got none")
    inputs = np.stack([to_input(p, spec) for p in representative_dataset or [_blank(spec)]])
    weights_are_8_bit = mode in ("dynamic", "int8", "int16x8")
    correcting = corrected_biases(model, inputs if weights_are_8_bit else inputs[:0], mode)
    try:
        with correcting, quiet_native:
            return bytes(_converter(model, mode, spec, representative_dataset).convert())
    except MemoryError:
        raise
    except Exception as error:  # the converter's own exception is not in TensorFlow's interface
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConversionError(
            f"expected a model that TensorFlow Lite can convert to {mode}: {reason}"
        ) from error


def _blank(spec: PreprocessSpec) -> Pixels:
    return np.zeros((spec.input_resolution, spec.input_resolution, 3), np.uint8)


def _converter(
    model: keras.Model, mode: str, spec: PreprocessSpec, representative: Sequence[Pixels]
) -> Any:
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    side = spec.input_resolution
    # One image, fixed: a batch of unknown size would leave shape arithmetic in the graph.
    signature = tf.TensorSpec([1, side, side, 3], model.inputs[0].dtype, name="image")
    graph = tf.function(lambda image: model(image, training=False)).get_concrete_function(signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [convert_variables_to_constants_v2(graph)]
    )
    # Per-channel dense layers are version 12 of FULLY_CONNECTED, which tflite-runtime 2.14 refuses.
    converter._experimental_disable_per_channel_quantization_for_dense_layers = True
    if mode == "float32":
        return converter
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode in MODES_WITH_REPRESENTATIVE_DATASET:
        samples = _full_range(representative)
        converter.representative_dataset = lambda: (
            [to_input(pixels, spec)[None]] for pixels in samples
        )
    if mode == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
    if mode == "int16x8":
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
    return converter


def _full_range(representative: Sequence[Pixels]) -> list[npt.NDArray[np.uint8]]:
    """Makes sure that black and white occur, in two corner pixels of the first image.

    The input's scale then covers all 256 levels and stands for each of them exactly.
    """
    first = representative[0].copy()
    first[0, 0], first[-1, -1] = 0, 255
    return [first, *representative[1:]]
