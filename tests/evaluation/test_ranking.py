"""Curves and areas against scikit-learn and by hand; what their intervals promise."""

import json
import math

import numpy as np
import pytest

from kit.evaluation.ranking import (
    Auc,
    group_bootstrap,
    macro_auc,
    precision_recall_curve,
    rank_labels,
    roc_curve,
    weighted_auc,
)

SCORES = np.array([0.1, 0.4, 0.35, 0.8])
POSITIVE = np.array([False, False, True, True])


def binormal(random, positives, negatives, apart=1.5):
    """Normal scores of both classes, `apart` standard deviations from each other."""
    positive = np.arange(positives + negatives) < positives
    return random.normal(size=len(positive)) + apart * positive, positive


def delong_by_definition(scores, positive):
    """E. R. DeLong et al. 1988: every pair compared, the variance of the structural components."""
    above, below = scores[positive], scores[~positive]
    kernel = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    variance = kernel.mean(axis=1).var(ddof=1) / len(above)
    variance += kernel.mean(axis=0).var(ddof=1) / len(below)
    return kernel.mean(), variance


def test_area_by_hand():
    # Of four pairs only (0.35, 0.4) is the wrong way round.
    assert Auc.of(SCORES, POSITIVE).value == 0.75
    assert (Auc.of(SCORES, POSITIVE).positives, Auc.of(SCORES, POSITIVE).negatives) == (2, 2)


@pytest.mark.parametrize("digits", [1, 8])  # with one digit most scores are tied
def test_area_and_interval_by_definition(digits):
    from scipy.special import expit, logit
    from sklearn.metrics import roc_auc_score

    scores, positive = binormal(np.random.default_rng(3), 60, 90)
    scores = scores.round(digits)
    value, variance = delong_by_definition(scores, positive)
    half = 1.959963984540054 * math.sqrt(variance) / (value * (1 - value))
    found = Auc.of(scores, positive)
    assert found.value == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert found.value == pytest.approx(value, abs=1e-12)
    assert (found.low, found.high) == pytest.approx(
        (expit(logit(value) - half), expit(logit(value) + half)), abs=1e-9
    )
    assert found.method == "DeLong"


def test_area_sees_the_order_alone():
    scores, positive = binormal(np.random.default_rng(4), 40, 50)
    assert Auc.of(np.exp(3 * scores), positive) == Auc.of(scores, positive)
    inverted = Auc.of(-scores, positive)
    assert inverted.value == pytest.approx(1 - Auc.of(scores, positive).value)
    assert inverted.low == pytest.approx(1 - Auc.of(scores, positive).high)


def test_the_interval_contains_the_area_and_shrinks():
    random = np.random.default_rng(5)
    widths = []
    for size in (20, 80, 320, 1280):
        found = Auc.of(*binormal(random, size, size))
        assert 0 < found.low < found.value < found.high < 1
        widths.append(found.high - found.low)
    assert widths == sorted(widths, reverse=True)
    assert widths[0] / widths[-1] == pytest.approx(8, rel=0.4)  # as the root of 64


def test_the_interval_covers_the_true_area():
    from scipy.stats import norm

    random = np.random.default_rng(6)
    true = norm.cdf(1.5 / math.sqrt(2))
    found = [Auc.of(*binormal(random, 40, 60)) for _ in range(600)]
    covered = np.mean([one.low <= true <= one.high for one in found])
    assert 0.92 < covered < 0.98  # 0.95, and three standard errors


@pytest.mark.parametrize("positives", [2, 4])
def test_the_interval_covers_the_true_area_with_few_positives(positives):
    from scipy.stats import norm

    random = np.random.default_rng(8)
    true = norm.cdf(0.7 / math.sqrt(2))
    found = [Auc.of(*binormal(random, positives, 60, apart=0.7)) for _ in range(300)]
    assert np.mean([one.low <= true <= one.high for one in found]) > 0.93


