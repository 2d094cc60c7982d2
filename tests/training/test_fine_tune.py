"""Fine-tuning: which layers learn, on which pixels, and that a crash costs an epoch and no more."""

import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
from drawing import draw_folder
from training_fixtures import MEAN, STD, Listener, colour_network

from kit.data import scan_images
from kit.errors import DataError
from kit.model.preprocess import to_input
from kit.model.spec import PreprocessSpec
from kit.runtime.interpreter import Runner
from kit.training import fine_tune as module
from kit.training import photographs as kept_between_epochs
from kit.training.augment import AUGMENTATIONS
from kit.training.batches import Activations, batches_of
from kit.training.checkpoint import Checkpoint
from kit.training.fine_tune import FineTuneSettings, fine_tune
from kit.training.fitting import FitSettings, scores_of
from kit.training.layers import ALL, MOST, NONE, cut_before, layers_that_learn, set_trainable
from kit.training.learning import to_tflite
from kit.training.photographs import Photographs
from kit.training.teachers import MIXED, Teacher

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf

SIDE = 16
SPEC = PreprocessSpec(SIDE, mean=MEAN, std=STD)
CLASSES = 3
EPOCHS = 3
FITTING = FitSettings(
    epochs=EPOCHS, learning_rate=0.05, batch_size=8, l2=0, patience=EPOCHS, optimizer="sgd"
)
LAYERS = ("stem", "in_first", "also_in_first", "between", "in_second", "last")
"""The convolutions of `network`; two stand in parallel to a shortcut, one to another."""


def network(seed=3):
    """A small backbone with two shortcuts and random weights."""
    import keras
    from keras.layers import Add, BatchNormalization, Conv2D, GlobalAveragePooling2D, ReLU

    keras.utils.set_random_seed(seed)

    def convolved(values, name, strides=1):
        values = Conv2D(6, 3, strides, "same", use_bias=False, name=name)(values)
        return ReLU(name=f"{name}_relu")(BatchNormalization(name=f"{name}_bn")(values))

    inputs = keras.Input((SIDE, SIDE, 3))
    values = convolved(inputs, "stem", 2)
    around = convolved(convolved(values, "in_first"), "also_in_first")
    values = convolved(Add()([values, around]), "between", 2)
    values = Add()([values, convolved(values, "in_second")])
    values = convolved(values, "last", 2)
    backbone = keras.Model(inputs, GlobalAveragePooling2D()(values), name="small")
    random = np.random.default_rng(seed)
    for name in LAYERS:  # statistics as of something that was trained before
        gamma, beta, mean, variance = backbone.get_layer(f"{name}_bn").get_weights()
        backbone.get_layer(f"{name}_bn").set_weights(
            [gamma, beta, mean + random.normal(0, 0.1, mean.shape), variance * 0.7]
        )
    return backbone


@pytest.fixture
def folder(tmp_path):
    return draw_folder(tmp_path / "images", {"blue": 12, "green": 12, "red": 9}, side=24)


@pytest.fixture
def parts(folder):
    """Photographs to train on, and to validate with: `parts(augment)`."""
    images = scan_images(folder).images
    validation = [image for image in images if image.path.endswith(("0.png", "1.png"))]
    train = [image for image in images if image not in validation]

    def made(augment="none", seed=0):
        return (
            Photographs(folder, train, SPEC, AUGMENTATIONS[augment], seed),
            Photographs(folder, validation, SPEC, AUGMENTATIONS["none"], seed),
        )

    return made


@pytest.fixture
def tune(parts):
    """Fine-tunes: `tune(layers, ...)` gives backbone, model and history."""

    def run(
        layers, augment="none", backbone=None, head=None, fitting=FITTING, learns=True, **others
    ):
        backbone = backbone or network()
        settings = FineTuneSettings(layers, learns, fitting)
        tuned = fine_tune(backbone, head, *parts(augment), CLASSES, settings, to_tflite, **others)
        return backbone, *tuned

    return run


def weights_by_layer(model):
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


def inputs_of(photographs):
    pixels = [photographs.read(index, 0) for index in range(len(photographs.images))]
    return np.stack([to_input(one, SPEC) for one in pixels])


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


def branched():
    """Two convolutions side by side, as in ResNet and Inception."""
    import keras
    from keras.layers import Add, BatchNormalization, Conv2D, GlobalAveragePooling2D, ReLU

    def convolved(values, name):
        return BatchNormalization(name=f"{name}_bn")(
            Conv2D(4, 3, padding="same", name=name)(values)
        )

    inputs = keras.Input((8, 8, 3))
    values = convolved(inputs, "stem")
    around = convolved(values, "around")
    values = Add()([around, convolved(ReLU()(convolved(values, "one")), "two")])
    return keras.Model(inputs, GlobalAveragePooling2D()(convolved(values, "last")))


