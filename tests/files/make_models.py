"""Makes the small .tflite files beside it, with TensorFlow. Run once; the files are committed.

    python tests/files/make_models.py

All but `three_inputs` are one network whose scores can be worked out by hand: the mean of each
channel, normalised to -1 to 1, times 2, then softmax. So a pure red image has the logits
(2, -2, -2). The labels are red, green and blue.

    red_green_blue_float32  float32 in and out, packaged by the kit
    red_green_blue_int8     uint8 in, float32 out, packaged by the kit
    plain_float32           float32 in and out, nothing appended
    plain_uint8             uint8 in and out, nothing appended
    plain_int8              int8 in and out, nothing appended
    three_inputs            no image classifier
    any_size                as plain_float32, but its height and width are left open

`red.png` is a red picture of 40 by 30 pixels, for them to label.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from converters.packaging import add_metadata
from kit.model.model_file import append_files
from kit.model.spec import ModelCard, PreprocessSpec
from kit.runtime import Classifier
from kit.runtime.self_test import make_golden

FOLDER = Path(__file__).parent
SIDE = 16
LABELS = ("red", "green", "blue")
SPEC = PreprocessSpec(SIDE, mean=(127.5,) * 3, std=(127.5,) * 3)


def network(image):
    # The 1x1 convolution changes nothing; it is here because real files have convolutions.
    image = tf.nn.conv2d(image, np.eye(3, dtype=np.float32)[None, None], 1, "SAME")
    means = tf.reduce_mean(image, axis=[1, 2])
    return tf.nn.softmax(tf.matmul(means, 2 * np.eye(3, dtype=np.float32)))


def converter(function, *shapes):
    signature = [tf.TensorSpec(shape, tf.float32) for shape in shapes]
    graph = tf.function(function).get_concrete_function(*signature)
    return tf.lite.TFLiteConverter.from_concrete_functions([graph])


def quantized(input_type, output_type):
    made = converter(network, [1, SIDE, SIDE, 3])
    # Per-channel dense layers are an operator version that tflite-runtime 2.14 does not know.
    made._experimental_disable_per_channel_quantization_for_dense_layers = True
    made.optimizations = [tf.lite.Optimize.DEFAULT]
    made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    colours = [np.eye(3)[i % 3] * 2 - 1 for i in range(3)] + [np.ones(3), -np.ones(3)]
    made.representative_dataset = lambda: (
        [np.full((1, SIDE, SIDE, 3), colour, np.float32)] for colour in colours
    )
    made.inference_input_type, made.inference_output_type = input_type, output_type
    return made.convert()


def package(name, flatbuffer, quantization, tolerance):
    path = FOLDER / f"{name}.tflite"
    card = ModelCard(
        backbone="mean of each channel",
        alpha=None,
        weights="by hand",
        quantization=quantization,
        preprocess=SPEC,
        labels=LABELS,
        minimum_runtime="2.3.0",
        created="2025-01-01T00:00:00+00:00",
    )
    described = add_metadata(flatbuffer, card)

    def write(card):
        labels = "".join(f"{label}\n" for label in card.labels)
        files = {"labels.txt": labels.encode(), "kit.json": json.dumps(card.to_json()).encode()}
        path.write_bytes(append_files(described, files))

    write(card)
    with Classifier.open(path) as classifier:
        write(replace(card, golden=make_golden(classifier, tolerance)))


def main():
    plain = converter(network, [1, SIDE, SIDE, 3]).convert()
    (FOLDER / "plain_float32.tflite").write_bytes(plain)
    (FOLDER / "plain_uint8.tflite").write_bytes(quantized(tf.uint8, tf.uint8))
    (FOLDER / "plain_int8.tflite").write_bytes(quantized(tf.int8, tf.int8))
    any_size = converter(network, [1, None, None, 3]).convert()
    (FOLDER / "any_size.tflite").write_bytes(any_size)
    three = converter(lambda a, b, c: a + b * c, [1, 4], [1, 4], [1, 4]).convert()
    (FOLDER / "three_inputs.tflite").write_bytes(three)
    package("red_green_blue_float32", plain, "float32", 0.001)
    package("red_green_blue_int8", quantized(tf.uint8, tf.float32), "int8", 0.03)
    Image.new("RGB", (40, 30), "red").save(FOLDER / "red.png")


if __name__ == "__main__":
    main()
