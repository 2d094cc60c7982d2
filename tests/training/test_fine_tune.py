"""Fine-tuning: what learns, from what, and that a crash costs an epoch and no more."""

import itertools
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from small_network import (
    CLASSES,
    EPOCHS,
    FITTING,
    LAYERS,
    SIDE,
    SPEC,
    inputs_of,
    network,
    same,
    weights_by_layer,
)
from training_fixtures import MEAN, STD, Listener, colour_network

from kit.errors import DataError
from kit.model.preprocess import to_input
from kit.model.spec import PreprocessSpec
from kit.training import fine_tune as module
from kit.training import photographs as kept_between_epochs
from kit.training import sizes
from kit.training.checkpoint import Checkpoint
from kit.training.fine_tune import FineTuneSettings, fine_tune
from kit.training.fitting import scores_of
from kit.training.layers import ALL, MOST, NONE
from kit.training.learning import to_tflite
from kit.training.photographs import Photographs
from kit.training.teachers import BOTTLENECKS, MIXED, Teacher

pytest_plugins = ["small_network"]
pytestmark = pytest.mark.tf


def cross_entropy(scores, truth):
    return float(-np.log(np.asarray(scores, np.float64)[np.arange(len(truth)), truth]).mean())


# ---------------------------------------------------------------- which layers learn


@pytest.mark.parametrize("layers", [1, 4, ALL])
def test_the_layers_that_learn_change_and_the_others_do_not(tune, layers):
    before = weights_by_layer(network())
    after = weights_by_layer(tune(layers)[0])
    learning = LAYERS if layers == ALL else LAYERS[-layers:]
    for name in LAYERS:
        assert same(before[name], after[name]) == (name not in learning)
        assert same(before[f"{name}_bn"], after[f"{name}_bn"]) == (name not in learning)


@pytest.mark.parametrize("learns", [True, False])
def test_statistics_are_followed_or_kept(tune, learns):
    before = weights_by_layer(network())
    after = weights_by_layer(tune(2, learns=learns)[0])
    for name in ("in_second_bn", "last_bn"):
        for index in (0, 1):  # scale and offset learn in either case
            assert not np.array_equal(before[name][index], after[name][index])
        for index in (2, 3):
            assert np.array_equal(before[name][index], after[name][index]) != learns


@pytest.mark.parametrize("layers", [7, 1000])
def test_more_layers_than_there_are(tune, layers):
    with pytest.raises(ValueError, match="expected at most 6 layers, which small has") as caught:
        tune(layers)
    assert str(caught.value).endswith(f"got {layers}: give a lower --fine-tune, or all")


@pytest.mark.parametrize("layers", [0, -1, 2.5, "some", "", "12"])
def test_numbers_of_layers_that_cannot_be(layers):
    with pytest.raises(ValueError, match="expected all, most, none or a number of layers above 0"):
        FineTuneSettings(layers)


@pytest.mark.parametrize("layers", [ALL, MOST, NONE, 1, 99])
def test_numbers_of_layers_that_can_be(layers):
    assert FineTuneSettings(layers).layers == layers


# ---------------------------------------------------------------- what is fitted


def test_what_comes_back_is_what_was_validated(tune, parts):
    """Its plain cross-entropy is the best epoch's, though training had a smoothed target."""
    fitting = replace(FITTING, label_smoothing=0.5, dropout=0.3)
    _, model, history = tune(ALL, fitting=fitting)
    _, validation = parts()
    best = min(record["validation_cross_entropy"] for record in history)
    scores = model(inputs_of(validation))
    assert cross_entropy(scores, validation.truth) == pytest.approx(best, abs=1e-4)
    # Nothing of the training is left in it: it is one flat network, for the converter.
    kinds = {type(layer).__name__ for layer in model.layers}
    assert not kinds & {"Dropout", "Functional"}


def test_frozen_layers_in_the_interpreter_are_those_in_keras(tune, parts):
    """What was validated through .tflite and half precision is what Keras answers."""
    _, model, history = tune(1)
    _, validation = parts()
    best = min(record["validation_cross_entropy"] for record in history)
    found = cross_entropy(model(inputs_of(validation)), validation.truth)
    assert found == pytest.approx(best, abs=2e-3)


