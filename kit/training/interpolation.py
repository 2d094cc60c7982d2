"""Weights between the pretrained network's and the fine-tuned one's.

Fine-tuned layers forget what they knew of other things. A part of the way back to where they
started undoes most of that at little cost, since the network is a sound one all along the way (M.
Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Arrays = Sequence[npt.NDArray[np.float32]]

SHARES = tuple(percent / 100 for percent in range(100, 35, -5))
"""Shares of the way that are tried, in this order."""


def between(start: Arrays, end: Arrays, share: float) -> list[npt.NDArray[np.float32]]:
    """The weights at a share of the way from the one to the other, 0 to 1.

    Args:
        start, end: of networks that are built alike, in the same order.
    """
    if share == 1:
        return list(end)
    # So that what did not change stays to the last bit.
    return [one + (share * (other - one)) for one, other in zip(start, end, strict=True)]


def least_share(
    loss_at: Callable[[float], float], tolerance: float, ceiling: float = math.inf
) -> float:
    """The least share of SHARES whose loss is at most so much above the best one's.

    Args:
        loss_at: the validation cross-entropy at a share. It falls and rises again on the way back,
            so no share is tried after one that is worse than tolerated.
        tolerance: as a share of the best loss; 0 or more.
        ceiling: a loss that is not tolerated, if the best one is below it.
    """
    least, best = SHARES[0], loss_at(SHARES[0])
    for share in SHARES[1:]:
        loss = loss_at(share)
        best = min(best, loss)
        tolerated = best * (1 + tolerance)
        if loss > tolerated or best < ceiling <= loss:
            break
        least = share
    return least
