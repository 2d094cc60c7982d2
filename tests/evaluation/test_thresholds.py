"""Operating points: by hand, and what they promise."""

import json
from functools import partial

import numpy as np
import pytest

from kit.errors import DataError, SpecError
from kit.evaluation.thresholds import (
    STEPS,
    OperatingPoint,
    Operation,
    ThresholdFigures,
    choose_operating_point,
    threshold_table,
)

SCORES = np.array([0.9, 0.8, 0.6, 0.3, 0.7, 0.4, 0.2, 0.1], np.float32)
POSITIVE = np.array([True, True, True, True, False, False, False, False])


def overlapping(count, seed):
    """Scores between 0 and 1, as float32, that tell positives from negatives now and then."""
    random = np.random.default_rng(seed)
    positive = random.random(count) < 0.4
    positive[:2] = True, False
    scores = 1 / (1 + np.exp(-(random.normal(size=count) + 1.5 * positive - 0.7)))
    return scores.astype(np.float32), positive


def rates(scores, positive, threshold):
    called = scores.astype(np.float64) >= threshold
    return called[positive].mean(), (~called[~positive]).mean()


def test_figures_by_hand():
    found = ThresholdFigures.at(SCORES, POSITIVE, 0.5)
    assert (found.sensitivity.correct, found.sensitivity.n) == (3, 4)
    assert (found.specificity.correct, found.specificity.n) == (3, 4)
    assert (found.precision.correct, found.precision.n) == (3, 4)
    assert found.f1 == 0.75
    assert found.prevalence == 0.5
    assert (found.ppv, found.npv) == (0.75, 0.75)


def test_predictive_values_by_bayes_rule():
    found = ThresholdFigures.at(SCORES, POSITIVE, 0.5, prevalence=0.1)
    assert found.ppv == pytest.approx(0.75 * 0.1 / (0.75 * 0.1 + 0.25 * 0.9))
    assert found.npv == pytest.approx(0.75 * 0.9 / (0.75 * 0.9 + 0.25 * 0.1))
    assert found.precision.value == 0.75  # of these images, whatever the prevalence elsewhere


def test_figures_are_scikit_learns():
    from sklearn.metrics import f1_score, precision_score, recall_score

    scores, positive = overlapping(300, 1)
    for found in threshold_table(scores, positive):
        called = scores >= found.threshold
        assert found.sensitivity.value == pytest.approx(recall_score(positive, called))
        assert found.specificity.value == pytest.approx(recall_score(~positive, ~called))
        assert found.precision.value == pytest.approx(precision_score(positive, called))
        assert found.f1 == pytest.approx(f1_score(positive, called))
        assert found.ppv == pytest.approx(found.precision.value)  # at the images' own prevalence


def test_raising_the_threshold_trades_sensitivity_for_specificity():
    table = threshold_table(*overlapping(300, 2), prevalence=0.05)
    assert [row.threshold for row in table] == list(STEPS)
    assert {row.prevalence for row in table} == {0.05}
    sensitivities = [row.sensitivity.value for row in table]
    specificities = [row.specificity.value for row in table]
    assert sensitivities == sorted(sensitivities, reverse=True)
    assert specificities == sorted(specificities)
    assert sensitivities[0] > sensitivities[-1]


def test_where_nothing_is_called_positive():
    found = ThresholdFigures.at(SCORES, POSITIVE, 0.95, prevalence=0.2)
    assert (found.sensitivity.value, found.specificity.value) == (0, 1)
    assert (found.ppv, found.f1, found.precision.n) == (None, 0, 0)
    assert found.npv == pytest.approx(0.8)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (data["ppv"], data["precision"]["value"]) == (None, None)
    assert data["sensitivity"]["n"] == 4


def test_an_absent_class_leaves_the_other_figure():
    found = ThresholdFigures.at(SCORES, np.zeros(8, bool), 0.5, prevalence=0.1)
    assert (found.sensitivity.n, found.specificity.n) == (0, 8)
    assert (found.ppv, found.npv) == (None, None)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["sensitivity"]["value"] is None
    nothing = ThresholdFigures.at(SCORES, np.zeros(8, bool), 0.95)
    assert nothing.f1 is None


