"""What a report says, before it is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.evaluation.evaluate import ModelEvaluation
from kit.evaluation.metrics import Accuracy, Agreement
from kit.evaluation.ranking import Ranking
from kit.evaluation.subgroups import Gap, Subgroup
from kit.evaluation.thresholds import ThresholdFigures
from kit.evaluation.unknown import UnknownFigures
from kit.model.preprocess import Pixels
from kit.report.checklist import Item
from kit.report.latency import Latency

HeatMap = Callable[[Path], tuple[Pixels, npt.NDArray[np.float32]]]
"""From an image's file to what the model saw of it, uint8 `[height, width, 3]`, and where it
looked for its answer, float32 `[rows, columns]`."""


@dataclass(frozen=True)
class ClassCount:
    """Images of one class, by the column's name (a part, or `images`)."""

    label: str
    images: Mapping[str, int]


@dataclass(frozen=True)
class Confusion:
    """Images of `label` that were answered `predicted`, and their share of that label's images."""

    label: str
    predicted: str
    count: int
    share: float


@dataclass(frozen=True)
class OperationRow:
    """What the operating point does on one set of images; fields as kit.evaluation.Operation."""

    where: str
    sensitivity: Accuracy
    specificity: Accuracy
    uncertain: Accuracy
    prevalence: float
    ppv: float | None
    npv: float | None


@dataclass(frozen=True)
class Screened:
    """One label held against the rest, at thresholds.

    Attributes:
        label: the label that counts as positive.
        stated: whether somebody said so; else it is the last of two.
        rows: a threshold each.
    """

    label: str
    stated: bool
    rows: tuple[ThresholdFigures, ...]


@dataclass(frozen=True)
class FileFacts:
    """One .tflite file.

    Attributes:
        name: name of the file.
        mode: quantisation; empty where the file does not say.
        size_bytes: size of the file.
        accuracy: on the images of this report; None: not measured on them.
        agreement: with the float32 file; None: not compared.
        latency: on the machine that wrote the report.
        minimum_runtime: first TensorFlow Lite version that runs it; empty: not known.
    """

    name: str
    mode: str
    size_bytes: int
    accuracy: Accuracy | None
    agreement: Agreement | None
    latency: Latency
    minimum_runtime: str


@dataclass(frozen=True)
class Mistake:
    """A wrong answer, with pictures where they may be shown.

    Attributes:
        row: its place among the wrong answers, surest first, from 1: the row in misclassified.csv.
        name: the image's path in its folder; empty where names are left out.
        label: what it is.
        predicted: what was said.
        score: how surely, 0 to 1.
        picture: `data:` address of a small JPEG; empty where pictures are left out.
        heat: the same picture with a heat map of where the model looked; empty if unknown.
    """

    row: int
    name: str
    label: str
    predicted: str
    score: float
    picture: str = ""
    heat: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    Attributes:
        title: the folder of images.
        model: one line on the model.
        where: which images the figures are of.
        created: UTC, ISO 8601.
        scored: the figures, scores and truth.
        notes: what to know before quoting them.
        facts: name and value: what was trained on what.
        settings: name and value, all of them; none where they are not known.
        counts: images of each class.
        left_out: path (empty where names are left out) and reason of images that were not used.
        history: a record an epoch, as kit.training.fitting.fit gives; `phase` may name its part.
        rankings: each label against the rest.
        confused: pairs of labels, most images first.
        screened: the positive label at thresholds; None without one.
        operations: the operating point on several sets of images.
        files: every file of the run, or the one that was evaluated.
        machine: where latencies were measured.
        mistakes: surest first, not all.
        named: whether photographs and file names may be shown.
        no_heat: why there are no heat maps; empty where there are, or no pictures.
        unknown: how images of something else are told; None: not measured.
        accepted: images that a screening file does not call unknown, by which they are.
        point_from: whose images the operating point was chosen on.
        limit_from: whose images the limit of the unknown was chosen on.
        intended_use: as its maker said it.
        limits: what follows from the data.
        subgroups: figures of each subgroup of the images.
        gaps: where these are furthest apart.
        checklist: what reviewers ask for; none of a model without a card.
    """

    title: str
    model: str
    where: str
    created: str
    scored: ModelEvaluation
    notes: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    counts: tuple[ClassCount, ...]
    left_out: tuple[tuple[str, str], ...]
    history: tuple[Mapping[str, Any], ...]
    rankings: tuple[Ranking, ...]
    confused: tuple[Confusion, ...]
    screened: Screened | None
    operations: tuple[OperationRow, ...]
    files: tuple[FileFacts, ...]
    machine: str
    mistakes: tuple[Mistake, ...]
    named: bool
    no_heat: str
    unknown: UnknownFigures | None
    accepted: tuple[tuple[str, Accuracy], ...]
    point_from: str
    limit_from: str
    intended_use: str
    limits: tuple[str, ...]
    subgroups: tuple[Subgroup, ...] = ()
    gaps: tuple[Gap, ...] = ()
    checklist: tuple[Item, ...] = ()
