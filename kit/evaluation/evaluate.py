"""Scores a .tflite file on labelled images."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from kit.data import Dataset, DataSettings, SplitSettings, load_dataset, split_dataset
from kit.data.corrections import corrected_tests
from kit.data.scan import listed
from kit.data.split import given_parts, groups_of
from kit.errors import DataError
from kit.evaluation.metrics import Accuracy, Evaluation, Scores, Truth
from kit.evaluation.subgroups import Gap, Subgroup, compare_subgroups
from kit.evaluation.thresholds import Operation, ThresholdFigures, threshold_table
from kit.evaluation.unknown import UnknownFigures, strangeness, unlabelled_images
from kit.model.spec import ModelCard
from kit.reporting import Reporter, Silent
from kit.runtime import Answer, Classifier, Failure

LEARNT_FROM = "these are the images that the model was trained on"


@dataclass(frozen=True)
class ModelEvaluation:
    """What `evaluate_model` found.

    Attributes:
        evaluation: the figures.
        left_out: path and reason of every file that was not scored.
        warnings: what to know before quoting the figures.
        scores: float32 `[images, labels]`.
        truth: int64 `[images]`, indices of labels.
        groups: group (patient) of each image; None: each image stands for itself.
        operation: what the file's operating point does here; None where it has none.
        paths: path of every image that was scored, relative to the folder.
        unknown: how images of something else are told from these; None without such.
        known: share of these images that the file does not answer `unknown`; None where it has no
            such answer. The other figures are of the scores, whatever is answered `unknown`.
        subgroup_values: by the name of each column that figures are compared by, its value for
            every image.
    """

    evaluation: Evaluation
    left_out: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    scores: Scores = field(repr=False, compare=False)
    truth: Truth = field(repr=False, compare=False)
    groups: tuple[str, ...] | None = field(repr=False)
    operation: Operation | None
    paths: tuple[str, ...] = field(repr=False)
    unknown: UnknownFigures | None = None
    known: Accuracy | None = None
    subgroup_values: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)

    def subgroups(
        self, positive: str | None = None
    ) -> tuple[tuple[Subgroup, ...], tuple[Gap, ...]]:
        """See compare_subgroups.

        Args:
            positive: the positive label; None: that of the operating point, if the file has one.
        """
        point = None if self.operation is None else self.operation.point
        label = positive or (None if point is None else point.positive)
        return compare_subgroups(
            self.subgroup_values,
            self.scores,
            self.truth,
            positive=None if label is None else self.evaluation.labels.index(label),
            point=point if point is not None and point.positive == label else None,
            groups=self.groups,
        )

    def table(self, positive: str, prevalence: float | None = None) -> tuple[ThresholdFigures, ...]:
        """Thresholds of one label's score; raises ValueError for a label that the model lacks."""
        labels = self.evaluation.labels
        check_positive(positive, labels)
        index = labels.index(positive)
        return threshold_table(
            self.scores[:, index],
            self.truth == index,
            prevalence=prevalence,
            groups=self.groups,
        )

    def to_json(
        self, positive: str | None = None, prevalence: float | None = None
    ) -> dict[str, Any]:
        """All figures, `accuracy` and `n` among them; thresholds where a label is positive."""
        data = self.evaluation.to_json()
        if self.operation is not None:
            data["operating_point"] = self.operation.to_json()
        if self.known is not None:
            data["answered_known"] = self.known.to_json("value")
        if self.unknown is not None:
            data["unknown"] = self.unknown.to_json()
        if positive is not None:
            data["thresholds"] = [row.to_json() for row in self.table(positive, prevalence)]
        if self.subgroup_values:
            found, gaps = self.subgroups(positive)
            data["subgroups"] = [one.to_json() for one in found]
            data["gaps"] = [gap.to_json() for gap in gaps]
        return {**data, "left_out": dict(self.left_out)}


def check_positive(positive: str, labels: Sequence[str]) -> None:
    """Raises ValueError for a label that the model lacks."""
    if positive not in labels:
        raise ValueError(f"expected --positive of {', '.join(labels)}, got {positive!r}")


