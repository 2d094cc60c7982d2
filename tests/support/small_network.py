"""A small backbone with shortcuts, drawn photographs, and fixtures that fine-tune on them.

A test module takes the fixtures with `pytest_plugins = ["small_network"]`.
"""

import tempfile
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from drawing import draw_folder
from training_fixtures import MEAN, STD

from kit.data import scan_images
from kit.model.preprocess import to_input
from kit.model.spec import PreprocessSpec
from kit.runtime.interpreter import Runner
from kit.training.augment import AUGMENTATIONS
from kit.training.fine_tune import FineTuneSettings, fine_tune
from kit.training.fitting import FitSettings
from kit.training.learning import to_tflite
from kit.training.photographs import Photographs

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


def drawn(folder):
    return draw_folder(folder, {"blue": 12, "green": 12, "red": 9}, side=24)


def parts_in(folder, augment="none", seed=0):
    """Photographs to train on, and to validate with."""
    images = scan_images(folder).images
    validation = [image for image in images if image.path.endswith(("0.png", "1.png"))]
    train = [image for image in images if image not in validation]
    return (
        Photographs(folder, train, SPEC, AUGMENTATIONS[augment], seed),
        Photographs(folder, validation, SPEC, AUGMENTATIONS["none"], seed),
    )


@pytest.fixture
def folder(tmp_path):
    return drawn(tmp_path / "images")


@pytest.fixture
def parts(folder):
    """See `parts_in`: `parts(augment)`."""
    return partial(parts_in, folder)


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


@pytest.fixture(scope="session")
def translated(tmp_path_factory):
    """TensorFlow has translated what it runs, of which it keeps files until the process ends."""
    settings = FineTuneSettings(1, fitting=replace(FITTING, epochs=1))
    images = drawn(tmp_path_factory.mktemp("translated") / "images")
    fine_tune(network(), None, *parts_in(images), CLASSES, settings, to_tflite)


@pytest.fixture
def scratch(translated, tmp_path, monkeypatch):
    """The folder for temporary files."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    return tmp_path / "scratch"
