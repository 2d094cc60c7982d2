"""Figures against ones computed by hand."""

import csv
import io
import json
import math

import numpy as np
import pytest

from kit.evaluation import Accuracy, Agreement, Calibration, Evaluation

LABELS = ("daisy", "rose", "tulip")
SCORES = np.array(
    [
        [0.8, 0.1, 0.1],  # daisy, right
        [0.5, 0.3, 0.2],  # daisy, right
        [0.1, 0.6, 0.3],  # daisy, taken for a rose
        [0.2, 0.7, 0.1],  # rose, right
        [0.1, 0.1, 0.8],  # rose, taken for a tulip
    ],
    np.float32,
)
TRUTH = np.array([0, 0, 0, 1, 1])
IMAGES = ["d/1.jpg", "d/2.jpg", "d/3,4.jpg", "r/1.jpg", "r/2.jpg"]


def wilson(correct, n):
    """E. B. Wilson (1927): the formula, written out."""
    z = 1.959963984540054
    centre = (correct + z * z / 2) / (n + z * z)
    half = z / (n + z * z) * math.sqrt(correct * (n - correct) / n + z * z / 4)
    return centre - half, centre + half


def test_wilson_interval_by_hand():
    accuracy = Accuracy.of(8, 10)
    assert accuracy.value == 0.8
    # centre (8 + 1.9207) / 13.8415 = 0.71674, half 1.95996 / 13.8415 * sqrt(2.5604) = 0.22658
    assert (accuracy.low, accuracy.high) == pytest.approx((0.49016, 0.94332), abs=1e-5)


@pytest.mark.parametrize(("correct", "n"), [(0, 20), (20, 20), (1, 3), (651, 736), (1, 1)])
def test_wilson_interval_by_formula(correct, n):
    accuracy = Accuracy.of(correct, n)
    assert (accuracy.low, accuracy.high) == pytest.approx(wilson(correct, n), abs=1e-9)


def test_no_answers():
    accuracy = Accuracy.of(0, 0)
    assert math.isnan(accuracy.value)
    assert (accuracy.low, accuracy.high) == (0.0, 1.0)


@pytest.mark.parametrize(("correct", "n"), [(3, 2), (-1, 2)])
def test_impossible_counts(correct, n):
    with pytest.raises(ValueError, match=r"."):
        Accuracy.of(correct, n)


def test_no_answers_are_null_in_json():
    assert json.loads(json.dumps(Accuracy.of(0, 0).to_json(), allow_nan=False)) == {
        "accuracy": None,
        "n": 0,
        "correct": 0,
        "interval_95": [0.0, 1.0],
    }


def test_answers_without_groups_are_independent():
    right = np.array([True, True, False, True])
    assert Accuracy.of_answers(right) == Accuracy.of(3, 4)
    assert Accuracy.of_answers(right, among=np.array([False, True, True, True])) == Accuracy.of(
        2, 3
    )
    assert Accuracy.of_answers(np.zeros(0, bool), []) == Accuracy.of(0, 0)


def test_copies_of_an_answer_are_no_news():
    right = np.arange(60) % 3 > 0
    groups = [str(index % 60) for index in range(240)]
    once, copied = Accuracy.of_answers(right), Accuracy.of_answers(np.tile(right, 4), groups)
    assert (copied.correct, copied.n) == (160, 240)
    # 60/59 from the variance between groups, which counts one group less.
    assert (copied.low, copied.high) == pytest.approx(wilson(40 * 59 / 60, 59), abs=1e-9)
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high), abs=0.002)


