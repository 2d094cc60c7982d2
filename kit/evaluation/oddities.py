"""What stands out in a set of images: odd ones, classes that are confused, groups that stand apart.

Nothing here is wrong by itself. It is what a person should look at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kit.evaluation.metrics import Scores, Truth

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_FAR = 3.5
"""Modified z-scores above this are outliers (B. Iglewicz and D. Hoaglin, "How to Detect and Handle
Outliers", 1993)."""
_OF_NORMAL = 1.4826  # a normal distribution's standard deviation, over its median deviation
_FEW = 20  # images, below which nothing is usual
_LEAST_GROUP = 5  # images
_COMMON = 0.1  # share of the images from which on something is no oddity
_EVEN = 2.0  # standard deviation of grey values, 0 to 255, along an even row
_LEAST_BAR = 0.15  # of the side
_COMPONENTS, _PERPLEXITY = 32, 30
_ITERATIONS, _ANGLE = 300, 0.8  # half the time of 500 and 0.5, and a map as good to look at

UNLIKE, DARK, BRIGHT, FLAT, BLURRED, CUT = "unlike", "dark", "bright", "flat", "blurred", "cut"
COPY = "copy"
REASONS: Mapping[str, str] = {
    COPY: "nearly the same image has another label",
    UNLIKE: "unlike all others",
    DARK: "darker than usual",
    BRIGHT: "brighter than usual",
    FLAT: "less contrast than usual",
    BLURRED: "less sharp than usual",
    CUT: "even along an edge: cut off, or framed",
}
"""Every reason to look at an image besides its label, and what it says."""


@dataclass(frozen=True)
class Look:
    """How an image looks; see kit.runtime.appearance for the first three.

    Attributes:
        brightness, contrast, sharpness: of the luma.
        bar: the largest share of a side that even rows or columns along an edge take, 0 to 1.
    """

    brightness: float
    contrast: float
    sharpness: float
    bar: float


@dataclass(frozen=True)
class Confusion:
    """How often another label scores higher than an image's own.

    Attributes:
        label, other: the labels' indices.
        images: how many.
    """

    label: int
    other: int
    images: int


@dataclass(frozen=True)
class GroupApart:
    """A group (patient) that lies apart from the other images of its label.

    Attributes:
        group: its number.
        images: how many it has.
        apart: the squared distance of its mean from its label's, over what chance alone would make
            of as many images; about 1 for a group like any other.
        suspects: of how many images another label scores higher.
    """

    group: int
    images: int
    apart: float
    suspects: int


def odd_looks(looks: Sequence[Look]) -> dict[str, Flags]:
    """By reason, whether each image looks so: bool `[images]`. Of few images, none does."""
    values = {
        name: np.array([getattr(one, name) for one in looks]) for name in Look.__annotations__
    }
    bars = values["bar"] >= _LEAST_BAR
    return {
        DARK: far_out(-values["brightness"]),
        BRIGHT: far_out(values["brightness"]),
        FLAT: far_out(-values["contrast"]),
        BLURRED: far_out(-np.log(values["sharpness"] + 1e-4)),
        CUT: bars & (bars.mean() < _COMMON) if len(looks) >= _FEW else np.zeros(len(looks), bool),
    }


def far_out(values: Values) -> Flags:
    """Whether each value is far above what is usual among them: bool `[images]`."""
    if len(values) < _FEW:
        return np.zeros(len(values), bool)
    above = values - np.median(values)
    usual = _OF_NORMAL * float(np.median(np.abs(above)))
    return np.asarray(above > _FAR * usual) if usual > 0 else np.zeros(len(values), bool)


def bar_of(grey: npt.NDArray[np.uint8]) -> float:
    """`Look.bar` of grey values, uint8 `[height, width]`."""
    found = 0.0
    for rows in (grey, grey[::-1], grey.T, grey.T[::-1]):
        even = rows.std(axis=1) < _EVEN
        length = len(even) if even.all() else int(even.argmin())
        found = max(found, length / len(even))
    return found


def confusions(scores: Scores, truth: Truth, most: int = 10) -> tuple[Confusion, ...]:
    """The most frequent pairs of a label and another one that scores higher.

    Args:
        scores: float `[images, labels]`, by classifiers that have not learnt from the image.
        truth: label indices, int64 `[images]`.
        most: how many pairs.
    """
    best = scores.argmax(axis=1)
    pairs = Counter(
        (int(label), int(other)) for label, other in zip(truth, best, strict=True) if label != other
    )
    ranked = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Confusion(*pair, count) for pair, count in ranked[:most])


def groups_apart(
    vectors: npt.NDArray[np.float32],
    truth: Truth,
    members: npt.NDArray[np.int64],
    in_doubt: Flags,
    most: int = 10,
) -> tuple[GroupApart, ...]:
    """The groups that lie farthest apart; none where groups have few images each.

    Args:
        vectors: bottlenecks, float32 `[images, feature_width]`.
        truth: label indices, int64 `[images]`.
        members: number of each image's group, int64 `[images]`.
        in_doubt: whether another label scores higher, bool `[images]`.
        most: how many groups.
    """
    centred = np.empty_like(vectors)
    for label in np.unique(truth):
        of_label = truth == label
        centred[of_label] = vectors[of_label] - vectors[of_label].mean(axis=0)
    variance = float((centred**2).sum(axis=1).mean())
    if not variance:
        return ()
    found = []
    numbers, places, counts = np.unique(members, return_inverse=True, return_counts=True)
    for number in np.flatnonzero(counts >= _LEAST_GROUP):
        own = places == number
        count = int(counts[number])
        distance = float((centred[own].mean(axis=0) ** 2).sum())
        apart = count * distance / variance
        found.append(GroupApart(int(numbers[number]), count, apart, int(in_doubt[own].sum())))
    return tuple(sorted(found, key=lambda one: (-one.apart, one.group))[:most])


def positions(vectors: npt.NDArray[np.float32], seed: int = 0) -> npt.NDArray[np.float32]:
    """A map of the images: those whose bottlenecks are alike lie together.

    By t-SNE (L. van der Maaten and G. Hinton, JMLR 2008) of the leading principal components.

    Args:
        vectors: bottlenecks, float32 `[images, feature_width]`, three images or more.
        seed: of the components' randomised search.

    Returns:
        float32 `[images, 2]`, from 0 to 1.
    """
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    count, width = vectors.shape
    if not vectors.std(axis=0).any():
        return np.full((count, 2), 0.5, np.float32)
    leading = PCA(min(_COMPONENTS, count - 1, width), random_state=seed).fit_transform(vectors)
    perplexity = min(_PERPLEXITY, (count - 1) / 3)
    found = TSNE(
        perplexity=perplexity,
        init="pca",
        max_iter=_ITERATIONS,
        angle=_ANGLE,
        random_state=seed,
    ).fit_transform(leading)
    low, high = found.min(axis=0), found.max(axis=0)
    return np.asarray((found - low) / np.maximum(high - low, 1e-9), np.float32)
