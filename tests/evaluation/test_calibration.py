"""Scores as probabilities: figures against scikit-learn and by hand, temperature scaling."""

import json
import math

import numpy as np
import pytest

from kit.evaluation.calibration import (
    PRIOR,
    TEMPERATURES,
    Calibration,
    at_temperature,
    brier_score,
    expected_calibration_error,
    fit_temperature,
    log_loss,
    logits_of,
    probabilities,
    reliability,
    scaled_head,
)

SCORES = np.array([[0.8, 0.1, 0.1], [0.3, 0.5, 0.2], [0.2, 0.2, 0.6]])
TRUTH = np.array([0, 1, 0])


def softmax(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def calibrated(count, seed, labels=4, sharpness=2.0):
    """Logits, and truth drawn by the very probabilities that they give."""
    random = np.random.default_rng(seed)
    logits = sharpness * random.normal(size=(count, labels))
    cumulated = softmax(logits).cumsum(axis=1)
    return logits, (random.random((count, 1)) > cumulated[:, :-1]).sum(axis=1)


def test_log_loss_and_brier_by_hand():
    assert log_loss(SCORES, TRUTH) == pytest.approx(-math.log(0.8 * 0.5 * 0.2) / 3)
    squares = (0.04 + 0.01 + 0.01) + (0.09 + 0.25 + 0.04) + (0.64 + 0.04 + 0.36)
    assert brier_score(SCORES, TRUTH) == pytest.approx(squares / 3)


def test_log_loss_and_brier_are_scikit_learns():
    from sklearn.metrics import brier_score_loss
    from sklearn.metrics import log_loss as theirs

    logits, truth = calibrated(200, 1, labels=2)
    scores = softmax(logits)
    assert log_loss(scores, truth) == pytest.approx(theirs(truth, scores))
    # Of two labels both errors are the same, and scikit-learn counts one of them.
    assert brier_score(scores, truth) == pytest.approx(2 * brier_score_loss(truth, scores[:, 1]))


def test_a_score_of_zero_for_the_truth_costs_much_but_no_infinity():
    scores = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)
    assert log_loss(scores, np.array([0, 0])) == pytest.approx(-math.log(2**-23) / 2, rel=1e-4)
    assert log_loss(scores, np.array([0, 1])) == pytest.approx(0, abs=1e-6)
    assert log_loss(np.ones((3, 1)), np.zeros(3, np.int64)) == 0


def test_reliability_by_hand():
    scores = np.array([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0])
    hits = np.array([False, False, True, False, True, True, True])
    bins = reliability(scores, hits, bins=4)
    assert [(one.low, one.high, one.n) for one in bins] == [
        (0.0, 0.25, 3),  # an edge belongs to the interval below
        (0.25, 0.5, 1),
        (0.5, 0.75, 1),
        (0.75, 1.0, 2),
    ]
    assert [one.mean_score for one in bins] == pytest.approx([0.35 / 3, 0.5, 0.75, 0.95])
    assert [one.hit_rate for one in bins] == pytest.approx([1 / 3, 0, 1, 1])
    distances = 3 * (1 / 3 - 0.35 / 3) + 0.5 + 0.25 + 2 * 0.05
    assert expected_calibration_error(bins) == pytest.approx(distances / 7)


def test_reliability_is_scikit_learns():
    from sklearn.calibration import calibration_curve

    random = np.random.default_rng(2)
    scores = random.random(300)
    hits = random.random(300) < scores**2
    found, claimed = calibration_curve(hits, scores, n_bins=10)
    bins = reliability(scores, hits, bins=10)
    assert [one.hit_rate for one in bins] == pytest.approx(list(found))
    assert [one.mean_score for one in bins] == pytest.approx(list(claimed))


def test_empty_bins():
    bins = reliability(np.array([0.95]), np.array([True]), bins=2)
    assert (bins[0].n, bins[0].mean_score, bins[0].hit_rate) == (0, None, None)
    assert expected_calibration_error(bins) == pytest.approx(0.05)
    assert math.isnan(expected_calibration_error(reliability(np.zeros(0), np.zeros(0, bool))))


def test_calibrated_scores_have_hardly_an_error():
    logits, truth = calibrated(20000, 3)
    found = Calibration.of(softmax(logits), truth)
    assert found.ece < 0.012
    assert found.ece == pytest.approx(found.ece_if_calibrated, abs=0.006)
    sure = Calibration.of(softmax(3 * logits), truth)
    assert sure.ece > 0.1 > 5 * sure.ece_if_calibrated
    assert sure.log_loss > found.log_loss
    assert sure.brier > found.brier


def test_chance_alone_leaves_an_error():
    # Over many small samples of calibrated scores the mean error is what was foretold of each.
    found = [Calibration.of(softmax(logits), truth) for logits, truth in map(small, range(60))]
    foretold = np.mean([one.ece_if_calibrated for one in found])
    assert foretold > 0.04
    assert np.mean([one.ece for one in found]) == pytest.approx(foretold, rel=0.1)


def small(seed):
    return calibrated(150, 100 + seed)


def test_calibration_as_json():
    data = json.loads(json.dumps(Calibration.of(SCORES, TRUTH).to_json(), allow_nan=False))
    assert data["log_loss"] == pytest.approx(log_loss(SCORES, TRUTH), abs=1e-6)
    assert sum(one["n"] for one in data["reliability"]) == 3
    assert {one["hit_rate"] for one in data["reliability"]} == {0, 1}
    assert set(data) == {"log_loss", "brier", "ece", "ece_if_calibrated", "reliability"}