def test_groups_that_are_not_alike_leave_the_interval():
    right = np.arange(60) % 2 > 0
    groups = [str(index // 2) for index in range(60)]  # one right and one wrong in each
    assert Accuracy.of_answers(right, groups).low == pytest.approx(Accuracy.of(30, 60).low)
    # Of one patient alone nothing is known but one answer.
    assert Accuracy.of_answers(right, ["one"] * 60).low == pytest.approx(wilson(0.5, 1)[0])


def test_where_all_groups_are_right_each_counts_once():
    found = Accuracy.of_answers(np.ones(40, bool), [str(index // 10) for index in range(40)])
    assert (found.value, found.n) == (1, 40)
    assert (found.low, found.high) == pytest.approx(wilson(4, 4))


def test_intervals_of_groups_cover_the_true_share():
    random = np.random.default_rng(21)
    groups = [str(index // 5) for index in range(300)]
    covered = {True: 0, False: 0}
    for _ in range(400):
        patients = random.beta(4, 1, 60)  # mean 0.8, alike within a patient
        right = random.random(300) < np.repeat(patients, 5)
        for grouped in covered:
            found = Accuracy.of_answers(right, groups if grouped else None)
            covered[grouped] += found.low <= 0.8 <= found.high
    assert 0.91 < covered[True] / 400 < 0.985
    assert covered[False] < covered[True] - 8  # what groups are given for


def test_accuracy_is_said_with_n_and_interval():
    assert str(Accuracy.of(8, 10)) == "0.8000 (0.4902 to 0.9433, N=10)"
    assert Accuracy.of(8, 10).to_json() == {
        "accuracy": 0.8,
        "n": 10,
        "correct": 8,
        "interval_95": [0.490162, 0.943318],
    }


def test_evaluation_by_hand():
    evaluation = Evaluation.of(SCORES, TRUTH, LABELS, IMAGES)
    assert (evaluation.accuracy.correct, evaluation.accuracy.n) == (3, 5)
    assert [(a.correct, a.n) for a in evaluation.per_class] == [(2, 3), (1, 2), (0, 0)]
    assert evaluation.confusion == ((2, 1, 0), (0, 1, 1), (0, 0, 0))
    assert evaluation.mean_score_of_hits == pytest.approx((0.8 + 0.5 + 0.7) / 3, abs=1e-6)


def test_no_threshold_where_misses_are_surer_than_hits():
    evaluation = Evaluation.of(SCORES, TRUTH, LABELS, IMAGES)
    # Hits 0.667 on average, misses 0.7: a threshold would throw out more hits than misses.
    assert evaluation.mean_score_of_misses == pytest.approx(0.7, abs=1e-6)
    assert evaluation.suggested_threshold is None


def test_threshold_lies_half_way_between_the_means():
    scores = SCORES.copy()
    scores[4] = [0.3, 0.3, 0.4]
    evaluation = Evaluation.of(scores, TRUTH, LABELS, IMAGES)
    assert evaluation.mean_score_of_misses == pytest.approx(0.5, abs=1e-6)
    assert evaluation.suggested_threshold == pytest.approx((2 / 3 + 0.5) / 2, abs=1e-6)


def test_no_misses():
    evaluation = Evaluation.of(SCORES[:2], TRUTH[:2], LABELS, IMAGES[:2])
    assert evaluation.mean_score_of_misses is None
    assert evaluation.suggested_threshold is None
    assert evaluation.misclassified == ()
    assert evaluation.misclassified_csv() == "image,label,predicted,score\n"
    assert evaluation.to_json()["mean_score_of_misses"] is None


def test_no_hits():
    evaluation = Evaluation.of(SCORES[2:3], TRUTH[2:3], LABELS, IMAGES[2:3])
    assert evaluation.accuracy.value == 0
    assert evaluation.mean_score_of_hits is None
    assert evaluation.mean_score_of_misses == pytest.approx(0.6, abs=1e-6)
    assert evaluation.suggested_threshold is None


def test_wrong_answers_surest_first():
    wrong = Evaluation.of(SCORES, TRUTH, LABELS, IMAGES).misclassified
    assert [(w.image, w.label, w.predicted) for w in wrong] == [
        ("r/2.jpg", "rose", "tulip"),
        ("d/3,4.jpg", "daisy", "rose"),
    ]
    assert [w.score for w in wrong] == pytest.approx([0.8, 0.6])


def test_wrong_answers_as_a_table():
    text = Evaluation.of(SCORES, TRUTH, LABELS, IMAGES).misclassified_csv()
    assert list(csv.reader(io.StringIO(text))) == [
        ["image", "label", "predicted", "score"],
        ["r/2.jpg", "rose", "tulip", "0.800000"],
        ["d/3,4.jpg", "daisy", "rose", "0.600000"],
    ]


def test_evaluation_as_json():
    data = Evaluation.of(SCORES, TRUTH, LABELS, IMAGES).to_json()
    assert (data["accuracy"], data["n"], data["correct"]) == (0.6, 5, 3)
    assert data["labels"] == list(LABELS)
    assert data["confusion_matrix"] == [[2, 1, 0], [0, 1, 1], [0, 0, 0]]
    assert set(data["per_class"]) == {"daisy", "rose"}  # of tulips nothing is known
    assert data["per_class"]["daisy"]["accuracy"] == 0.666667
    assert data["misclassified"][0] == {
        "image": "r/2.jpg",
        "label": "rose",
        "predicted": "tulip",
        "score": 0.8,
    }


def test_evaluation_agrees_with_scikit_learn():
    from sklearn.metrics import accuracy_score, confusion_matrix, recall_score

    random = np.random.default_rng(1)
    scores = random.dirichlet(np.ones(5), 300).astype(np.float32)
    truth = random.integers(0, 5, 300)
    evaluation = Evaluation.of(scores, truth, tuple("abcde"), [str(i) for i in range(300)])
    answers = scores.argmax(axis=1)
    assert evaluation.accuracy.value == pytest.approx(accuracy_score(truth, answers))
    assert np.array_equal(evaluation.confusion, confusion_matrix(truth, answers))
    recall = recall_score(truth, answers, average=None)
    assert [a.value for a in evaluation.per_class] == pytest.approx(list(recall))


def test_precision_recall_f1_areas_and_calibration():
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    random = np.random.default_rng(2)
    truth = random.integers(0, 4, 200)
    scores = random.dirichlet(np.ones(4), 200) + 0.4 * np.eye(4)[truth]
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    evaluation = Evaluation.of(scores, truth, tuple("abcd"), [""] * 200)
    precision, _, f1, _ = precision_recall_fscore_support(truth, scores.argmax(axis=1))
    assert [one.value for one in evaluation.precision] == pytest.approx(list(precision))
    assert evaluation.f1 == pytest.approx(tuple(f1))
    assert evaluation.calibration == Calibration.of(scores, truth)
    data = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    expected = roc_auc_score(truth, scores, multi_class="ovr")
    assert data["macro_auc"] == pytest.approx(expected, abs=1e-6)
    assert data["macro_f1"] == pytest.approx(f1.mean(), abs=1e-6)
    assert data["log_loss"] == pytest.approx(evaluation.calibration.log_loss, abs=1e-6)
    one = data["per_class"]["c"]
    assert one["precision"]["value"] == pytest.approx(precision[2], abs=1e-6)
    assert one["precision"]["n"] == (scores.argmax(axis=1) == 2).sum()
    assert one["auc"]["positives"] == (truth == 2).sum()


def test_what_is_not_known_is_null_with_a_reason():
    evaluation = Evaluation.of(
        3 * SCORES[:2], TRUTH[:2], LABELS, IMAGES[:2]
    )  # one class, no scores
    data = json.loads(json.dumps(evaluation.to_json(), allow_nan=False))
    assert (data["log_loss"], data["brier"], data["ece"], data["macro_auc"]) == (None,) * 4
    assert "they are no probabilities" in data["calibration_reason"]
    assert data["reliability"] == []
    assert "no negative one" in data["per_class"]["daisy"]["auc"]["reason"]
    assert evaluation.f1 == (1, None, None)
    assert evaluation.precision[1].n == 0


def test_groups_widen_every_interval():
    random = np.random.default_rng(3)
    truth = random.integers(0, 2, 60)
    scores = random.dirichlet(np.ones(2), 60) + 0.5 * np.eye(2)[truth]
    scores, truth = np.tile(scores / 1.5, (4, 1)).astype(np.float32), np.tile(truth, 4)
    images, groups = [""] * 240, [str(index % 60) for index in range(240)]
    naive = Evaluation.of(scores, truth, ("a", "b"), images)
    grouped = Evaluation.of(scores, truth, ("a", "b"), images, groups)
    for one, other in (
        (naive.accuracy, grouped.accuracy),
        (naive.per_class[0], grouped.per_class[0]),
        (naive.precision[1], grouped.precision[1]),
        (naive.auc[0], grouped.auc[0]),
    ):
        assert one.value == other.value
        assert other.high - other.low > 1.5 * (one.high - one.low)


def test_agreement():
    other = SCORES.copy()
    other[0] = [0.45, 0.5, 0.05]  # another first answer, 0.4 apart
    other[3] = [0.25, 0.65, 0.1]
    agreement = Agreement.of(other, SCORES)
    assert agreement.top_1 == 0.8
    assert agreement.largest_difference == pytest.approx(0.4, abs=1e-6)
    assert agreement.to_json()["agreement_with_float32"] == 0.8
    assert Agreement.of(SCORES, SCORES) == Agreement(1.0, 0.0, len(SCORES))
