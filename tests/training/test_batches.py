"""What an epoch shows of the photographs, and what is kept of them between epochs."""

import os
from collections import Counter
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from small_network import CLASSES, EPOCHS, FITTING, same

from kit.training import photographs as kept_between_epochs
from kit.training.batches import Activations, batches_of
from kit.training.photographs import Kept
from kit.training.teachers import MIXED

pytest_plugins = ["small_network"]
pytestmark = pytest.mark.tf


class Digits:
    """Stands in for activations: a column for each photograph."""

    parts = MappingProxyType({"activations": (33,)})

    def __call__(self, indices, epoch):
        return {"activations": np.eye(33, dtype=np.float32)[indices]}


def test_mixup_mixes_what_is_shown_and_its_labels_alike(parts):
    train, _ = parts()
    count = len(train.images)

    def batches(mixup, epochs=range(2)):
        made = batches_of(train, Digits(), CLASSES, FITTING, epochs, mixup)
        return [(shown.numpy(), labels.numpy()) for shown, labels, _ in made]

    of_photographs = np.eye(CLASSES, dtype=np.float32)[train.truth]
    mixed = batches(0.4)
    for shown, labels in mixed:
        assert shown.sum(axis=1) == pytest.approx(np.ones(len(shown)))
        assert labels == pytest.approx(shown[:, :count] @ of_photographs)
        assert set((shown > 0).sum(axis=1)) <= {1, 2}  # the middle one has no other
    shares = [shown.max() for shown, _ in mixed if (shown > 0).sum() > len(shown)]
    assert len({round(float(share), 4) for share in shares}) > 1  # drawn for each batch
    for found, again in zip(mixed, batches(0.4), strict=True):
        assert same(found, again)
    steps = FITTING.steps(count)
    for found, again in zip(mixed[steps:], batches(0.4, range(1, 2)), strict=True):
        assert same(found, again)  # as after a crash
    assert all(((shown > 0).sum(axis=1) == 1).all() for shown, _ in batches(0.0))


def test_no_thread_that_tunes_the_batches_keeps_the_end_of_training_waiting(parts):
    train, _ = parts()
    batches = batches_of(train, Digits(), CLASSES, FITTING)
    assert batches.options().autotune.enabled is False


def test_each_epoch_shows_every_photograph_once_in_an_order_of_its_own(parts):
    train, _ = parts()

    class Numbers:
        """Stands in for activations: says which photograph, and in which epoch."""

        parts = MappingProxyType({"activations": (2,)})

        def __call__(self, indices, epoch):
            return {"activations": np.array([(index, epoch) for index in indices], np.float32)}

    def epochs_of(chosen, seed=0):
        fitting = replace(FITTING, seed=seed)
        batches = batches_of(train, Numbers(), CLASSES, fitting, chosen)
        shown = [(numbers.numpy(), labels.numpy()) for numbers, labels, _ in batches]
        steps = fitting.steps(len(train.images))
        assert {len(numbers) for numbers, _ in shown} <= {7, 8}  # none is much smaller
        for numbers, labels in shown:
            assert np.array_equal(labels.argmax(axis=1), train.truth[numbers[:, 0].astype(int)])
        return [
            np.concatenate([numbers for numbers, _ in shown[start : start + steps]])
            for start in range(0, len(shown), steps)
        ]

    found = epochs_of(range(3))
    for epoch, numbers in enumerate(found):
        assert set(numbers[:, 1]) == {epoch}
        assert sorted(numbers[:, 0]) == list(range(len(train.images)))
    orders = {tuple(numbers[:, 0]) for numbers in found}
    assert len(orders) == 3
    assert same(epochs_of(range(1, 3)), found[1:])  # as after a crash
    assert not same(epochs_of(range(3), seed=1), found)
    (validation,) = epochs_of(None)
    assert list(validation[:, 0]) == list(range(len(train.images)))


def test_a_photograph_without_a_label_weighs_one_whatever_the_classes(parts):
    train, _ = parts()
    without = [replace(image, label=-1) for image in train.images[:9]]
    train = replace(train, images=[*train.images[9:], *without])
    batches = batches_of(train, Digits(), CLASSES, FITTING, range(1))
    weights = {}
    for shown, _, weight in batches:
        weights.update(zip(shown.numpy().argmax(axis=1), weight.numpy(), strict=True))
    labelled = train.truth >= 0
    found = np.array([weights[index] for index in range(len(train.images))])
    assert (found[~labelled] == 1).all()
    counts = np.bincount(train.truth[labelled], minlength=CLASSES)
    assert found[labelled] == pytest.approx(
        labelled.sum() / (CLASSES * counts[train.truth[labelled]])
    )
    assert len(set(counts)) > 1


