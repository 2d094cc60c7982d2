"""Cross-validation: each image is answered once, by a head that saw neither it nor its group."""

import json
import math
import statistics
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from drawing import draw_folder
from training_fixtures import CLASSES, SIDE, Listener

import kit.workflows.cross_validate as module
from kit.data import SplitSettings, scan_images
from kit.errors import DataError, ImageError
from kit.evaluation import Evaluation
from kit.evaluation.calibration import fit_temperature, logits_of
from kit.evaluation.ranking import rank_labels
from kit.runtime.images import read_image
from kit.training.bottlenecks import extract_bottlenecks
from kit.training.fitting import FitSettings
from kit.training.head import train_head
from kit.workflows.cross_validate import cross_validate
from kit.workflows.train import TrainSettings

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf

COUNT = 24
FOLDS, REPEATS = 3, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = draw_folder(
        tmp_path_factory.mktemp("crossed") / "images", dict.fromkeys(CLASSES, COUNT), seed=5
    )
    (root / "red" / "copy.png").write_bytes((root / "red" / "000.png").read_bytes())
    (root / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photograph")
    return root


@pytest.fixture(scope="module")
def settings(small_backbone):
    return TrainSettings(
        alpha=0.25,
        input_resolution=SIDE,
        weights=str(small_backbone.weights.path),
        split=SplitSettings(0.2, 0.2, 0),
        fitting=FitSettings(epochs=6, learning_rate=0.1, batch_size=16),
    )


def mean_colours(dataset, *arguments, **named):
    """Instead of bottlenecks: what a head learns in a few epochs."""
    vectors, unreadable = {}, {}
    for image in dataset.images:
        try:
            pixels = read_image(dataset.root / image.path, SIDE)
        except ImageError as error:
            unreadable[image.path] = str(error)
        else:
            vectors[image.digest] = (pixels.mean(axis=(0, 1), dtype=np.float32) - 128) / 64
    return vectors, unreadable


@pytest.fixture(scope="module", autouse=True)
def colours_for_bottlenecks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "extract_bottlenecks", mean_colours)
        yield


def watched(*arguments, **named):
    """The result, what was told, the parts of every head and every division into groups."""
    heads, divided = [], []
    train_head, divide = module.train_head, module._divide
    listener = Listener()

    def watched_head(train, validation, *rest):
        heads.append(SimpleNamespace(train=train, validation=validation))
        return train_head(train, validation, *rest)

    def watched_divide(truth, members, parts, seed):
        found = divide(truth, members, parts, seed)
        divided.extend((set(members[rest]), set(members[own])) for rest, own in found)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "train_head", watched_head)
        patch.setattr(module, "_divide", watched_divide)
        result = cross_validate(*arguments, **named, reporter=listener)
    return SimpleNamespace(
        result=result, heads=heads, divided=divided, said=listener.said, warned=listener.warned
    )


@pytest.fixture(scope="module")
def crossed(folder, settings):
    return watched(folder, settings, FOLDS, REPEATS)


def test_every_image_is_answered_once(crossed):
    result = crossed.result
    assert result.scores.shape == (5 * COUNT + 1, 5)
    assert result.scores.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert len(set(result.paths)) == len(result.paths) == result.pooled.accuracy.n
    assert [result.labels[label] for label in result.truth] == [
        path.split("/")[0] for path in result.paths
    ]
    assert len(result.heads) == FOLDS * REPEATS
    for repeat in range(REPEATS):
        heads = [head for head in result.heads if head.repeat == repeat]
        assert [head.fold for head in heads] == list(range(FOLDS))
        assert sum(head.images["test"] for head in heads) == len(result.paths)
        assert all(sum(head.images.values()) == len(result.paths) for head in heads)


