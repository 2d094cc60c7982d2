"""A model's output row to scores: one for each label, 0 to 1."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

Row: TypeAlias = "npt.NDArray[np.float32]"


def _softmax(row: Row) -> Row:
    """In float64, as every platform can: float32 would depend on the order of the sum."""
    powers = np.exp(row.astype(np.float64) - float(row.max()))
    return np.asarray(powers / powers.sum(), np.float32)


def _two_scores(row: Row) -> Row:
    """Of the second label's probability."""
    return np.array([1 - np.float64(row[0]), row[0]], np.float32)


def _two_scores_of_logit(row: Row) -> Row:
    return _softmax(np.array([0.0, row[0]], np.float32))


_TO_SCORES: dict[str, Callable[[Row], Row]] = {
    "scores": lambda row: row,
    "logits": _softmax,
    "probability": _two_scores,
    "logit": _two_scores_of_logit,
    "independent_scores": lambda row: row,
}
_OF_ONE_NUMBER = ("probability", "logit")


def to_scores(row: Row, kind: str) -> Row:
    """What the model gave as scores.

    Args:
        row: float32 `[output_width]`, dequantised.
        kind: one of kit.model.spec.OUTPUT_KINDS.

    Returns:
        float32 `[score_count]`, 0 to 1. They sum to 1, but for `independent_scores`.
    """
    return _TO_SCORES[kind](row)


def score_count(output_width: int, kind: str) -> int:
    """How many scores, and so labels, an output of so many numbers gives."""
    return 2 if kind in _OF_ONE_NUMBER else output_width


def fits_width(output_width: int, kind: str) -> bool:
    """Whether an output of so many numbers can be of this kind."""
    return (output_width == 1) == (kind in _OF_ONE_NUMBER)