def test_intervals_of_groups_are_wider():
    scores, positive = overlapping(100, 3)
    scores, positive = np.tile(scores, 4), np.tile(positive, 4)
    groups = [str(index % 100) for index in range(400)]
    naive = ThresholdFigures.at(scores, positive, 0.5).sensitivity
    grouped = ThresholdFigures.at(scores, positive, 0.5, groups=groups).sensitivity
    assert grouped.value == naive.value
    assert grouped.high - grouped.low == pytest.approx(2 * (naive.high - naive.low), rel=0.1)


reached = partial(choose_operating_point, confidence=0)
"""Of these images; tests/evaluation/test_promises.py looks at others."""


def test_operating_point_for_a_sensitivity_by_hand():
    # Three of four positives score 0.6 and more; the next score below is 0.4.
    point = reached(SCORES, POSITIVE, "ill", target_sensitivity=0.75)
    assert point.negative_below == point.positive_from == pytest.approx(0.5)
    assert (point.positive, point.target_sensitivity, point.target_specificity) == (
        "ill",
        0.75,
        None,
    )
    assert [point.answer(score) for score in (0.6, 0.4)] == ["positive", "negative"]
    every = reached(SCORES, POSITIVE, "ill", target_sensitivity=1.0)
    assert every.positive_from == pytest.approx(0.25)


def test_operating_point_for_a_specificity_by_hand():
    point = reached(SCORES, POSITIVE, "ill", target_specificity=0.75)
    assert point.negative_below == point.positive_from == pytest.approx(0.5)
    every = reached(SCORES, POSITIVE, "ill", target_specificity=1.0)
    assert every.positive_from == pytest.approx(0.75)


def test_between_two_targets_an_image_is_uncertain():
    point = reached(SCORES, POSITIVE, "ill", target_sensitivity=1.0, target_specificity=1.0)
    assert (point.negative_below, point.positive_from) == pytest.approx((0.25, 0.75))
    answers = [point.answer(float(score)) for score in (0.2, 0.3, 0.7, 0.8, 0.9)]
    assert answers == ["negative", "uncertain", "uncertain", "positive", "positive"]
    found = Operation.of(point, SCORES, POSITIVE, prevalence=0.2)
    assert (found.uncertain.correct, found.uncertain.n) == (4, 8)
    data = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (data["sensitivity"]["value"], data["specificity"]["value"]) == (1, 1)
    assert (data["ppv"], data["npv"], data["prevalence"]) == (1, 1, 0.2)
    assert (data["positive"], data["target_specificity"]) == ("ill", 1.0)
    assert data["uncertain"]["interval_95"][0] > 0.2


def test_targets_that_one_threshold_reaches_leave_no_uncertainty():
    scores, positive = overlapping(400, 4)
    point = reached(scores, positive, "ill", target_sensitivity=0.6, target_specificity=0.6)
    assert point.negative_below == point.positive_from
    sensitivity, specificity = rates(scores, positive, point.positive_from)
    assert min(sensitivity, specificity) > 0.6  # both with something to spare
    assert Operation.of(point, scores, positive).uncertain.correct == 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("target", [0.1, 0.5, 0.7, 0.9, 0.95, 1.0])
def test_targets_are_reached_where_they_were_chosen(seed, target):
    scores, positive = overlapping(97, 10 + seed)
    low = reached(scores, positive, "ill", target_sensitivity=target)
    high = reached(scores, positive, "ill", target_specificity=target)
    sensitivity, _ = rates(scores, positive, low.negative_below)
    _, specificity = rates(scores, positive, high.positive_from)
    assert sensitivity >= target
    assert specificity >= target
    # And no more is given away than must be: the next score on would miss the target.
    above = scores[scores > low.negative_below].min()
    assert rates(scores, positive, np.nextafter(np.float64(above), 2))[0] < target
    below = scores[scores < high.positive_from].max()
    assert rates(scores, positive, float(below))[1] < target


def test_no_score_that_occurs_is_a_threshold():
    scores, positive = overlapping(200, 20)
    for target in (0.5, 0.8, 0.9):
        point = reached(
            scores, positive, "ill", target_sensitivity=target, target_specificity=target
        )
        for threshold in (point.negative_below, point.positive_from):
            assert np.abs(scores.astype(np.float64) - threshold).min() > 0


