"""Training a network from random values: every layer learns, so there are no bottlenecks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.preprocess import Pixels, to_input
from kit.reporting import Reporter
from kit.spec import PreprocessSpec
from kit.training.fitting import FitSettings, Truth, fit, scores_layer, seed_everything

if TYPE_CHECKING:
    import keras

_MOMENTUM = 0.9
"""Of batch normalisation's moving statistics. Keras' 0.99 is for thousands of steps an epoch; here
an epoch may have ten, and validation would see statistics of the random network for long."""


def train_whole(
    backbone: keras.Model,
    train: tuple[Sequence[Pixels], Truth],
    validation: tuple[Sequence[Pixels], Truth],
    classes: int,
    spec: PreprocessSpec,
    settings: FitSettings,
    *,
    logs: Path | None = None,
    reporter: Reporter | None = None,
) -> tuple[keras.Model, list[dict[str, float]]]:
    """Trains backbone and softmax layer together.

    Args:
        backbone: from input to bottleneck; its weights change.
        train: pixels, uint8 `[side, side, 3]` each, and label indices, int64 `[images]`.
        validation: likewise.
        classes: how many labels there are.
        spec: how pixels become the input.
        settings: see FitSettings.
        logs: folder for TensorBoard's event files.
        reporter: gets a line each epoch.

    Returns:
        A model from input to scores, and the epochs' figures (see kit.training.fitting.fit).

    Raises:
        TrainingError: the cross-entropy is no number any more.
    """
    import keras

    class Batches(keras.utils.PyDataset):  # type: ignore[misc]
        def __init__(self, examples: tuple[Sequence[Pixels], Truth], shuffled: bool) -> None:
            super().__init__()
            self._pixels, self._truth = examples
            self._random = np.random.default_rng(settings.seed) if shuffled else None
            self._order = np.arange(len(self._truth))
            self.on_epoch_end()

        def __len__(self) -> int:
            return math.ceil(len(self._truth) / settings.batch_size)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            start = index * settings.batch_size
            chosen = self._order[start : start + settings.batch_size]
            return (
                np.stack([to_input(self._pixels[i], spec) for i in chosen]),
                self._truth[chosen],
            )

        def on_epoch_end(self) -> None:
            if self._random is not None:
                self._random.shuffle(self._order)

    seed_everything(settings.seed)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM
    scores = scores_layer(classes, settings)(backbone.output)
    model = keras.Model(backbone.input, scores, name="classifier")
    history = fit(
        model,
        Batches(train, shuffled=True),
        Batches(validation, shuffled=False),
        train[1],
        classes,
        settings,
        logs=logs,
        reporter=reporter,
    )
    return model, history
