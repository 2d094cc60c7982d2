"""What stands out in a set of images."""

import numpy as np
import pytest

from kit.evaluation.oddities import (
    BLURRED,
    BRIGHT,
    CUT,
    DARK,
    FLAT,
    Look,
    bar_of,
    confusions,
    far_out,
    groups_apart,
    odd_looks,
    positions,
)


def test_only_what_is_far_above_the_others_is_far_out():
    values = np.random.default_rng(0).normal(size=200)
    assert not far_out(values).any()
    values[[3, 7]] = 9.0, -9.0
    assert np.flatnonzero(far_out(values)).tolist() == [3]
    assert not far_out(np.array([0.0, 0.0, 9.0])).any()  # of three, nothing is usual
    assert not far_out(np.zeros(50)).any()


@pytest.mark.parametrize(
    ("reason", "odd"),
    [
        (DARK, {"brightness": 0.02}),
        (BRIGHT, {"brightness": 0.98}),
        (FLAT, {"contrast": 0.001}),
        (BLURRED, {"sharpness": 0.0001}),
        (CUT, {"bar": 0.4}),
    ],
)
def test_an_odd_look_has_its_reason_and_no_other(reason, odd):
    random = np.random.default_rng(1)
    usual = [
        {"brightness": b, "contrast": c, "sharpness": s, "bar": 0.0}
        for b, c, s in random.uniform((0.4, 0.15, 0.08), (0.6, 0.25, 0.12), (100, 3))
    ]
    found = odd_looks([Look(**one) for one in [*usual, usual[0] | odd]])
    assert {name: np.flatnonzero(flags).tolist() for name, flags in found.items()} == {
        name: [100] if name == reason else [] for name in found
    }


def test_frames_that_many_images_have_are_no_oddity():
    looks = [Look(0.5, 0.2, 0.1, 0.3 if index % 5 == 0 else 0.0) for index in range(100)]
    assert not odd_looks(looks)[CUT].any()


@pytest.mark.parametrize("side", range(4))
def test_the_largest_even_bar_counts(side):
    grey = np.random.default_rng(2).integers(0, 256, (40, 50), np.uint8)
    turned = np.rot90(grey, side)
    turned[:10] = 128
    assert bar_of(grey) == 10 / len(turned)
    assert bar_of(np.zeros((8, 8), np.uint8)) == 1


def test_confused_classes_are_counted_by_pair():
    truth = np.array([0, 0, 0, 1, 1, 2])
    best = np.array([0, 1, 1, 1, 0, 2])
    found = confusions(np.eye(3)[best], truth)
    assert [(one.label, one.other, one.images) for one in found] == [(0, 1, 2), (1, 0, 1)]
    assert len(confusions(np.eye(3)[best], truth, most=1)) == 1


def test_a_group_that_lies_apart_comes_first():
    random = np.random.default_rng(3)
    truth, members = np.repeat([0, 1], 100), np.repeat(np.arange(20), 10)
    vectors = random.normal(size=(200, 8)).astype(np.float32)
    vectors[truth == 1] += 5  # another label is no reason
    vectors[members == 13] += 2
    doubt = members == 13
    found = groups_apart(vectors, truth, members, doubt)
    assert (found[0].group, found[0].images, found[0].suspects) == (13, 10, 10)
    assert found[0].apart > 5 > 2.5 > found[1].apart
    assert groups_apart(vectors, truth, np.arange(200), doubt) == ()


def test_like_images_lie_together_on_the_map():
    random = np.random.default_rng(4)
    truth = np.repeat([0, 1, 2], 30)
    vectors = (random.normal(size=(90, 12)) + 8 * np.eye(3, 12)[truth]).astype(np.float32)
    found = positions(vectors)
    assert found.shape == (90, 2) and found.min() == 0 and found.max() == 1
    near = np.linalg.norm(found[:, None] - found, axis=2).argsort(axis=1)[:, 1:6]
    assert (truth[near] == truth[:, None]).mean() > 0.9
    assert np.array_equal(found, positions(vectors))
    assert positions(vectors[:4]).shape == (4, 2)
    assert (positions(np.ones((30, 8), np.float32)) == 0.5).all()
