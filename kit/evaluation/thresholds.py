"""From the score of one label to positive, negative or uncertain."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.choices import CONFIDENCE
from kit.errors import DataError
from kit.evaluation.metrics import Accuracy
from kit.evaluation.promises import hardest, least_count, most_missed
from kit.evaluation.ranking import Positive, Values, check_lengths
from kit.model.spec import OperatingPoint

STEPS = tuple(step / 10 for step in range(1, 10))
"""Thresholds of a table where none are given."""

_OR_NOTHING = ", or give --confidence 0, which promises nothing"


@dataclass(frozen=True)
class Targets:
    """What a screening test is to reach on new images.

    Attributes:
        positive: the label that counts as positive.
        sensitivity: above 0, at most 1; None: not asked for.
        specificity: above 0, at most 1; None: not asked for. With both, scores between the
            thresholds are uncertain.
        prevalence: share of positives for which predictive values are told; None: as in the images.
        confidence: probability with which new images reach what is asked for, 0 to below 1; 0: the
            validation part does, and others about every second time.
    """

    positive: str
    sensitivity: float | None = None
    specificity: float | None = None
    prevalence: float | None = None
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        if self.sensitivity is None and self.specificity is None:
            raise ValueError(
                "expected a target sensitivity or a target specificity beside the positive label, "
                "got neither"
            )
        _check_targets(self.asked, self.confidence)
        if self.prevalence is not None and not 0 <= self.prevalence <= 1:
            raise ValueError(f"expected a prevalence of 0 to 1, got {self.prevalence}")

    @property
    def asked(self) -> dict[str, float]:
        """The targets by their names."""
        both = {"sensitivity": self.sensitivity, "specificity": self.specificity}
        return {name: target for name, target in both.items() if target is not None}

    def check_enough(
        self,
        positive: Positive,
        groups: Sequence[str] | None = None,
        where: str = "in the validation part",
    ) -> None:
        """Whether the promise can be given at all; told before anything is learnt.

        Args:
            positive: whether each image to choose a threshold on is positive, bool `[images]`.
            groups: what counts once: the group (patient) of each, or its content; None: each image.
            where: where these images are, for the message.

        Raises DataError where there are too few.
        """
        zeros = np.zeros(len(positive))
        for name, target in self.asked.items():
            wanted = positive if name == "sensitivity" else ~positive
            count = len(_cases(zeros, wanted, groups, name, self.confidence))
            _allowed(name, target, count, int(wanted.sum()), self.confidence_of_each, where)

    @property
    def confidence_of_each(self) -> float:
        """Positives and negatives are independent, so the confidences of both promises multiply."""
        return float(self.confidence ** (1 / len(self.asked)))


@dataclass(frozen=True)
class ThresholdFigures:
    """What one threshold does: positive from it on.

    Attributes:
        threshold: threshold of the score.
        sensitivity: share of the positives that are answered positive (recall), with its interval.
        specificity: share of the negatives that are answered negative, with its interval.
        precision: share of the positive answers that are right among these images, at the share
            of positives that they happen to have; with its interval.
        f1: harmonic mean of precision and sensitivity; None where nothing is or is answered
            positive.
        prevalence: share of positives for which ppv and npv are told, 0 to 1.
        ppv: positive predictive value at that prevalence (by Bayes' rule); None where nothing is
            answered positive, or a class is absent.
        npv: negative predictive value at the same prevalence.
    """

    threshold: float
    sensitivity: Accuracy
    specificity: Accuracy
    precision: Accuracy
    f1: float | None
    prevalence: float
    ppv: float | None
    npv: float | None

    @classmethod
    def at(
        cls,
        scores: Values,
        positive: Positive,
        threshold: float,
        prevalence: float | None = None,
        groups: Sequence[str] | None = None,
    ) -> ThresholdFigures:
        """Args:
        scores: float `[images]`, of the positive label.
        positive: bool `[images]`.
        threshold: an image is positive from it on.
        prevalence: 0 to 1; None: as among these images.
        groups: group (patient) of each image, for the intervals.

        Raises ValueError for no images, lengths that differ or a prevalence outside 0 to 1.
        """
        check_lengths(len(scores), positive, groups)
        if not len(scores):
            raise ValueError("expected images to measure a threshold on, got none")
        if prevalence is None:
            prevalence = float(positive.mean())
        if not 0 <= prevalence <= 1:
            raise ValueError(f"expected a prevalence of 0 to 1, got {prevalence}")
        called = scores.astype(np.float64) >= threshold  # as the runtime compares
        sensitivity = Accuracy.of_answers(called, groups, positive)
        specificity = Accuracy.of_answers(~called, groups, ~positive)
        precision = Accuracy.of_answers(positive, groups, called)
        either = int((positive | called).sum()) + precision.correct
        ppv = npv = None
        if sensitivity.n and specificity.n:
            found, cleared = sensitivity.value, specificity.value
            ppv = _ratio(found * prevalence, (1 - cleared) * (1 - prevalence))
            npv = _ratio(cleared * (1 - prevalence), (1 - found) * prevalence)
        f1 = 2 * precision.correct / either if either else None
        return cls(threshold, sensitivity, specificity, precision, f1, float(prevalence), ppv, npv)

    @property
    def missed_per_1000(self) -> tuple[float, float, float]:
        """Positives of 1,000 images that are answered negative, with the ends of the interval."""
        share, found = 1000 * self.prevalence, self.sensitivity
        return share * (1 - found.value), share * (1 - found.high), share * (1 - found.low)

    @property
    def referred_per_1000(self) -> tuple[float, float, float]:
        """Of 1,000 images those that are answered positive, with the ends of an interval.

        Both its ends come from the 95 % intervals of sensitivity and specificity, so it is wider.
        """
        found, cleared = self.sensitivity, self.specificity
        ends = ((found.value, cleared.value), (found.low, cleared.high), (found.high, cleared.low))
        value, low, high = (
            1000 * (one * self.prevalence + (1 - other) * (1 - self.prevalence))
            for one, other in ends
        )
        return value, low, high

    def to_json(self) -> dict[str, Any]:
        rounded = {
            name: None if (value := getattr(self, name)) is None else round(value, 6)
            for name in ("threshold", "f1", "prevalence", "ppv", "npv")
        }
        shares = {
            name: getattr(self, name).to_json("value")
            for name in ("sensitivity", "specificity", "precision")
        }
        counts = {
            f"{name}_per_1000": None if value != value else round(value, 1)
            for name, (value, _, _) in (
                ("referred", self.referred_per_1000),
                ("missed", self.missed_per_1000),
            )
        }
        return {**rounded, **shares, **counts}


@dataclass(frozen=True)
class Operation:
    """What an operating point does on one set of images.

    Attributes:
        point: the operating point.
        rule_out: at `negative_below`: its sensitivity is the share of positives that are not
            called negative, its npv is that of the answer negative.
        rule_in: at `positive_from`: its specificity is the share of negatives that are not called
            positive, its ppv is that of the answer positive.
        uncertain: share of the images between the two, with its interval.
    """

    point: OperatingPoint
    rule_out: ThresholdFigures
    rule_in: ThresholdFigures
    uncertain: Accuracy

    @classmethod
    def of(
        cls,
        point: OperatingPoint,
        scores: Values,
        positive: Positive,
        prevalence: float | None = None,
        groups: Sequence[str] | None = None,
    ) -> Operation:
        """Arguments and errors as ThresholdFigures.at."""
        rule_out, rule_in = threshold_table(
            scores, positive, (point.negative_below, point.positive_from), prevalence, groups
        )
        wide = scores.astype(np.float64)
        between = (wide >= point.negative_below) & (wide < point.positive_from)
        return cls(point, rule_out, rule_in, Accuracy.of_answers(between, groups))

    def to_json(self) -> dict[str, Any]:
        return {
            **self.point.to_json(),
            "sensitivity": self.rule_out.sensitivity.to_json("value"),
            "specificity": self.rule_in.specificity.to_json("value"),
            "uncertain": self.uncertain.to_json("value"),
            "prevalence": round(self.rule_in.prevalence, 6),
            "ppv": self.rule_in.to_json()["ppv"],
            "npv": self.rule_out.to_json()["npv"],
        }


def choose_operating_point(
    scores: Values,
    positive: Positive,
    label: str,
    *,
    target_sensitivity: float | None = None,
    target_specificity: float | None = None,
    confidence: float = CONFIDENCE,
    groups: Sequence[str] | None = None,
) -> OperatingPoint:
    """The thresholds that promise the targets on new images and give away least of the other.

    For a sensitivity it is the highest threshold that promises it, for a specificity the lowest.
    With both targets, both hold together with the confidence that is asked for. A threshold lies
    half way between two scores that occur, so that another platform's last bit changes no answer.
    With both targets, an image is uncertain between the two thresholds; where they cross, each
    threshold between them reaches both targets, the middle one is taken and no image is uncertain.

    The promise is for new images, or patients, that are exchangeable with these: it says nothing of
    another hospital or camera. Patients count once, by their hardest image (see
    kit.evaluation.promises). With a confidence of 0 the targets are reached on these images, and on
    others about every second time. (Of a triage test for tuberculosis the WHO asks a sensitivity of
    at least 90 % and a specificity of at least 70 %, and that the threshold is chosen where the
    test is used.)

    Args:
        scores: float `[images]`, of the positive label, 0 to 1, from the file that will run.
        positive: bool `[images]`.
        label: name of the positive label.
        target_sensitivity: above 0, at most 1.
        target_specificity: specificity to reach, above 0, at most 1; None: none.
        confidence: probability with which new images reach the targets, 0 to below 1; 0: these do.
        groups: what counts once: the group (patient) of each image, or its content, as of
            kit.data.split.cases_of; None: the images are independent.

    Raises:
        ValueError: no target, one outside its range, scores outside 0 to 1, lengths that differ.
        DataError: a class is absent or has too few images, or where a target is reached all of
            these images have the same answer.
    """
    check_lengths(len(scores), positive, groups)
    targets = Targets(label, target_sensitivity, target_specificity, confidence=confidence)
    if positive.all() or not positive.any():
        absent = "other" if positive.all() else label
        raise DataError(
            f"expected images of {label} and of others to choose a threshold on, got none of "
            f"{absent}: use a larger validation part"
        )
    if not (scores.min() >= 0 and scores.max() <= 1):
        raise ValueError(f"expected scores of 0 to 1, got {scores.min():.4g} to {scores.max():.4g}")
    candidates = _candidates(scores)
    above = _cases(scores, positive, groups, "sensitivity", confidence)
    below = _cases(scores, ~positive, groups, "specificity", confidence)
    low = high = None
    each = targets.confidence_of_each
    if target_sensitivity is not None:
        images = int(positive.sum())
        allowed = _allowed("sensitivity", target_sensitivity, len(above), images, each)
        low = float(candidates[_counts_below(candidates, above) <= allowed].max())
        if low <= float(scores.min()):
            raise _says_nothing("sensitivity", target_sensitivity, allowed, above, confidence)
    if target_specificity is not None:
        images = int((~positive).sum())
        allowed = _allowed("specificity", target_specificity, len(below), images, each)
        called = len(below) - _counts_below(candidates, below)
        high = float(candidates[called <= allowed].min(initial=np.inf))
        if high > float(scores.max()):
            raise _says_nothing("specificity", target_specificity, allowed, below, confidence)
    if low is not None and high is not None and high <= low:
        both = candidates[(candidates >= high) & (candidates <= low)]
        low = high = float(both[np.abs(both - (low + high) / 2).argmin()])
    negative_below = low if low is not None else high
    positive_from = high if high is not None else low
    assert negative_below is not None and positive_from is not None  # one target at least
    return OperatingPoint(
        label,
        negative_below,
        positive_from,
        target_sensitivity,
        target_specificity,
        confidence,
        len(above),
        len(below),
    )


def _check_targets(asked: Mapping[str, float], confidence: float) -> None:
    if not 0 <= confidence < 1:
        raise ValueError(f"expected a confidence of 0 to below 1, got {confidence}")
    for name, target in asked.items():
        if not 0 < target <= 1:
            raise ValueError(f"expected a target {name} above 0 and at most 1, got {target}")
        if target == 1 and confidence:
            raise ValueError(
                f"expected a target {name} below 1, which no number of images can promise: ask for "
                "less, or give --confidence 0"
            )


def _cases(
    scores: Values,
    wanted: Positive,
    groups: Sequence[str] | None,
    name: str,
    confidence: float,
) -> Values:
    """The scores that a promise rests on: each counts as an independent case."""
    own = [group for group, one in zip(groups, wanted, strict=True) if one] if groups else None
    cases: Values = hardest(scores[wanted], own if confidence else None, name == "sensitivity")
    return cases


def _allowed(
    name: str,
    target: float,
    count: int,
    images: int,
    confidence: float,
    where: str = "in the validation part",
) -> int:
    """How many mistakes a threshold may make; raises DataError where none is few enough."""
    allowed = most_missed(count, target, confidence)
    if allowed is None:
        sign = "positive" if name == "sensitivity" else "negative"
        what, got = f"{sign} images", f"{count}"
        if count < images:
            what = f"independent {sign}s"
            got += f" of {images} images (those of a patient count once, and so do copies)"
        raise DataError(
            f"expected at least {least_count(target, confidence)} {what} {where} to promise a "
            f"{name} of {target:g}, got {got}: take more images, ask for less{_OR_NOTHING}"
        )
    return allowed


def _says_nothing(
    name: str, target: float, allowed: int, cases: Values, confidence: float
) -> DataError:
    """Of a threshold so near the end of the scale that every image has the same answer."""
    sign, end, extreme = (
        ("positive", "lowest", cases.min())
        if name == "sensitivity"
        else ("negative", "highest", cases.max())
    )
    wrong = int((cases == extreme).sum())
    return DataError(
        f"expected a threshold with a {name} of {target:g} that tells images apart, got none: at "
        f"most {allowed} of {len(cases)} {sign}s may be wrong, and the {end} score of all images, "
        f"{extreme:.4f}, is that of {wrong}: look at those, take more images, ask for less"
        f"{_OR_NOTHING if confidence else ''}"
    )


def threshold_table(
    scores: Values,
    positive: Positive,
    thresholds: Iterable[float] = STEPS,
    prevalence: float | None = None,
    groups: Sequence[str] | None = None,
) -> tuple[ThresholdFigures, ...]:
    """Figures at each threshold; arguments and errors as ThresholdFigures.at."""
    return tuple(
        ThresholdFigures.at(scores, positive, threshold, prevalence, groups)
        for threshold in thresholds
    )


def _candidates(scores: Values) -> npt.NDArray[np.float64]:
    """A threshold between every two scores that occur, one below them and one above."""
    seen = np.unique(scores).astype(np.float64)
    between = (seen[1:] + seen[:-1]) / 2
    above = [] if seen[-1] == 1 else [(seen[-1] + 1) / 2]
    return np.concatenate([[0.0], between, above])


def _counts_below(thresholds: npt.NDArray[np.float64], scores: Values) -> npt.NDArray[np.int64]:
    """How many scores lie below each threshold."""
    return np.searchsorted(np.sort(scores).astype(np.float64), thresholds, side="left")


def _ratio(part: float, rest: float) -> float | None:
    return part / (part + rest) if part + rest else None
