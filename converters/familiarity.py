"""How unlike the training images an image is, by the features of its network.

The Mahalanobis distance of the feature vector (K. Lee et al., "A Simple Unified Framework for
Detecting Out-of-Distribution Samples and Adversarial Attacks", NeurIPS 2018), of vectors brought
to length 1 (M. Mueller and M. Hein, "Mahalanobis++", ICML 2025). The covariance is shrunk (O.
Ledoit and M. Wolf 2004) and kept as its leading directions and one variance for all others
(probabilistic principal components, M. Tipping and C. Bishop 1999), small enough for the file.
One mean for all classes: the nearest class's mean separates no better, and needs labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kit.errors import DataError

Vectors = npt.NDArray[np.float32]
Array = npt.NDArray[np.float64]

DIRECTIONS = 32
"""Leading ones that are kept; up to 128 of them separate no better."""
LEAST_IMAGES = 20
"""Training images for any estimate at all; hundreds make a good one."""
_LEAST_DEVIATION = 0.05
"""Of a feature, to the mean one: what hardly varies in training must not decide alone."""


@dataclass(frozen=True)
class Familiarity:
    """What is known of the training images' features.

    With `y = x / |x| * scale - offset`, the unfamiliarity is the root of
    `sum(y**2) - sum((directions @ y)**2)`: 1 is a typical training image (their root mean square).

    Attributes:
        scale: float64 `[features]`.
        offset: float64 `[features]`.
        directions: float64 `[directions, features]`; values that float16 holds exactly.
    """

    scale: Array
    offset: Array
    directions: Array

    @classmethod
    def of(cls, features: Vectors) -> Familiarity:
        """From the features of training images, float32 `[images, features]`.

        Raises DataError where there are too few images, or all are alike.
        """
        from sklearn.covariance import ledoit_wolf

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
        covariance, _ = ledoit_wolf((vectors - mean) / deviation, assume_centered=True)
        variances, axes = np.linalg.eigh(covariance)
        count = min(DIRECTIONS, len(mean) - 1)
        rest = variances[: len(mean) - count].mean()
        leading = axes[:, len(mean) - count :].T
        weights = np.sqrt(1 - rest / variances[len(mean) - count :])
        directions = (weights[:, None] * leading).astype(np.float16).astype(np.float64)
        known = cls(1 / deviation, mean / deviation, directions)
        typical = np.sqrt(np.mean(known.unfamiliarity(features) ** 2))
        return cls(known.scale / typical, known.offset / typical, directions)

    def unfamiliarity(self, features: Vectors) -> Array:
        """Of images, float64 `[images]`, 0 up, from their features, float32 `[images, features]`.

        As the file computes it.
        """
        values = _unit(features) * self.scale - self.offset
        inside = values @ self.directions.T
        squares = (values**2).sum(axis=1) - (inside**2).sum(axis=1)
        return np.asarray(np.sqrt(np.maximum(squares, 0)))


def _unit(features: Vectors) -> Array:
    vectors = features.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-6))
