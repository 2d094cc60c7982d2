"""Whether scores are probabilities, and how they become such: temperature scaling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kit.evaluation.ranking import check_lengths

if TYPE_CHECKING:
    import keras

Values = npt.NDArray[np.floating[Any]]
Truth = npt.NDArray[np.int64]
Hits = npt.NDArray[np.bool_]

BINS = 15
"""Number of bins of equal width, as in C. Guo et al. 2017."""
TEMPERATURES = (0.05, 20.0)
"""Between which fit_temperature searches."""
PRIOR = 0.25
"""Standard deviation of the logarithm of a head's temperature, before its images are seen."""
_SUM_TOLERANCE = 0.05  # quantised scores are rounded to 1/256 each
_DRAWS = 200
_LEAST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class ReliabilityBin:
    """The images whose score lies in one interval: a point of a reliability plot.

    Attributes:
        low: the interval's lower end; it belongs to the interval below, but for 0.
        high: its upper end.
        n: images; 0 leaves the two means None.
        mean_score: what was claimed.
        hit_rate: what was so; the share of them that are right (for one label: that are of it).
    """

    low: float
    high: float
    n: int
    mean_score: float | None
    hit_rate: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            name: None if value is None else round(value, 6) for name, value in vars(self).items()
        }


@dataclass(frozen=True)
class Calibration:
    """How far scores are probabilities, over all images.

    Attributes:
        n: images.
        log_loss: mean negative natural logarithm of the true label's score. A score of 0 counts as
            float32's machine epsilon.
        brier: mean over images of the squared errors' sum over labels (G. W. Brier 1950): 0 to 2.
        ece: expected calibration error of the first answer, 0 to 1: mean distance of hit rate and
            mean score over the bins, weighted by their images (C. Guo et al. 2017).
        ece_if_calibrated: what `ece` would be on average if these scores were true probabilities.
            Chance alone leaves a distance, the more the fewer images (cf. J. Vaicenavicius et al.
            2019): an `ece` near this one tells of no miscalibration.
        bins: bins of the first answer's score.
    """

    n: int
    log_loss: float
    brier: float
    ece: float
    ece_if_calibrated: float
    bins: tuple[ReliabilityBin, ...]

    @classmethod
    def of(cls, scores: Values, truth: Truth) -> Calibration:
        """Args:
        scores: float `[images, labels]`, at least 0; rows sum to 1 (quantised ones nearly).
        truth: int64 `[images]`, indices of labels.

        Raises ValueError for scores that are no probabilities, or no images.
        """
        scores = probabilities(scores)
        check_lengths(len(scores), truth)
        surest = scores.max(axis=1)
        bins = reliability(surest, scores.argmax(axis=1) == truth)
        return cls(
            n=len(scores),
            log_loss=log_loss(scores, truth),
            brier=brier_score(scores, truth),
            ece=expected_calibration_error(bins),
            ece_if_calibrated=_ece_by_chance(surest),
            bins=bins,
        )

    def to_json(self) -> dict[str, Any]:
        """Empty bins are left out."""
        return {
            "log_loss": round(self.log_loss, 6),
            "brier": round(self.brier, 6),
            "ece": round(self.ece, 6),
            "ece_if_calibrated": round(self.ece_if_calibrated, 6),
            "reliability": [one.to_json() for one in self.bins if one.n],
        }


def probabilities(scores: Values) -> npt.NDArray[np.float64]:
    """Scores `[images, labels]` with rows that sum to 1 exactly; quantised ones do so nearly.

    Raises ValueError where they are no probabilities (logits, or labels that do not exclude each
    other), or there are none.
    """
    sums = scores.sum(axis=1, dtype=np.float64)
    if not len(scores):
        raise ValueError("expected scores of images, got none")
    if not (scores.min() >= 0 and np.abs(sums - 1).max() <= _SUM_TOLERANCE):
        raise ValueError(
            "expected scores of at least 0 that sum to 1, got a minimum of "
            f"{scores.min():.4g} and sums of {sums.min():.4g} to {sums.max():.4g}: "
            "they are no probabilities of labels that exclude each other"
        )
    return np.asarray(scores / sums[:, None], np.float64)


def log_loss(scores: Values, truth: Truth) -> float:
    """Mean negative natural logarithm of the true label's score.

    Args:
        scores: float `[images, labels]`, rows sum to 1; 0 counts as float32's machine epsilon.
        truth: int64 `[images]`, indices of labels.
    """
    from sklearn.metrics import log_loss as loss

    clipped = np.clip(scores, np.finfo(np.float32).eps, 1)
    clipped = clipped / clipped.sum(axis=1, keepdims=True)
    if scores.shape[1] == 1:  # one label that is always right; scikit-learn wants two
        return 0.0
    return float(loss(truth, clipped, labels=range(scores.shape[1])))


def brier_score(scores: Values, truth: Truth) -> float:
    """Mean over images of the squared errors' sum over labels, 0 to 2; arguments as `log_loss`."""
    return float(np.square(scores - np.eye(scores.shape[1])[truth]).sum(axis=1).mean())


