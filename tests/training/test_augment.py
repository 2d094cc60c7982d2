"""Changed photographs: what is drawn, how far, and that nothing else happens to them."""

import math
from dataclasses import asdict, replace

import numpy as np
import pytest
from PIL import Image

from kit.errors import ImageError
from kit.model.preprocess import fit_pixels
from kit.model.spec import PreprocessSpec
from kit.runtime.images import read_image
from kit.training.augment import (
    AUGMENTATIONS,
    Augmentation,
    augment,
    drawing_for,
    read_augmented,
)

SIDE = 32
NONE = Augmentation()
DIGESTS = ["0f" * 32, "a7" * 32, "a7" * 8 + "00" * 24]


def random_pixels(side=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)


def ramp(side):
    """Red grows to the right, green downwards, so that each pixel says where it was."""
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[..., 0] = np.arange(side)[None, :]
    pixels[..., 1] = np.arange(side)[:, None]
    pixels[..., 2] = 255
    return pixels


def drawings(count, seed=0):
    return (np.random.default_rng((seed, number)) for number in range(count))


@pytest.fixture
def photograph(tmp_path):
    path = tmp_path / "photograph.jpg"
    large = Image.fromarray(random_pixels(24)).resize((320, 200), Image.Resampling.BICUBIC)
    large.save(path, quality=92)
    return path


class Fixed:
    """Stands in for a generator: draws the upper end of every range, or a given share of it."""

    def __init__(self, share=1.0, coin=1.0):
        self._share, self._coin = share, coin

    def uniform(self, low, high):
        return low + self._share * (high - low)

    def random(self):
        return self._coin


# ---------------------------------------------------------------- reading


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("resize", ["bilinear", "antialias"])
def test_none_is_the_photograph_as_the_device_sees_it(photograph, fit, resize):
    spec = PreprocessSpec(SIDE, fit=fit, resize=resize)
    found = read_augmented(photograph, spec, AUGMENTATIONS["none"], drawing_for(DIGESTS[0], 0, 0))
    assert np.array_equal(found, fit_pixels(read_image(photograph, SIDE), spec))


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "none"])
def test_the_same_drawing_gives_the_same_pixels_and_another_one_others(photograph, name):
    spec = PreprocessSpec(SIDE)

    def drawn(digest=DIGESTS[0], seed=0, variant=0):
        drawing = drawing_for(digest, seed, variant)
        return read_augmented(photograph, spec, AUGMENTATIONS[name], drawing)

    first = drawn()
    assert first.shape == (SIDE, SIDE, 3)
    assert first.dtype == np.uint8
    assert np.array_equal(first, drawn())
    for other in ({"variant": 1}, {"seed": 1}, {"digest": DIGESTS[1]}):
        assert not np.array_equal(first, drawn(**other))


def test_the_drawing_is_of_content_seed_and_variant():
    states = {
        drawing_for(digest, seed, variant).random()
        for digest in DIGESTS[:2]
        for seed in (0, 1)
        for variant in (0, 1, 2)
    }
    assert len(states) == 2 * 2 * 3
    assert drawing_for(DIGESTS[0], 3, 4).random() == drawing_for(DIGESTS[0], 3, 4).random()


