"""Which differences are real, which models are on the front, and which one to ship.

Pure functions on figures; nothing here knows a file or a folder.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.evaluation.metrics import Accuracy

SIGNIFICANCE = 0.05
"""A difference counts as real below this p, after Holm's correction."""
_SAME_SIZE = 1.05
"""Below this ratio files are not told to differ: they are the same network, or nearly so."""


@dataclass(frozen=True)
class McNemar:
    """Two models on the same images.

    Attributes:
        only_first: images (with groups: groups) on which the first is right and the second wrong.
        only_second: the other way round.
        p: probability of a difference at least as large if both are equally good; two-sided, exact.
    """

    only_first: int
    only_second: int
    p: float

    def to_json(self) -> dict[str, Any]:
        return {
            "only_first_right": self.only_first,
            "only_second_right": self.only_second,
            "p": round(self.p, 9),
        }


def mcnemar(
    first: npt.NDArray[np.bool_],
    second: npt.NDArray[np.bool_],
    groups: Sequence[str] | None = None,
) -> McNemar:
    """McNemar's test (1947), exact: the images on which the two differ are a coin's throws.

    Images of one group (a patient) are not independent. With groups each one counts once, for the
    model that is right on more of its images: the sign test, which is McNemar's where every group
    is one image.

    Args:
        first: bool `[images]`, whether the first model is right.
        second: bool `[images]`, of the same images.
        groups: group of each image; None: each stands for itself.

    Raises:
        ValueError: lengths differ.
    """
    from scipy.stats import binomtest

    lengths = {len(first), len(second), len(first if groups is None else groups)}
    if len(lengths) > 1:
        raise ValueError(f"expected answers to the same images, got lengths of {sorted(lengths)}")
    difference = first.astype(np.int64) - second.astype(np.int64)
    if groups is not None:
        member = np.unique(np.asarray(groups), return_inverse=True)[1]
        difference = np.rint(np.bincount(member, difference)).astype(np.int64)
    only_first, only_second = int((difference > 0).sum()), int((difference < 0).sum())
    thrown = only_first + only_second
    p = float(binomtest(only_first, thrown, 0.5).pvalue) if thrown else 1.0
    return McNemar(only_first, only_second, p)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p-values of several comparisons, adjusted so that one false alarm among all is as unlikely
    as it was in one (S. Holm 1979); in the order given, at most 1."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return tuple(adjusted)


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> tuple[int, ...]:
    """Points that no other point beats: none is at most as costly and at least as good, and better
    in one of the two.

    Args:
        costs: cost of each point; less is better.
        values: value of each point; more is better.

    Returns:
        Indices, cheapest first; equal points are all on the front.
    """
    order = sorted(range(len(costs)), key=lambda index: (costs[index], -values[index]))
    front: list[int] = []
    for index in order:
        last = front[-1] if front else None
        better = last is None or values[index] > values[last]
        same = last is not None and (costs[index], values[index]) == (costs[last], values[last])
        if better or same:
            front.append(index)
    return tuple(front)


@dataclass(frozen=True)
class Candidate:
    """What a recommendation looks at.

    Attributes:
        name: for the words.
        accuracy: on the test part.
        size_bytes: size of the file.
        latency_ms: median; None: not measured.
    """

    name: str
    accuracy: Accuracy
    size_bytes: int
    latency_ms: float | None


