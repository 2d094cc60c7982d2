"""For whom a model is worse: its figures for each subgroup of the images, and their gaps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.evaluation.metrics import Accuracy, Scores, Truth
from kit.evaluation.ranking import Auc, group_bootstrap
from kit.model.spec import OperatingPoint

FEWEST = 10
"""Images that a share is of at least (positives of a sensitivity), to be judged."""

_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Subgroup:
    """What a model does on the images that share a value, such as those of women.

    Attributes:
        column: what the value is of, such as `sex`.
        value: the value.
        images: how many images.
        figures: shares by their names, with intervals; `accuracy`, and with a positive label
            `sensitivity` and `specificity`. None where it is of fewer than FEWEST images.
        auc: area under the ROC curve of the positive label; None without one, or where positives or
            negatives are fewer than FEWEST.
    """

    column: str
    value: str
    images: int
    figures: Mapping[str, Accuracy | None]
    auc: Auc | None

    @property
    def is_small(self) -> bool:
        """Whether there are too few images for one of its figures."""
        return None in self.figures.values()

    def to_json(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "value": self.value,
            "images": self.images,
            **{
                name: None if share is None else share.to_json("value")
                for name, share in self.figures.items()
            },
            "auc": None if self.auc is None else self.auc.to_json(),
        }


@dataclass(frozen=True)
class Gap:
    """The largest difference of a figure between two subgroups of a column.

    Attributes:
        column: the column.
        figure: name of the figure.
        best: value of the subgroup where it is largest.
        worst: value of the subgroup where it is smallest.
        difference: 0 to 1.
        interval: 95 % interval of the difference between these two, by drawing patients with
            replacement. Since they were picked for being furthest apart, chance alone would also
            leave some gap.
    """

    column: str
    figure: str
    best: str
    worst: str
    difference: float
    interval: tuple[float, float]

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.difference:.4f} ({low:.4f} to {high:.4f}), {self.worst} below {self.best}"

    def to_json(self) -> dict[str, Any]:
        return {
            "column": self.column,
            "figure": self.figure,
            "best": self.best,
            "worst": self.worst,
            "difference": round(self.difference, 6),
            "interval_95": [round(end, 6) for end in self.interval],
        }


@dataclass(frozen=True)
class _Share:
    """A figure that is a share: of these images those that are right."""

    among: _Mask
    right: _Mask


def compare_subgroups(
    values: Mapping[str, Sequence[str]],
    scores: Scores,
    truth: Truth,
    *,
    positive: int | None = None,
    point: OperatingPoint | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[tuple[Subgroup, ...], tuple[Gap, ...]]:
    """Figures of every subgroup of every column, and the largest gap of each figure.

    Args:
        values: the value of each image, by column; an empty one belongs to no subgroup.
        scores: float32 `[images, labels]`.
        truth: int64 `[images]`, indices of labels.
        positive: index of the positive label; None: accuracy alone is told.
        point: what decides on positive and negative; None: the label with the largest score.
        groups: group (patient) of each image.
    """
    shares = _shares(scores, truth, positive, point)
    found: list[Subgroup] = []
    gaps: list[Gap] = []
    for column, cells in values.items():
        of_value = {
            value: np.array([cell == value for cell in cells], bool)
            for value in sorted({*cells} - {""})
        }
        for value, members in of_value.items():
            found.append(_subgroup(column, value, members, shares, scores, truth, positive, groups))
        gaps += _gaps(column, of_value, shares, groups)
    return tuple(found), tuple(gaps)


def _shares(
    scores: Scores, truth: Truth, positive: int | None, point: OperatingPoint | None
) -> dict[str, _Share]:
    answers = scores.argmax(axis=1)
    shares = {"accuracy": _Share(np.ones(len(truth), bool), answers == truth)}
    if positive is None:
        return shares
    ill = truth == positive
    kept, called = answers == positive, answers == positive
    if point is not None:
        wide = scores[:, positive].astype(np.float64)
        kept, called = wide >= point.negative_below, wide >= point.positive_from
    return {**shares, "sensitivity": _Share(ill, kept), "specificity": _Share(~ill, ~called)}


def _subgroup(
    column: str,
    value: str,
    members: _Mask,
    shares: Mapping[str, _Share],
    scores: Scores,
    truth: Truth,
    positive: int | None,
    groups: Sequence[str] | None,
) -> Subgroup:
    figures = {
        name: Accuracy.of_answers(share.right, groups, share.among & members)
        if int((share.among & members).sum()) >= FEWEST
        else None
        for name, share in shares.items()
    }
    auc = None
    if positive is not None and None not in figures.values():
        own = None
        if groups is not None:
            own = [group for group, one in zip(groups, members, strict=True) if one]
        auc = Auc.of(scores[members, positive], truth[members] == positive, own)
    return Subgroup(column, value, int(members.sum()), figures, auc)


def _gaps(
    column: str,
    of_value: Mapping[str, _Mask],
    shares: Mapping[str, _Share],
    groups: Sequence[str] | None,
) -> Iterator[Gap]:
    for name, share in shares.items():
        judged = {
            value: share.among & members
            for value, members in of_value.items()
            if int((share.among & members).sum()) >= FEWEST
        }
        if len(judged) < 2:
            continue
        means = {value: float(share.right[mask].mean()) for value, mask in judged.items()}
        best, worst = max(means, key=means.__getitem__), min(means, key=means.__getitem__)
        if best == worst:  # all of them are alike
            continue
        among = judged[best] | judged[worst]
        own = np.arange(len(among)).astype(str) if groups is None else np.asarray(groups)
        interval = group_bootstrap(
            _difference(share.right[among], judged[best][among]), own[among].tolist()
        )
        if interval is not None:
            yield Gap(column, name, best, worst, means[best] - means[worst], interval)


def _difference(right: _Mask, of_best: _Mask) -> Callable[[npt.NDArray[np.int64]], float]:
    """The difference of two shares, by how often each image counts."""

    def difference(weights: npt.NDArray[np.int64]) -> float:
        both = []
        for members in (of_best, ~of_best):
            count = weights[members].sum()
            if not count:
                return float("nan")
            both.append(float((weights[members] * right[members]).sum() / count))
        return both[0] - both[1]

    return difference