def test_it_has_learnt_colours(crossed):
    # The two greys are alike: at best one of two, and all of the others.
    assert 0.65 < crossed.result.pooled.accuracy.value < 0.95
    areas = {ranking.label: ranking.auc.value for ranking in crossed.result.rankings}
    assert min(areas["red"], areas["green"], areas["blue"]) > 0.99
    assert max(areas["grey one"], areas["grey two"]) < 0.95


@pytest.mark.slow
def test_from_a_backbones_bottlenecks(folder, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "extract_bottlenecks", extract_bottlenecks)
    short = replace(settings, fitting=FitSettings(epochs=1))
    one, again = (watched(folder, short, 2, cache=tmp_path) for _ in range(2))
    assert one.heads[0].train[0].shape == (one.result.heads[0].images["train"], 256)
    assert any(line.endswith("bottlenecks are in the cache") for line in again.said)
    assert np.array_equal(one.result.scores, again.result.scores)


def test_what_is_pooled_is_what_is_said(crossed):
    result = crossed.result
    again = Evaluation.of(result.scores, result.truth, result.labels, result.paths)
    assert result.pooled == again
    assert result.rankings == rank_labels(result.scores, result.truth, result.labels)
    first = [head for head in result.heads if head.repeat == 0]
    assert sum(head.accuracy.correct for head in first) == result.pooled.accuracy.correct
    assert result.groups == 5 * COUNT  # a copy and its original are one
    assert result.image_groups is None