def test_a_perfect_classifier_is_split_in_the_middle():
    scores, positive = np.array([0.9, 0.8, 0.2, 0.1]), np.array([True, True, False, False])
    point = reached(scores, positive, "ill", target_sensitivity=1.0, target_specificity=1.0)
    assert point.negative_below == point.positive_from == pytest.approx(0.5)


def test_an_inverted_classifier_reaches_a_target_by_one_answer_alone():
    with pytest.raises(
        DataError, match=r"at most 0 of 4 positives .* lowest .* 0\.1000, is that of 1"
    ):
        reached(1 - SCORES, POSITIVE, "ill", target_sensitivity=1.0)
    with pytest.raises(
        DataError, match=r"at most 0 of 4 negatives .* highest .* 0\.9000, is that of 1"
    ):
        reached(1 - SCORES, POSITIVE, "ill", target_specificity=1.0)
    point = reached(1 - SCORES, POSITIVE, "ill", target_sensitivity=0.75, target_specificity=0.75)
    assert rates(1 - SCORES, POSITIVE, point.negative_below)[0] == 0.75
    assert rates(1 - SCORES, POSITIVE, point.positive_from)[1] == 0.75


def test_ties_and_the_ends_of_the_scale():
    scores = np.array([0.0, 0.0, 1.0, 1.0])
    positive = np.array([False, True, False, True])
    assert reached(scores, positive, "ill", target_sensitivity=0.5).positive_from == 0.5
    assert reached(scores, positive, "ill", target_specificity=0.5).positive_from == 0.5
    with pytest.raises(
        DataError, match=r"at most 0 of 2 positives .* lowest .* 0\.0000, is that of 1"
    ):
        reached(scores, positive, "ill", target_sensitivity=1.0)
    with pytest.raises(
        DataError, match=r"at most 0 of 2 negatives .* highest .* 1\.0000, is that of 1"
    ):
        reached(scores, positive, "ill", target_specificity=0.9)


@pytest.mark.parametrize("positives", [29, 45])
def test_one_score_at_the_end_of_the_scale_leaves_nothing_to_promise(positives):
    """As int8 rounds a score; no mistake is allowed among so few."""
    positive = np.arange(100) < positives
    scores = np.where(positive, 0.9, 0.1).astype(np.float32)
    scores[0] = 0
    with pytest.raises(
        DataError, match=rf"sensitivity .* at most 0 of {positives} positives .* 0,"
    ):
        choose_operating_point(scores, positive, "ill", target_sensitivity=0.9)
    assert reached(scores, positive, "ill", target_sensitivity=0.9).positive_from > 0.1
    for highest in (255 / 256, 1):
        end = 1 - scores
        end[0] = highest
        with pytest.raises(
            DataError, match=r"specificity .* tells images apart, .* --confidence 0,"
        ):
            choose_operating_point(end, ~positive, "ill", target_specificity=0.9)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ({}, "got neither"),
        ({"target_sensitivity": 0.0}, "target sensitivity above 0 and at most 1, got 0"),
        ({"target_specificity": 1.1}, "target specificity above 0 and at most 1, got 1.1"),
    ],
)
def test_targets_out_of_range(targets, said):
    with pytest.raises(ValueError, match=said):
        reached(SCORES, POSITIVE, "ill", **targets)


def test_data_that_give_no_operating_point():
    for positive, absent in ((np.ones(8, bool), "other"), (np.zeros(8, bool), "ill")):
        with pytest.raises(DataError, match=f"got none of {absent}"):
            reached(SCORES, positive, "ill", target_sensitivity=0.9)
    with pytest.raises(ValueError, match="expected scores of 0 to 1"):
        reached(3 * SCORES, POSITIVE, "ill", target_sensitivity=0.9)
    with pytest.raises(ValueError, match="prevalence of 0 to 1, got 5"):
        ThresholdFigures.at(SCORES, POSITIVE, 0.5, prevalence=5)
    with pytest.raises(ValueError, match="expected images to measure a threshold on, got none"):
        ThresholdFigures.at(np.zeros(0), np.zeros(0, bool), 0.5)


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.5), (-0.1, 0.5), (0.5, 1.1)])
def test_thresholds_that_contradict_each_other(low, high):
    with pytest.raises(SpecError, match="expected 0 <= negative_below <= positive_from <= 1"):
        OperatingPoint("ill", low, high)
