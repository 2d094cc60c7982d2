"""A network to TensorFlow Lite, in each quantisation mode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from converters.bias_correction import IMAGES, corrected_biases
from converters.float_head import head_outputs, with_float_head
from converters.network import Network, of_keras
from kit.errors import ConversionError
from kit.model.preprocess import Pixels, to_input
from kit.model.spec import QUANTIZATION_MODES, PreprocessSpec
from kit.quiet import quiet_native

if TYPE_CHECKING:
    import keras

FLOAT_HEAD = "int8_float_head"
MODES_WITH_REPRESENTATIVE_DATASET = ("int8", FLOAT_HEAD, "int16x8")
MODES_WITH_EIGHT_BIT_WEIGHTS = ("dynamic", *MODES_WITH_REPRESENTATIVE_DATASET)


def convert_model(
    model: keras.Model,
    mode: str,
    spec: PreprocessSpec,
    representative_dataset: Sequence[Pixels] = (),
) -> bytes:
    """`convert_network` of a Keras model from `[batch, side, side, 3]` as `spec` makes it."""
    network = of_keras(model, spec.input_resolution)
    return convert_network(network, mode, spec, representative_dataset)


def convert_network(
    network: Network,
    mode: str,
    spec: PreprocessSpec,
    representative_dataset: Sequence[Pixels] = (),
    float32: bytes | None = None,
) -> bytes:
    """Converts an image classifier; its answer for one image at a time.

    `int8` and `int8_float_head` take uint8 pixels and give float32 scores; the others take and
    give float32. 8-bit weights come with corrected biases (see converters.bias_correction).

    Args:
        network: from an input as `spec` makes it to scores. (For `float32` any input dtype will
            do.)
        mode: one of QUANTIZATION_MODES.
        spec: how pixels become its input.
        representative_dataset: pixels, uint8 `[side, side, 3]`, that show the range of every
            tensor; needed for `int8` and `int16x8`, of use for `dynamic`.
        float32: what this function gave for that mode, if it is at hand.

    Returns:
        A .tflite flatbuffer without metadata.

    Raises:
        ConversionError: TensorFlow cannot convert the network, or there is no representative data
            where it is needed.
        ValueError: an unknown mode.
    """
    if mode not in QUANTIZATION_MODES:
        raise ValueError(f"expected a mode of {', '.join(QUANTIZATION_MODES)}, got {mode!r}")
    if mode in MODES_WITH_REPRESENTATIVE_DATASET and not representative_dataset:
        raise ConversionError(
            f"expected representative images for {mode}, got none: --representative-images FOLDER "
            "with photographs like those to be labelled, or another --quantize"
        )
    corrected = mode in MODES_WITH_EIGHT_BIT_WEIGHTS and bool(representative_dataset)
    if float32 is None and (corrected or mode == "float32"):
        float32 = _converted(network, "float32", spec)
    if mode == "float32" and float32 is not None:
        return float32
    head = head_outputs(float32) if mode == FLOAT_HEAD and float32 is not None else []
    flatbuffer = _converted(network, mode, spec, representative_dataset, head)
    if not corrected or float32 is None:
        return flatbuffer
    inputs = [to_input(pixels, spec) for pixels in representative_dataset[:IMAGES]]
    return corrected_biases(flatbuffer, float32, inputs)


def _converted(
    network: Network,
    mode: str,
    spec: PreprocessSpec,
    representative: Sequence[Pixels] = (),
    head: Sequence[str] = (),
) -> bytes:
    try:
        with quiet_native:
            converter = _converter(network, mode, spec, representative)
            if mode == FLOAT_HEAD:
                return with_float_head(converter, head)
            return bytes(converter.convert())
    except MemoryError:
        raise
    except Exception as error:  # the converter's own exception is not in TensorFlow's interface
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConversionError(
            f"expected a model that TensorFlow Lite can convert to {mode}: {reason}"
        ) from error


def _converter(
    network: Network, mode: str, spec: PreprocessSpec, representative: Sequence[Pixels]
) -> Any:
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.function])
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
    if mode in ("int8", FLOAT_HEAD):
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if mode == "int8":
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