@pytest.mark.parametrize("layers", [1, ALL])
def test_it_may_learn_on_smaller_photographs_than_it_is_for(parts, layers):
    backbone = network()
    train, validation = parts()
    smaller = replace(train, spec=replace(SPEC, input_resolution=SIDE // 2))
    found = {}
    for name, photographs in (("as in use", train), ("smaller", smaller)):
        settings = FineTuneSettings(layers, fitting=FITTING)
        tuned = fine_tune(network(), None, photographs, validation, CLASSES, settings, to_tflite)
        model, history = tuned
        assert model.input.shape == backbone.input.shape
        best = min(record["validation_cross_entropy"] for record in history)
        scores = np.asarray(model(inputs_of(validation)))
        assert cross_entropy(scores, validation.truth) == pytest.approx(best, abs=2e-3)
        found[name] = scores
    assert not np.allclose(found["smaller"], found["as in use"], atol=1e-3)


def test_a_network_that_learnt_on_smaller_photographs_is_kept_and_read_like_others(parts, tmp_path):
    import keras

    train, validation = parts()
    train = replace(train, spec=replace(SPEC, input_resolution=SIDE // 2))
    settings = FineTuneSettings(2, fitting=replace(FITTING, epochs=1))
    model, _ = fine_tune(network(), None, train, validation, CLASSES, settings, to_tflite)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    inputs = inputs_of(validation)
    np.testing.assert_array_equal(np.asarray(again(inputs)), np.asarray(model(inputs)))


def test_it_starts_from_the_head(tune, parts):
    import keras

    backbone = network()
    width = keras.Input(backbone.output.shape[1:])
    keras.utils.set_random_seed(11)
    head = keras.Model(width, scores_of(width, CLASSES, FITTING))
    _, validation = parts()
    expected = cross_entropy(head(backbone(inputs_of(validation))), validation.truth)
    # So slow that nothing moves; with the statistics kept, validation is of the old network.
    still = replace(FITTING, epochs=1, learning_rate=1e-9)
    _, model, history = tune(1, backbone=backbone, head=head, fitting=still, learns=False)
    assert history[0]["validation_cross_entropy"] == pytest.approx(expected, abs=2e-3)
    for found, given in zip(
        model.get_layer("scores").get_weights(), head.get_weights(), strict=True
    ):
        assert np.abs(found - given).max() < 1e-6
    assert history[0]["phase"] == "fine-tuning"
    _, _, anew = tune(1, backbone=network(), fitting=still, learns=False)
    assert abs(anew[0]["validation_cross_entropy"] - expected) > 0.01
    assert "phase" not in anew[0]


# ---------------------------------------------------------------- photographs that vanish


class Meddling(Listener):
    """Does something when it hears a line."""

    def __init__(self, start, action):
        super().__init__()
        self._start, self._action = start, action

    def say(self, line):
        super().say(line)
        if line.startswith(self._start):
            self._action()


def test_photographs_that_vanish_in_mid_training_are_named(tune, folder, scratch):
    vanish = Meddling("fine-tuning the last", lambda: shutil.rmtree(folder / "green"))
    with pytest.raises(DataError, match="could be read before; run again") as caught:
        tune(1, "photo", reporter=vanish)
    assert str(folder / "green") in str(caught.value)
    assert ".png" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert list(scratch.iterdir()) == []


@pytest.mark.parametrize("augment", ["none", "photo"])
def test_what_is_kept_needs_no_photographs(tune, folder, augment):
    vanish = Meddling("epoch   1", lambda: shutil.rmtree(folder))
    assert len(tune(1, augment, reporter=vanish)[2]) == EPOCHS


def test_changed_photographs_are_the_same_kept_or_not(tune, monkeypatch):
    plain = tune(1, "photo")
    monkeypatch.setattr(kept_between_epochs, "_ROOM", 0)
    decoded = []
    decode = Photographs.decode
    monkeypatch.setattr(
        Photographs, "decode", lambda self, *one: decoded.append(one) or decode(self, *one)
    )
    again = tune(1, "photo")
    assert len(decoded) > len(set(decoded))
    assert same(again[1].get_weights(), plain[1].get_weights())
    assert again[2] == plain[2]


def test_a_validation_photograph_that_is_no_image_any_more(tune, folder):
    (folder / "red" / "001.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="could be read before") as caught:
        tune(1)
    assert str(caught.value).startswith(str(folder / "red" / "001.png"))


def test_another_failure_stays_what_it_is(tune, monkeypatch):
    class OddError(Exception):
        pass

    def failing(*_):
        raise OddError("no such thing")

    monkeypatch.setattr(Photographs, "decode", failing)
    with pytest.raises(OddError, match="no such thing"):
        tune(1)


# ---------------------------------------------------------------- after a crash


def everything(model):
    return [np.asarray(one) for one in model.get_weights()]


WAYS = {
    # What dropout draws, what each photograph's form is, the rate: all as if without a crash.
    "photographs changed, dropout, cosine": (
        ALL,
        "photo",
        replace(FITTING, dropout=0.4, schedule="cosine", label_smoothing=0.1),
        (1,),
    ),
    "photographs kept, Adam": (
        4,
        "none",
        replace(FITTING, optimizer="adam", learning_rate=0.01),
        (2,),
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(tune, tmp_path, way):
    layers, augment, fitting, crashes = WAYS[way]
    facts = {"way": way}
    _, model, history = tune(layers, augment, fitting=fitting)
    for epoch in crashes:
        kept = Checkpoint(tmp_path / f"kept {epoch}", facts, resume=True)
        crash = Listener(break_off_at=f"epoch   {epoch + 1}")
        with pytest.raises(KeyboardInterrupt):
            tune(layers, augment, fitting=fitting, checkpoint=kept, reporter=crash)
        again = Checkpoint(tmp_path / f"kept {epoch}", facts, resume=True)
        assert again.history == history[:epoch]
        listener = Listener()
        _, resumed, rest = tune(
            layers,
            augment,
            # The weights, too, are the checkpoint's: where the process began makes no difference.
            backbone=network() if layers != ALL else network(seed=8),
            fitting=fitting,
            checkpoint=again,
            reporter=listener,
        )
        assert f"continues after epoch {epoch}" in listener.said
        assert sum(line.startswith("epoch") for line in listener.said) == EPOCHS - epoch
        assert rest == history
        assert same(everything(resumed), everything(model))


def test_a_training_whose_epochs_are_all_done_gives_its_best(tune, tmp_path, watched):
    """As after a crash in the conversion."""
    kept = Checkpoint(tmp_path / "kept", {}, resume=True)
    _, model, history = tune(2, checkpoint=kept)
    pixels, _ = watched
    pixels.clear()
    again = Checkpoint(tmp_path / "kept", {}, resume=True)
    _, resumed, found = tune(2, checkpoint=again)
    assert found == history
    assert pixels == {}
    assert same(everything(resumed), everything(model))


def assert_resumed_as_whole(parts, folder, settings, *crashes, teachers=()):
    """A training that breaks off after so many epochs gives the uninterrupted one's weights and
    history; returns what it said when it went on, for each of these numbers."""

    def run(name, listener, resume=False):
        return fine_tune(
            network(),
            None,
            *parts("photo"),
            CLASSES,
            settings,
            to_tflite,
            teachers=teachers,
            checkpoint=Checkpoint(folder / name, {}, resume=resume),
            reporter=listener,
        )

    whole, said = run("whole", Listener()), []
    for crash in crashes:
        name = f"broken after {crash}"
        with pytest.raises(KeyboardInterrupt):
            run(name, Listener(break_off_at=f"epoch   {crash + 1}"))
        listener = Listener()
        resumed = run(name, listener, resume=True)
        assert f"continues after epoch {crash}" in listener.said
        assert same(whole[0].get_weights(), resumed[0].get_weights())
        assert whole[1] == resumed[1]
        said.append(listener.said)
    return said


# ---------------------------------------------------------------- fewer pixels at first

FOUR = replace(FITTING, epochs=4, schedule="cosine")


@pytest.fixture
def small_strides(monkeypatch):
    """As if backbones had strides of 4: the first half of the epochs reads 12 pixels for 16."""
    monkeypatch.setattr(sizes, "_STRIDE", 4)
    monkeypatch.setattr(sizes, "_LEAST_SIDE_AT_FIRST", 4)


@pytest.mark.parametrize("layers", [2, ALL])
def test_photographs_are_smaller_in_the_first_half(tune, watched, small_strides, layers):
    pixels, _ = watched
    listener = Listener()
    _, model, history = tune(layers, "photo", fitting=FOUR, reporter=listener)
    assert len(history) == 4
    assert model.input.shape == (None, SIDE, SIDE, 3)
    assert any(
        line.endswith("layers, on 12 pixels, and on 16 from epoch 3") for line in listener.said
    )
    first, then = 12 * 12 * 3, SIDE * SIDE * 3
    for path, found in pixels.items():
        validation = path.endswith(("0.png", "1.png"))
        assert [len(one) for one in found] == ([then] if validation else [first] * 2 + [then] * 2)
        assert len(set(found)) == len(found)  # another form each time


def test_it_resumes_in_and_between_both_halves(parts, tmp_path, small_strides):
    settings = FineTuneSettings(2, fitting=FOUR, mixup=0.2, remember=10.0)
    in_first, between, in_second = assert_resumed_as_whole(parts, tmp_path, settings, 1, 2, 3)
    assert any("on 12 pixels" in line for line in in_first)
    assert not any("on 12 pixels" in line for line in [*between, *in_second])


def test_a_student_sees_photographs_of_one_size(tune, small_strides):
    listener = Listener()
    teachers = [colour_teacher(*TEACHERS[0])]
    tune(2, "photo", fitting=FOUR, teachers=teachers, reporter=listener)
    assert sum(line.startswith("fine-tuning the last 2") for line in listener.said) == 1
    assert not any("pixels" in line for line in listener.said)


def test_photographs_that_vanish_before_they_are_read_larger(tune, folder, small_strides):
    """The second half reads them anew; what the first half keeps is too small for it."""
    gone = Meddling("epoch   1", lambda: shutil.rmtree(folder))
    with pytest.raises(DataError, match=r"\.png: .*it could be read before"):
        tune(2, "photo", fitting=FOUR, reporter=gone)
    assert [line[:9] for line in gone.said if line.startswith("epoch")] == [
        "epoch   1",
        "epoch   2",
    ]


def test_the_time_left_allows_for_larger_photographs(tune, small_strides, monkeypatch):
    clock = itertools.count(step=75.0)
    monkeypatch.setattr("kit.training.fitting.time", SimpleNamespace(monotonic=clock.__next__))
    listener = Listener()
    tune(2, "photo", fitting=FOUR, reporter=listener)
    told = [line.partition("; ")[2] for line in listener.said if line.startswith("epoch")]
    # 75 s with 12 pixels a side are 133 s with 16. The first epoch of a size tells nothing.
    assert told == [
        "",
        "about 4 min for the epochs that are left",
        "about 2 min for the epochs that are left",
        "",
    ]


# ---------------------------------------------------------------- what is not to be forgotten


def mean_cosine(one, other):
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return float((np.sum(one * other, axis=1) / lengths).mean())


@pytest.mark.parametrize("layers", [2, ALL])
def test_bottlenecks_stay_near_the_pretrained_ones(parts, layers):
    """Of photographs that were learnt from and others alike, in the model that ships."""
    train, validation = parts()
    inputs = np.concatenate([inputs_of(train), inputs_of(validation)])
    pretrained = np.asarray(network()(inputs))
    found = {}
    for weight in (0.0, 10.0):
        settings = FineTuneSettings(layers, fitting=replace(FITTING, epochs=12), remember=weight)
        backbone = network()
        model, _ = fine_tune(backbone, None, train, validation, CLASSES, settings, to_tflite)
        found[weight] = mean_cosine(np.asarray(backbone(inputs)), pretrained)
        layers_left = {layer.name for layer in model.layers}
        assert "scores" in layers_left and "projection" not in layers_left
    assert found[0.0] < 0.6 < found[10.0]


@pytest.mark.parametrize("taught", [False, True])
def test_remembering_is_as_reproducible_and_resumable_as_the_rest(parts, tmp_path, taught):
    settings = FineTuneSettings(2, fitting=replace(FITTING, epochs=3), mixup=0.2, remember=10.0)
    teachers = [colour_teacher(*one) for one in TEACHERS] if taught else []
    assert_resumed_as_whole(parts, tmp_path, settings, 1, teachers=teachers)


# ---------------------------------------------------------------- what teachers answer


def colour_teacher(labels, side=SIDE, strength=1.0):
    """Answers the strongest channel of an image; its labels stand in an order of its own."""
    import keras

    network = colour_network(labels)
    model = keras.models.clone_model(network, input_tensors=keras.Input((side, side, 3)))
    model.set_weights([values * strength for values in network.get_weights()])
    return Teacher(
        description="a teacher",
        digest="",
        model=model,
        spec=PreprocessSpec(side, mean=MEAN, std=STD),
        columns=tuple(labels.index(label) for label in ("blue", "green", "red")),
        learnt_from=frozenset(),
    )


TEACHERS = (("red", "blue", "green"), SIDE, 1.0), (("green", "blue", "red"), 2 * SIDE, 0.5)


def answers_by_hand(photographs, epoch):
    """What the teachers make of each photograph, by Keras, from its changed pixels at their sizes:
    their mean scores, and the bottlenecks of each teacher."""
    scores, bottlenecks = [], []
    for teacher in (colour_teacher(*one) for one in TEACHERS):
        pixels = [
            photographs.read(index, epoch, teacher.spec) for index in range(len(photographs.images))
        ]
        assert pixels[0].shape[0] == teacher.spec.input_resolution
        inputs = np.stack([to_input(one, teacher.spec) for one in pixels])
        scores.append(np.asarray(teacher.model(inputs))[:, list(teacher.columns)])
        bottlenecks.append(inputs.mean(axis=(1, 2)))  # see colour_network
    return np.mean(scores, axis=0), bottlenecks


@pytest.mark.parametrize(("remember", "told"), [(0.0, True), (10.0, True), (10.0, False)])
@pytest.mark.parametrize("layers", [2, ALL])
def test_targets_are_two_thirds_the_teachers_answer_on_the_same_changed_pixels(
    parts, monkeypatch, layers, remember, told
):
    train, validation = parts("photo")
    without = [replace(image, label=-1) for image in train.images[:4]]
    train = replace(train, images=[*train.images[4:], *without])
    seen, inputs, weights = {}, {}, {}
    real = module.batches_of

    def watched(photographs, *arguments):
        made = real(photographs, *arguments)
        shown, found, weight = zip(*made, strict=True)
        learns = photographs is not validation
        seen[learns] = {
            name: np.concatenate([one[name].numpy() for one in found]) for name in found[0]
        }
        weights[learns] = {
            name: np.concatenate([one[name].numpy() for one in weight]) for name in weight[0]
        }
        inputs[learns] = np.concatenate(shown)
        return made

    monkeypatch.setattr(module, "batches_of", watched)
    fitting = replace(FITTING, epochs=1)
    settings = FineTuneSettings(
        layers, fitting=fitting, remember=remember, bottlenecks=BOTTLENECKS * told
    )
    fine_tune(
        *(network(), None, train, validation, CLASSES, settings, to_tflite),
        teachers=[colour_teacher(*one) for one in TEACHERS],
    )
    # Labels decide there.
    assert np.array_equal(seen[False]["scores"], np.eye(CLASSES)[validation.truth])
    order = np.arange(len(train.images))
    np.random.default_rng((fitting.seed, 0)).shuffle(order)
    both = replace(train, mixed=MIXED)
    answers, bottlenecks = answers_by_hand(both, 0)
    mixed = [both.showing_through(index, 0) is not None for index in order]
    assert 0.25 < np.mean(mixed) < 0.75
    expected = [
        answers[index]
        if train.truth[index] < 0 or is_mixed
        else (np.eye(CLASSES)[train.truth[index]] + 2 * answers[index]) / 3
        for index, is_mixed in zip(order, mixed, strict=True)
    ]
    assert seen[True]["scores"] == pytest.approx(np.stack(expected), abs=1e-5)
    for number, bottleneck in enumerate(bottlenecks if told else []):
        assert seen[True][f"teacher_{number}"] == pytest.approx(bottleneck[order], abs=1e-4)
    # Rare classes count more by their labels, not by bottlenecks.
    assert len(set(weights[True].pop("scores"))) > 1
    assert len(weights[True]) == len(TEACHERS) * told + bool(remember)
    assert all((values == 1).all() for values in weights[True].values())
    if layers == ALL:  # the student sees pixels, the same ones
        pixels = [to_input(both.read(index, 0), train.spec) for index in order]
        assert inputs[True] == pytest.approx(np.stack(pixels), abs=1e-6)


def test_a_student_learns_what_only_its_teacher_knows(parts):
    """Every label is gone: what it answers, it has of the teacher."""
    train, validation = parts()
    train = replace(train, images=[replace(image, label=-1) for image in train.images])
    settings = FineTuneSettings(ALL, fitting=replace(FITTING, epochs=12))
    model, _ = fine_tune(
        *(network(), None, train, validation, CLASSES, settings, to_tflite),
        teachers=[colour_teacher(*TEACHERS[0])],
    )
    answers = np.asarray(model(inputs_of(validation))).argmax(axis=1)
    assert (answers == validation.truth).mean() > 0.8


def test_a_student_s_bottleneck_tells_what_its_teacher_s_does(parts):
    """No label and no score says anything: all that it can learn is the bottleneck."""
    import keras

    train, validation = parts()
    train = replace(train, images=[replace(image, label=-1) for image in train.images])
    fitting = replace(FITTING, epochs=12)
    told = inputs_of(validation).mean(axis=(1, 2))  # see colour_network

    def not_told(weight):
        settings = FineTuneSettings(ALL, fitting=fitting, bottlenecks=weight)
        model, _ = fine_tune(
            *(network(), None, train, validation, CLASSES, settings, to_tflite),
            teachers=[colour_teacher(*TEACHERS[0][:2], strength=0.0)],
        )
        assert not [layer.name for layer in model.layers if layer.name.startswith("teacher")]
        bottleneck = keras.Model(model.input, model.layers[-2].output)

        def with_one(photographs):
            found = np.asarray(bottleneck(inputs_of(photographs)))
            return np.column_stack([found, np.ones(len(found))])

        known = inputs_of(train).mean(axis=(1, 2))
        projection, *_ = np.linalg.lstsq(with_one(train), known, rcond=None)
        return float(((with_one(validation) @ projection - told) ** 2).mean() / told.var())

    assert not_told(BOTTLENECKS) < not_told(0.0) / 10


def test_teachers_share_the_weight_of_their_bottlenecks(parts, monkeypatch):
    found = {}

    def watched(*arguments, further, **others):
        found.update(further)
        return real(*arguments, further=further, **others)

    real = module.fit
    monkeypatch.setattr(module, "fit", watched)
    settings = FineTuneSettings(2, fitting=replace(FITTING, epochs=1), remember=5.0)
    fine_tune(
        *(network(), None, *parts(), CLASSES, settings, to_tflite),
        teachers=[colour_teacher(*one) for one in TEACHERS],
    )
    assert list(found) == [module.PROJECTION, "teacher_0", "teacher_1"]
    assert [one.weight for one in found.values()] == [5, BOTTLENECKS / 2, BOTTLENECKS / 2]


@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_what_all_bottlenecks_of_a_batch_have_in_common_is_not_learnt(scale):
    random = np.random.default_rng(0)
    bottleneck, shift = random.normal(size=(32, 9)), random.normal(size=(1, 9))
    loss = module._one_minus_cosine_of_deviations
    assert np.asarray(loss(bottleneck, scale * bottleneck + shift)) == pytest.approx(0, abs=1e-5)
    # A prediction that is the same for all photographs is worth nothing, however near it is.
    near = np.repeat(bottleneck.mean(axis=0, keepdims=True), 32, axis=0)
    assert np.asarray(loss(bottleneck + 100, near + 100)).mean() > 0.9
    # The photographs' own predictions count, not other ones'.
    assert np.asarray(loss(bottleneck, bottleneck[::-1])).mean() > 0.9


def test_a_setting_out_of_range_is_told():
    with pytest.raises(ValueError, match="expected a remember from 0 to below 1000, got -1"):
        FineTuneSettings(remember=-1)
    with pytest.raises(ValueError, match="expected a weight of 0 or more, got bottlenecks -1"):
        FineTuneSettings(bottlenecks=-1)
