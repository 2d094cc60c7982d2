"""What can be said of an image without a model: how bright, rich in contrast and sharp it is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from kit.model.preprocess import Pixels, to_grey

_WHITE = 255


class Appearance(NamedTuple):
    """Of an image's luma, as the model sees it: at the input resolution.

    Attributes:
        brightness: the mean, 0 (black) to 1 (white).
        contrast: the standard deviation, 0 to 0.5.
        sharpness: the mean of what the discrete Laplacian (four neighbours) gives without its
            sign, 0 to 4. (A measure of focus; cf. S. Pertuz et al., "Analysis of focus measure
            operators for shape-from-focus", Pattern Recognition, 2013.)
    """

    brightness: float
    contrast: float
    sharpness: float


def appearance_of(pixels: Pixels) -> Appearance:
    """How an image looks, the same on every machine.

    Args:
        pixels: uint8 `[height, width, 3]`, RGB, 0 to 255.
    """
    luma = to_grey(pixels)[:, :, 0].astype(np.int32)
    # Sums of whole numbers, since those of fractions depend on their order.
    count, total, squares = luma.size, int(luma.sum()), int(np.square(luma).sum(dtype=np.int64))
    spread = max(0, count * squares - total * total) ** 0.5 / count
    inner = luma[1:-1, 1:-1]
    edges = np.abs(4 * inner - luma[:-2, 1:-1] - luma[2:, 1:-1] - luma[1:-1, :-2] - luma[1:-1, 2:])
    sharpness = int(edges.sum()) / max(1, edges.size)
    return Appearance(total / count / _WHITE, spread / _WHITE, sharpness / _WHITE)
