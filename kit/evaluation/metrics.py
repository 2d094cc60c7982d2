"""Figures from scores and truth."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.evaluation.calibration import Calibration
from kit.evaluation.ranking import Auc, check_lengths, macro_auc

Scores = npt.NDArray[np.float32]
Truth = npt.NDArray[np.int64]

_Z = 1.959963984540054  # 0.975 quantile of the normal distribution


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers with its 95 % interval (Wilson's, without continuity correction).

    With groups (patients), whose images are not independent, it is Wilson's for the number of
    independent images that would be as sure (J. N. K. Rao and A. J. Scott 1992).

    Attributes:
        correct: right answers.
        n: answers.
        low: lower end of the interval.
        high: upper end.
    """

    correct: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        return self.correct / self.n if self.n else float("nan")

    @classmethod
    def of(cls, correct: int, n: int) -> Accuracy:
        """Raises ValueError unless 0 <= correct <= n."""
        if not 0 <= correct <= n:
            raise ValueError(f"expected 0 <= correct <= n, got {correct} and {n}")
        if n == 0:
            return cls(0, 0, 0.0, 1.0)
        return cls(correct, n, *_wilson(correct / n, n))  # without scipy, which no device has

    @classmethod
    def of_answers(
        cls,
        right: npt.NDArray[np.bool_],
        groups: Sequence[str] | None = None,
        among: npt.NDArray[np.bool_] | None = None,
    ) -> Accuracy:
        """Args:
        right: bool `[answers]`.
        groups: group of each answer; None: each answer stands for itself.
        among: bool `[answers]`, those that count; None: all.

        Raises ValueError where lengths differ.
        """
        check_lengths(len(right), right, groups)
        if among is not None:
            groups = None if groups is None else np.asarray(groups)[among].tolist()
            right = right[among]
        correct, n = int(right.sum()), len(right)
        if groups is None or n == 0:
            return cls.of(correct, n)
        low, high = _wilson(correct / n, _effective_size(right, groups))
        return cls(correct, n, low, high)

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f}, N={self.n})"

    def to_json(self, name: str = "accuracy") -> dict[str, Any]:
        """`name` is the share's own; without answers it is null."""
        return {
            name: round(self.value, 6) if self.n else None,
            "n": self.n,
            "correct": self.correct,
            "interval_95": [round(self.low, 6), round(self.high, 6)],
        }


@dataclass(frozen=True)
class Agreement:
    """How far two models answer alike on the same images.

    Attributes:
        top_1: share of images with the same first label.
        largest_difference: largest difference of any score.
        n: images.
    """

    top_1: float
    largest_difference: float
    n: int

    @classmethod
    def of(cls, one: Scores, other: Scores) -> Agreement:
        """Scores are float32 `[images, labels]`."""
        same = one.argmax(axis=1) == other.argmax(axis=1)
        return cls(float(same.mean()), float(np.abs(one - other).max()), len(one))

    def to_json(self) -> dict[str, Any]:
        return {
            "n": self.n,
            "agreement_with_float32": round(self.top_1, 6),
            "largest_score_difference": round(self.largest_difference, 6),
        }


@dataclass(frozen=True)
class Misclassified:
    """One wrong answer: the path, the true label, what was said and how surely."""

    image: str
    label: str
    predicted: str
    score: float