def test_a_file_that_is_no_photograph(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    for name in ("none", "photo"):
        with pytest.raises(ImageError):
            read_augmented(
                tmp_path / "broken.jpg",
                PreprocessSpec(SIDE),
                AUGMENTATIONS[name],
                drawing_for(DIGESTS[0], 0, 0),
            )


def test_a_photograph_that_is_changed_is_read_larger(photograph):
    """A crop of half the side would be blurred if it were taken from the small picture."""
    spec, change = PreprocessSpec(SIDE), Augmentation(smallest_crop=1.0, mirror=True)
    found = read_augmented(photograph, spec, change, Fixed(coin=1.0))  # 1 does not mirror
    larger = replace(spec, input_resolution=round(1.25 * SIDE))
    read = fit_pixels(read_image(photograph, larger.input_resolution), larger)
    assert np.array_equal(found, augment(read, change, SIDE, Fixed(coin=1.0)))


# ---------------------------------------------------------------- geometry


@pytest.mark.parametrize(
    ("change", "turned"),
    [
        (Augmentation(mirror=True), lambda pixels: pixels[:, ::-1]),
        (Augmentation(flip=True), lambda pixels: pixels[::-1]),
    ],
)
def test_half_of_the_photographs_are_turned_over(change, turned):
    pixels = random_pixels()
    as_it_was = 0
    for random in drawings(200):
        found = augment(pixels, change, SIDE, random)
        if np.array_equal(found, pixels):
            as_it_was += 1
        else:
            assert np.array_equal(found, turned(pixels))
    assert 70 <= as_it_was <= 130  # 4 standard deviations


def test_mirror_and_flip_are_drawn_apart():
    pixels = random_pixels()
    found = {
        augment(pixels, Augmentation(mirror=True, flip=True), SIDE, random).tobytes()
        for random in drawings(40)
    }
    expected = (pixels, pixels[::-1], pixels[:, ::-1], pixels[::-1, ::-1])
    assert found == {one.tobytes() for one in expected}


@pytest.mark.parametrize("angle", [7.0, 30.0, 45.0, 90.0, 180.0])
def test_a_rotation_is_pillow_s(angle):
    """Inside the circle that stays within the picture; beyond it Pillow has black."""
    pixels = np.asarray(
        Image.fromarray(random_pixels(8)).resize((64, 64), Image.Resampling.BICUBIC)
    )
    found = augment(pixels, Augmentation(rotation=angle), 64, Fixed())
    expected = np.asarray(Image.fromarray(pixels).rotate(angle, Image.Resampling.BILINEAR))
    place = np.arange(64) - 31.5
    inside = np.hypot(*np.meshgrid(place, place)) < 30
    differences = np.abs(found.astype(int) - expected)[inside]
    assert differences.max() <= 2  # of Pillow's rounding of its matrix
    other = np.asarray(Image.fromarray(pixels).rotate(-angle, Image.Resampling.BILINEAR))
    if angle != 180:
        assert np.abs(found.astype(int) - other)[inside].max() > 50


def test_a_quarter_turn_by_hand():
    pixels = random_pixels()
    found = augment(pixels, Augmentation(rotation=90), SIDE, Fixed())
    assert np.abs(found.astype(int) - np.rot90(pixels)).max() <= 1


@pytest.mark.parametrize("rotation", [7.0, 45.0, 180.0])
@pytest.mark.parametrize("smallest_crop", [0.35, 1.0])
def test_a_turned_photograph_has_no_borders(rotation, smallest_crop):
    white = np.full((40, 40, 3), 255, np.uint8)
    change = Augmentation(mirror=True, flip=True, rotation=rotation, smallest_crop=smallest_crop)
    for random in drawings(40):
        assert augment(white, change, SIDE, random).min() == 255
    # Exactly on the diagonal a turned square reaches farthest.
    assert augment(white, Augmentation(rotation=45), SIDE, Fixed()).min() == 255


def test_beyond_the_photograph_it_is_mirrored():
    """A corner of a square turned by 45 degrees shows what is as far inside as it is outside."""
    side = 101
    found = augment(ramp(side), Augmentation(rotation=45), side, Fixed())
    beyond = math.sqrt(2) * 50 - 50  # the corner's distance from the picture's edge
    places = sorted(tuple(found[y, x, :2].tolist()) for x in (0, -1) for y in (0, -1))
    expected = [(beyond, 50), (50, beyond), (50, 100 - beyond), (100 - beyond, 50)]
    assert np.abs(np.array(places) - np.array(expected)).max() <= 1.5


def test_crops_keep_the_share_and_shape_that_were_asked_for():
    side = 200
    change = Augmentation(smallest_crop=0.5)
    areas, aspects = [], []
    for random in drawings(300):
        found = augment(ramp(side), change, 100, random).astype(float)
        assert found[..., 2].min() == 255  # nothing from beyond the picture
        # From the outermost samples' middles to their edges: a hundredth more.
        width = (found[50, -1, 0] - found[50, 0, 0]) * 100 / 99 / side
        height = (found[-1, 50, 1] - found[0, 50, 1]) * 100 / 99 / side
        areas.append(width * height)
        aspects.append(width / height)
    rounding = 0.02
    assert min(areas) > 0.5 * (1 - rounding)
    assert max(areas) < 1 + rounding
    assert min(areas) < 0.55
    assert max(areas) > 0.95
    assert 3 / 4 * (1 - rounding) < min(aspects) < 0.8
    assert 1.25 < max(aspects) < 4 / 3 * (1 + rounding)


@pytest.mark.parametrize("least", [0.2, 0.8, 1.0])
def test_the_mean_side_of_crops_is_that_of_many(least):
    random = np.random.default_rng(4)
    sides = np.sqrt(random.uniform(least, 1, 100_000))
    assert Augmentation(smallest_crop=least).mean_crop_side == pytest.approx(
        sides.mean(), abs=0.002
    )


@pytest.mark.parametrize("share", [0.8, 0.95])
def test_a_wide_crop_of_nearly_all_keeps_its_share(share):
    """4:3 of 0.8 of the area would be wider than the photograph."""

    class Wide(Fixed):
        def uniform(self, low, high):
            return low if high == 1 else high  # the smallest area, the widest shape

    found = augment(ramp(250), Augmentation(smallest_crop=share), 125, Wide()).astype(float)
    width = (found[60, -1, 0] - found[60, 0, 0]) * 125 / 124 / 250
    height = (found[-1, 60, 1] - found[0, 60, 1]) * 125 / 124 / 250
    assert width == pytest.approx(1, abs=0.01)
    assert width * height == pytest.approx(share, abs=0.015)


def test_crops_lie_anywhere():
    left, top = [], []
    for random in drawings(200):
        found = augment(ramp(100), Augmentation(smallest_crop=0.36), 60, random)
        left.append(int(found[30, 0, 0]))
        top.append(int(found[0, 30, 1]))
    for place in (left, top):
        assert min(place) < 5
        assert max(place) > 25
    assert abs(np.corrcoef(left, top)[0, 1]) < 0.5


# ---------------------------------------------------------------- colours


def test_brightness_is_a_factor_within_bounds():
    grey = np.full((SIDE, SIDE, 3), 100, np.uint8)
    found = [
        int(augment(grey, Augmentation(brightness=0.2), SIDE, random)[0, 0, 0])
        for random in drawings(200)
    ]
    assert min(found) in (80, 81)
    assert max(found) in (119, 120)
    assert augment(grey, Augmentation(brightness=0.2), SIDE, Fixed())[3, 4].tolist() == [120] * 3


def test_contrast_is_a_factor_on_the_distance_to_the_mean():
    pixels = np.full((SIDE, SIDE, 3), 50, np.uint8)
    pixels[:, ::2] = 150  # a mean of 100
    more = augment(pixels, Augmentation(contrast=0.5), SIDE, Fixed(1))
    less = augment(pixels, Augmentation(contrast=0.5), SIDE, Fixed(0))
    assert (more[0, 0, 0], more[0, 1, 0]) == (175, 25)
    assert (less[0, 0, 0], less[0, 1, 0]) == (125, 75)


def test_saturation_is_a_factor_on_the_distance_to_grey():
    pixels = np.full((SIDE, SIDE, 3), (200, 100, 50), np.uint8)
    grey = round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)
    for share, factor in ((1, 1.5), (0, 0.5)):
        found = augment(pixels, Augmentation(saturation=0.5), SIDE, Fixed(share))[0, 0]
        expected = [
            np.clip(grey + factor * (value - grey), 0, 255) for value in pixels[0, 0].astype(float)
        ]
        assert np.abs(found - np.array(expected)).max() <= 1