@dataclass(frozen=True)
class Limits:
    """What a model must keep to; None: no limit.

    Attributes:
        max_size_kb: largest size of the file, in 1000 bytes.
        max_latency_ms: median, on the machine of the sweep.
        min_accuracy: on the test part, 0 to 1.
    """

    max_size_kb: float | None = None
    max_latency_ms: float | None = None
    min_accuracy: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_size_kb", "max_latency_ms"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"expected {name} above 0, got {value}")
        if self.min_accuracy is not None and not 0 <= self.min_accuracy <= 1:
            raise ValueError(f"expected min_accuracy from 0 to 1, got {self.min_accuracy}")

    def misses(self, candidate: Candidate) -> tuple[str, ...]:
        """The limits that it does not keep to, in words."""
        checks: tuple[tuple[float | None, Callable[[float], bool], str], ...] = (
            (
                self.max_size_kb,
                lambda limit: candidate.size_bytes <= 1000 * limit,
                "at most {:g} kB",
            ),
            (
                self.max_latency_ms,
                lambda limit: candidate.latency_ms is not None and candidate.latency_ms <= limit,
                "at most {:g} ms",
            ),
            (
                self.min_accuracy,
                lambda limit: candidate.accuracy.value >= limit,
                "an accuracy of at least {:g}",
            ),
        )
        return tuple(
            words.format(limit)
            for limit, keeps, words in checks
            if limit is not None and not keeps(limit)
        )

    def __str__(self) -> str:
        nothing = Candidate("", Accuracy(-1, 1, 0, 1), 2**63, None)  # misses each limit there is
        return " and ".join(self.misses(nothing))


@dataclass(frozen=True)
class Recommendation:
    """One answer to `which one?`.

    Attributes:
        question: what was looked for.
        name: name of the candidate; None: none will do.
        words: the answer, a sentence.
    """

    question: str
    name: str | None
    words: str

    def to_json(self) -> dict[str, Any]:
        return {"question": self.question, "name": self.name, "words": self.words}


def best_of(candidates: Sequence[Candidate]) -> Candidate:
    """The most accurate; of equals the smallest, then the fastest."""
    return min(candidates, key=lambda one: (-one.accuracy.value, *_cost(one)))


def recommend(
    candidates: Sequence[Candidate], limits: Limits = Limits()
) -> tuple[Recommendation, ...]:
    """The smallest within one interval of the best, and the best within the limits.

    The first is the smallest file whose accuracy lies inside the 95 % interval of the best one's.
    The second is the most accurate that keeps to all limits; where a least accuracy is asked for,
    the smallest, since that accuracy is then enough.

    Args:
        candidates: at least one, else there is nothing to recommend.
        limits: none: the second is left out.
    """
    if not candidates:
        return ()
    best = best_of(candidates)
    smallest = min(
        (one for one in candidates if one.accuracy.value >= best.accuracy.low), key=_cost
    )
    if smallest == best:
        words = (
            f"{_named(best)} is the most accurate, and nothing smaller comes within its interval"
        )
    else:
        words = (
            f"{_named(smallest)} is the smallest that lies within the 95 % interval of the best, "
            f"{_named(best)}: {_beside(smallest, best)}, "
            f"{100 * (best.accuracy.value - smallest.accuracy.value):.1f} points less"
        )
    found = [Recommendation("smallest within one interval of the best", smallest.name, words)]
    if limits != Limits():
        found.append(_within(candidates, limits))
    return tuple(found)


def _within(candidates: Sequence[Candidate], limits: Limits) -> Recommendation:
    enough = limits.min_accuracy is not None
    question = f"{'smallest' if enough else 'most accurate'} with {limits}"
    kept = [one for one in candidates if not limits.misses(one)]
    if kept:
        chosen = min(kept, key=_cost) if enough else best_of(kept)
        return Recommendation(question, chosen.name, _named(chosen))
    nearest = min(candidates, key=lambda one: (len(limits.misses(one)), -one.accuracy.value))
    return Recommendation(
        question,
        None,
        f"none has {limits}; {_named(nearest)} comes nearest and misses "
        f"{' and '.join(limits.misses(nearest))}",
    )


def _cost(candidate: Candidate) -> tuple[float, float]:
    latency = candidate.latency_ms
    return candidate.size_bytes, float("inf") if latency is None else latency


def _beside(smallest: Candidate, best: Candidate) -> str:
    ratio = best.size_bytes / smallest.size_bytes
    return "of the same size" if ratio < _SAME_SIZE else f"{ratio:.1f} times smaller"


def _named(candidate: Candidate) -> str:
    latency = "" if candidate.latency_ms is None else f", {candidate.latency_ms:.1f} ms"
    return (
        f"{candidate.name} ({candidate.size_bytes / 1e3:.0f} kB{latency}, accuracy "
        f"{candidate.accuracy})"
    )
