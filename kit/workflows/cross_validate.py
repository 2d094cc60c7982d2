"""`kit cross-validate`: how good a head is on photographs that it was not trained on.

A single test part of some hundred photographs leaves wide intervals. Cross-validation tests on
every photograph once in each repeat, with a head that saw neither the photograph nor its group.
"""

from __future__ import annotations

import math
import os
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.tflite import convert_model
from kit.data import Dataset, load_dataset
from kit.data.corrections import corrected_tests
from kit.data.split import group_keys, group_warnings, has_groups
from kit.errors import DataError
from kit.evaluation.calibration import (
    Calibration,
    at_temperature,
    fit_temperature,
    logits_of,
)
from kit.evaluation.metrics import Accuracy, Evaluation, Scores, Truth
from kit.evaluation.ranking import Ranking, macro_auc, rank_labels
from kit.model.spec import PreprocessSpec
from kit.reporting import Reporter, Silent, tell_left_out
from kit.training.backbones import BackboneChoice, choose, taking_pixels
from kit.training.bottlenecks import extract_bottlenecks
from kit.training.fitting import Vectors
from kit.training.head import train_head
from kit.training.weights import Weights, find_weights, load_backbone
from kit.workflows.train_settings import TrainSettings

Indices = npt.NDArray[np.int64]

FEWEST_GROUPS = 3
"""Fewest groups of a class: one to train on, one to stop by, one to test on."""


@dataclass(frozen=True)
class Fold:
    """The head of one fold, and how good it is on the images that it did not see.

    Attributes:
        repeat: number of the repeat, from 0.
        fold: number of the fold, from 0.
        images: number of images in each part.
        epochs: number of epochs that the head was trained for.
        temperature: fitted on the validation part.
        accuracy: accuracy on the test part.
        macro_auc: mean area under the ROC curves of each label against the rest; None where the
            test part has one label only.
        calibration: calibration of the scaled scores.
    """

    repeat: int
    fold: int
    images: Mapping[str, int]
    epochs: int
    temperature: float
    accuracy: Accuracy
    macro_auc: float | None
    calibration: Calibration

    def figures(self) -> dict[str, float | None]:
        """The figures whose mean and spread over the folds are reported."""
        return {
            "accuracy": self.accuracy.value,
            "macro_auc": self.macro_auc,
            "log_loss": self.calibration.log_loss,
            "brier": self.calibration.brier,
            "ece": self.calibration.ece,
            "temperature": self.temperature,
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "repeat": self.repeat,
            "fold": self.fold,
            "images": dict(self.images),
            "epochs": self.epochs,
            **{name: _rounded(value) for name, value in self.figures().items()},
        }


@dataclass(frozen=True)
class CrossValidation:
    """What cross-validation found.

    Attributes:
        labels: the labels, in the order of the scores.
        folds: number of test parts in a repeat.
        repeats: how often the images were divided into folds.
        groups: number of groups that images were kept together by; without groups, the number of
            different images.
        heads: the head of each fold of each repeat.
        pooled: figures of the first repeat: every image counts once, answered by the head that did
            not see it, with scores scaled by that head's temperature.
        unscaled: calibration of the same scores before scaling.
        rankings: curves of the pooled scores, one for each label against the rest.
        left_out: path and reason of every image that was not used.
        paths: paths of the images, in the order of `scores`.
        scores: the pooled scores, float32 `[images, labels]`.
        truth: index of each image's label, int64 `[images]`.
        image_groups: the group of each image; None where there are no groups.
    """

    labels: tuple[str, ...]
    folds: int
    repeats: int
    groups: int
    heads: tuple[Fold, ...]
    pooled: Evaluation
    unscaled: Calibration
    rankings: tuple[Ranking, ...]
    left_out: tuple[tuple[str, str], ...]
    paths: tuple[str, ...] = field(repr=False)
    scores: Scores = field(repr=False, compare=False)
    truth: Truth = field(repr=False, compare=False)
    image_groups: tuple[str, ...] | None = field(repr=False)

    def mean(self) -> dict[str, float | None]:
        """Mean of each figure over all folds of all repeats; None where no fold has it."""
        return self._over_folds(statistics.fmean)

    def spread(self) -> dict[str, float | None]:
        """Standard deviation of each figure over all folds of all repeats.

        It describes a single test part of this size, not the mean: folds share training images, so
        no unbiased estimate of the mean's deviation exists (Y. Bengio and Y. Grandvalet 2004).
        Quote the intervals of `pooled`.
        """
        return self._over_folds(statistics.stdev)

    def _over_folds(self, statistic: Callable[[list[float]], float]) -> dict[str, float | None]:
        rows = [head.figures() for head in self.heads]
        found: dict[str, float | None] = {}
        for name in rows[0]:
            values = [value for row in rows if (value := row[name]) is not None]
            found[name] = statistic(values) if len(values) > 1 else None
        return found

    def to_json(self) -> dict[str, Any]:
        """The pooled figures, with `accuracy` and `n`, every head, and curves; no file names."""
        return {
            **self.pooled.to_json(),
            "folds": self.folds,
            "repeats": self.repeats,
            "groups": self.groups,
            "mean": {name: _rounded(value) for name, value in self.mean().items()},
            "spread": {name: _rounded(value) for name, value in self.spread().items()},
            "heads": [head.to_json() for head in self.heads],
            "unscaled": self.unscaled.to_json(),
            "curves": [ranking.to_json() for ranking in self.rankings],
            "left_out": dict(self.left_out),
        }