def test_mean_and_spread_over_all_folds(crossed):
    result = crossed.result
    accuracies = [head.accuracy.value for head in result.heads]
    assert result.mean()["accuracy"] == pytest.approx(np.mean(accuracies))
    assert result.spread()["accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    areas = [head.macro_auc for head in result.heads]
    assert result.mean()["macro_auc"] == pytest.approx(np.mean(areas))


def test_as_json(crossed):
    data = json.loads(json.dumps(crossed.result.to_json(), allow_nan=False))
    assert (data["n"], data["folds"], data["repeats"]) == (5 * COUNT + 1, FOLDS, REPEATS)
    assert set(data["mean"]) == set(data["spread"]) == set(crossed.result.heads[0].figures())
    assert len(data["heads"]) == FOLDS * REPEATS
    assert [curve["label"] for curve in data["curves"]] == list(CLASSES)
    assert data["curves"][0]["roc"]["thresholds"][0] is None
    assert data["unscaled"]["ece"] == round(crossed.result.unscaled.ece, 6)
    assert list(data["left_out"]) == ["red/broken.jpg"]


def test_progress_and_what_is_left_out_are_told(crossed):
    told = [line for line in crossed.said if line.startswith("repeat ")]
    assert len(told) == FOLDS * REPEATS
    assert told[0].startswith("repeat 1, fold 1 of 3: accuracy 0.")
    assert any("red/broken.jpg" in line for line in crossed.warned)


def test_the_same_seed_gives_the_same_answers(crossed, folder, settings):
    again = cross_validate(scan_images(folder), settings, FOLDS)
    assert np.array_equal(again.scores, crossed.result.scores)
    assert again.heads == crossed.result.heads[:FOLDS]
    assert again.pooled == crossed.result.pooled


def test_another_seed_divides_otherwise(crossed, folder, settings):
    other = replace(settings, split=replace(settings.split, seed=9))
    divided = watched(folder, other, FOLDS).divided
    assert divided[0] != crossed.divided[0]


def test_repeats_divide_anew(crossed):
    first, second = (
        [head.accuracy for head in crossed.result.heads if head.repeat == n] for n in (0, 1)
    )
    assert first != second


def test_no_head_sees_what_it_answers(crossed):
    seen = []
    for head, said in zip(crossed.heads, crossed.result.heads, strict=True):
        train, validation = (
            {vector.tobytes() for vector in part[0]} for part in (head.train, head.validation)
        )
        assert not train & validation  # a copy's vector is the same bytes
        assert set(head.train[1]) == set(range(5))
        assert len(head.train[1]) == said.images["train"]
        assert len(head.validation[1]) == said.images["validation"]
        seen.append(train | validation)
    for repeat in range(REPEATS):
        heads = seen[repeat * FOLDS :][:FOLDS]
        counts = [sum(vector in one for one in heads) for vector in set.union(*heads)]
        assert counts == [FOLDS - 1] * (5 * COUNT)  # each is unseen by exactly one


def test_folds_are_stratified(crossed):
    for head in crossed.heads:
        counts = np.bincount(head.train[1]) + np.bincount(head.validation[1])
        assert counts == pytest.approx(2 / 3 * COUNT, abs=2)
        # A fifth of all images tells when to stop.
        assert len(head.validation[1]) == pytest.approx(0.2 * 5 * COUNT, abs=6)


def test_groups_stay_whole(folder, settings):
    paths = [image.path for image in scan_images(folder).images]
    groups = {path: f"patient {int(path[-7:-4]) // 3}" for path in paths if path[-5].isdigit()}
    found = watched(folder, settings, FOLDS, groups=groups)
    result = found.result
    assert result.groups == COUNT // 3  # the copy belongs to its original's patient
    assert len(found.divided) > FOLDS
    assert all(not rest & own for rest, own in found.divided)
    by_path = dict(zip(result.paths, result.image_groups, strict=True))
    assert by_path["red/copy.png"] == by_path["red/000.png"] == by_path["blue/002.png"]
    assert len(set(by_path.values())) == COUNT // 3
    assert not any("patient" in group for group in result.image_groups)
    assert {ranking.auc.method for ranking in result.rankings} <= {"group bootstrap", "Newcombe"}


@pytest.mark.slow
def test_groups_by_the_paths(folder, settings):
    grouped = replace(settings, split=replace(settings.split, group_regex=r"/(\d\d)\d\.png"))
    result = cross_validate(folder, grouped, 3)
    assert result.groups == math.ceil(COUNT / 10)
    assert len(set(result.image_groups)) == result.groups


def test_scores_are_scaled_by_each_folds_temperature(crossed):
    result = crossed.result
    assert result.unscaled != result.pooled.calibration
    assert len({head.temperature for head in result.heads}) > 1
    mean = statistics.fmean(
        head.calibration.log_loss * head.images["test"] for head in result.heads[:FOLDS]
    )
    assert mean * FOLDS / len(result.truth) == pytest.approx(
        result.pooled.calibration.log_loss, rel=1e-4
    )


def test_the_head_is_that_of_kit_train(crossed, settings):
    first = crossed.heads[0]
    head, history = train_head(first.train, first.validation, 5, settings.fitting)
    said = crossed.result.heads[0]
    assert said.epochs == len(history)
    logits = logits_of(np.asarray(head(first.validation[0])))
    assert said.temperature == fit_temperature(logits, first.validation[1])


@pytest.mark.parametrize(
    ("folds", "repeats", "changes", "said"),
    [
        (1, 1, {}, "at least 2 folds and 1 repeat, got 1 and 1"),
        (5, 0, {}, "at least 2 folds and 1 repeat, got 5 and 0"),
        (2, 1, {"weights": "none"}, "expected pretrained weights, got none"),
    ],
)
def test_settings_out_of_range(folder, settings, folds, repeats, changes, said):
    with pytest.raises(ValueError, match=said):
        cross_validate(folder, replace(settings, **changes), folds, repeats)


def test_too_few_images_or_groups_for_the_folds(folder, settings):
    with pytest.raises(DataError, match="at least 25 different images or groups of blue for 25"):
        cross_validate(folder, settings, 25)
    pairs = {
        f"{name}/{index:03d}.png": str(index % 2) for name in CLASSES for index in range(COUNT)
    }
    with pytest.raises(DataError, match="at least 3 different images or groups of blue for 2"):
        cross_validate(folder, settings, 2, groups=pairs)
