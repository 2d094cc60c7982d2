"""Measures how well a model tells unknown images from those of its own labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.errors import DataError
from kit.evaluation.metrics import Accuracy
from kit.evaluation.ranking import Auc
from kit.model.spec import UNFAMILIARITY
from kit.runtime import Answer
from kit.runtime.paths import image_paths

Values = npt.NDArray[np.float64]

ACCEPTED = 0.95
"""Share of known images that a threshold accepts, by convention."""
LARGEST_SCORE = "1 - largest score"
"""The measure for a plain file.

A softmax is often sure of things that it never saw (D. Hendrycks and K. Gimpel, "A Baseline for
Detecting Misclassified and Out-of-Distribution Examples", ICLR 2017).
"""


@dataclass(frozen=True)
class AtThreshold:
    """How the file's own threshold performs.

    Attributes:
        threshold: largest value that is accepted; images above it are answered `unknown`.
        known_accepted: share of the known images that are accepted.
        unknown_accepted: share of the unknown images that are accepted.
    """

    threshold: float
    known_accepted: Accuracy
    unknown_accepted: Accuracy

    def to_json(self) -> dict[str, Any]:
        return {
            "threshold": self.threshold,
            "known_accepted": self.known_accepted.to_json("value"),
            "unknown_accepted": self.unknown_accepted.to_json("value"),
        }


@dataclass(frozen=True)
class UnknownFigures:
    """How known and unknown images are told apart by one number.

    Attributes:
        measure: UNFAMILIARITY or LARGEST_SCORE; higher for unknown images.
        auroc: area under the ROC curve; unknown images are its positives.
        threshold_at_95: smallest threshold that accepts the share ACCEPTED of the known images.
        false_acceptance_at_95: share of the unknown images that this threshold also accepts.
        at_file_threshold: figures at the file's own threshold; None if it has none.
    """

    measure: str
    auroc: Auc
    threshold_at_95: float
    false_acceptance_at_95: Accuracy
    at_file_threshold: AtThreshold | None

    @classmethod
    def of(
        cls,
        measure: str,
        known: Values,
        unknown: Values,
        own_threshold: float | None = None,
        groups: Sequence[str] | None = None,
    ) -> UnknownFigures:
        """Args:
        measure: name of the measure.
        known: values for images with the model's labels, float `[images]`.
        unknown: values for images of something else, float `[images]`.
        own_threshold: the file's own threshold, if it has one.
        groups: group (patient) of each known image; None: the images are independent.
        """
        positive = np.arange(len(known) + len(unknown)) >= len(known)
        # A space before: no group of the known images is called so.
        everyone = groups and (*groups, *(f" {index}" for index in range(len(unknown))))
        threshold = accepting_threshold(known)
        own = None
        if own_threshold is not None:
            own = AtThreshold(
                own_threshold,
                Accuracy.of_answers(known <= own_threshold, groups),
                Accuracy.of_answers(unknown <= own_threshold),
            )
        return cls(
            measure,
            Auc.of(np.concatenate([known, unknown]), positive, everyone),
            threshold,
            Accuracy.of_answers(unknown <= threshold),
            own,
        )

    def to_json(self) -> dict[str, Any]:
        area, accepted = self.auroc, self.false_acceptance_at_95
        assert area.value is not None and area.low is not None and area.high is not None
        data: dict[str, Any] = {
            "measure": self.measure,
            "auroc": round(area.value, 6),
            "auroc_interval_95": [round(area.low, 6), round(area.high, 6)],
            "known": area.negatives,
            "unknown": area.positives,
            "threshold_at_95": self.threshold_at_95,
            "false_acceptance_at_95": round(accepted.value, 6),
            "false_acceptance_at_95_interval_95": [round(accepted.low, 6), round(accepted.high, 6)],
        }
        if self.at_file_threshold is not None:
            data["at_file_threshold"] = self.at_file_threshold.to_json()
        return data


def accepting_threshold(known: Values) -> float:
    """The smallest of these values that accepts at least the share ACCEPTED of them."""
    return float(np.quantile(known, ACCEPTED, method="inverted_cdf"))


def strangeness(answers: Sequence[Answer]) -> tuple[str, Values]:
    """The measure that one model's answers offer: its name, and its values, float `[answers]`."""
    if any(answer.unfamiliarity is None for answer in answers):
        return LARGEST_SCORE, np.array([1 - float(answer.scores.max()) for answer in answers])
    return UNFAMILIARITY, np.array([answer.unfamiliarity for answer in answers], np.float64)


def unlabelled_images(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """Paths of a folder's files at any depth, relative to it; DataError if it is not a folder."""
    import sys

    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root}: expected a folder of images of something else, found no folder")
    return tuple(str(Path(p).relative_to(root)) for p in image_paths([str(root)], sys.stdin))