def reliability(scores: Values, hits: Hits, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """Claimed and found probability by interval of score.

    Args:
        scores: float `[images]`, 0 to 1: of the first answer, or of one label.
        hits: bool `[images]`: whether that answer is right, or the image of that label.
        bins: intervals of equal width between 0 and 1, at least 1.

    Raises ValueError for scores outside 0 to 1 or lengths that differ.
    """
    check_lengths(len(scores), hits)
    if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(f"expected scores of 0 to 1, got {scores.min():.4g} to {scores.max():.4g}")
    edges = np.linspace(0, 1, bins + 1)
    member = _members(scores, bins)
    counts = np.bincount(member, minlength=bins)
    claimed = np.bincount(member, scores, bins)
    found = np.bincount(member, hits, bins)
    return tuple(
        ReliabilityBin(
            float(edges[index]),
            float(edges[index + 1]),
            int(count),
            float(claimed[index] / count) if count else None,
            float(found[index] / count) if count else None,
        )
        for index, count in enumerate(counts)
    )


def expected_calibration_error(bins: tuple[ReliabilityBin, ...]) -> float:
    """Mean distance of hit rate and mean score, weighted by images; nan without any."""
    total = sum(one.n for one in bins)
    distances = (
        one.n * abs(one.hit_rate - one.mean_score)
        for one in bins
        if one.hit_rate is not None and one.mean_score is not None
    )
    return sum(distances) / total if total else math.nan


def logits_of(scores: Values) -> npt.NDArray[np.float64]:
    """Logits that give these scores, but for a constant, which softmax does not see.

    Args: scores float `[..., labels]`, 0 to 1; 0 counts as float32's smallest normal number.
    """
    return np.log(np.clip(scores, _LEAST, None), dtype=np.float64)


def fit_temperature(logits: Values, truth: Truth) -> float:
    """The temperature T with the least log loss of softmax(logits / T), held near 1 by few images.

    One number that changes no order of answers (C. Guo et al., On Calibration of Modern Neural
    Networks, ICML 2017). To be fitted on images that the weights were not.

    To the summed loss comes (ln T)² / (2 PRIOR²): a normal prior on ln T, which some hundred
    images outweigh. Without it a validation part with hardly a wrong answer sets no limit to how
    sure scores may become: of ten heads on chest X-rays (84 validation images each, 0.97 right)
    two came out at the bound, and the log loss on unseen images rose from 0.094 to 0.324; with it,
    it fell to 0.092. On flowers (293 each) it fell from 0.337 to 0.335 either way.

    Args:
        logits: float `[images, labels]`; from scores by `logits_of`.
        truth: int64 `[images]`, indices of labels.

    Returns:
        Above 1 where scores are too sure, below 1 where too modest; within TEMPERATURES.

    Raises ValueError where there are no images or lengths differ.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    check_lengths(len(logits), truth)
    if not len(logits):
        raise ValueError("expected images to fit a temperature on, got none")
    logits = np.asarray(logits, np.float64)
    logits = logits - logits[np.arange(len(truth)), truth][:, None]  # the true one is 0

    def loss(log_temperature: float) -> float:
        summed = logsumexp(logits / math.exp(log_temperature), axis=1).sum()
        return float(summed) + (log_temperature / PRIOR) ** 2 / 2

    bounds = (math.log(TEMPERATURES[0]), math.log(TEMPERATURES[1]))
    return math.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x)


def at_temperature(scores: Values, temperature: float) -> npt.NDArray[np.float32]:
    """What `scaled_head` makes of these scores: float32 `[images, labels]`, in and out."""
    from scipy.special import softmax

    return np.asarray(softmax(logits_of(scores) / temperature, axis=1), np.float32)


def scaled_head(model: keras.Model, temperature: float) -> keras.Model:
    """A copy of a classifier whose logits are divided by the temperature, at no cost to run it.

    Args:
        model: its last layer is Dense with softmax.
        temperature: above 0; the kernel and bias of that layer are divided by it.

    Raises ValueError for another last layer, or a temperature that is not a number above 0.
    """
    import keras

    last = model.layers[-1]
    if not isinstance(last, keras.layers.Dense) or last.activation is not keras.activations.softmax:
        raise ValueError(
            f"expected a model that ends in a Dense layer with softmax, got {last.name!r}: "
            "its temperature cannot be folded into the weights"
        )
    if not (temperature > 0 and math.isfinite(temperature)):
        raise ValueError(f"expected a temperature above 0, got {temperature}")
    scaled = keras.models.clone_model(model)
    scaled.set_weights(model.get_weights())
    scaled.layers[-1].set_weights([array / temperature for array in last.get_weights()])
    return scaled


def _members(scores: Values, bins: int) -> npt.NDArray[np.int64]:
    """The bin of each score: (0, 1/bins], (1/bins, 2/bins], ...; 0 is in the first."""
    edges = np.linspace(0, 1, bins + 1)
    return np.searchsorted(edges[1:-1], scores, side="left").astype(np.int64)


def _ece_by_chance(surest: Values) -> float:
    random = np.random.default_rng(0)
    member = _members(surest, BINS)
    errors = (
        np.bincount(member, (random.random(len(surest)) < surest) - surest, BINS)
        for _ in range(_DRAWS)
    )
    return float(np.mean([np.abs(error).sum() / len(surest) for error in errors]))
