"""Promises for new images: the exact test, and that they are kept."""

import numpy as np
import pytest
from scipy.stats import beta, binom

from kit.errors import DataError
from kit.evaluation.promises import hardest, least_count, most_missed
from kit.evaluation.thresholds import Targets, choose_operating_point

DRAWS = 1000


@pytest.mark.parametrize("count", [1, 28, 29, 59, 100, 1000, 20000])
@pytest.mark.parametrize("target", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
def test_mistakes_by_another_library(count, target, confidence):
    found = most_missed(count, target, confidence)
    allowed = np.flatnonzero(binom.cdf(np.arange(count + 1), count, 1 - target) <= 1 - confidence)
    assert found == (allowed[-1] if len(allowed) else None)
    if found is not None:  # the same said by order statistics
        assert beta.cdf(1 - target, found + 1, count - found) >= confidence - 1e-6


@pytest.mark.parametrize("target", [0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_the_least_count_is_the_least(target, confidence):
    least = least_count(target, confidence)
    assert most_missed(least, target, confidence) is not None
    assert least == 1 or most_missed(least - 1, target, confidence) is None
    assert least_count(0.9, 0.95) == 29


def test_without_confidence_it_is_the_share_of_these():
    assert [most_missed(count, 0.9, 0) for count in (4, 10, 97)] == [0, 1, 9]


def test_a_patient_counts_by_the_hardest_image():
    scores = np.array([0.9, 0.2, 0.5, 0.7], np.float32)
    groups = ["a", "a", "b", "a"]
    assert hardest(scores, groups, lowest=True).tolist() == pytest.approx([0.2, 0.5])
    assert hardest(scores, groups, lowest=False).tolist() == pytest.approx([0.9, 0.5])
    assert hardest(scores, None, lowest=True) is scores


def scores_of(random, positive, patients):
    """Scores of one label: higher for positives; images of a patient are alike."""
    effect = random.normal(0, 1, patients.max() + 1)[patients]
    alike = 0.7 if len(set(patients)) < len(patients) else 0.0
    noise = alike * effect + np.sqrt(1 - alike**2) * random.normal(0, 1, len(positive))
    return 1 / (1 + np.exp(-(noise + 1.8 * positive - 1)))


def drawn(random, count, prevalence, steps, images):
    """A part of a data set: scores, which are positive, and whose they are.

    Each patient has one kind of image, and a number of them from 1 to `images`.
    """
    patients = np.repeat(np.arange(count), random.integers(1, images + 1, count))
    positive = (random.random(count) < prevalence)[patients]
    scores = scores_of(random, positive, patients)
    return (np.rint(scores * steps) / steps if steps else scores), positive, patients


@pytest.mark.parametrize(
    ("count", "prevalence", "steps", "images"),
    [
        (150, 0.5, 0, 1),
        (600, 0.5, 0, 1),
        (600, 0.1, 0, 1),
        (600, 0.5, 255, 1),  # as int8 scores them
        (600, 0.5, 8, 1),
        (300, 0.5, 0, 5),
    ],
    ids=["few", "many", "rare", "int8", "tied", "patients"],
)
def test_promises_are_kept_in_95_of_100_draws(count, prevalence, steps, images):
    """The share of draws in which all of a million new images reach the target."""
    random = np.random.default_rng(0)
    new, positive, _ = drawn(random, 200_000, 0.5, steps, images)
    ill, well = np.sort(new[positive]), np.sort(new[~positive])
    kept = {0.0: 0, 0.95: 0}
    specificity = {0.0: 0.0, 0.95: 0.0}
    for _ in range(DRAWS):
        scores, truth, patients = drawn(random, count, prevalence, steps, images)
        groups = [str(one) for one in patients] if images > 1 else None
        for confidence in kept:
            point = choose_operating_point(
                *(scores, truth, "ill"),
                target_sensitivity=0.9,
                confidence=confidence,
                groups=groups,
            )
            missed = np.searchsorted(ill, point.positive_from) / len(ill)
            kept[confidence] += missed <= 0.1
            specificity[confidence] += np.searchsorted(well, point.positive_from) / len(well)
    assert kept[0.95] >= 0.95 * DRAWS
    if steps != 8:  # with few scores to choose from, chance decides about much
        assert kept[0.0] < 0.65 * DRAWS
    # What the promise costs: at 60 positives and 95 %, half of these negatives' share at most.
    assert specificity[0.95] > 0.5 * specificity[0.0]


def test_both_promises_are_kept_together():
    random = np.random.default_rng(1)
    new, positive, _ = drawn(random, 200_000, 0.5, 0, 1)
    ill, well = np.sort(new[positive]), np.sort(new[~positive])
    kept = 0
    for _ in range(DRAWS):
        scores, truth, _ = drawn(random, 400, 0.5, 0, 1)
        point = choose_operating_point(
            *(scores, truth, "ill"), target_sensitivity=0.9, target_specificity=0.8
        )
        missed = np.searchsorted(ill, point.negative_below) / len(ill)
        cleared = np.searchsorted(well, point.positive_from) / len(well)
        kept += missed <= 0.1 and cleared >= 0.8
    assert 0.95 * DRAWS <= kept < 0.99 * DRAWS


def test_too_few_images_say_how_many_it_takes():
    positive = np.arange(60) < 20
    scores = np.linspace(1, 0, 60)
    with pytest.raises(DataError, match="at least 29 positive images in the validation part"):
        choose_operating_point(scores, positive, "ill", target_sensitivity=0.9)
    point = choose_operating_point(scores, positive, "ill", target_sensitivity=0.85)
    assert (point.confidence, point.positives, point.negatives) == (0.95, 20, 40)
    groups = [str(index // 2) for index in range(60)]
    with pytest.raises(DataError, match=r"at least 19 independent positives .* got 10 of 20 "):
        choose_operating_point(scores, positive, "ill", target_sensitivity=0.85, groups=groups)
    with pytest.raises(DataError, match=r"at least 59 negative images .* got 40"):
        Targets("ill", specificity=0.95).check_enough(positive)
    Targets("ill", specificity=0.9).check_enough(positive)
    Targets("ill", 0.99, 0.99, confidence=0).check_enough(positive)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ({"sensitivity": 1.0}, "expected a target sensitivity below 1, which no number of images"),
        ({"sensitivity": 0.9, "confidence": 1.0}, "expected a confidence of 0 to below 1, got 1"),
        ({"sensitivity": 0.9, "confidence": -0.1}, "expected a confidence of 0 to below 1"),
    ],
)
def test_what_nobody_can_promise(targets, said):
    with pytest.raises(ValueError, match=said):
        Targets("ill", **targets)
