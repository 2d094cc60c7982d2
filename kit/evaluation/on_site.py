"""Thresholds that are chosen where a model is used, on images of that place.

Another place has other patients and other cameras, so what was chosen elsewhere need not hold.
(WHO and TDR, "Determining the local calibration of computer-assisted detection (CAD) thresholds and
other parameters", 2021.) Only the card of the file changes: its weights and their digest stay, and
the card keeps what it said before.

It needs numpy and Pillow alone, so that a device can do it too.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kit.data import DataSettings, load_dataset
from kit.data.split import cases_of, groups_of
from kit.errors import DataError, ModelFileError
from kit.evaluation.evaluate import (
    LEARNT_FROM,
    answer_files,
    check_positive,
    is_learnt_from,
    scores_of,
    training_groups,
    truth_of,
)
from kit.evaluation.metrics import Accuracy
from kit.evaluation.monitoring import reference_of
from kit.evaluation.thresholds import (
    STEPS,
    Operation,
    Targets,
    ThresholdFigures,
    choose_operating_point,
    threshold_table,
)
from kit.evaluation.unknown import accepting_threshold, strangeness
from kit.model.model_file import with_card_fields
from kit.model.spec import ModelCard, OperatingPoint
from kit.reporting import Reporter, Silent, tell_left_out
from kit.runtime import Answer, Classifier
from kit.runtime.paths import image_paths

ON_SITE = "on_site"
"""Name of the images of that place among the card's metrics."""

_DRAWN = tuple(step / 100 for step in range(1, 100))
_GRAIN = 1e-4  # of the limit of the unknown
LEAST_FOR_UNKNOWN = 20
"""Images for the limit of the unknown; with fewer, one that accepts 95 % accepts them all."""


@dataclass(frozen=True)
class Adjusted:
    """A file with thresholds of its own place.

    Attributes:
        content: the whole file.
        images: how many images were looked at.
        operation: the new operating point, and what it does on these images; None: it stays.
        table: what other thresholds would do, at the same prevalence.
        curve: the same, at a hundred thresholds, to be drawn.
        unfamiliarity: the new limit of the unknown and the share of these images that it accepts;
            None: it stays.
    """

    content: bytes
    images: int
    operation: Operation | None
    table: tuple[ThresholdFigures, ...]
    curve: tuple[ThresholdFigures, ...]
    unfamiliarity: tuple[float, Accuracy] | None

    def to_json(self) -> dict[str, Any]:
        accepted = None
        if self.unfamiliarity is not None:
            threshold, share = self.unfamiliarity
            accepted = {"threshold": threshold, **share.to_json("accepted")}
        return {
            "images": self.images,
            "operating_point": None if self.operation is None else self.operation.to_json(),
            "thresholds": [row.to_json() for row in self.table],
            "unfamiliarity": accepted,
        }


def adjust_on_site(
    model: str | os.PathLike[str],
    images: str | os.PathLike[str],
    note: str,
    *,
    targets: Targets | None = None,
    data: DataSettings | None = None,
    group_regex: str = "",
    reporter: Reporter | None = None,
) -> Adjusted:
    """Chooses a file's thresholds anew, by the file itself on images of the place of its use.

    Args:
        model: a packaged .tflite file.
        images: a folder of images; labelled, where there are targets.
        note: where it was done and who is answerable, in words; the card keeps it.
        targets: what the operating point has to reach. None: it stays, and the limit of the unknown
            alone is chosen, for which images need no labels.
        data: where labels and groups come from; default: folders.
        group_regex: see kit.data.SplitSettings. Empty: the training's, unless `data` has a column
            of groups.
        reporter: progress.

    Raises:
        ModelFileError: the file is none, or has no card.
        DataError: the images cannot be used, or are too few for what is to be promised.
        InferenceError: the model fails when it runs.
        ValueError: the note is empty, or the positive label is none of the model's.
    """
    reporter = reporter or Silent()
    if not note.strip():
        raise ValueError("expected a note on where this is done and who is answerable, got none")
    operation: Operation | None = None
    table: tuple[ThresholdFigures, ...] = ()
    curve: tuple[ThresholdFigures, ...] = ()
    with Classifier.open(model, appearance=True) as classifier:
        card = classifier.file.card
        if card is None:
            raise ModelFileError(f"{model}: expected a packaged model: kit package makes it one")
        if targets is None:
            answers = _answers(classifier, images, reporter)
        else:
            check_positive(targets.positive, classifier.labels)
            answers, operation, table, curve = _operate(
                classifier, images, targets, data, group_regex, reporter
            )
    unfamiliarity = _limit(card, answers, targets is None, reporter)
    changes: dict[str, Any] = {"history": [*card.history, _entry(card, note, len(answers))]}
    point = card.operating_point if operation is None else operation.point
    limit = None if unfamiliarity is None else unfamiliarity[0]
    if limit is None and card.screening is not None:
        limit = card.screening.unfamiliarity_threshold
    changes["reference"] = reference_of(answers, card.labels, point, limit)
    # What was measured of the thresholds before would be told of the new ones.
    measured = {}
    if operation is not None:
        changes["operating_point"] = operation.point.to_json()
        measured["operating_point"] = {ON_SITE: operation.to_json()}
    if unfamiliarity is not None and card.screening is not None:
        measured["unknown"] = {ON_SITE: unfamiliarity[1].to_json("accepted")}
        changes["screening"] = {
            "unfamiliarity_threshold": unfamiliarity[0],
            "activation_map": card.screening.activation_map,
        }
    changes["metrics"] = {**card.metrics, **measured}
    content = with_card_fields(Path(model).read_bytes(), changes)
    return Adjusted(content, len(answers), operation, table, curve, unfamiliarity)