def test_unchanged_photographs_go_through_the_frozen_layers_once(tune, parts, watched, scratch):
    pixels, runs = watched
    _, _, history = tune(1)
    assert len(history) == EPOCHS
    count = sum(len(part.images) for part in parts())
    assert Counter(map(len, pixels.values())) == {1: count}
    assert len(runs) == count
    assert list(scratch.iterdir()) == []  # what was kept is gone


def test_changed_photographs_are_drawn_anew_in_every_epoch(tune, parts, watched):
    pixels, runs = watched
    train, validation = parts("photo")
    _, _, history = tune(1, "photo")
    assert len(history) == EPOCHS
    assert len(runs) == EPOCHS * len(train.images) + len(validation.images)
    times = Counter(map(len, pixels.values()))
    assert times == {EPOCHS: len(train.images), 1: len(validation.images)}
    for drawn in pixels.values():
        assert len(set(drawn)) == len(drawn)


def test_without_room_activations_are_computed_every_time(tune, parts, watched, monkeypatch):
    """And training gives the same, but for the half precision of what is kept."""
    plain = tune(1)[2]
    _, runs = watched
    runs.clear()
    train, validation = parts()
    # Room for five of each part: 6 channels of 2 by 2 pixels, two bytes each, and some.
    monkeypatch.setattr(kept_between_epochs, "_ROOM", 5 * 4 * 4 * 6 * 2 + 5)
    history = tune(1)[2]
    expected = EPOCHS * (len(train.images) + len(validation.images) - 10) + 10
    assert len(runs) == expected
    for record, other in zip(history, plain, strict=True):
        assert record["cross_entropy"] == pytest.approx(other["cross_entropy"], abs=0.02)


@pytest.mark.skipif(os.name != "posix", reason="a file that is in use cannot be deleted")
def test_what_is_kept_is_gone_from_the_disk_however_a_process_ends(tmp_path):
    """The file has no name any more while it is in use."""
    kept = Kept(tmp_path / "kept", 3, (2,), np.uint8)
    computed = []
    for _ in range(2):
        for index in range(3):
            found = kept.row(index, lambda: computed.append(1) or np.array([len(computed), 7]))
            assert found.tolist() == [index + 1, 7]
    assert len(computed) == 3
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_is_half_as_precise_in_every_epoch(parts, tmp_path):
    """The first epoch sees what later ones read back."""
    train, _ = parts()
    values = np.random.default_rng(0).normal(size=(len(train.images), 3)).astype(np.float32)
    left = iter(values)
    parts_of_one = {"a": (2,), "b": (1, 1)}
    activations = Activations(train, parts_of_one, lambda *_: next(left), tmp_path / "kept")
    order = np.arange(4)
    each = [activations(order[index : index + 1], 0) for index in order]
    together = activations(order, 1)
    assert {name: value.shape for name, value in together.items()} == {"a": (4, 2), "b": (4, 1, 1)}
    first = np.concatenate([[*one["a"][0], one["b"].item()] for one in each]).reshape(4, 3)
    assert np.array_equal(first[:, :2], together["a"])
    assert np.array_equal(first[:, 2:], together["b"][:, 0])
    assert np.array_equal(first, values[:4].astype(np.float16).astype(np.float32))


def test_half_of_the_changed_photographs_show_another_one_through(parts):
    train, validation = parts("photo")
    mixed = replace(train, mixed=MIXED)
    places = [(index, epoch) for index in range(len(train.images)) for epoch in range(20)]
    others = {place: mixed.showing_through(*place) for place in places}
    seen = [other for other in others.values() if other is not None]
    assert np.mean([other is not None for other in others.values()]) == pytest.approx(0.5, abs=0.1)
    assert {other.index for other in seen} == set(range(len(train.images)))
    assert 0 <= min(other.share for other in seen) < 0.05
    assert 0.45 < max(other.share for other in seen) <= 0.5
    for (index, epoch), other in [*others.items()][:40]:
        expected = train.read(index, epoch).astype(float)
        if other is not None:
            through = train.read(other.index, epoch).astype(float)
            expected += other.share * (through - expected)
        assert np.abs(mixed.read(index, epoch) - expected).max() <= 0.501
    # What never changes is kept, and so is never mixed.
    assert replace(validation, mixed=1.0).showing_through(0, 0) is None