def score_files(
    classifier: Classifier,
    root: Path,
    paths: Sequence[str],
    reporter: Reporter | None = None,
    what: str = "scoring",
) -> tuple[Scores, dict[str, str]]:
    """All scores of these images of a folder, by the runtime.

    Returns:
        float32 `[readable images, labels]` in the order of `paths`, and the reason for each
        unreadable one.
    """
    answers, unreadable = answer_files(classifier, root, paths, reporter, what)
    return scores_of(answers, classifier), unreadable


def answer_files(
    classifier: Classifier,
    root: Path,
    paths: Sequence[str],
    reporter: Reporter | None = None,
    what: str = "scoring",
) -> tuple[list[Answer], dict[str, str]]:
    """As `score_files`, with all that the model gives for each readable image."""
    results = classifier.answers_of_files(root / path for path in paths)
    answers, unreadable = [], {}
    tracked = (reporter or Silent()).track(results, len(paths), what)
    for path, result in zip(paths, tracked, strict=True):
        if isinstance(result, Failure):
            unreadable[path] = result.error
        else:
            answers.append(result)
    return answers, unreadable


def scores_of(answers: Sequence[Answer], classifier: Classifier) -> Scores:
    """float32 `[answers, labels]`."""
    rows = [answer.scores for answer in answers]
    return np.array(rows, np.float32).reshape(len(rows), len(classifier.labels))


def truth_of(dataset: Dataset, paths: Sequence[str]) -> Truth:
    """Label indices of these images, int64 `[images]`."""
    labels = {image.path: image.label for image in dataset.images}
    return np.array([labels[path] for path in paths], np.int64)


def evaluate_model(
    classifier: Classifier,
    images: str | os.PathLike[str],
    *,
    part: str | None = None,
    data: DataSettings | None = None,
    prevalence: float | None = None,
    unknown_images: str | os.PathLike[str] | None = None,
    reporter: Reporter | None = None,
) -> ModelEvaluation:
    """Scores a model on a folder with a folder of images for each label.

    Args:
        classifier: the model, opened by the runtime.
        images: the folder; its folders' names are among the model's labels.
        part: only the images whose content falls into this part (`validation`, `test`, `train`)
            of the split that the model was trained with, as its card says.
        data: where labels, groups and given parts come from; default: folders.
        prevalence: share of positives for predictive values, 0 to 1; None: as in the images.
        unknown_images: a folder of images of something else than the labels.
        reporter: progress.

    Raises:
        DataError: the images cannot be used, or none is left, or the card has no split.
        InferenceError: the model fails when it runs.
    """
    if classifier.output_kind == "independent_scores":
        raise DataError(
            f"{classifier.file.path}: expected a model that gives each image one label, got a "
            "multi-label model, whose labels have a sigmoid each: its best label alone says "
            "nothing, so nothing was measured; kit label shows all its scores"
        )
    dataset = load_dataset(images, data, classifier.labels)
    warnings = list(dataset.warnings)
    card = classifier.file.card
    if part is not None:
        dataset = _only(dataset, part, card, data or DataSettings())
    elif is_learnt_from(card, dataset):
        warnings.append(
            f"{LEARNT_FROM}: its accuracy on new ones is lower; --part test scores only those that "
            "it never saw"
        )
    if (flattered := corrected_tests(dataset)) is not None:
        warnings.append(flattered)
    regex, unmatched = training_groups(card, dataset)
    warnings += unmatched
    paths = [image.path for image in dataset.images]
    answers, unreadable = answer_files(classifier, dataset.root, paths, reporter)
    dataset = dataset.without(unreadable)
    paths = [image.path for image in dataset.images]
    if not paths:
        raise DataError(f"{images}: expected images to score, none could be read")
    scores = scores_of(answers, classifier)
    truth = truth_of(dataset, paths)
    groups = groups_of(dataset, paths, regex)
    operation = None
    if card is not None and card.operating_point is not None:
        index = classifier.labels.index(card.operating_point.positive)
        operation = Operation.of(
            card.operating_point, scores[:, index], truth == index, prevalence, groups
        )
    known = None
    if card is not None and card.screening is not None:
        familiar = strangeness(answers)[1] <= card.screening.unfamiliarity_threshold
        known = Accuracy.of_answers(familiar, groups)
    unknown = None
    if unknown_images is not None:
        unknown, omitted = _tell_unknown(classifier, answers, groups, unknown_images, reporter)
        warnings += omitted
    return ModelEvaluation(
        Evaluation.of(scores, truth, classifier.labels, paths, groups),
        dataset.left_out,
        tuple(warnings),
        scores,
        truth,
        groups,
        operation,
        tuple(paths),
        unknown,
        known,
        {
            name: tuple(dict(image.subgroups)[name] for image in dataset.images)
            for name in (data or DataSettings()).subgroups()
        },
    )