def _answers(
    classifier: Classifier, images: str | os.PathLike[str], reporter: Reporter
) -> list[Answer]:
    """What the model gives for each image of a folder, labelled or not."""
    paths = [os.path.relpath(path, images) for path in image_paths([str(images)], sys.stdin)]
    answers, unreadable = answer_files(classifier, Path(images), paths, reporter)
    tell_left_out(list(unreadable.items()), reporter)
    return answers


def _operate(
    classifier: Classifier,
    images: str | os.PathLike[str],
    targets: Targets,
    data: DataSettings | None,
    group_regex: str,
    reporter: Reporter,
) -> tuple[list[Answer], Operation, tuple[ThresholdFigures, ...], tuple[ThresholdFigures, ...]]:
    """What the model gives, the new operating point, the table and the curve."""
    dataset = load_dataset(images, data, classifier.labels)
    warnings = list(dataset.warnings)
    if is_learnt_from(classifier.file.card, dataset):
        warnings.append(
            f"{LEARNT_FROM}: what is promised here does not hold for new ones; give images that it "
            "has not learnt from"
        )
    if not group_regex and (data is None or data.group_column is None):
        group_regex, unmatched = training_groups(classifier.file.card, dataset)
        warnings += unmatched
    for line in warnings:
        reporter.warn(line)
    label = classifier.labels.index(targets.positive)
    paths = [image.path for image in dataset.images]
    truth = truth_of(dataset, paths)
    targets.check_enough(truth == label, cases_of(dataset, paths, group_regex), "among the images")
    answers, unreadable = answer_files(classifier, dataset.root, paths, reporter)
    dataset = dataset.without(unreadable)
    tell_left_out(dataset.left_out, reporter)
    paths = [image.path for image in dataset.images]
    positive, groups = truth_of(dataset, paths) == label, groups_of(dataset, paths, group_regex)
    scores = scores_of(answers, classifier)[:, label]
    point = choose_operating_point(
        *(scores, positive, targets.positive),
        target_sensitivity=targets.sensitivity,
        target_specificity=targets.specificity,
        confidence=targets.confidence,
        groups=cases_of(dataset, paths, group_regex),
    )
    thresholds = sorted({*STEPS, point.negative_below, point.positive_from})
    return (
        answers,
        Operation.of(point, scores, positive, targets.prevalence, groups),
        threshold_table(scores, positive, thresholds, targets.prevalence, groups),
        threshold_table(scores, positive, _DRAWN, targets.prevalence, groups),
    )


