"""What a reader should know before trusting the figures, derived from the data."""

from __future__ import annotations

from collections.abc import Sequence

from kit.data.scan import FEW_IMAGES
from kit.evaluation.evaluate import ModelEvaluation
from kit.evaluation.metrics import Accuracy
from kit.evaluation.unknown import UnknownFigures
from kit.report.content import ClassCount

_WIDE = 0.05
"""An interval of accuracy wider than this many points cannot rank two models of a kind."""
_FEW_TESTED = 30
_VERY_FEW_TESTED = 10
_UNEVEN = 3.0
_MISCALIBRATED = 2.0
"""Times what chance leaves, from which the calibration error is called real."""


def limits(
    scored: ModelEvaluation,
    counts: Sequence[ClassCount],
    rejects_unknown: bool,
) -> tuple[str, ...]:
    """A sentence for each limit.

    Args:
        scored: the figures.
        counts: images of each class; the column `train`, where there is one, was learnt from.
        rejects_unknown: whether there is a file that answers `unknown`.
    """
    found = ["The figures hold for images like these, from the same cameras, places and people."]
    found += _of_learning(counts)
    found += _of_testing(scored)
    found += _of_scores(scored)
    found.append(_of_unknown(scored.unknown, rejects_unknown))
    return tuple(found)


def _of_learning(counts: Sequence[ClassCount]) -> list[str]:
    learnt = {count.label: count.images["train"] for count in counts if "train" in count.images}
    if not learnt:
        return []
    fewest, most = min(learnt, key=lambda k: learnt[k]), max(learnt, key=lambda k: learnt[k])
    sentence = f"{fewest} has the fewest images to learn from: {learnt[fewest]}"
    if learnt[fewest] < FEW_IMAGES:
        sentence += ", which are very few"
    if learnt[most] > _UNEVEN * learnt[fewest]:
        sentence += f"; {most} has {learnt[most]}"
    return [f"{sentence}."]


def _of_testing(scored: ModelEvaluation) -> list[str]:
    evaluation = scored.evaluation
    accuracy = evaluation.accuracy
    found = []
    if accuracy.high - accuracy.low > _WIDE:
        found.append(
            f"{accuracy.n} images leave the accuracy anywhere between {_percent(accuracy.low)} "
            f"and {_percent(accuracy.high)}: a difference smaller than that is no finding."
        )
    pairs = zip(evaluation.labels, evaluation.per_class, strict=True)
    tested = [(label, hits) for label, hits in pairs if hits.n]
    if few := [f"{label} ({hits.n})" for label, hits in tested if hits.n < _FEW_TESTED]:
        found.append(f"Tested on fewer than {_FEW_TESTED} images: {_listed(few)}.")
    if min(hits.n for _, hits in tested) < _VERY_FEW_TESTED:
        found.append(
            f"A class was tested on fewer than {_VERY_FEW_TESTED} images, so these figures mean "
            "little. kit cross-validate scores every image, and so says more."
        )
    label, worst = min(tested, key=lambda pair: pair[1].value)
    found.append(f"The weakest class is {label}: {_interval(worst)} of its images are recognised.")
    if scored.groups is None:
        found.append(
            "No groups were given: if several images are of one patient or one thing, the figures "
            "are too good and their intervals too narrow."
        )
    return found


def _of_scores(scored: ModelEvaluation) -> list[str]:
    calibration = scored.evaluation.calibration
    if calibration is None:
        return [f"Its scores are no probabilities: {scored.evaluation.calibration_reason}."]
    error, chance = calibration.ece, calibration.ece_if_calibrated
    measured = f"its calibration error is {error:.3f}, and chance alone leaves {chance:.3f}"
    if error > _MISCALIBRATED * chance:
        return [f"Its scores cannot be read as probabilities: {measured}."]
    return [f"Nothing here speaks against reading its scores as probabilities: {measured}."]


def _of_unknown(unknown: UnknownFigures | None, rejects_unknown: bool) -> str:
    if not rejects_unknown:
        return (
            "An image of anything else is answered with one of these labels too, because this "
            "file rejects nothing."
        )
    answers = "The screening file answers unknown for what is unlike its training images"
    if unknown is None or unknown.at_file_threshold is None:
        return f"{answers}; how often it misses that was not measured here."
    taken = unknown.at_file_threshold.unknown_accepted
    return f"{answers}; of those of something else it took {_interval(taken)} for known."


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def _interval(share: Accuracy) -> str:
    low, high = _percent(share.low), _percent(share.high)
    return f"{_percent(share.value)} ({low} to {high}, N={share.n})"


def _listed(names: Sequence[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
