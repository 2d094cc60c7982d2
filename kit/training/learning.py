"""From labelled photographs and a backbone to a fitted classifier: head, fine-tuning, temperature.

With pretrained weights the head is fitted on bottlenecks, then the backbone's last layers are
fine-tuned, if that was asked for. From random values every layer learns from the start.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.tflite import convert_model
from kit.data import Dataset, LabelledImage
from kit.evaluation.calibration import (
    at_temperature,
    fit_temperature,
    log_loss,
    logits_of,
    scaled_head,
)
from kit.evaluation.metrics import Scores
from kit.model.preprocess import to_input
from kit.model.spec import PreprocessSpec
from kit.reporting import Reporter
from kit.runtime.parallel import default_threads, ordered_map
from kit.training.augment import Augmentation
from kit.training.backbones import BackboneChoice, taking_pixels
from kit.training.bottlenecks import extract_bottlenecks
from kit.training.checkpoint import Checkpoint
from kit.training.fine_tune import FineTuneSettings, fine_tune
from kit.training.fitting import Truth, Vectors
from kit.training.head import train_head
from kit.training.interpolation import Arrays, between, least_share
from kit.training.layers import ALL, NONE
from kit.training.photographs import Kept, Photographs, no_longer_readable
from kit.training.recipes import LearnSettings
from kit.training.sizes import training_spec
from kit.training.teachers import Teacher
from kit.training.weights import Weights

if TYPE_CHECKING:
    import keras

_BATCH_SIZE = 64  # images a batch


@dataclass(frozen=True)
class BackboneSource:
    """The backbone that a classifier is made from.

    Attributes:
        backbone: model from input to bottleneck.
        choice: its family, width and resolution.
        weights: the weights that it was loaded with.
        spec: the preprocessing that turns photographs into its input.
        cache: folder where bottlenecks are kept; None: the default.
    """

    backbone: keras.Model
    choice: BackboneChoice
    weights: Weights
    spec: PreprocessSpec
    cache: Path | None = None

    def bottlenecks(
        self,
        dataset: Dataset,
        reporter: Reporter,
        augmentation: Augmentation = Augmentation(),
        variant: int = 0,
        seed: int = 0,
    ) -> tuple[dict[str, Vectors], dict[str, str]]:
        """See kit.training.bottlenecks.extract_bottlenecks."""
        return extract_bottlenecks(
            dataset,
            self.choice,
            self.weights,
            self.spec,
            lambda: to_tflite(self.backbone, self.spec),
            cache=self.cache,
            augmentation=augmentation,
            variant=variant,
            seed=seed,
            reporter=reporter,
        )


def to_tflite(model: keras.Model, spec: PreprocessSpec) -> bytes:
    """Converts a model whose input `spec` describes to a float32 file that takes uint8 pixels."""
    return convert_model(taking_pixels(model, spec), "float32", spec)


@dataclass(frozen=True)
class Learned:
    """A fitted classifier.

    Attributes:
        model: model from input to scores, with the temperature folded into its last layer.
        temperature: temperature fitted on the validation part.
        history: figures of each epoch, the head's first (see kit.training.fitting.fit).
        fine_tuned: whether the model is the fine-tuned network.
        share: how much of what fine-tuning changed is kept (see kit.training.interpolation).
        remembers: whether anything was done against its forgetting what pretraining taught it.
    """

    model: keras.Model
    temperature: float
    history: list[dict[str, Any]]
    fine_tuned: bool = False
    share: float = 1.0
    remembers: bool = False


def learn(
    source: BackboneSource,
    dataset: Dataset,
    parts: Mapping[str, Sequence[str]],
    vectors: Mapping[str, Vectors],
    settings: LearnSettings,
    *,
    teachers: Sequence[Teacher] = (),
    unlabelled: Sequence[LabelledImage] = (),
    checkpoint: Checkpoint | None = None,
    logs: Path | None = None,
    reporter: Reporter,
) -> Learned:
    """Fits a classifier on the train part; the validation part decides epoch and temperature.

    The validation part also decides between the head alone and the fine-tuned network, because a
    small network on few photographs may lose by fine-tuning.

    Args:
        source: the backbone; fine-tuning changes its weights.
        dataset: the photographs.
        parts: paths of the images in `train` and in `validation`.
        vectors: bottlenecks by digest; needed only with pretrained weights.
        settings: see LearnSettings.
        teachers: who answers for the train part too, while layers of the backbone learn.
        unlabelled: photographs without a label (below 0), with their whole paths, which are learnt
            from the teachers alone.
        checkpoint: checkpoint of the fine-tuning; see kit.training.checkpoint.
        logs: folder for TensorBoard's event files.
        reporter: progress.

    Raises:
        DataError: a photograph can no longer be read.
        TrainingError: training does not converge, or the checkpoint does not fit.
    """
    images = {part: _images(dataset, parts[part]) for part in ("train", "validation")}
    truth = {part: np.array([i.label for i in images[part]], np.int64) for part in images}
    classes, fitting = len(dataset.labels), settings.fitting
    count = len(truth["validation"])
    tuning = settings.fine_tune
    history: list[dict[str, Any]] = []
    head: keras.Model | None = None
    alone: _Tempered | None = None
    if source.weights.path is None:
        # There is nothing to be remembered.
        tuning = replace(
            tuning,
            layers=ALL,
            learn_statistics=True,
            fitting=replace(fitting, label_smoothing=tuning.fitting.label_smoothing),
            mixup=tuning.mixup or 0.0,
            remember=0.0,
        )
    else:
        head, history = train_head(
            _augmented(source, dataset, images["train"], vectors, settings, reporter),
            (_stacked(images["validation"], vectors), truth["validation"]),
            classes,
            fitting,
            logs=logs,
            reporter=reporter,
        )
        model = _joined(source.backbone, head)
        scores = np.asarray(head(_stacked(images["validation"], vectors)), np.float32)
        alone = _tempered(model, scores, truth["validation"])
    if tuning.layers == NONE and alone is not None:
        return _finished(alone, history, False, count, reporter)
    tuning = tuning.of(source.choice.fine_tuning, bool(teachers))
    untouched = source.backbone.get_weights()
    start = None if alone is None else alone.model.get_weights()
    photographs = {
        "train": _photographs(source, dataset, [*images["train"], *unlabelled], settings),
        "validation": _photographs(source, dataset, images["validation"], LearnSettings()),
    }
    network, tuned_history = fine_tune(
        source.backbone,
        head,
        photographs["train"],
        photographs["validation"],
        classes,
        tuning,
        to_tflite,
        teachers=[
            replace(teacher, spec=training_spec(teacher.spec, settings.augmentation))
            for teacher in teachers
        ],
        checkpoint=checkpoint,
        logs=logs,
        reporter=reporter,
    )
    once = start is None or tuning.interpolate is not None
    with _scorer(photographs["validation"], once) as scores_by:
        if alone is None or start is None:
            share, whole = 1.0, _tempered(network, scores_by(network), truth["validation"])
        else:
            share, whole = _interpolated(
                *(network, start, tuning, scores_by, truth["validation"]), alone.loss, reporter
            )
    history = [*history, *tuned_history]
    if alone is None or whole.loss < alone.loss:
        learned = _finished(whole, history, alone is not None, count, reporter)
        return replace(learned, share=share, remembers=bool(tuning.remember) or share < 1)
    reporter.warn(
        f"fine-tuning did not help, validation cross-entropy {whole.loss:.4f} after "
        f"{alone.loss:.4f}: kept the head alone; try another --fine-tune-learning-rate"
    )
    source.backbone.set_weights(untouched)
    return _finished(alone, history, False, count, reporter)


@dataclass(frozen=True)
class _Tempered:
    """A fitted classifier with its temperature, and its cross-entropy on the validation part."""

    model: keras.Model
    temperature: float
    loss: float


def _tempered(model: keras.Model, scores: Scores, truth: Truth) -> _Tempered:
    temperature = fit_temperature(logits_of(scores), truth)
    return _Tempered(model, temperature, log_loss(at_temperature(scores, temperature), truth))


def _interpolated(
    network: keras.Model,
    start: Arrays,
    tuning: FineTuneSettings,
    scores_by: Callable[[keras.Model], Scores],
    truth: Truth,
    loss_of_head: float,
    reporter: Reporter,
) -> tuple[float, _Tempered]:
    """Takes a network back a part of the way to where it started: the share that is left of it, and
    what the network is worth there."""
    end = network.get_weights()
    tried: dict[float, _Tempered] = {}

    def loss_at(share: float) -> float:
        network.set_weights(between(start, end, share))
        tried[share] = _tempered(network, scores_by(network), truth)
        loss = tried[share].loss
        reporter.say(
            f"{share:.0%} of what fine-tuning changed: validation cross-entropy {loss:.4f}"
        )
        return loss

    share = tuning.interpolate
    if share is None:
        share = least_share(loss_at, tuning.tolerance, ceiling=loss_of_head)
    network.set_weights(between(start, end, share))
    reporter.say(f"kept {share:.0%} of what fine-tuning changed")
    return share, tried.get(share) or _tempered(network, scores_by(network), truth)


def _finished(
    one: _Tempered, history: list[dict[str, Any]], fine_tuned: bool, images: int, reporter: Reporter
) -> Learned:
    reporter.say(f"temperature {one.temperature:.3f}, from {images} images")
    model = scaled_head(one.model, one.temperature)
    return Learned(model, one.temperature, history, fine_tuned)


def _images(dataset: Dataset, paths: Sequence[str]) -> list[LabelledImage]:
    images = {image.path: image for image in dataset.images}
    return [images[path] for path in paths]


def _photographs(
    source: BackboneSource,
    dataset: Dataset,
    images: Sequence[LabelledImage],
    settings: LearnSettings,
) -> Photographs:
    augmentation = settings.augmentation
    spec = training_spec(source.spec, augmentation)
    return Photographs(dataset.root, images, spec, augmentation, settings.fitting.seed)


def _stacked(images: Sequence[LabelledImage], vectors: Mapping[str, Vectors]) -> Vectors:
    return np.stack([vectors[image.digest] for image in images])


def _augmented(
    source: BackboneSource,
    dataset: Dataset,
    images: Sequence[LabelledImage],
    vectors: Mapping[str, Vectors],
    settings: LearnSettings,
    reporter: Reporter,
) -> tuple[Vectors, Truth]:
    """Bottlenecks of the photographs and of their changed forms."""
    stacks = [_stacked(images, vectors)]
    changed = settings.variants if settings.augmentation != Augmentation() else 0
    for variant in range(changed):
        reporter.say(f"augmented photographs, {variant + 1} of {changed}")
        found, unreadable = source.bottlenecks(
            replace(dataset, images=tuple(images)),
            reporter,
            settings.augmentation,
            variant,
            settings.fitting.seed,
        )
        for path, reason in unreadable.items():
            raise no_longer_readable(dataset.root / path, reason)
        stacks.append(_stacked(images, found))
    labels = np.array([image.label for image in images], np.int64)
    return np.concatenate(stacks), np.tile(labels, len(stacks))


def _joined(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Backbone and head as one flat model."""
    import keras

    scores = head.get_layer("scores")(backbone.output)
    return keras.Model(backbone.input, scores, name="classifier")


@contextmanager
def _scorer(photographs: Photographs, once: bool) -> Iterator[Callable[[keras.Model], Scores]]:
    """Gives a model's scores for the photographs, which are read once for all the models.

    Args:
        photographs: what the models look at.
        once: whether there is one model only, so that none is kept.
    """
    count, side = len(photographs.images), photographs.spec.input_resolution
    with tempfile.TemporaryDirectory(prefix="kit-validation-") as folder:
        room = Path(folder, "photographs")
        kept = Kept(room, 0 if once else count, (side, side, 3), np.uint8)

        def read(index: int) -> Vectors:
            pixels = kept.row(index, lambda: photographs.read(index, 0))
            return to_input(pixels, photographs.spec)

        def scores_by(model: keras.Model) -> Scores:
            inputs = ordered_map(read, range(count), default_threads())
            found = []
            while batch := list(islice(inputs, _BATCH_SIZE)):
                found.append(np.asarray(model.predict_on_batch(np.stack(batch)), np.float32))
            return np.concatenate(found)

        yield scores_by