@dataclass(frozen=True)
class Evaluation:
    """Figures of one model on one set of labelled images.

    Attributes:
        labels: in the order of the scores.
        accuracy: over all images.
        per_class: hit rate of each label (its recall), N its images.
        precision: share of right ones among the answers of each label, N those answers.
        f1: harmonic mean of the two; None for a label without images.
        auc: each label against the rest; without value, and with the reason, where one is absent.
        calibration: how far scores are probabilities; None where they are none.
        calibration_reason: why there is no calibration; empty otherwise.
        confusion: images by true label (row) and answer (column).
        mean_score_of_hits: mean score of the first answer where it is right; None without any.
        mean_score_of_misses: mean score of the first answer where it is wrong.
        suggested_threshold: half way between the two; None unless hits score higher.
        misclassified: surest first.
    """

    labels: tuple[str, ...]
    accuracy: Accuracy
    per_class: tuple[Accuracy, ...]
    precision: tuple[Accuracy, ...]
    f1: tuple[float | None, ...]
    auc: tuple[Auc, ...]
    calibration: Calibration | None
    calibration_reason: str
    confusion: tuple[tuple[int, ...], ...]
    mean_score_of_hits: float | None
    mean_score_of_misses: float | None
    suggested_threshold: float | None
    misclassified: tuple[Misclassified, ...]

    @classmethod
    def of(
        cls,
        scores: Scores,
        truth: Truth,
        labels: tuple[str, ...],
        images: Sequence[str],
        groups: Sequence[str] | None = None,
    ) -> Evaluation:
        """Args:
        scores: float32 `[images, labels]`.
        truth: int64 `[images]`, indices of labels.
        labels: names.
        images: paths, for the list of wrong answers.
        groups: group (patient) of each image, so that intervals are not too narrow; None: each
            is independent.
        """
        from sklearn.metrics import confusion_matrix

        answers, surest = scores.argmax(axis=1), scores.max(axis=1)
        hit = answers == truth
        confusion = confusion_matrix(truth, answers, labels=range(len(labels)))
        hits = float(surest[hit].mean()) if hit.any() else None
        misses = float(surest[~hit].mean()) if (~hit).any() else None
        between = hits is not None and misses is not None and hits > misses
        wrong = sorted(np.flatnonzero(~hit).tolist(), key=lambda i: -surest[i])
        numbers = range(len(labels))
        calibration, reason = None, ""
        try:
            calibration = Calibration.of(scores, truth)
        except ValueError as error:
            reason = str(error)
        return cls(
            labels=labels,
            accuracy=Accuracy.of_answers(hit, groups),
            per_class=tuple(Accuracy.of_answers(hit, groups, truth == label) for label in numbers),
            precision=tuple(
                Accuracy.of_answers(hit, groups, answers == label) for label in numbers
            ),
            f1=tuple(_f1(confusion, label) for label in numbers),
            auc=tuple(Auc.of(scores[:, label], truth == label, groups) for label in numbers),
            calibration=calibration,
            calibration_reason=reason,
            confusion=tuple(tuple(int(count) for count in row) for row in confusion),
            mean_score_of_hits=hits,
            mean_score_of_misses=misses,
            suggested_threshold=(hits + misses) / 2 if between and hits and misses else None,
            misclassified=tuple(
                Misclassified(images[i], labels[truth[i]], labels[answers[i]], float(surest[i]))
                for i in wrong
            ),
        )

    def to_json(self) -> dict[str, Any]:
        f1 = [value for value in self.f1 if value is not None]
        return {
            **self.accuracy.to_json(),
            "labels": list(self.labels),
            "per_class": {
                label: {
                    **accuracy.to_json(),
                    "precision": self.precision[index].to_json("value"),
                    "f1": _rounded(self.f1[index]),
                    "auc": self.auc[index].to_json(),
                }
                for index, (label, accuracy) in enumerate(
                    zip(self.labels, self.per_class, strict=True)
                )
                if accuracy.n
            },
            "macro_f1": _rounded(sum(f1) / len(f1)) if f1 else None,
            "macro_auc": _rounded(macro_auc(self.auc)),
            **self._calibration_json(),
            "confusion_matrix": [list(row) for row in self.confusion],
            "mean_score_of_hits": _rounded(self.mean_score_of_hits),
            "mean_score_of_misses": _rounded(self.mean_score_of_misses),
            "suggested_threshold": _rounded(self.suggested_threshold),
            "misclassified": [
                {
                    "image": wrong.image,
                    "label": wrong.label,
                    "predicted": wrong.predicted,
                    "score": round(wrong.score, 6),
                }
                for wrong in self.misclassified
            ],
        }

    def _calibration_json(self) -> dict[str, Any]:
        if self.calibration is not None:
            return self.calibration.to_json()
        absent = dict.fromkeys(("log_loss", "brier", "ece", "ece_if_calibrated"))
        return {**absent, "reliability": [], "calibration_reason": self.calibration_reason}

    def misclassified_csv(self) -> str:
        """The wrong answers as a table with a header."""
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        table.writerow(("image", "label", "predicted", "score"))
        table.writerows(
            (wrong.image, wrong.label, wrong.predicted, f"{wrong.score:.6f}")
            for wrong in self.misclassified
        )
        return out.getvalue()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


def _f1(confusion: npt.NDArray[np.int64], label: int) -> float | None:
    images, answers = int(confusion[label].sum()), int(confusion[:, label].sum())
    return 2 * int(confusion[label, label]) / (images + answers) if images else None


def _effective_size(right: npt.NDArray[np.bool_], groups: Sequence[str]) -> float:
    """As how many independent answers these are worth: at most as many as there are.

    Where all groups are of one mind nothing tells how alike a group's answers are: each group
    counts once.
    """
    _, member = np.unique(np.asarray(groups), return_inverse=True)
    share, sizes = float(right.mean()), np.bincount(member)
    count = len(sizes)
    if share in (0.0, 1.0) or count == 1:
        return float(count)
    residuals = np.bincount(member, right) - share * sizes
    variance = count / (count - 1) * float(np.square(residuals).sum()) / len(right) ** 2
    independent = share * (1 - share)
    if variance * len(right) <= independent:
        return float(len(right))
    return independent / variance


def _wilson(share: float, n: float) -> tuple[float, float]:
    """E. B. Wilson's score interval (1927), for an n that need not be whole."""
    centre = share + _Z**2 / (2 * n)
    half = _Z * math.sqrt(share * (1 - share) / n + (_Z / (2 * n)) ** 2)
    return max(0.0, (centre - half) / (1 + _Z**2 / n)), min(1.0, (centre + half) / (1 + _Z**2 / n))
