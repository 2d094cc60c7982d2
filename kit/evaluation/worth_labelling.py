"""Which of many unlabelled images are worth a person's minute."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kit.evaluation.metrics import Scores

_LEAST_WEIGHT = 1e-3  # also what a classifier is sure of may be chosen, if nothing else is left
_STARTS = 3  # of k-means, of which the best counts


def worth_labelling(
    vectors: npt.NDArray[np.float32], scores: Scores, most: int, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Images that a classifier is unsure of, and that are unlike one another.

    As many clusters as are wanted, by k-means of the bottlenecks in which an image counts as much
    as the classifier is unsure of it; of each cluster the image that it is least sure of (after F.
    Zhdanov, "Diverse mini-batch Active Learning", 2019). Unsure means a small difference between
    the two highest scores.

    Args:
        vectors: bottlenecks, float32 `[images, feature_width]`.
        scores: by a classifier of what is labelled so far, float `[images, labels]`.
        most: how many to choose.
        seed: of k-means.

    Returns:
        Their places, those that it is least sure of first.
    """
    from sklearn.cluster import KMeans

    ranked = np.sort(scores, axis=1)
    unsure = 1 - (ranked[:, -1] - ranked[:, -2])
    if len(vectors) <= most:
        return np.argsort(-unsure, kind="stable")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = vectors / np.maximum(lengths, 1e-9)
    distinct = len(np.unique(unit, axis=0))
    clusters = KMeans(min(most, distinct), n_init=_STARTS, random_state=seed).fit_predict(
        unit, sample_weight=np.maximum(unsure, _LEAST_WEIGHT)
    )
    order = np.argsort(-unsure, kind="stable")
    first = np.unique(clusters[order], return_index=True)[1]
    chosen = [*order[np.sort(first)]]
    # Copies fill fewer clusters than there are.
    taken = {*chosen}
    chosen += [place for place in order if place not in taken][: most - len(chosen)]
    return np.array(sorted(chosen, key=lambda place: (-unsure[place], place)), np.int64)