def cross_validate(
    images: str | os.PathLike[str] | Dataset,
    settings: TrainSettings | None = None,
    folds: int = 5,
    repeats: int = 1,
    *,
    groups: Mapping[str, str] | None = None,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> CrossValidation:
    """Trains a head for each fold as `kit train` does, and pools the answers.

    Folds are stratified: each has about the same share of every class. Images that belong together,
    by their group or because they are copies, stay in one fold. A share `settings.split.validation`
    of all images, taken from outside the fold, decides when to stop and fits the temperature, so
    that the fold itself decides nothing. The scores are those of the float32 head.

    Args:
        images: the folder, or the data set that was found in one. Parts that it gives are ignored:
            all images are divided.
        settings: the source of labels, the backbone, preprocessing, fitting, the validation share,
            the seed and the groups are used; the weights have to be pretrained.
        folds: number of folds, at least 2.
        repeats: number of divisions into folds, at least 1.
        groups: group (patient) of each image's path; a path that is missing stands for itself.
            None: as for the split, by `settings.split.group_regex` and what the data set says.
        cache: where bottlenecks are kept.
        reporter: is told of progress.

    Raises:
        DataError: the images cannot be used, or a class has too few groups for so many folds.
        ValueError: folds, repeats or weights out of range.
        WeightsError: the weights are not to be had.
        TrainingError: the cache cannot be written, or training does not converge.
    """
    settings = settings or TrainSettings()
    reporter = reporter or Silent()
    if folds < 2 or repeats < 1:
        raise ValueError(
            f"expected at least 2 folds and 1 repeat, got {folds} and {repeats}: "
            "raise --folds or --repeats"
        )
    choice = choose(settings.backbone, settings.alpha, settings.input_resolution)
    weights = find_weights(choice, settings.weights, settings.fitting.seed)
    if weights.path is None:
        raise ValueError(
            "expected pretrained weights, got none: cross-validation trains heads on bottlenecks, "
            "which random weights do not give"
        )
    dataset = images if isinstance(images, Dataset) else load_dataset(images, settings.data)
    warnings = () if groups is not None else group_warnings(dataset, settings.split)
    for line in (*dataset.warnings, *warnings, corrected_tests(dataset)):
        if line is not None:
            reporter.warn(line)
    reporter.say(f"{choice}, from {weights.description}")
    spec = choice.preprocess(settings.fit, settings.resize)
    dataset, vectors = readable_bottlenecks(dataset, choice, weights, spec, cache, reporter)
    paths = [image.path for image in dataset.images]
    truth = np.array([image.label for image in dataset.images], np.int64)
    keys = group_keys(dataset, settings.split.group_regex) if groups is None else groups
    members = tied(dataset, keys)
    # Copies of a few images alone do not call for intervals by groups.
    grouped = groups is not None or has_groups(keys)
    _check_counts(dataset, truth, members, folds)

    heads, unscaled, pooled = _fold_heads(
        vectors, truth, members, len(dataset.labels), settings, folds, repeats, reporter
    )
    named = tuple(str(member) for member in members) if grouped else None
    return CrossValidation(
        labels=dataset.labels,
        folds=folds,
        repeats=repeats,
        groups=len(np.unique(members)),
        heads=heads,
        pooled=Evaluation.of(pooled, truth, dataset.labels, paths, named),
        unscaled=Calibration.of(unscaled, truth),
        rankings=rank_labels(pooled, truth, dataset.labels, named),
        left_out=dataset.left_out,
        paths=tuple(paths),
        scores=pooled,
        truth=truth,
        image_groups=named,
    )


def _fold_heads(
    vectors: Vectors,
    truth: Truth,
    members: Indices,
    classes: int,
    settings: TrainSettings,
    folds: int,
    repeats: int,
    reporter: Reporter,
) -> tuple[tuple[Fold, ...], Scores, Scores]:
    """A head for each fold of each repeat, and what the first repeat's heads answer.

    Returns the heads' figures, and the scores of every image before and after temperature scaling,
    float32 `[images, classes]`.
    """
    heads: list[Fold] = []
    scaled = np.zeros((len(truth), classes), np.float32)
    unscaled = np.zeros_like(scaled)
    for repeat in range(repeats):
        divided = _divide(truth, members, folds, settings.split.seed + repeat)
        for number, (rest, test) in enumerate(divided):
            before, after, head = _one_head(
                vectors, truth, members, rest, test, settings, (repeat, number)
            )
            reporter.say(
                f"repeat {repeat + 1}, fold {number + 1} of {folds}: accuracy {head.accuracy}, "
                f"temperature {head.temperature:.3f}, {head.epochs} epochs"
            )
            heads.append(head)
            if repeat == 0:
                unscaled[test], scaled[test] = before, after
    return tuple(heads), unscaled, scaled


def readable_bottlenecks(
    dataset: Dataset,
    choice: BackboneChoice,
    weights: Weights,
    spec: PreprocessSpec,
    cache: Path | None,
    reporter: Reporter,
) -> tuple[Dataset, Vectors]:
    """The images that can be read, and their bottlenecks, float32 `[images, feature_width]`."""
    found, unreadable = extract_bottlenecks(
        dataset,
        choice,
        weights,
        spec,
        lambda: convert_model(taking_pixels(load_backbone(choice, weights), spec), "float32", spec),
        cache=cache,
        reporter=reporter,
    )
    dataset = dataset.without(unreadable)
    tell_left_out(dataset.left_out, reporter)
    if not dataset.images:
        raise DataError(f"{dataset.root}: expected images, none could be read")
    return dataset, np.stack([found[image.digest] for image in dataset.images])


def _one_head(
    vectors: Vectors,
    truth: Truth,
    members: Indices,
    rest: Indices,
    test: Indices,
    settings: TrainSettings,
    position: tuple[int, int],
) -> tuple[Scores, Scores, Fold]:
    """Scores of the test part before and after scaling, float32 `[images, labels]`; the figures."""
    classes = len(np.unique(truth))  # _check_counts has seen images of each
    share = settings.split.validation * len(truth) / len(rest)
    fewest = min(len(np.unique(members[rest[truth[rest] == label]])) for label in range(classes))
    one_sided = DataError(
        "expected every class in each fold's training part, but a few groups hold a whole class: "
        "add groups, or choose another --seed or number of --folds"
    )
    if fewest < 2:
        raise one_sided
    parts = max(2, min(round(1 / share), fewest))
    seed = settings.split.seed + position[0]
    train, validation = (rest[part] for part in _divide(truth[rest], members[rest], parts, seed)[0])
    if len(np.unique(truth[train])) < classes:
        raise one_sided
    head, history = train_head(
        (vectors[train], truth[train]),
        (vectors[validation], truth[validation]),
        classes,
        settings.fitting,
    )
    temperature = fit_temperature(logits_of(_scores(head, vectors[validation])), truth[validation])
    raw = _scores(head, vectors[test])
    scaled = at_temperature(raw, temperature)
    fold = Fold(
        *position,
        images={"train": len(train), "validation": len(validation), "test": len(test)},
        epochs=len(history),
        temperature=temperature,
        accuracy=Accuracy.of_answers(scaled.argmax(axis=1) == truth[test]),
        macro_auc=macro_auc([ranking.auc for ranking in _ranked(scaled, truth[test], classes)]),
        calibration=Calibration.of(scaled, truth[test]),
    )
    return raw, scaled, fold


def _ranked(scores: Scores, truth: Truth, classes: int) -> tuple[Ranking, ...]:
    return rank_labels(scores, truth, [str(label) for label in range(classes)])


def _scores(head: Any, vectors: Vectors) -> Scores:
    return np.asarray(head(vectors), np.float32)


def _divide(truth: Truth, members: Indices, parts: int, seed: int) -> list[tuple[Indices, Indices]]:
    """For each part the indices of the others and its own; stratified, groups whole."""
    from sklearn.model_selection import StratifiedGroupKFold

    divider = StratifiedGroupKFold(parts, shuffle=True, random_state=seed)
    return list(divider.split(truth, truth, members))


def tied(dataset: Dataset, keys: Mapping[str, str]) -> Indices:
    """A number for the images that stay together by key or by content, int64 `[images]`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(dataset.images)
    digests = np.unique([image.digest for image in dataset.images], return_inverse=True)[1]
    named = [keys.get(image.path, f"content:{image.digest}") for image in dataset.images]
    groups = np.unique(named, return_inverse=True)[1] + count
    edges = coo_array((np.ones(count), (digests, groups)), shape=(2 * count, 2 * count))
    return np.asarray(connected_components(edges, directed=False)[1][digests], np.int64)


def _check_counts(dataset: Dataset, truth: Truth, members: Indices, folds: int) -> None:
    """Raises DataError where a class has too few groups."""
    needed = max(folds, FEWEST_GROUPS)
    for label, name in enumerate(dataset.labels):
        found = len(np.unique(members[truth == label]))
        if found < needed:
            raise DataError(
                f"expected at least {needed} different images or groups of {name} for {folds} "
                f"folds, got {found}: add images"
                + (f", or choose --folds {found}" if found >= FEWEST_GROUPS else "")
            )


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 6)
