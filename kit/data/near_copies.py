"""Images that are nearly the same: saved again, made smaller, brighter, or cropped a little.

By a perceptual hash of the cosine transform's low frequencies (pHash; C. Zauner, "Implementation
and Benchmarking of Perceptual Image Hash Functions", 2010).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL.Image import Image

Bits = npt.NDArray[np.bool_]

HASH_SIDE = 16
_BLOCK = 256
NEAR_BITS = 40
"""Perceptual hashes of 256 bits that differ in at most so many are near copies.

Measured on 60 X-rays and 60 flowers: every copy that is saved at JPEG quality 40, halved or
brightened by a fifth differs in at most 28 bits, nine in ten of those cropped by 2 % on each side
in at most 39. Of 843 X-rays, alike as they are, no two different ones differ in fewer than 52.
"""
BLANK = 3.0
"""Standard deviation of grey values, 0 to 255, below which images are blank and all alike."""


def hash_bits(grey: Image) -> Bits:
    """The perceptual hash of a grey image, bool `[HASH_SIDE ** 2]`."""
    from imagehash import phash

    return np.asarray(phash(grey, hash_size=HASH_SIDE).hash, np.bool_).ravel()


def near_copies(bits: Sequence[Bits], near_bits: int = NEAR_BITS) -> list[list[int]]:
    """Clusters of two images or more whose hashes are near, as places in `bits`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(bits)
    clusters = np.arange(count)
    for start, near in _near(bits, near_bits):
        rows, columns = near.nonzero()
        # With an edge from each image to one of its cluster so far.
        first = np.unique(clusters, return_index=True)[1]
        ones = np.concatenate([rows + start, np.arange(count)])
        others = np.concatenate([columns, first[clusters]])
        graph = coo_array((np.ones(len(ones), bool), (ones, others)), shape=(count, count))
        clusters = connected_components(graph, directed=False)[1]
    members = defaultdict(list)
    for place, cluster in enumerate(clusters):
        members[cluster].append(place)
    return [places for places in members.values() if len(places) > 1]


def near_another_label(
    bits: Sequence[Bits], truth: npt.NDArray[np.int64], near_bits: int = NEAR_BITS
) -> npt.NDArray[np.bool_]:
    """Whether an image of another label is a near copy of each image: bool `[images]`."""
    found = np.zeros(len(bits), bool)
    for start, near in _near(bits, near_bits):
        rows = slice(start, start + len(near))
        found[rows] = (near & (truth[rows, None] != truth)).any(axis=1)
    return found


def _near(bits: Sequence[Bits], near_bits: int) -> Iterator[tuple[int, npt.NDArray[np.bool_]]]:
    """Block by block, so that like images take no memory by the square of their number: where it
    starts, and which images are near each of its own, bool `[block, images]`.
    """
    if not bits:
        return
    hashes = np.stack(bits).astype(np.float32)
    counts = hashes.sum(axis=1)
    for start in range(0, len(hashes), _BLOCK):
        own = slice(start, start + _BLOCK)
        differ = counts[own, None] + counts - 2 * (hashes[own] @ hashes.T)
        yield start, differ <= near_bits
