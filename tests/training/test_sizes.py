"""On how many pixels layers learn, and from which epoch on."""

from dataclasses import replace
from pathlib import Path

import pytest

from kit.model.spec import PreprocessSpec
from kit.training.augment import AUGMENTATIONS
from kit.training.backbones import choose
from kit.training.fitting import FitSettings
from kit.training.photographs import Photographs
from kit.training.sizes import stages, training_spec

COSINE = FitSettings(epochs=25, schedule="cosine")


@pytest.mark.parametrize(
    ("side", "augment", "expected"),
    [
        (224, "photo", 160),
        (160, "photo", 128),
        (128, "photo", 128),
        (100, "photo", 100),
        (224, "xray", 224),  # its crops are hardly magnified
        (250, "none", 250),
    ],
)
def test_layers_learn_on_crops_at_the_size_that_things_have_in_use(side, augment, expected):
    spec = choose("mobilenet_v1", input_resolution=side).preprocess("crop")
    found = training_spec(spec, AUGMENTATIONS[augment])
    assert found == replace(spec, input_resolution=expected)


def photographs(side, augment="photo"):
    return Photographs(Path("images"), (), PreprocessSpec(side), AUGMENTATIONS[augment], seed=0)


def planned(side, augment="photo", settings=COSINE, **further):
    """Epochs and sides, stage by stage."""
    found = stages(photographs(side, augment), settings, **further)
    return [(one.epochs, one.photographs.spec.input_resolution) for one in found]


@pytest.mark.parametrize(("side", "first"), [(224, 160), (160, 128), (128, 96), (112, 96)])
def test_the_first_half_of_the_epochs_sees_fewer_pixels(side, first):
    assert planned(side) == [(range(12), first), (range(12, 25), side)]


@pytest.mark.parametrize(
    ("side", "augment", "settings"),
    [
        (96, "photo", COSINE),
        (32, "photo", COSINE),
        (100, "photo", COSINE),  # 96 pixels a side would save nothing
        (224, "xray", COSINE),
        (448, "xray", COSINE),
        (224, "none", COSINE),
        (160, "photo", replace(COSINE, schedule="constant")),  # nobody knows where its half is
        (160, "photo", replace(COSINE, epochs=1)),
    ],
)
def test_all_epochs_see_the_same(side, augment, settings):
    assert planned(side, augment, settings) == [(range(settings.epochs), side)]


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        (5, [(range(5, 12), 128), (range(12, 25), 160)]),
        (12, [(range(12, 25), 160)]),
        (20, [(range(20, 25), 160)]),
        (25, [(range(25, 25), 160)]),
    ],
)
def test_what_is_done_is_not_planned_again(done, expected):
    assert planned(160, done=done) == expected


def test_students_see_the_same_in_all_epochs():
    assert planned(160, taught=True) == [(range(25), 160)]
    assert planned(160, taught=True, done=20) == [(range(20, 25), 160)]
