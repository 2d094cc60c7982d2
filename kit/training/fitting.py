"""Fits a classifier with Keras, reproducibly: reports each epoch and keeps the best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kit.errors import TrainingError
from kit.model.spec import SCORES
from kit.reporting import Reporter, Silent, duration
from kit.training.defaults import BATCH_SIZE, EPOCHS, L2, LEARNING_RATE

if TYPE_CHECKING:
    import keras

    from kit.training.checkpoint import Checkpoint

_WORTH_TELLING = 60.0  # seconds that training will still take
_LEAST_GAIN = 1e-3  # of validation cross-entropy; less is not worth another ten epochs

OPTIMIZERS = ("adam", "sgd")
"""Adam, and stochastic gradient descent with Nesterov's momentum of 0.9."""
SCHEDULES = ("constant", "cosine")

Vectors = npt.NDArray[np.float32]
Truth = npt.NDArray[np.int64]


@dataclass(frozen=True)
class FitSettings:
    """How a classifier is fitted.

    Attributes:
        epochs: largest number of passes over the training images; None, for fine-tuning: the
            backbone's own, which kit.training.learning.learn fills in.
        learning_rate: the optimizer's rate at the start; None, for fine-tuning: the backbone's
            own.
        batch_size: images in each step.
        l2: weight decay of the scores layer's kernel, on the sum of squares. A converged
            softmax layer on flowers was right 1.1 points more often with 0.01 than with 0.0001 at
            0.5/224, and 4 points at 0.25/224 (5 folds, N=2932).
        patience: epochs without a clearly better validation cross-entropy after which training
            stops, if the rate is constant.
        class_weights: whether rare classes count more, so that all classes weigh the same.
        seed: determines the initial weights, the order of the images and their random changes.
        optimizer: one of OPTIMIZERS.
        schedule: `constant`, or `cosine` from the learning rate down to zero over all epochs
            (Loshchilov and Hutter 2017, without restarts).
        label_smoothing: share of the truth that is spread over all classes (Szegedy et al. 2016).
        dropout: share of the bottleneck's values that a training step leaves out.
    """

    epochs: int | None = EPOCHS
    learning_rate: float | None = LEARNING_RATE
    batch_size: int = BATCH_SIZE
    l2: float = L2
    patience: int = 10
    class_weights: bool = True
    seed: int = 0
    optimizer: str = "adam"
    schedule: str = "constant"
    label_smoothing: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        for name, known in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in known:
                raise ValueError(
                    f"expected {name} of {', '.join(known)}, got {getattr(self, name)!r}"
                )
        for name in ("label_smoothing", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"expected {name} from 0 to below 1, got {getattr(self, name)}")
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"expected {name} of at least 1, got {value}")
        rate = 1.0 if self.learning_rate is None else self.learning_rate
        if not 0 < rate < 100 or self.l2 < 0:
            raise ValueError(
                "expected a learning_rate above 0 and an l2 of at least 0, "
                f"got {self.learning_rate} and {self.l2}"
            )

    @property
    def may_end_early(self) -> bool:
        """Whether training ends when `patience` epochs brought no improvement.

        A cosine schedule always runs to its end, because it gains most as the rate nears zero.
        """
        return self.schedule != "cosine"

    def steps(self, images: int) -> int:
        """The number of batches in an epoch."""
        return math.ceil(images / self.batch_size)


@dataclass(frozen=True)
class Further:
    """What else than the scores a network learns, at an output of its own.

    Attributes:
        loss: function of the target and the output, `[batch, width]` both, to `[batch]`.
        weight: what it counts beside the cross-entropy.
    """

    loss: Callable[[Any, Any], Any]
    weight: float


def seed_everything(seed: int) -> None:
    """Seeds Keras so that the same data and seed give the same weights on the same machine."""
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def scores_of(bottleneck: Any, classes: int, settings: FitSettings) -> Any:
    """Puts a softmax layer named `scores` on a bottleneck, after dropout if it is asked for.

    Args:
        bottleneck: Keras tensor `[batch, feature_width]`.
        classes: how many labels there are.
        settings: l2 and dropout are used.
    """
    import keras

    if settings.dropout:
        bottleneck = keras.layers.Dropout(settings.dropout, seed=settings.seed)(bottleneck)
    regularizer = keras.regularizers.L2(settings.l2) if settings.l2 else None
    layer = keras.layers.Dense(
        classes, activation="softmax", kernel_regularizer=regularizer, name="scores"
    )
    return layer(bottleneck)