def test_a_perfect_ranking_keeps_an_interval():
    positive = np.arange(40) < 20
    perfect, inverted = Auc.of(positive * 1.0, positive), Auc.of(-1.0 * positive, positive)
    assert (perfect.value, perfect.high, perfect.method) == (1.0, 1.0, "Newcombe")
    assert 0.8 < perfect.low < 0.95
    assert (inverted.value, inverted.low) == (0.0, 0.0)
    assert inverted.high == pytest.approx(1 - perfect.low, abs=1e-6)
    more = np.arange(400) < 200
    assert Auc.of(more * 1.0, more).low > perfect.low


def test_newcombe_by_formula():
    positive = np.arange(30) < 10
    area = Auc.of(positive * 1.0, positive).low
    # R. G. Newcombe 2006, method 5: at its end the interval is z standard errors from the value.
    inner = 1 + (30 / 2 - 1) * ((1 - area) / (2 - area) + area / (1 + area))
    error = math.sqrt(area * (1 - area) * inner / 200)
    assert 1 - area == pytest.approx(1.959963984540054 * error, rel=1e-6)


def test_scores_that_say_nothing():
    positive = np.arange(60) < 30
    found = Auc.of(np.full(60, 0.5), positive)
    assert found.value == 0.5
    assert found.low < 0.4 < 0.6 < found.high


def test_a_single_positive_has_an_interval():
    positive = np.arange(10) == 9
    found = Auc.of(np.array([0, 1, 2, 3, 4, 5, 6, 7, 9, 8.0]), positive)
    assert found.value == pytest.approx(8 / 9)
    assert found.low < 0.5
    assert found.high < 1


@pytest.mark.parametrize(("value", "absent"), [(True, "negative"), (False, "positive")])
def test_an_absent_class_is_a_reason(value, absent):
    found = Auc.of(SCORES, np.full(4, value))
    assert (found.value, found.low, found.high) == (None, None, None)
    assert f"no {absent} one" in found.reason
    assert f"no {absent} one" in str(found)
    data = found.to_json()
    assert data["value"] is None
    assert data["reason"] == found.reason


def test_one_image_a_group_is_as_without_groups():
    scores, positive = binormal(np.random.default_rng(7), 100, 100)
    alone = Auc.of(scores, positive)
    grouped = Auc.of(scores, positive, [str(index) for index in range(200)])
    assert grouped.method == "group bootstrap"
    assert grouped.value == alone.value
    assert (grouped.low, grouped.high) == pytest.approx((alone.low, alone.high), abs=0.02)


def test_groups_of_copies_widen_the_interval():
    scores, positive = binormal(np.random.default_rng(8), 50, 50)
    once = Auc.of(scores, positive)
    groups = [str(index % 100) for index in range(900)]
    copied = Auc.of(np.tile(scores, 9), np.tile(positive, 9), groups)
    naive = Auc.of(np.tile(scores, 9), np.tile(positive, 9))
    assert naive.high - naive.low < 0.4 * (once.high - once.low)  # copies are no news
    assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.2)


@pytest.mark.parametrize("patients", [1, 2])
def test_few_patients_are_few_however_many_images_they_have(patients):
    from scipy.stats import norm

    random = np.random.default_rng(13)
    group = np.arange(patients + 40).repeat(4)
    positive, names = group < patients, [str(one) for one in group]
    covered = 0
    for _ in range(40):
        effect, noise = random.normal(size=patients + 40)[group], random.normal(size=len(group))
        scores = math.sqrt(0.8) * effect + math.sqrt(0.2) * noise + 1.5 * positive
        found = Auc.of(scores, positive, names)
        covered += found.low <= norm.cdf(1.5 / math.sqrt(2)) <= found.high
    assert covered >= 0.9 * 40