@pytest.mark.parametrize("layers", range(1, 6))
def test_batch_normalisation_learns_with_its_own_convolution(layers):
    """In the order of layers it comes after all the convolutions of parallel branches."""
    import keras

    backbone = branched()
    names = [layer.name for layer in backbone.layers if hasattr(layer, "kernel")]
    rest = keras.Model(cut_before(backbone, layers), backbone.output)
    set_trainable(rest, layers)
    inside = [name for name in names if name in {layer.name for layer in rest.layers}]
    learning = [name for name in inside if rest.get_layer(name).trainable]
    assert learning == names[-layers:]
    for name in inside:
        assert rest.get_layer(f"{name}_bn").trainable == (name in learning)


def most_by_hand(side):
    """MobileNet v1 halves in its first layer and in depthwise ones 2, 4, 6 and 12.

    The padding before a depthwise layer that halves is no part of the map.
    """
    inputs = [side]
    now = side / 2
    for block in range(1, 14):
        inputs.append(now)
        now = now / 2 if block in (2, 4, 6, 12) else now
        inputs.append(now)
    return sum(one <= side / 4 for one in inputs)


def test_how_many_layers_learn():
    from kit.training.backbones import build, choose

    backbone = build(choose("mobilenet_v1", 0.25, 64), None)
    assert layers_that_learn(backbone, ALL) == 27  # 13 pairs after the first
    assert layers_that_learn(backbone, MOST) == most_by_hand(64) < 27
    assert [layers_that_learn(backbone, number) for number in (1, 27)] == [1, 27]
    # Of the small one: `in_second` and `last` work on maps of 4, `between` on one of 8.
    assert layers_that_learn(network(), MOST) == 2


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


# ---------------------------------------------------------------- the cut


def last_possible_cut(backbone, layers):
    """The last layer before the learning ones without which the input does not reach the end."""
    import keras

    names = [layer.name for layer in backbone.layers]
    weighted = [layer.name for layer in backbone.layers if hasattr(layer, "kernel")]
    for layer in reversed(backbone.layers[: names.index(weighted[-layers])]):
        try:
            keras.Model(layer.output, backbone.output)
        except ValueError:  # Keras refuses what another path leads to
            continue
        return layer.name
    raise AssertionError("the input itself is one")


@pytest.fixture(scope="module")
def with_shortcuts():
    """MobileNet v2 with random weights that make a difference."""
    import keras

    from kit.training.backbones import build, choose

    keras.utils.set_random_seed(5)
    backbone = build(choose("mobilenet_v2", 0.35, 32), None)
    random = np.random.default_rng(5)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, _ = layer.get_weights()
            variance = random.uniform(0.1, 0.4, gamma.shape)
            layer.set_weights([gamma, random.normal(0.2, 0.3, beta.shape), mean, variance])
    return backbone


def check_cut(backbone, layers):
    """The two parts, one after the other, are the whole; what learns is all in the second."""
    import keras

    cut = cut_before(backbone, layers)
    first, rest = keras.Model(backbone.input, cut), keras.Model(cut, backbone.output)
    images = np.random.default_rng(0).uniform(-1, 1, (2, *backbone.input.shape[1:]))
    expected = np.asarray(backbone(images))
    assert np.abs(np.asarray(rest(first(images))) - expected).max() < 1e-5
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # two images, two answers
    weighted = [layer.name for layer in backbone.layers if hasattr(layer, "kernel")]
    assert set(weighted[-layers:]) <= {layer.name for layer in rest.layers}
    assert cut._keras_history.operation.name == last_possible_cut(backbone, layers)


@pytest.mark.parametrize("layers", range(1, 7))
def test_no_shortcut_passes_the_cut_by(layers):
    check_cut(network(), layers)


@pytest.mark.parametrize("layers", [1, 2, 4, 5, 6, 9, 20, 33, 47, 51, 52])
def test_no_shortcut_of_mobilenet_v2_passes_the_cut_by(with_shortcuts, layers):
    check_cut(with_shortcuts, layers)


def test_the_cut_is_not_in_the_middle_of_a_shortcut():
    """Where the first that learns is inside a block, all of the block is run in Keras."""
    backbone = network()
    names = [cut_before(backbone, layers)._keras_history.operation.name for layers in (4, 5)]
    assert names == ["stem_relu", "stem_relu"]


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


# ---------------------------------------------------------------- activations