def fit(
    model: keras.Model,
    train: Any,
    validation: Any,
    truth: Truth,
    classes: int,
    settings: FitSettings,
    *,
    further: Mapping[str, Further] = MappingProxyType({}),
    phase: str = "",
    effort: Sequence[float] = (),
    checkpoint: Checkpoint | None = None,
    logs: Path | None,
    reporter: Reporter | None,
) -> list[dict[str, Any]]:
    """Fits a softmax classifier in place and keeps the weights of the best validation epoch.

    Args:
        model: the classifier; it is compiled here.
        train: arrays (inputs, label indices), or a tf.data.Dataset of batches (inputs, one-hot
            labels, weights) for all the remaining epochs; with `further`, labels and weights are by
            the names of the outputs.
        validation: arrays of the same form, or a tf.data.Dataset of one pass.
        truth: label indices of the training images, int64, for class weights.
        classes: how many labels there are.
        settings: see FitSettings.
        further: what else is learnt, by the names of the model's outputs beside `scores`.
        phase: name of these epochs in the history and in the reported lines.
        effort: how long each epoch that is still to be done takes, in any unit; empty: all alike.
        checkpoint: what training resumes from, and where each epoch is saved.
        logs: folder for TensorBoard's event files; each phase gets its own folder in it.
        reporter: gets a line each epoch.

    Returns:
        A record of each epoch: accuracy and cross-entropy on the training and validation images,
        and the phase, if it has a name.

    Raises:
        TrainingError: the cross-entropy is not finite, or the checkpoint does not fit.
        ValueError: the settings leave epochs or learning_rate None.
    """
    import keras

    if settings.epochs is None or settings.learning_rate is None:
        raise ValueError(
            f"expected epochs and a learning_rate, got {settings.epochs} and "
            f"{settings.learning_rate}: give both"
        )
    most: int = settings.epochs
    shown = reporter or Silent()
    steps = settings.steps(len(truth))
    cross_entropy = keras.losses.CategoricalCrossentropy(label_smoothing=settings.label_smoothing)
    metrics = [
        keras.metrics.CategoricalAccuracy(name="accuracy"),
        keras.metrics.CategoricalCrossentropy(name="cross_entropy"),
    ]
    model.compile(
        optimizer=_optimizer(settings, settings.learning_rate, most * steps),
        loss={SCORES: cross_entropy, **{name: one.loss for name, one in further.items()}}
        if further
        else cross_entropy,
        loss_weights={SCORES: 1.0, **{name: one.weight for name, one in further.items()}}
        if further
        else None,
        metrics={SCORES: metrics} if further else metrics,
    )
    history: list[dict[str, Any]] = []
    best: list[Any] = []
    if checkpoint is not None and checkpoint.history:
        history += checkpoint.history
        best += checkpoint.restore(model)
        shown.say(f"continues after epoch {len(history)}")

    callbacks: list[Any] = [
        _epoch_callback(history, best, settings, phase, effort, checkpoint, shown),
        keras.callbacks.TerminateOnNaN(),
    ]
    if logs is not None:
        callbacks.append(keras.callbacks.TensorBoard(str(logs / phase), write_graph=False))
    arrays = isinstance(train, tuple)
    if not _finished(history, settings, most):
        model.fit(
            *(_one_hot(train, classes) if arrays else (train,)),
            validation_data=_one_hot(validation, classes) if arrays else validation,
            initial_epoch=len(history),
            epochs=most,
            batch_size=settings.batch_size if arrays else None,
            steps_per_epoch=None if arrays else steps,
            shuffle=arrays,  # from Python's own generator, whose state no checkpoint has
            sample_weight=image_weights(truth, classes)
            if arrays and settings.class_weights
            else None,
            callbacks=callbacks,
            verbose=0,
        )
    if not history or not _converges(history[-1]):
        flag = "--fine-tune-learning-rate" if phase else "--learning-rate"
        raise TrainingError(
            "expected training to converge, the cross-entropy is no number: "
            f"use a lower {flag} than {settings.learning_rate}"
        )
    model.set_weights(best)
    shown.say(f"kept the weights of epoch {best_epoch(history) + 1}")
    return history