def test_a_perfect_ranking_of_groups_counts_groups():
    positive = np.arange(40) < 20
    groups = [str(index // 10) for index in range(40)]
    found = Auc.of(positive * 1.0, positive, groups)
    assert found.method == "Newcombe"
    assert found.low == Auc.of(np.array([1.0, 1, 0, 0]), np.array([True, True, False, False])).low


def test_weighted_area_is_scikit_learns():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(9)
    scores, positive = binormal(random, 40, 40)
    scores = scores.round(1)
    weights = random.integers(0, 4, 80)
    expected = roc_auc_score(positive, scores, sample_weight=weights)
    assert weighted_auc(scores, positive)(weights) == pytest.approx(expected, abs=1e-12)
    assert math.isnan(weighted_auc(scores, positive)(weights * positive))


def test_bootstrap_of_a_mean():
    random = np.random.default_rng(10)
    values = random.normal(size=400)
    groups = [str(index) for index in range(400)]
    low, high = group_bootstrap(lambda weights: float(np.average(values, weights=weights)), groups)
    error = values.std(ddof=1) / 20
    expected = (values.mean() - 1.96 * error, values.mean() + 1.96 * error)
    assert (low, high) == pytest.approx(expected, abs=0.015)
    assert group_bootstrap(lambda weights: math.nan, groups, resamples=5) is None


def test_roc_curve_by_hand():
    curve = roc_curve(SCORES, POSITIVE)
    assert curve.false_positive_rate == (0, 0, 0.5, 0.5, 1)
    assert curve.sensitivity == (0, 0.5, 0.5, 1, 1)
    assert curve.thresholds == (math.inf, 0.8, 0.4, 0.35, 0.1)
    assert curve.to_json()["thresholds"] == [None, 0.8, 0.4, 0.35, 0.1]


def test_the_area_is_that_below_the_curve():
    from sklearn.metrics import auc

    scores, positive = binormal(np.random.default_rng(11), 70, 50)
    curve = roc_curve(scores, positive)
    area = auc(curve.false_positive_rate, curve.sensitivity)
    assert Auc.of(scores, positive).value == pytest.approx(area)


def test_precision_recall_by_hand():
    curve = precision_recall_curve(SCORES, POSITIVE)
    assert curve.recall == (1, 1, 0.5, 0.5, 0)
    assert curve.precision == pytest.approx((0.5, 2 / 3, 0.5, 1, 1))
    assert curve.thresholds == (0.1, 0.35, 0.4, 0.8, math.inf)
    assert curve.average_precision == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert len({len(curve.recall), len(curve.precision), len(curve.thresholds)}) == 1


def test_each_label_against_the_rest():
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(12)
    truth = random.integers(0, 3, 120)
    scores = random.dirichlet(np.ones(3), 120) + 0.3 * np.eye(3)[truth]
    scores /= scores.sum(axis=1, keepdims=True)
    rankings = rank_labels(scores, truth, ("a", "b", "c"))
    assert [ranking.label for ranking in rankings] == ["a", "b", "c"]
    expected = roc_auc_score(truth, scores, multi_class="ovr", average="macro")
    assert macro_auc([ranking.auc for ranking in rankings]) == pytest.approx(expected)


def test_a_label_without_images_has_no_curve():
    scores = np.array([[0.7, 0.3, 0.0], [0.4, 0.6, 0.0], [0.2, 0.8, 0.0]])
    *known, absent = rank_labels(scores, np.array([0, 1, 1]), ("a", "b", "c"))
    assert [ranking.auc.value for ranking in known] == [1, 1]
    assert (absent.auc.value, absent.roc, absent.precision_recall) == (None, None, None)
    data = json.loads(json.dumps(absent.to_json(), allow_nan=False))
    assert data["roc"] is None
    assert "no positive one" in data["auc"]["reason"]
    assert macro_auc([absent.auc]) is None
    text = json.dumps([ranking.to_json() for ranking in known], allow_nan=False)
    assert json.loads(text)[0]["auc"]["method"] == "Newcombe"


def test_lengths_that_differ():
    with pytest.raises(ValueError, match="expected truth of 4 images, got 3"):
        Auc.of(SCORES, POSITIVE[:3])
    with pytest.raises(ValueError, match="expected groups of 4 images, got 1"):
        Auc.of(SCORES, POSITIVE, ["a"])
