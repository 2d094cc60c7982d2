"""Figures from scores and truth."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float32]
Truth = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Accuracy:
    """A share of right answers with its 95 % interval (Wilson's, without continuity correction).

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
        from scipy.stats import binomtest

        if n == 0:
            return cls(0, 0, 0.0, 1.0)
        interval = binomtest(correct, n).proportion_ci(method="wilson")
        return cls(correct, n, float(interval.low), float(interval.high))

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f}, N={self.n})"

    def to_json(self) -> dict[str, Any]:
        return {
            "accuracy": round(self.value, 6),
            "n": self.n,
            "correct": self.correct,
            "interval_95": [round(self.low, 6), round(self.high, 6)],
        }


@dataclass(frozen=True)
class Agreement:
    """How far two models answer alike on the same images.

    Attributes:
        top_1: share of images with the same first label.
        largest_difference: of any score.
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
        per_class: hit rate of each label, N its images.
        confusion: images by true label (row) and answer (column).
        mean_score_of_hits: mean score of the first answer where it is right; None without any.
        mean_score_of_misses: likewise where it is wrong.
        suggested_threshold: half way between the two; None unless hits score higher.
        misclassified: surest first.
    """

    labels: tuple[str, ...]
    accuracy: Accuracy
    per_class: tuple[Accuracy, ...]
    confusion: tuple[tuple[int, ...], ...]
    mean_score_of_hits: float | None
    mean_score_of_misses: float | None
    suggested_threshold: float | None
    misclassified: tuple[Misclassified, ...]

    @classmethod
    def of(
        cls, scores: Scores, truth: Truth, labels: tuple[str, ...], images: Sequence[str]
    ) -> Evaluation:
        """Args:
        scores: float32 `[images, labels]`.
        truth: int64 `[images]`, indices of labels.
        labels: names.
        images: paths, for the list of wrong answers.
        """
        from sklearn.metrics import confusion_matrix

        answers, surest = scores.argmax(axis=1), scores.max(axis=1)
        hit = answers == truth
        confusion = confusion_matrix(truth, answers, labels=range(len(labels)))
        hits = float(surest[hit].mean()) if hit.any() else None
        misses = float(surest[~hit].mean()) if (~hit).any() else None
        between = hits is not None and misses is not None and hits > misses
        wrong = sorted(np.flatnonzero(~hit).tolist(), key=lambda i: -surest[i])
        return cls(
            labels=labels,
            accuracy=Accuracy.of(int(hit.sum()), len(hit)),
            per_class=tuple(
                Accuracy.of(int(row[label]), int(row.sum())) for label, row in enumerate(confusion)
            ),
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
        return {
            **self.accuracy.to_json(),
            "labels": list(self.labels),
            "per_class": {
                label: accuracy.to_json()
                for label, accuracy in zip(self.labels, self.per_class, strict=True)
                if accuracy.n
            },
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
