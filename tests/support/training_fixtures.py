"""Fixtures of the training side: what costs TensorFlow's time is made once a session.

A test module takes them with `pytest_plugins = ["training_fixtures"]`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from drawing import draw_folder

from kit.model.spec import ModelCard, PreprocessSpec

SIDE = 32
CLASSES = ("blue", "green", "grey one", "grey two", "red")
"""The two greys are alike, so that no classifier is perfect."""

MEAN = STD = (128.0, 128.0, 128.0)


def part_by_definition(key, validation, test, seed=0):
    """The design's rule, written a second time: a hash of the content and the seed decides."""
    position = int(hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()[:16], 16) / 16**16
    return "test" if position < test else "validation" if position < test + validation else "train"


@pytest.fixture
def own_cache(tmp_path, monkeypatch):
    """Bottlenecks of this test stay in its own folder."""
    monkeypatch.setenv("KIT_CACHE_DIR", str(tmp_path / "own-cache"))
    return tmp_path / "own-cache"


@dataclass(frozen=True)
class SmallBackbone:
    """MobileNet v1 0.25 at 32 pixels with random weights, as Keras model, h5 and .tflite."""

    choice: object
    weights: object
    spec: PreprocessSpec
    model: object
    content: bytes


@pytest.fixture(scope="session")
def small_backbone(tmp_path_factory):
    import keras

    from converters import convert_model
    from kit.training.backbones import build, choose, taking_pixels
    from kit.training.weights import find_weights

    choice = choose("mobilenet_v1", 0.25, SIDE)
    keras.utils.set_random_seed(7)
    model = build(choice, None)
    # A fresh batch normalisation squeezes everything towards zero: give it work to do.
    random = np.random.default_rng(7)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    random.uniform(0.8, 1.6, gamma.shape),
                    random.normal(0.3, 0.4, beta.shape),
                    mean,
                    random.uniform(0.02, 0.2, variance.shape),
                ]
            )
    path = tmp_path_factory.mktemp("weights") / "small.weights.h5"
    model.save_weights(path)
    weights = find_weights(choice, str(path))
    spec = PreprocessSpec(SIDE, mean=MEAN, std=STD)
    return SmallBackbone(
        choice, weights, spec, model, convert_model(taking_pixels(model, spec), "float32", spec)
    )


def with_backbone(cache, small_backbone):
    """A cache that has the converted backbone already, and nothing else."""
    from kit.training.bottlenecks import cache_key

    spec = small_backbone.spec
    folder = cache / cache_key(small_backbone.choice, small_backbone.weights, spec)
    folder.mkdir(parents=True)
    (folder / "backbone.tflite").write_bytes(small_backbone.content)
    digest = hashlib.sha256(small_backbone.content).hexdigest()
    (folder / "backbone.sha256").write_text(digest)
    return cache


def colour_network(labels=("blue", "green", "red")):
    """Answers the strongest channel: what it says is known without running it."""
    import keras

    inputs = keras.Input((SIDE, SIDE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    scores = keras.layers.Dense(len(labels), activation="softmax", name="scores")
    model = keras.Model(inputs, scores(pooled))
    kernel = np.zeros((3, len(labels)), np.float32)
    for column, label in enumerate(labels):
        kernel[("red", "green", "blue").index(label), column] = 4
    scores.set_weights([kernel, np.zeros(len(labels), np.float32)])
    return model


def colour_card(**changes):
    card = ModelCard(
        backbone="strongest channel",
        alpha=None,
        weights="by hand",
        quantization="float32",
        preprocess=PreprocessSpec(SIDE, mean=MEAN, std=STD),
        labels=("blue", "green", "red"),
    )
    return replace(card, **changes)


def package(flatbuffer, card):
    """A whole model file, by the public functions."""
    from converters import add_metadata, append_files

    return append_files(
        add_metadata(flatbuffer, card),
        {
            "labels.txt": "".join(f"{label}\n" for label in card.labels).encode(),
            "kit.json": json.dumps(card.to_json()).encode(),
        },
    )


@pytest.fixture(scope="session")
def colour_flatbuffer():
    from converters import convert_model

    return convert_model(colour_network(), "float32", colour_card().preprocess)


@pytest.fixture(scope="session")
def colour_file(colour_flatbuffer, tmp_path_factory):
    """A packaged model that answers blue, green or red, and is right."""
    path = tmp_path_factory.mktemp("colour") / "colour.tflite"
    path.write_bytes(package(colour_flatbuffer, colour_card()))
    return path


@dataclass(frozen=True)
class FinishedRun:
    """One training that many tests look at; they must not change its folders."""

    images: Path
    folder: Path
    cache: Path
    settings: object
    result: object
    said: tuple[str, ...]
    warned: tuple[str, ...]

    @property
    def record(self):
        return json.loads((self.folder / "run.json").read_text("utf-8"))


class Listener:
    """A Reporter that remembers, and may break off when it hears something."""

    def __init__(self, break_off_at=None):
        self.said, self.warned, self.tracked = [], [], []
        self._break_off_at = break_off_at

    def say(self, line):
        self.said.append(line)
        if self._break_off_at and line.startswith(self._break_off_at):
            raise KeyboardInterrupt

    def warn(self, line):
        self.warned.append(line)

    def track(self, items, total, what):
        self.tracked.append((what, total))
        return iter(items)


@pytest.fixture(scope="session")
def finished_run(small_backbone, tmp_path_factory):
    from kit.data import SplitSettings
    from kit.training.fitting import FitSettings
    from kit.workflows.train import TrainSettings, train

    base = tmp_path_factory.mktemp("finished")
    images = draw_folder(base / "images", dict.fromkeys(CLASSES, 36), seed=3)
    (images / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photograph")
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=SIDE,
        weights=str(small_backbone.weights.path),
        quantize=("int8", "float16"),
        split=SplitSettings(0.2, 0.2, 0),
        fitting=FitSettings(epochs=4, learning_rate=0.01, batch_size=16),
        representative_images=20,
        intended_use="Tests.",
    )
    listener = Listener()
    result = train(images, base / "run", settings, cache=base / "cache", reporter=listener)
    return FinishedRun(
        images,
        base / "run",
        base / "cache",
        settings,
        result,
        tuple(listener.said),
        tuple(listener.warned),
    )
