"""How many mistakes a share that is promised of new images leaves room for: exact binomial tests.

A threshold is chosen among the scores of some images. The share of new images beyond it is
uncertain, but its distribution is known whatever the scores' own: below the (k + 1)-th lowest of n
scores lies a share of new ones that follows a Beta(k + 1, n - k) distribution, or is smaller where
scores are tied (S. S. Wilks, "Determination of sample sizes for setting tolerance limits", Annals
of Mathematical Statistics 1941). So it is at most 1 - target with a probability that is a binomial
tail. Thresholds that pass such a test may be taken as they are found, since they are looked at in
the order of their size (fixed sequence testing, in A. N. Angelopoulos et al., "Learn then Test",
2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

_ROUNDING = 1e-9


def most_missed(count: int, target: float, confidence: float) -> int | None:
    """How many of `count` independent cases a threshold may get wrong, and still promise a share.

    Args:
        count: number of cases, such as positives.
        target: share of new cases that it is to get right, above 0, at most 1.
        confidence: probability with which it does, 0 to below 1; 0: it does so on these cases, and
            nothing is promised.

    Returns:
        The number; None where even no mistake among so few cases promises it.
    """
    if not confidence:
        return math.floor(count * (1 - target) + _ROUNDING)
    if target == 1:
        return None
    # The logarithm of the binomial coefficient times the probability, for each number of mistakes.
    wrong = np.arange(count + 1)
    logs = np.array([math.lgamma(number + 1) for number in range(count + 1)])
    terms = logs[-1] - logs - logs[::-1]
    terms += wrong * math.log(1 - target) + (count - wrong) * math.log(target)
    tail = np.cumsum(np.exp(terms))
    passing = int(np.searchsorted(tail, 1 - confidence + _ROUNDING, side="right"))
    return passing - 1 if passing else None


def least_count(target: float, confidence: float) -> int:
    """The fewest cases that can promise a share: all of them have to be right then.

    Args:
        target: above 0, below 1.
        confidence: above 0, below 1.
    """
    return math.ceil(math.log(1 - confidence) / math.log(target) - _ROUNDING)


def hardest(
    scores: npt.NDArray[np.floating], groups: Sequence[str] | None, lowest: bool
) -> npt.NDArray[np.floating]:
    """One score for each group (patient), that of its hardest image.

    Images of one patient are alike, so they do not count as independent cases. A patient is got
    right where every image is: what is promised of such patients holds for a random image of one
    all the more.

    Args:
        scores: float `[images]`.
        groups: group of each; None: every image counts.
        lowest: whether low scores are hard, as of positives; otherwise high ones are.
    """
    if groups is None:
        return scores
    found: dict[str, float] = {}
    best = min if lowest else max
    for group, score in zip(groups, scores, strict=True):
        found[group] = best(found.get(group, score), score)
    return np.array([*found.values()], scores.dtype)
