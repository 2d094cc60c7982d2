"""The softmax layer on bottlenecks, on vectors whose best answer is known."""

import itertools
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from training_fixtures import Listener

from kit.errors import TrainingError
from kit.training.fitting import FitSettings
from kit.training.head import train_head

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf

REST = "for the epochs that are left"
SETTINGS = FitSettings(epochs=12, learning_rate=0.05, batch_size=16)


def blobs(count, seed, spread=1.0):
    """Three clouds in 8 dimensions; with a wide spread they overlap."""
    random = np.random.default_rng(seed)
    truth = np.arange(count) % 3
    centres = 2 * np.eye(3, 8)
    vectors = centres[truth] + spread * random.normal(size=(count, 8))
    return vectors.astype(np.float32), truth.astype(np.int64)


def weights_of(head):
    return [np.asarray(array) for array in head.get_weights()]


def test_one_seed_gives_the_same_weights_again():
    train, validation = blobs(90, 1), blobs(30, 2)
    one, same, other = (
        train_head(train, validation, 3, replace(SETTINGS, seed=seed, epochs=2))
        for seed in (5, 5, 6)
    )
    assert all(map(np.array_equal, weights_of(one[0]), weights_of(same[0])))
    assert one[1] == same[1]
    assert not np.array_equal(weights_of(one[0])[0], weights_of(other[0])[0])


def test_it_learns_as_well_as_logistic_regression():
    from sklearn.linear_model import LogisticRegression

    train, validation, test = blobs(300, 1), blobs(100, 2), blobs(600, 3)
    head, history = train_head(train, validation, 3, replace(SETTINGS, epochs=20))
    found = float((np.asarray(head(test[0])).argmax(axis=1) == test[1]).mean())
    reference = LogisticRegression(C=10).fit(*train).score(*test)
    assert reference > 0.8
    assert found > reference - 0.03
    assert history[-1]["cross_entropy"] < history[0]["cross_entropy"]


def test_scores_sum_to_one():
    head, _ = train_head(blobs(30, 1), blobs(9, 2), 3, replace(SETTINGS, epochs=1))
    scores = np.asarray(head(blobs(9, 3)[0]))
    assert scores.shape == (9, 3)
    assert scores.min() >= 0
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("class_weights", "expected"),
    [
        # Vectors that say nothing: what is learnt is how often each class counts.
        (True, math.log(2)),  # as often as the other
        (False, -0.9 * math.log(0.9) - 0.1 * math.log(0.1)),  # as often as it occurs
    ],
)
def test_class_weights_make_rare_classes_count(class_weights, expected):
    vectors = np.ones((200, 2), np.float32)
    truth = np.array([0] * 180 + [1] * 20)
    settings = FitSettings(
        epochs=10,
        learning_rate=0.02,
        batch_size=10,
        l2=0,
        patience=10,
        class_weights=class_weights,
    )
    _, history = train_head((vectors, truth), (vectors, truth), 2, settings)
    assert history[-1]["cross_entropy"] == pytest.approx(expected, abs=0.06)


def best_by_rule(history):
    """The epoch that the rule keeps: one counts as better from a gain of 0.001 on."""
    best, value = 0, math.inf
    for epoch, record in enumerate(history):
        if record["validation_cross_entropy"] < value - 1e-3:
            best, value = epoch, record["validation_cross_entropy"]
    return best


def overfitting():
    """Few noisy examples and a high rate: validation is best early and then worsens."""
    train, validation = blobs(24, 1, spread=3), blobs(90, 2, spread=3)
    return train, validation, FitSettings(60, 0.1, 8, l2=0, patience=6)


