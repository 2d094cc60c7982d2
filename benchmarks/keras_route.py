"""Transfer learning as the Keras tutorials show it; a contestant of train_speed.py.

keras.utils.image_dataset_from_directory, 80 % to train and 20 % to validate, batches of 32; a
Rescaling layer; keras.applications.MobileNet, frozen; average pooling; a softmax layer; Adam; ten
epochs with a validation each. Every epoch decodes every photograph and runs it through the
backbone again. It ends with the trained model in memory: no conversion, no file to ship.

Prints one JSON line; `held_out_seconds` and `held_out_cpu_seconds` are what scoring the
held-out images took, which is not part of the route.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="to train on, a folder per class")
    parser.add_argument("held_out", type=Path, help="to score at the end, the same classes")
    parser.add_argument("weights", type=Path, help="h5 weights without the top")
    parser.add_argument("--alpha", type=float, default=0.5)
    parser.add_argument("--input-resolution", type=int, default=224)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    import keras
    import numpy as np

    keras.utils.set_random_seed(options.seed)
    side = options.input_resolution
    train, validation = keras.utils.image_dataset_from_directory(
        options.images,
        validation_split=0.2,
        subset="both",
        seed=options.seed,
        image_size=(side, side),
        batch_size=32,
        verbose=False,
    )
    backbone = keras.applications.MobileNet(
        input_shape=(side, side, 3), alpha=options.alpha, include_top=False, weights=None
    )
    backbone.load_weights(options.weights)
    backbone.trainable = False
    model = keras.Sequential(
        [
            keras.Input((side, side, 3)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            backbone,
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(len(train.class_names), activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(train, validation_data=validation, epochs=options.epochs, verbose=0)

    began, began_cpu = time.perf_counter(), time.process_time()
    held_out = keras.utils.image_dataset_from_directory(
        options.held_out,
        class_names=train.class_names,
        shuffle=False,
        image_size=(side, side),
        batch_size=32,
        verbose=False,
    )
    truth = np.concatenate([labels for _, labels in held_out])
    correct = int((model.predict(held_out, verbose=0).argmax(axis=1) == truth).sum())
    print(
        json.dumps(
            {
                "correct": correct,
                "n": len(truth),
                "held_out_seconds": time.perf_counter() - began,
                "held_out_cpu_seconds": time.process_time() - began_cpu,
            }
        )
    )


if __name__ == "__main__":
    main()
