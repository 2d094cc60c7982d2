"""Makes keras_2_*.h5 and their answers with a real Keras 2.15. Run once; the files are committed.

    pip install tensorflow-cpu==2.15.1
    python tests/files/make_keras_2.py

Each has arithmetic between its layers, which Keras 2 saves as TFOpLambda and SlicingOpLambda:

    keras_2_tf      preprocess_input of MobileNetV2, as the transfer learning tutorial has it
    keras_2_caffe   preprocess_input of ResNet50, which reverses the channels
    keras_2_others  constants first, two tensors, a cast, a slice
"""

import json
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

SIDE = 24
PIXELS = np.arange(2 * SIDE * SIDE * 3).reshape(2, SIDE, SIDE, 3) * 37 % 256


def others(image):
    falling = 1.0 - image / 255.0
    both = tf.cast(falling * 2.0 - 1.0, tf.float32) + falling
    return tf.nn.relu6(both)[:, 2:-2, 2:-2, :]


PREPROCESSING = {
    "tf": keras.applications.mobilenet_v2.preprocess_input,
    "caffe": keras.applications.resnet50.preprocess_input,
    "others": others,
}


def main():
    folder, answers = Path(__file__).parent, {}
    for name, preprocess in PREPROCESSING.items():
        tf.random.set_seed(1)
        image = keras.Input((SIDE, SIDE, 3))
        features = keras.layers.Conv2D(4, 3, activation="relu")(preprocess(image))
        features = keras.layers.GlobalAveragePooling2D()(features)
        scores = keras.layers.Dense(3)(keras.layers.Dropout(0.2)(features))
        model = keras.Model(image, scores)
        if name == "caffe":  # values of hundreds would make scores of 0 and 1
            model.layers[-1].set_weights([0.01 * w for w in model.layers[-1].get_weights()])
        model.save(folder / f"keras_2_{name}.h5", include_optimizer=False)
        answers[name] = model.predict(PIXELS.astype(np.float32), verbose=0).tolist()
    (folder / "keras_2_answers.json").write_text(json.dumps(answers, indent=1) + "\n")


if __name__ == "__main__":
    main()
