"""Makes the files of Keras 2 beside it, and keras_2.json with what Keras 2 answers.

    pip install tensorflow-cpu==2.15.1
    python tests/files/make_keras_2.py

Run once, in an environment of its own; the files are committed. All networks are tiny, with drawn
weights.

    keras_2_transfer     as the transfer learning tutorial builds its network: augmentation, then
                         mobilenet_v2.preprocess_input, then another model, then a head without
                         softmax. As .h5 and as .keras.
    keras_2_reversed     behind resnet50.preprocess_input, which reverses the channels
    keras_2_operations   behind densenet.preprocess_input, with a function of each kind that is read

The functions that these networks call between layers are TFOpLambda and SlicingOpLambda layers in
the files.
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf

FOLDER = Path(__file__).parent
SIDE = 32

keras = tf.keras
layers, applications = keras.layers, keras.applications


def drawn_pixels():
    """Three images of 0 to 255, each darker than the one before it."""
    steps = np.arange(3 * SIDE * SIDE * 3) ** 2 * 31 % 257 % 256
    return steps.reshape(3, SIDE, SIDE, 3) // np.array([1, 2, 4]).reshape(3, 1, 1, 1)


def transfer():
    augmentation = keras.Sequential([layers.RandomFlip("horizontal"), layers.RandomRotation(0.2)])
    image = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(image)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    base = keras.Model(image, layers.DepthwiseConv2D(3)(x))
    base.trainable = False
    inputs = keras.Input((SIDE, SIDE, 3))
    x = applications.mobilenet_v2.preprocess_input(augmentation(inputs))
    x = layers.GlobalAveragePooling2D()(base(x, training=False))
    return keras.Model(inputs, layers.Dense(5)(layers.Dropout(0.2)(x)))


def reversed_channels():
    inputs = keras.Input((SIDE, SIDE, 3))
    x = applications.resnet50.preprocess_input(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, activation="relu")(x))
    return keras.Model(inputs, layers.Dense(5)(x / 30.0))


def operations():
    inputs = keras.Input((SIDE, SIDE, 3), dtype="uint8")
    x = applications.densenet.preprocess_input(tf.cast(inputs, tf.float32))
    x = layers.Conv2D(4, 3)(x)
    x = tf.nn.relu6(x * 2.0 - 1) + tf.nn.relu(1.0 - x)
    x = x[:, 2:28, 1:-1, ::-1]
    x = tf.add(tf.nn.sigmoid(x), x)
    x = tf.multiply(2.0, tf.subtract(x, [1.0, 2.0, 3.0, 4.0]))
    x = tf.maximum(-x, tf.minimum(x, 3.0))
    x = tf.reduce_mean(tf.clip_by_value(x, 0.0, 5.0), [1, 2])
    x = tf.math.divide(tf.reshape(x, [-1, 4]), 2)
    return keras.Model(inputs, tf.nn.softmax(layers.Dense(5)(x)))


def draw_weights(model):
    random = np.random.default_rng(6)

    def drawn(shape):
        if len(shape) == 1:
            return random.uniform(0.2, 0.6, shape)
        return random.normal(0, 1.5 / np.sqrt(np.prod(shape[:-1])), shape)

    model.set_weights([drawn(weights.shape) for weights in model.get_weights()])


def main():
    answers = {}
    for name, build, suffixes in (
        ("keras_2_transfer", transfer, (".h5", ".keras")),
        ("keras_2_reversed", reversed_channels, (".h5",)),  # .keras fails on its `...`
        ("keras_2_operations", operations, (".h5",)),
    ):
        model = build()
        draw_weights(model)
        pixels = tf.cast(drawn_pixels(), model.input.dtype)
        answers[name] = np.asarray(model(pixels, training=False)).tolist()
        for suffix in suffixes:
            model.save(FOLDER / f"{name}{suffix}")
    (FOLDER / "keras_2.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