def test_quantised_scores_nearly_sum_to_one():
    logits, _ = calibrated(50, 4)
    rounded = np.round(softmax(logits) * 256) / 256
    assert np.abs(rounded.sum(axis=1) - 1).max() > 0
    assert probabilities(rounded).sum(axis=1) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ([[2.0, -1.0]], "minimum of -1 and sums of 1 to 1"),
        ([[0.9, 0.8]], r"sums of 1\.7"),
        ([[math.nan, 1.0]], "nan"),
        (np.zeros((0, 2)), "got none"),
    ],
)
def test_scores_that_are_no_probabilities(scores, said):
    with pytest.raises(ValueError, match=said):
        probabilities(np.array(scores))


def test_scores_out_of_range_have_no_reliability():
    with pytest.raises(ValueError, match=r"scores of 0 to 1, got 0\.5 to 1\.5"):
        reliability(np.array([0.5, 1.5]), np.array([True, True]))
    with pytest.raises(ValueError, match="expected truth of 2 images, got 1"):
        reliability(np.array([0.5, 0.5]), np.array([True]))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_is_found_again(temperature):
    logits, truth = calibrated(8000, 5)
    assert fit_temperature(temperature * logits, truth) == pytest.approx(temperature, rel=0.05)


def test_the_temperature_has_the_least_log_loss():
    logits, truth = calibrated(8000, 6)
    scores = softmax(2.5 * logits)
    best = fit_temperature(logits_of(scores), truth)
    losses = [log_loss(at_temperature(scores, best * factor), truth) for factor in (0.9, 1, 1.1)]
    assert losses[1] == min(losses)
    assert losses[1] < log_loss(scores, truth)


def test_logits_of_scores_serve_as_well():
    logits, truth = calibrated(300, 7)
    assert fit_temperature(logits_of(softmax(logits)), truth) == pytest.approx(
        fit_temperature(logits, truth), rel=1e-4
    )
    assert np.isfinite(logits_of(np.array([0.0, 1.0]))).all()


def test_scaling_leaves_the_order():
    logits, _ = calibrated(100, 8)
    scores = softmax(logits)
    for temperature in (0.4, 2.0):
        scaled = at_temperature(scores, temperature)
        assert np.array_equal(scaled.argsort(axis=1), scores.argsort(axis=1))
        assert scaled.sum(axis=1) == pytest.approx(1, abs=1e-6)


def test_the_temperature_by_its_definition():
    logits, truth = calibrated(60, 9)
    grid = np.exp(np.linspace(-0.5, 0.5, 1001))
    losses = [
        60 * log_loss(softmax(logits / one), truth) + (math.log(one) / PRIOR) ** 2 / 2
        for one in grid
    ]
    expected = grid[int(np.argmin(losses))]
    assert fit_temperature(logits, truth) == pytest.approx(expected, rel=1e-3)


def test_few_images_move_it_little():
    right = np.array([[2.0, 0.0], [0.0, 1.0], [3.0, 1.0]])
    found = fit_temperature(right, np.array([0, 1, 0]))
    assert 0.9 < found < 1  # all right: alone they would ask for scores of 1
    many = fit_temperature(np.tile(right, (400, 1)), np.tile([0, 1, 0], 400))
    assert many < 0.5 * found
    wrong = fit_temperature(right, np.array([1, 0, 1]))
    assert 1 < wrong < 1.3


def test_a_temperature_stays_within_bounds():
    logits, truth = calibrated(20000, 9)
    assert fit_temperature(-50 * logits, truth) == pytest.approx(TEMPERATURES[1], rel=0.01)


def test_no_temperature_without_images():
    with pytest.raises(ValueError, match="expected images to fit a temperature on, got none"):
        fit_temperature(np.zeros((0, 3)), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="expected truth of 3 images, got 2"):
        fit_temperature(np.zeros((3, 2)), np.zeros(2, np.int64))


@pytest.fixture(scope="module")
def classifier():
    import keras

    keras.utils.set_random_seed(1)
    inputs = keras.Input((6,))
    hidden = keras.layers.BatchNormalization()(keras.layers.Dense(5, activation="relu")(inputs))
    scores = keras.layers.Dense(3, activation="softmax", kernel_regularizer="l2", name="scores")
    model = keras.Model(inputs, scores(hidden), name="classifier")
    model.layers[-1].bias.assign([0.5, -0.5, 0.1])
    return model


@pytest.mark.tf
def test_the_temperature_folds_into_the_head(classifier):
    vectors = np.random.default_rng(11).normal(size=(20, 6)).astype(np.float32)
    before = np.asarray(classifier(vectors))
    scaled = scaled_head(classifier, 2.5)
    assert np.asarray(scaled(vectors)) == pytest.approx(at_temperature(before, 2.5), abs=1e-6)
    assert np.array_equal(np.asarray(classifier(vectors)), before)  # the original stays
    assert scaled.layers[-1].name == "scores"


@pytest.mark.tf
def test_a_model_without_softmax_is_refused(classifier):
    import keras

    linear = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="expected a model that ends in a Dense layer"):
        scaled_head(linear, 2.0)
    for temperature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="expected a temperature above 0"):
            scaled_head(classifier, temperature)
