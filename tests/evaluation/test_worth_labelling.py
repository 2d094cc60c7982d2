"""Which images are worth labelling next."""

import numpy as np

from kit.evaluation.worth_labelling import worth_labelling


def crowd(seed=0):
    """Ten crowds of 20, of which a classifier is unsure of the first five."""
    random = np.random.default_rng(seed)
    number = np.repeat(np.arange(10), 20)
    vectors = (random.normal(size=(200, 16), scale=0.1) + np.eye(10, 16)[number]).astype(np.float32)
    surety = np.where(number < 5, 0.5 + random.random(200) * 0.01, 0.999)
    return vectors, np.stack([surety, 1 - surety], axis=1), number


def test_unsure_images_that_are_unlike_one_another():
    vectors, scores, number = crowd()
    found = worth_labelling(vectors, scores, 5)
    assert sorted(number[found]) == [0, 1, 2, 3, 4]
    margins = np.abs(scores[:, 0] - scores[:, 1])
    assert (np.diff(margins[found]) >= 0).all()
    for place in found:  # the least sure of its crowd
        assert margins[place] == margins[number == number[place]].min()


def test_every_image_where_there_are_no_more():
    vectors, scores, _ = crowd()
    assert sorted(worth_labelling(vectors[:4], scores[:4], 10)) == [0, 1, 2, 3]


def test_copies_do_not_make_them_fewer():
    vectors, scores, _ = crowd()
    copies = np.tile(vectors[:2], (20, 1))
    found = worth_labelling(copies, scores[:40], 10)
    assert len(found) == len({*found}) == 10