@pytest.fixture
def watched(monkeypatch):
    """What was read of each photograph, and how often the frozen layers ran."""
    pixels, runs = {}, []
    read, run = Photographs.read, Runner.run

    def reading(self, index, *arguments):
        found = read(self, index, *arguments)
        pixels.setdefault(self.images[index].path, []).append(found.tobytes())
        return found

    def running(self, *arguments):
        runs.append(1)
        return run(self, *arguments)

    monkeypatch.setattr(Photographs, "read", reading)
    monkeypatch.setattr(Runner, "run", running)
    return pixels, runs


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    """The folder for temporary files."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


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
    train, validation = parts("photo")
    settings = FineTuneSettings(2, fitting=replace(FITTING, epochs=3), mixup=0.2, remember=10.0)
    teachers = [colour_teacher(*one) for one in TEACHERS] if taught else []

    def run(name, resume=False, break_off_at=None):
        checkpoint = Checkpoint(tmp_path / name, {}, resume=resume)
        return fine_tune(
            network(),
            None,
            train,
            validation,
            CLASSES,
            settings,
            to_tflite,
            teachers=teachers,
            checkpoint=checkpoint,
            reporter=Listener(break_off_at=break_off_at),
        )

    whole = run("whole")
    with pytest.raises(KeyboardInterrupt):
        run("broken", break_off_at="epoch   2")
    resumed = run("broken", resume=True)
    assert same(whole[0].get_weights(), resumed[0].get_weights())
    assert whole[1] == resumed[1]


# ---------------------------------------------------------------- what teachers answer


def colour_teacher(labels, side=SIDE, strength=1.0):
    """Answers the strongest channel of an image; its labels stand in an order of its own."""
    import keras

    network = colour_network(labels)
    scores = network.layers[-1]
    scores.set_weights([values * strength for values in scores.get_weights()])
    inputs = keras.Input((side, side, 3))
    return Teacher(
        description="a teacher",
        digest="",
        model=keras.models.clone_model(
            network, input_tensors=inputs, clone_function=lambda layer: layer
        ),
        spec=PreprocessSpec(side, mean=MEAN, std=STD),
        columns=tuple(labels.index(label) for label in ("blue", "green", "red")),
        learnt_from=frozenset(),
    )


TEACHERS = (("red", "blue", "green"), SIDE, 1.0), (("green", "blue", "red"), 2 * SIDE, 0.5)


def answers_by_hand(photographs, epoch):
    """The teachers' mean for each photograph, by Keras, from its changed pixels at their sizes."""
    found = []
    for index in range(len(photographs.images)):
        answers = []
        for teacher in (colour_teacher(*one) for one in TEACHERS):
            pixels = photographs.read(index, epoch, teacher.spec)
            assert pixels.shape[0] == teacher.spec.input_resolution
            scores = np.asarray(teacher.model(to_input(pixels, teacher.spec)[None]))[0]
            answers.append(scores[list(teacher.columns)])
        found.append(np.mean(answers, axis=0))
    return np.stack(found)


@pytest.mark.parametrize("remember", [0.0, 10.0])
@pytest.mark.parametrize("layers", [2, ALL])
def test_targets_are_two_thirds_the_teachers_answer_on_the_same_changed_pixels(
    parts, monkeypatch, layers, remember
):
    train, validation = parts("photo")
    without = [replace(image, label=-1) for image in train.images[:4]]
    train = replace(train, images=[*train.images[4:], *without])
    seen, inputs = {}, {}
    real = module.batches_of

    def watched(photographs, *arguments):
        made = real(photographs, *arguments)
        shown, found, _ = zip(*made, strict=True)
        seen[photographs is not validation] = np.concatenate(
            [(one["scores"] if remember else one).numpy() for one in found]
        )
        inputs[photographs is not validation] = np.concatenate(shown)
        return made

    monkeypatch.setattr(module, "batches_of", watched)
    fitting = replace(FITTING, epochs=1)
    settings = FineTuneSettings(layers, fitting=fitting, remember=remember)
    fine_tune(
        *(network(), None, train, validation, CLASSES, settings, to_tflite),
        teachers=[colour_teacher(*one) for one in TEACHERS],
    )
    assert np.array_equal(seen[False], np.eye(CLASSES)[validation.truth])  # labels decide there
    order = np.arange(len(train.images))
    np.random.default_rng((fitting.seed, 0)).shuffle(order)
    both = replace(train, mixed=MIXED)
    answers = answers_by_hand(both, 0)
    mixed = [both.showing_through(index, 0) is not None for index in order]
    assert 0.25 < np.mean(mixed) < 0.75
    expected = [
        answers[index]
        if train.truth[index] < 0 or is_mixed
        else (np.eye(CLASSES)[train.truth[index]] + 2 * answers[index]) / 3
        for index, is_mixed in zip(order, mixed, strict=True)
    ]
    assert seen[True] == pytest.approx(np.stack(expected), abs=1e-5)
    if layers == ALL:  # the student sees pixels, the same ones
        pixels = [to_input(both.read(index, 0), train.spec) for index in order]
        assert inputs[True] == pytest.approx(np.stack(pixels), abs=1e-6)


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


def test_a_setting_out_of_range_is_told():
    with pytest.raises(ValueError, match="expected a remember from 0 to below 1000, got -1"):
        FineTuneSettings(remember=-1)