def _limit(
    card: ModelCard, answers: Sequence[Answer], alone: bool, reporter: Reporter
) -> tuple[float, Accuracy] | None:
    """The limit of the unknown; raises DataError where that alone was asked for, in vain."""
    if card.screening is None:
        reason = "a screening file has a limit of the unknown, this file has none"
    elif len(answers) < LEAST_FOR_UNKNOWN:
        reason = f"a limit of the unknown takes {LEAST_FOR_UNKNOWN} images, got {len(answers)}"
    else:
        _, values = strangeness(answers)
        # Upwards, so that what it accepts stays accepted where a processor rounds otherwise.
        threshold = math.ceil(accepting_threshold(values) / _GRAIN) * _GRAIN
        threshold = round(threshold, 4)
        return threshold, Accuracy.of_answers(values <= threshold)
    if alone:
        raise DataError(
            f"expected something to choose: {reason}; an operating point takes --positive and a "
            "target, and labelled images"
        )
    if card.screening is not None:
        reporter.warn(f"the limit of the unknown stays: {reason}")
    return None


def _entry(card: ModelCard, note: str, images: int) -> dict[str, Any]:
    """What the card keeps of this change, and of the values before it."""
    point, screening = card.operating_point, card.screening
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "note": note.strip(),
        "images": images,
        "before": {
            "operating_point": None if point is None else point.to_json(),
            "unfamiliarity_threshold": None
            if screening is None
            else screening.unfamiliarity_threshold,
        },
    }


def adjusted_text(adjusted: Adjusted) -> str:
    """The table to choose by, and what was chosen."""
    lines = []
    if adjusted.operation is not None:
        point = adjusted.operation.point
        prevalence = adjusted.operation.rule_in.prevalence
        lines += [
            f"thresholds of {point.positive}, of 1,000 images at a prevalence of {prevalence:g} "
            "(95 % intervals):",
            f"  {'from':8}{'sensitivity':23}{'specificity':23}{'referred':20}{'missed':20}"
            f"{'PPV':8}NPV",
            *(
                f"{'* ' if row.threshold in (point.negative_below, point.positive_from) else '  '}"
                f"{_row(row)}"
                for row in adjusted.table
            ),
            "",
            f"operating point: {point_text(point)}",
            f"  sensitivity  {adjusted.operation.rule_out.sensitivity}",
            f"  specificity  {adjusted.operation.rule_in.specificity}",
            f"  uncertain    {adjusted.operation.uncertain}",
        ]
    if adjusted.unfamiliarity is not None:
        threshold, accepted = adjusted.unfamiliarity
        lines.append(f"limit of the unknown: {threshold:.4f}, accepts {accepted} of these images")
    return "\n".join(lines)


def _row(row: ThresholdFigures) -> str:
    cells = [
        f"{row.threshold:<8.4f}",
        *(
            f"{f'{one.value:.3f} ({one.low:.3f} to {one.high:.3f})':23}"
            for one in (row.sensitivity, row.specificity)
        ),
        *(
            f"{f'{value:.0f} ({low:.0f} to {high:.0f})':20}"
            for value, low, high in (row.referred_per_1000, row.missed_per_1000)
        ),
        *(f"{'none' if one is None else f'{one:.3f}':8}" for one in (row.ppv, row.npv)),
    ]
    return "".join(cells).rstrip()


def point_text(point: OperatingPoint) -> str:
    """Its thresholds, what they were chosen for, with which confidence, and on how many images."""
    between = point.negative_below < point.positive_from
    uncertain = f", uncertain from {point.negative_below:.4f}" if between else ""
    text = f"{point.positive} from {point.positive_from:.4f}{uncertain}, negative below"
    targets = [
        f"a {name} of {target:g}"
        for name, target in (
            ("sensitivity", point.target_sensitivity),
            ("specificity", point.target_specificity),
        )
        if target is not None
    ]
    if not targets or point.confidence is None:
        return text
    counts = f"on {point.positives} positives and {point.negatives} negatives"
    if not point.confidence:
        return f"{text}; {' and '.join(targets)} reached {counts}, and not promised of others"
    promised = f"{' and '.join(targets)} with {point.confidence:.0%} confidence"
    return f"{text}; promises {promised}, {counts}"


def history_text(history: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each time that thresholds were chosen anew, the last one first."""
    lines = []
    for entry in reversed(history):
        before = entry.get("before", {})
        point, limit = before.get("operating_point"), before.get("unfamiliarity_threshold")
        told = [] if point is None else [point_text(OperatingPoint.from_json(point))]
        told += [] if limit is None else [f"limit of the unknown {limit:.4f}"]
        lines.append(
            f"{entry.get('date')}, on {entry.get('images')} images: {entry.get('note')}; before: "
            f"{'; '.join(told) or 'nothing was chosen'}"
        )
    return lines