def _epoch_callback(
    history: list[dict[str, Any]],
    best: list[Any],
    settings: FitSettings,
    phase: str,
    effort: Sequence[float],
    checkpoint: Checkpoint | None,
    reporter: Reporter,
) -> Any:
    """Records each epoch in `history`, keeps the best weights in `best`, and ends the training."""
    import keras

    assert settings.epochs is not None  # `fit` has looked
    most = settings.epochs
    done = len(history)
    effort = effort or [1.0] * (most - done)

    class Epochs(keras.callbacks.Callback):  # type: ignore[misc]
        def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
            self.ended = 0.0  # the last epoch, by the clock's seconds
            self.pace = 0.0  # seconds for a unit of effort; 0: not known yet

        def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
            values = logs or {}
            record: dict[str, Any] = {"phase": phase} if phase else {}
            for name, value in _RECORD.items():
                record[name] = float(values[value if value in values else _OF_SCORES[value]])
            history.append(record)
            now, this = time.monotonic(), epoch - done
            # The first epoch of its kind takes longer: something is compiled, or read anew.
            if this and effort[this] == effort[this - 1]:
                self.pace = (now - self.ended) / effort[this]
            self.ended = now
            reporter.say(
                f"{phase or 'epoch'} {epoch + 1:3d}: "
                f"train accuracy {record['accuracy']:.4f}, "
                f"cross-entropy {record['cross_entropy']:.4f}, "
                f"validation accuracy {record['validation_accuracy']:.4f}, "
                f"cross-entropy {record['validation_cross_entropy']:.4f}"
                f"{_time_left(self.pace * sum(effort[this + 1 :]), settings)}"
            )
            if not _converges(record):
                self.model.stop_training = True
                return
            if best_epoch(history) == epoch:
                best[:] = self.model.get_weights()
            if checkpoint is not None:
                checkpoint.save(self.model, best, history)
            self.model.stop_training = _finished(history, settings, most)

    return Epochs()


def _time_left(seconds: float, settings: FitSettings) -> str:
    """The end of an epoch's line; empty where it is short, or training may end at any time."""
    if settings.may_end_early or seconds <= _WORTH_TELLING:
        return ""
    return f"; about {duration(seconds)} for the epochs that are left"


_RECORD = {
    "accuracy": "accuracy",
    "cross_entropy": "cross_entropy",
    "validation_accuracy": "val_accuracy",
    "validation_cross_entropy": "val_cross_entropy",
}
"""The figures recorded for each epoch, with Keras' names for them."""
_OF_SCORES = {
    name: f"{part}{SCORES}_{name.removeprefix(part)}"
    for name in _RECORD.values()
    for part in ("val_" if name.startswith("val_") else "",)
}
"""Keras' names of the same where there are further outputs."""


def _converges(record: Mapping[str, Any]) -> bool:
    """Whether an epoch's figures are numbers; after its last step only the validation ones tell."""
    return all(map(math.isfinite, (record[name] for name in _RECORD)))


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """Index of the epoch whose weights are kept: the last clear improvement."""
    best, least = 0, math.inf
    for epoch, record in enumerate(history):
        if record["validation_cross_entropy"] < least - _LEAST_GAIN:
            best, least = epoch, record["validation_cross_entropy"]
    return best


def _finished(history: Sequence[Mapping[str, Any]], settings: FitSettings, epochs: int) -> bool:
    """Whether all epochs are done, or the last `patience` of them brought no improvement."""
    since_best = len(history) - 1 - best_epoch(history)
    return len(history) >= epochs or (settings.may_end_early and since_best >= settings.patience)


def _optimizer(settings: FitSettings, start: float, steps: int) -> keras.optimizers.Optimizer:
    import keras

    rate: Any = float(start)
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    if settings.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    return keras.optimizers.Adam(rate)


def _one_hot(examples: tuple[Any, Truth], classes: int) -> tuple[Any, Vectors]:
    return examples[0], np.eye(classes, dtype=np.float32)[examples[1]]


def image_weights(truth: Truth, classes: int) -> Vectors:
    """Inverse frequency of each image's label, float32 `[images]`, with a mean of 1.

    Args:
        truth: label indices, int64 `[images]`.
        classes: how many labels there are.
    """
    counts = np.bincount(truth, minlength=classes)
    return (len(truth) / (classes * counts[truth])).astype(np.float32)
