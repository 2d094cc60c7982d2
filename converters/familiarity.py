"""How unlike the training images an image is, by the features of its network.

The geometric mean of two distances, which together tell more than either: the Mahalanobis distance
of the feature vector from the training images' (K. Lee et al., "A Simple Unified Framework for
Detecting Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018), and the distance to
the nearest of them (Y. Sun et al., "Out-of-Distribution Detection with Deep Nearest Neighbors",
ICML 2022), or rather of their k-means centres, which fit into a file. Both of vectors brought to
length 1 (M. Mueller and M. Hein, "Mahalanobis++", ICML 2025). The covariance is shrunk (O. Ledoit
and M. Wolf 2004) and kept as its leading directions and one variance for all others (probabilistic
principal components, M. Tipping and C. Bishop 1999). One mean for all classes: the nearest class's
mean separates no better, and needs labels.

Little evidence for any label makes an image less familiar still: what the last layer finds for the
best one (D. Hendrycks et al., "Scaling Out-of-Distribution Detection for Real-World Settings", ICML
2022), of the vector of length 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kit.errors import DataError

Vectors = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

DIRECTIONS = 32
"""Leading ones that are kept; up to 128 of them separate no better."""
MOST_CENTRES = 128
"""More gained little in measurements, and cost room."""
LEAST_IMAGES = 20
"""Training images for any estimate at all; hundreds make a good one."""
_FOR_DIRECTIONS = 0.6  # share of the room
_IMAGES_A_CENTRE = 8  # at least; a centre of one image would be no distance away from it
_LEAST_VARIANCE = 1e-6  # of the largest; copies of few images have none in most directions
_LEAST_APART = 0.01  # of the training images' mean squared distance from their mean
_OF_EVIDENCE = 0.25
"""How much evidence counts beside the distances, both by how they spread over the training images,
the distances by their logarithm. With 0.4 it separated as well, with 0.6 less."""
_LEAST_OWN = 0.01
"""Least spread of evidence that counts, as a share of the most that there can be; networks of the
kit have 0.05 to 0.1. With less, a little difference would multiply beyond what float32 holds."""
_LEAST_DEVIATION = 0.05
"""Least spread of a feature, as a share of the mean spread: what hardly varies must not decide."""


@dataclass(frozen=True)
class Familiarity:
    """What is known of the training images' features.

    With `u = x / |x|` and `y = u * scale - offset`, the unfamiliarity is the fourth root of
    `(sum(y**2) - sum((directions @ y)**2)) * (nearness - max(centres @ u - lengths))`, times
    `exp(sharpness * (evidence - max(weights @ u)))` where there are weights: 1 is a typical
    training image (the mean of the fourth powers).

    Attributes:
        scale: float64 `[features]`.
        offset: float64 `[features]`.
        directions: float64 `[directions, features]`; values that float16 holds exactly.
        centres: int8 `[centres, features]`; `centre_step` times that is meant.
        centre_step: above 0.
        lengths: float64 `[centres]`; half of their squares, so that the second factor is half of
            the square of the distance.
        nearness: half, and a little, so that an image on a centre is not familiar beyond all.
        weights: the last layer's, float64 `[labels, features]`; values that float16 holds exactly.
            None: there is no last layer.
        evidence: the training images' mean of the largest of `weights @ u`.
        sharpness: 0 or more.
    """

    scale: Array
    offset: Array
    directions: Array
    centres: npt.NDArray[np.int8]
    centre_step: float
    lengths: Array
    nearness: float
    weights: Array | None = None
    evidence: float = 0.0
    sharpness: float = 0.0

    @classmethod
    def of(
        cls, features: Vectors, room: float = math.inf, weights: Array | None = None
    ) -> Familiarity:
        """From the features of training images.

        Args:
            features: float32 `[images, features]`.
            room: bytes that directions and centres may take, about; their numbers follow.
            weights: of the layer that sees these features, float64 `[labels, features]`; None: how
                much it finds for a label does not count.

        Raises DataError where there are too few images, or all are alike.
        """
        if len(features) < LEAST_IMAGES:
            raise DataError(
                f"expected at least {LEAST_IMAGES} training images to know an unfamiliar one by, "
                f"got {len(features)}"
            )
        vectors = _unit(features)
        mean, deviation = vectors.mean(axis=0), vectors.std(axis=0)
        if not deviation.any():
            raise DataError("expected training images with different features, all are alike")
        deviation = np.maximum(deviation, _LEAST_DEVIATION * deviation.mean())
        width = features.shape[1]
        most = int(np.clip(_FOR_DIRECTIONS * room / (2 * width), 1, min(DIRECTIONS, width - 1)))
        directions = _directions((vectors - mean) / deviation, most)
        distinct = len(np.unique(vectors, axis=0))
        left = (room - directions.size * 2) / width
        count = int(np.clip(left, 1, min(MOST_CENTRES, max(1, distinct // _IMAGES_A_CENTRE))))
        centres, step = _centres(vectors, count)
        lengths = ((centres * step) ** 2).sum(axis=1) / 2
        nearness = 0.5 + _LEAST_APART * float(((vectors - mean) ** 2).sum(axis=1).mean()) / 2
        known = cls(1 / deviation, mean / deviation, directions, centres, step, lengths, nearness)
        if weights is not None:
            known = known._with_evidence(features, weights.astype(np.float16).astype(np.float64))
        typical = float(np.mean(known.unfamiliarity(features) ** 4))
        return replace(
            known,
            centre_step=step / typical,
            lengths=lengths / typical,
            nearness=nearness / typical,
        )

    def unfamiliarity(self, features: Vectors) -> Array:
        """Unfamiliarity of images, float64 `[images]`, from features, float32 `[images, features]`.

        As the file computes it.
        """
        vectors = _unit(features)
        values = vectors * self.scale - self.offset
        inside = values @ self.directions.T
        squares = (values**2).sum(axis=1) - (inside**2).sum(axis=1)
        near = vectors @ (self.centre_step * self.centres.T) - self.lengths
        away = self.nearness - near.max(axis=1)
        distance = np.asarray((np.maximum(squares, 0) * np.maximum(away, 0)) ** 0.25)
        if self.weights is None:
            return distance
        less = self.evidence - _evidence(vectors, self.weights)
        return np.asarray(distance * np.exp(self.sharpness * less))

    def _with_evidence(self, features: Vectors, weights: Array) -> Familiarity:
        found = _evidence(_unit(features), weights)
        spread = float(np.log(np.maximum(self.unfamiliarity(features), _LEAST_VARIANCE)).std())
        own = float(found.std())
        # A last layer that finds the same in everything says nothing.
        least = _LEAST_OWN * float(np.linalg.norm(weights, axis=1).mean())
        sharpness = _OF_EVIDENCE * spread / own if own > least else 0.0
        return replace(self, weights=weights, evidence=float(found.mean()), sharpness=sharpness)


def _evidence(vectors: Array, weights: Array) -> Array:
    """What the weights find for the best label, float64 `[images]`."""
    return np.asarray((vectors @ weights.T).max(axis=1))


def _directions(values: Array, count: int) -> Array:
    """Those in which the covariance is larger than its rest, and how much of them not to count."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(values, assume_centered=True)
    variances, axes = np.linalg.eigh(covariance)
    variances = np.maximum(variances, _LEAST_VARIANCE * variances[-1])
    others = len(variances) - count
    weights = np.sqrt(1 - variances[:others].mean() / variances[others:])
    rounded = (weights[:, None] * axes[:, others:].T).astype(np.float16)
    return np.asarray(rounded.astype(np.float64))


def _centres(vectors: Array, count: int) -> tuple[npt.NDArray[np.int8], float]:
    """Centres of k-means, in steps, and the step."""
    from sklearn.cluster import KMeans

    centres = KMeans(count, n_init=1, random_state=0).fit(vectors).cluster_centers_
    step = float(np.abs(centres).max()) / 127
    return np.rint(centres / step).astype(np.int8), step


def _unit(features: Vectors) -> Array:
    vectors = features.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-6))
