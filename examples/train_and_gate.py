"""Train, convert, evaluate on new images, and fail where the accuracy is too low.

    pip install 'mobilenet-kit[train]'
    python examples/train_and_gate.py work/ --at-least 0.5

It draws its own photographs and starts from random weights, so it needs no network. Replace
`draw_images` by your folder and `weights="none"` by `weights="imagenet"` for a real model.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kit.errors import AccuracyError
from kit.evaluation import evaluate_model
from kit.export.exported import Gates
from kit.runtime import Classifier
from kit.training.fitting import FitSettings
from kit.workflows.demo import draw_images
from kit.workflows.train import TrainSettings, train


def main() -> int:
    parser = argparse.ArgumentParser(description="Train a model and hold it to an accuracy.")
    parser.add_argument("work", type=Path, help="A folder for the images and the run.")
    parser.add_argument("--at-least", type=float, default=0.5, help="The accuracy, 0 to 1.")
    parser.add_argument("--epochs", type=int, default=30, help="Passes over the photographs.")
    arguments = parser.parse_args()

    photos, held_out = arguments.work / "photos", arguments.work / "held-out"
    draw_images(photos, 60, seed=0)
    draw_images(held_out, 30, seed=1)
    settings = TrainSettings(
        backbone="mobilenet_v1",
        alpha=0.25,
        input_resolution=64,
        weights="none",
        quantize=("int8",),
        fitting=FitSettings(
            epochs=arguments.epochs,
            learning_rate=0.05,
            batch_size=32,
            l2=1e-4,
            optimizer="sgd",
            schedule="cosine",
        ),
        # The run is complete or absent: where the gate fails, no file is written.
        gates=Gates(assert_accuracy_at_least=arguments.at_least),
    )
    try:
        result = train(photos, arguments.work / "run", settings)
    except AccuracyError as error:
        print(error, file=sys.stderr)
        return 1
    with Classifier.open(result.files["int8"]) as classifier:
        accuracy = evaluate_model(classifier, held_out).evaluation.accuracy
    print(f"{result.files['int8']}: {accuracy} on new images")
    # The lower end of the 95 % interval is the stricter gate: it asks for enough images too.
    if accuracy.low < arguments.at_least:
        print(
            f"expected an accuracy of at least {arguments.at_least}, "
            f"its interval begins at {accuracy.low:.4f}: add images, or train for longer",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