def is_learnt_from(card: ModelCard | None, dataset: Dataset) -> bool:
    """Whether these are the images of a model's training, all of them."""
    return card is not None and card.dataset.get("fingerprint") == dataset.fingerprint


def training_groups(card: ModelCard | None, dataset: Dataset) -> tuple[str, list[str]]:
    """The training's pattern of groups; empty, and a warning, where it matches none of these."""
    regex: str = "" if card is None else card.dataset.get("group_regex", "")
    if not regex or any(re.search(regex, image.path) for image in dataset.images):
        return regex, []
    return "", [
        f"none of these images matches the training's group pattern {regex!r}: each counts as if "
        "it were of a patient of its own"
    ]


def _tell_unknown(
    classifier: Classifier,
    known: Sequence[Answer],
    groups: Sequence[str] | None,
    folder: str | os.PathLike[str],
    reporter: Reporter | None,
) -> tuple[UnknownFigures, list[str]]:
    """The figures, and a warning for each file of the folder that could not be read."""
    paths = unlabelled_images(folder)
    others, unreadable = answer_files(classifier, Path(folder), paths, reporter, "unknown images")
    if not others:
        raise DataError(f"{folder}: expected images of something else, none could be read")
    measure, values = strangeness(known)
    card = classifier.file.card
    screening = None if card is None else card.screening
    figures = UnknownFigures.of(
        measure,
        values,
        strangeness(others)[1],
        None if screening is None else screening.unfamiliarity_threshold,
        groups,
    )
    warned = [f"left out {Path(folder, name)}: {why}" for name, why in unreadable.items()]
    return figures, warned


def _only(dataset: Dataset, part: str, card: ModelCard | None, settings: DataSettings) -> Dataset:
    data = {} if card is None else card.dataset
    for name in ("group_column", "split_column"):
        wanted, given = data.get(name), getattr(settings, name)
        if wanted != given:
            raise DataError(
                f"expected --{name.replace('_', '-')} {wanted or 'left out'} as in training, got "
                f"{given or 'none'}: another value gives other parts"
            )
    wanted, given = data.get("given_parts"), given_parts(dataset)
    # From what is given for validation or test nothing is drawn, so a part of the set will do.
    held_out = all(image.part in ("validation", "test") for image in dataset.images)
    same = wanted == given or (held_out and {*given} <= {*(wanted or ())})
    if wanted is not None and not same:  # a card of an earlier kit does not say
        raise DataError(
            f"expected the parts that folders or a table give ({listed(wanted) or 'none'}) as in "
            f"training, got {listed(given) or 'none'}: other images would be taken for the {part} "
            "part: give the same data set, or leave out --part"
        )
    try:
        split_settings = SplitSettings(
            float(data["validation"]), float(data["test"]), int(data["seed"]), data["group_regex"]
        )
        moved = dict(data.get("moved", {}))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            "expected a model whose card says how its data was split: leave out --part"
        ) from error
    if dataset.lone_group and data.get("fingerprint") != dataset.fingerprint:
        raise DataError(
            "expected images of several patients or groups, all of these are of one: alone they do "
            "not tell which part it fell into: give the whole data set, or leave out --part"
        )
    split = split_dataset(dataset, split_settings, moved)
    kept = {path for path, of in split.items() if of == part}
    if not kept:
        raise DataError(f"expected images of the {part} part, none of these falls into it")
    images = tuple(image for image in dataset.images if image.path in kept)
    return replace(dataset, images=images)