def test_the_best_epoch_s_weights_are_kept_and_it_ends_early():
    from sklearn.metrics import log_loss

    train, validation, settings = overfitting()
    listener = Listener()
    head, history = train_head(train, validation, 3, settings, reporter=listener)
    best = best_by_rule(history)
    losses = [record["validation_cross_entropy"] for record in history]
    assert losses[-1] > losses[best] + 0.01  # or this would show nothing
    scores = np.asarray(head(validation[0]), np.float64)
    kept = log_loss(validation[1], scores / scores.sum(axis=1, keepdims=True))
    assert kept == pytest.approx(losses[best], abs=1e-4)
    assert len(history) == best + 1 + settings.patience < settings.epochs
    assert sum(line.startswith("epoch") for line in listener.said) == len(history)
    assert listener.said[-1] == f"kept the weights of epoch {best + 1}"


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        ("cosine", ["", f"; about 2 min {REST}", f"; about 80 s {REST}", "", ""]),
        ("constant", [""] * 5),  # it may end at any time
    ],
)
def test_the_time_left_is_told(schedule, told, monkeypatch):
    clock = itertools.count(step=40.0)
    monkeypatch.setattr("kit.training.fitting.time", SimpleNamespace(monotonic=clock.__next__))
    listener = Listener()
    settings = replace(SETTINGS, epochs=5, schedule=schedule)
    train_head(blobs(30, 1), blobs(9, 2), 3, settings, reporter=listener)
    lines = [line for line in listener.said if line.startswith("epoch")]
    assert ["".join(line.partition("; ")[1:]) for line in lines] == told


@pytest.mark.slow
def test_the_best_epoch_s_weights_are_kept_without_an_early_end():
    from sklearn.metrics import log_loss

    train, validation, settings = overfitting()
    settings = replace(settings, epochs=12, patience=100)
    head, history = train_head(train, validation, 3, settings)
    assert len(history) == 12
    best = best_by_rule(history)
    losses = [record["validation_cross_entropy"] for record in history]
    assert losses[-1] > losses[best] + 0.01
    scores = np.asarray(head(validation[0]), np.float64)
    kept = log_loss(validation[1], scores / scores.sum(axis=1, keepdims=True))
    assert kept == pytest.approx(losses[best], abs=1e-4)


def test_a_cross_entropy_that_is_no_number():
    vectors, truth = blobs(30, 1)
    with np.errstate(over="ignore"):
        huge = (vectors * 1e38).astype(np.float32)
    huge[3, 2] = np.inf
    with pytest.raises(TrainingError, match=r"lower --learning-rate than 99"):
        train_head((huge, truth), (vectors, truth), 3, replace(SETTINGS, learning_rate=99.0))


def test_a_cross_entropy_that_is_no_number_after_the_last_step():
    vectors, truth = blobs(30, 1)
    huge = (vectors * 1e30).astype(np.float32)
    settings = replace(SETTINGS, epochs=1, batch_size=len(huge), optimizer="sgd", learning_rate=99)
    with pytest.raises(TrainingError, match=r"lower --learning-rate than 99"):
        train_head((huge, truth), (huge, truth), 3, settings)


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch_size": 0},
        {"patience": 0},
        {"learning_rate": 0},
        {"learning_rate": -0.1},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"l2": -1},
    ],
)
def test_impossible_settings(wrong):
    with pytest.raises(ValueError, match=f"expected .*{next(iter(wrong))}"):
        FitSettings(**wrong)


def test_tensorboard_shows_the_history(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    train, validation = blobs(60, 1), blobs(30, 2)
    _, history = train_head(
        train, validation, 3, replace(SETTINGS, epochs=4), logs=tmp_path / "logs"
    )
    for folder, prefix in (("train", ""), ("validation", "validation_")):
        events = EventAccumulator(str(tmp_path / "logs" / folder))
        events.Reload()
        for name in ("accuracy", "cross_entropy"):
            shown = [
                float(make_ndarray(event.tensor_proto)) for event in events.Tensors(f"epoch_{name}")
            ]
            assert shown == pytest.approx([record[prefix + name] for record in history])
            assert len(shown) == 4
