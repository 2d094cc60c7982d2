"""The head: a softmax layer trained on bottlenecks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kit.reporting import Reporter
from kit.training.fitting import FitSettings, Truth, Vectors, fit, scores_of, seed_everything

if TYPE_CHECKING:
    import keras


def train_head(
    train: tuple[Vectors, Truth],
    validation: tuple[Vectors, Truth],
    classes: int,
    settings: FitSettings,
    *,
    logs: Path | None = None,
    reporter: Reporter | None = None,
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Trains a softmax layer; the weights of the best validation epoch are kept.

    The same data and seed give the same weights on the same machine.

    Args:
        train: bottlenecks, float32 `[images, feature_width]`, and label indices, int64 `[images]`.
        validation: the same for the validation images.
        classes: how many labels there are.
        settings: see FitSettings.
        logs: folder for TensorBoard's event files.
        reporter: gets a line each epoch.

    Returns:
        A model from bottleneck to scores, and the epochs' figures (see kit.training.fitting.fit).

    Raises:
        TrainingError: the cross-entropy is no number any more.
    """
    import keras

    seed_everything(settings.seed)
    width = train[0].shape[1]
    bottleneck = keras.Input((width,))
    head = keras.Model(bottleneck, scores_of(bottleneck, classes, settings), name="head")
    history = fit(
        head, train, validation, train[1], classes, settings, logs=logs, reporter=reporter
    )
    return head, history
