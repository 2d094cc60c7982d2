"""Labels that are probably wrong: planted errors are found, and suggested rightly."""

import os

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from kit.errors import DataError
from kit.evaluation.label_errors import are_suspects, scores_by_others


def blobs(count, labels=4, seed=0, apart=5.0):
    """Points of each label around a place of its own, and the labels."""
    random = np.random.default_rng(seed)
    places = np.random.default_rng(99).normal(size=(labels, 16)) * apart / 4
    truth = random.integers(0, labels, count)
    return (places[truth] + random.normal(size=(count, 16))).astype(np.float32), truth


def planted(truth, share, seed):
    """The labels with a share of them changed, and which."""
    random = np.random.default_rng(seed)
    wrong = np.zeros(len(truth), bool)
    wrong[random.choice(len(truth), round(share * len(truth)), replace=False)] = True
    labels = int(truth.max()) + 1
    given = np.where(wrong, (truth + random.integers(1, labels, len(truth))) % labels, truth)
    return given, wrong


def figures(scores, given, truth, wrong, first):
    """AUC, share of the wrong among the first, and share that is suggested rightly."""
    places = np.arange(len(given))
    doubt = 1 - scores[places, given]
    others = scores.copy()
    others[places, given] = -1
    among = np.argsort(-doubt)[: round(first * len(given))]
    return (
        roc_auc_score(wrong, doubt),
        wrong[among].sum() / wrong.sum(),
        (others.argmax(axis=1) == truth)[wrong].mean(),
    )


@pytest.mark.parametrize(("count", "share"), [(2000, 0.02), (2000, 0.1), (200, 0.05)])
def test_planted_errors_are_found(count, share):
    vectors, truth = blobs(count)
    given, wrong = planted(truth, share, 1)
    scores = scores_by_others(vectors, given, np.arange(count))
    assert scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    area, among_first, suggested = figures(scores, given, truth, wrong, 2 * share)
    assert area > 0.96 and among_first > 0.85 and suggested > 0.85
    assert are_suspects(scores, given)[wrong].mean() > 0.5
    assert are_suspects(scores, given)[~wrong].mean() < 0.1


def test_images_of_a_group_do_not_judge_each_other():
    """Each point is there twice with the same wrong label: alone, its copy would vouch for it."""
    vectors, truth = blobs(600)
    given, wrong = planted(truth, 0.05, 2)
    twice = np.concatenate([vectors, vectors]), np.tile(given, 2)
    together = scores_by_others(*twice, np.tile(np.arange(600), 2))
    places = np.arange(1200)
    assert roc_auc_score(np.tile(wrong, 2), 1 - together[places, twice[1]]) > 0.96
    assert np.allclose(together[:600], together[600:], atol=1e-6)


def test_confident_learning_by_its_definition():
    scores = np.array([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8], [0.45, 0.55], [0.85, 0.15]])
    given = np.array([0, 0, 1, 0, 1])
    # A label is usually scored (0.9 + 0.7 + 0.45) / 3 and (0.8 + 0.15) / 2 by its own images.
    assert are_suspects(scores, given).tolist() == [False, False, False, True, True]


def test_nothing_is_learnt_from_what_may_not_teach():
    vectors, truth = blobs(300)
    members = np.arange(300) // 2
    teach = np.arange(300) % 10 > 0
    one, other = (
        scores_by_others(vectors, np.where(teach, truth, label), members, 0, teach)
        for label in (truth, (truth + 1) % 4)
    )
    assert np.array_equal(one, other)  # whatever label they have
    assert (one.argmax(axis=1) == truth)[~teach].mean() > 0.9
    alone = np.where(np.arange(300) == 0, 4, truth)  # the only one of a fifth label
    found = scores_by_others(vectors, alone, members, 0, teach)
    assert found.shape == (300, 5) and not found[:, 4].any()
    usual = are_suspects(found, alone, teach)
    # What does not teach does not say what is usual either.
    assert np.array_equal(
        are_suspects(found, np.where(teach, alone, 1), teach)[teach], usual[teach]
    )


def test_a_group_does_not_judge_its_own_either():
    """Pairs of one group: the one that teaches is all that has its label's look there."""
    vectors, truth = blobs(600)
    given, wrong = planted(truth, 0.05, 2)
    twice = np.concatenate([vectors, vectors]), np.tile(given, 2)
    teach = np.arange(1200) < 600
    scores = scores_by_others(*twice, np.tile(np.arange(600), 2), 0, teach)
    assert np.allclose(scores[:600], scores[600:], atol=1e-6)
    assert roc_auc_score(wrong, 1 - scores[np.arange(600, 1200), given]) > 0.96


def test_the_same_seed_gives_the_same():
    vectors, truth = blobs(200)
    one, other = (scores_by_others(vectors, truth, np.arange(200), seed=3) for _ in range(2))
    assert np.array_equal(one, other)


def test_too_few():
    vectors, truth = blobs(40, labels=2)
    with pytest.raises(DataError, match=r"each with 5 images .* the smallest with 2"):
        scores_by_others(vectors, truth, np.where(truth == 1, np.arange(40) % 2, np.arange(40)))
    with pytest.raises(DataError, match="2 labels or more"):
        scores_by_others(vectors, np.zeros(40, np.int64), np.arange(40))


@pytest.mark.slow
@pytest.mark.tf
@pytest.mark.skipif(not os.environ.get("KIT_TEST_DATA"), reason="KIT_TEST_DATA is not set")
@pytest.mark.parametrize("share", [0.05, 0.1])
def test_planted_errors_among_flowers(share, flowers_cache):
    from pathlib import Path

    from kit.data import load_dataset
    from kit.reporting import Silent
    from kit.training.backbones import choose
    from kit.training.weights import find_weights
    from kit.workflows.cross_validate import readable_bottlenecks

    data = Path(os.environ["KIT_TEST_DATA"])
    choice = choose("mobilenet_v1", 0.25, 224)
    weights = find_weights(choice, str(data / "weights"), 0)
    dataset, vectors = readable_bottlenecks(
        load_dataset(data / "data" / "flowers"),
        choice,
        weights,
        choice.preprocess("stretch", "bilinear"),
        flowers_cache,
        Silent(),
    )
    truth = np.array([image.label for image in dataset.images])
    given, wrong = planted(truth, share, 0)
    scores = scores_by_others(vectors, given, np.arange(len(truth)))
    area, among_first, suggested = figures(scores, given, truth, wrong, 2 * share)
    assert area > 0.96 and among_first > 0.85 and suggested > 0.83