def test_noise_has_the_deviation_that_was_asked_for():
    grey = np.full((200, 200, 3), 128, np.uint8)
    found = augment(grey, Augmentation(noise=6.0), 200, np.random.default_rng(1)).astype(float)
    assert found.mean() == pytest.approx(128, abs=0.2)
    assert found[..., 0].std() == pytest.approx(6, rel=0.02)
    for extreme in (0, 255):  # clipped, never wrapped
        pixels = np.full((SIDE, SIDE, 3), extreme, np.uint8)
        noisy = augment(pixels, Augmentation(noise=6.0), SIDE, np.random.default_rng(1))
        assert np.abs(noisy.astype(int) - extreme).max() < 40


# ---------------------------------------------------------------- presets


def test_a_preset_for_x_rays_never_mirrors():
    """The bright half of a chest stays on its side."""
    preset = AUGMENTATIONS["xray"]
    assert not preset.mirror
    assert not preset.flip
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[:, :20] = 160
    pixels[:20] += 60
    for random in drawings(60):
        found = augment(pixels, preset, SIDE, random).astype(float)
        assert found[:, :8].mean() > found[:, -8:].mean() + 50
        assert found[:8].mean() > found[-8:].mean() + 20


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_grey_stays_grey(name):
    pixels = np.repeat(random_pixels(40)[..., :1], 3, axis=2)
    for random in drawings(20):
        found = augment(pixels, AUGMENTATIONS[name], SIDE, random)
        assert np.ptp(found, axis=2).max() == 0


def test_colour_of_a_photograph_does_change():
    pixels = np.full((40, 40, 3), (180, 90, 60), np.uint8)
    ratios = [
        found[0, 0, 0] / found[0, 0, 2]
        for found in (
            augment(pixels, AUGMENTATIONS["photo"], SIDE, random) for random in drawings(20)
        )
    ]
    assert max(ratios) > 1.15 * min(ratios)
    assert AUGMENTATIONS["xray"].saturation == 0


@pytest.mark.parametrize("name", list(AUGMENTATIONS))
def test_presets_are_settings(name):
    assert Augmentation(**asdict(AUGMENTATIONS[name])) == AUGMENTATIONS[name]
    assert (AUGMENTATIONS[name] == NONE) == (name == "none")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"smallest_crop": 0.0}, "expected a smallest_crop above 0 and up to 1, got 0.0"),
        ({"smallest_crop": 1.1}, "expected a smallest_crop above 0 and up to 1, got 1.1"),
        ({"brightness": 1.0}, "expected brightness from 0 to below 1, got 1.0"),
        ({"contrast": -0.1}, "expected contrast from 0 to below 1, got -0.1"),
        ({"saturation": 2}, "expected saturation from 0 to below 1, got 2"),
        ({"rotation": -1}, "expected rotation and noise of at least 0, got -1 and 0"),
        ({"noise": -1}, "expected rotation and noise of at least 0, got 0.0 and -1"),
        ({"noise": float("nan")}, "expected rotation and noise of at least 0, got 0.0 and nan"),
    ],
)
def test_impossible_augmentations(wrong, said):
    with pytest.raises(ValueError, match=said):
        Augmentation(**wrong)
