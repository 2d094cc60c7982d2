"""Random changes of photographs, so that training sees each of them in many ways."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from kit.choices import AUGMENTATION_NAMES
from kit.model.preprocess import Pixels, fit_pixels
from kit.model.spec import PreprocessSpec
from kit.runtime.images import read_image

if TYPE_CHECKING:
    from PIL import Image

_MARGIN = 1.25  # photographs are read larger by this factor, so that crops of them stay sharp

_ASPECT = 4 / 3  # a crop is at most that much wider or higher than the photograph's own shape

_BEYOND = (math.sqrt(2) - 1) / 2  # of its side: how far a turned square reaches beyond it

DRAWING_VERSION = 2
"""Version of the changes that `augment` makes; caches of another version are not read."""


@dataclass(frozen=True)
class Augmentation:
    """How far a photograph may be changed; each change is drawn evenly between its bounds.

    Attributes:
        mirror: whether half of the photographs are turned left to right.
        flip: whether half of them are turned upside down.
        smallest_crop: share of the area that is kept, 0 to 1; 1 crops nothing. A crop is scaled
            to the whole input (Szegedy et al. 2015, "Going deeper with convolutions").
        rotation: largest angle to either side, in degrees.
        brightness: factor 1 - brightness to 1 + brightness on the pixels.
        contrast: same range of factors, on the pixels' distance to the photograph's mean.
        saturation: same range of factors, on the pixels' distance to grey.
        noise: standard deviation of the value added to each pixel, in grey levels of 255; its
            three channels get the same value, so that grey stays grey.
    """

    mirror: bool = False
    flip: bool = False
    smallest_crop: float = 1.0
    rotation: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.smallest_crop <= 1:
            raise ValueError(
                f"expected a smallest_crop above 0 and up to 1, got {self.smallest_crop}"
            )
        for name in ("brightness", "contrast", "saturation"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"expected {name} from 0 to below 1, got {getattr(self, name)}")
        if not (self.rotation >= 0 and self.noise >= 0):
            raise ValueError(
                f"expected rotation and noise of at least 0, got {self.rotation} and {self.noise}"
            )

    @property
    def mean_crop_side(self) -> float:
        """Mean side of a crop as a share of the photograph's side, 0 to 1.

        It is the mean of the square root of an area drawn evenly from smallest_crop to 1.
        """
        least = self.smallest_crop
        return 2 / 3 * (1 - least**1.5) / (1 - least) if least < 1 else 1.0


_PHOTO = Augmentation(
    mirror=True,
    smallest_crop=0.2,
    rotation=15.0,
    brightness=0.35,
    contrast=0.35,
    saturation=0.35,
)
# The heart is on the left and the diaphragm below: a mirrored chest is another finding.
# Film has no colour; exposure and the patient's position do differ.
_XRAY = Augmentation(smallest_crop=0.8, rotation=7.0, brightness=0.1, contrast=0.2, noise=4.0)
# What hangs or lies in any direction: leaves, cells, parts seen from above.
_ANY_DIRECTION = replace(_PHOTO, flip=True, rotation=180.0)
AUGMENTATIONS: Mapping[str, Augmentation] = MappingProxyType(
    dict(
        zip(
            AUGMENTATION_NAMES,
            (Augmentation(), _PHOTO, _XRAY, _ANY_DIRECTION),
            strict=True,
        )
    )
)
"""By the name that `--augment` takes."""


def drawing_for(digest: str, seed: int, variant: int, *purpose: int) -> np.random.Generator:
    """The random generator that decides how a photograph is changed.

    It depends on the SHA-256 of the content, in hexadecimal, and not on the photograph's place in
    the data set or the order of work. With a purpose it gives other values than without.
    """
    return np.random.default_rng((seed, variant, int(digest[:16], 16), *purpose))


def read_augmented(
    path: Path, spec: PreprocessSpec, augmentation: Augmentation, random: np.random.Generator
) -> Pixels:
    """Reads a photograph as `spec` says and changes it; an empty augmentation changes no bit.

    Returns:
        uint8 `[side, side, 3]`.

    Raises:
        ImageError: it cannot be read.
    """
    return changed(read_to_change(path, spec, augmentation), spec, augmentation, random)


def before_change(spec: PreprocessSpec, augmentation: Augmentation) -> PreprocessSpec:
    """How a photograph is read that is then changed: larger, unless nothing changes it."""
    if augmentation == Augmentation():
        return spec
    return replace(spec, input_resolution=round(spec.input_resolution * _MARGIN))


def read_to_change(path: Path, spec: PreprocessSpec, augmentation: Augmentation) -> Pixels:
    """The first half of `read_augmented`, which is the same however often it is drawn.

    Returns:
        uint8 `[larger, larger, 3]`, as `before_change` says.
    """
    larger = before_change(spec, augmentation)
    return fit_pixels(read_image(path, larger.input_resolution), larger)


def changed(
    pixels: Pixels, spec: PreprocessSpec, augmentation: Augmentation, random: np.random.Generator
) -> Pixels:
    """The second half of `read_augmented`, of what the first gave: uint8 `[side, side, 3]`."""
    if augmentation == Augmentation():
        return pixels
    return augment(pixels, augmentation, spec.input_resolution, random)


def augment(
    pixels: Pixels, augmentation: Augmentation, side: int, random: np.random.Generator
) -> Pixels:
    """Changes one photograph at random.

    Mirroring, flipping, cropping, scaling and rotation are one affine transform: the photograph is
    sampled once, and not blurred by each step as by a row of Keras' layers. Pillow does it, on
    any number of threads (benchmarks/augmentation.py compares the two).

    Args:
        pixels: uint8 `[larger, larger, 3]`, RGB.
        augmentation: the changes that are allowed.
        side: side of the result, in pixels.
        random: source of the random choices; the same state gives the same result.

    Returns:
        uint8 `[side, side, 3]`.
    """
    from PIL import Image

    transform, border = _transform(augmentation, len(pixels), side, random), 0
    if augmentation.rotation:
        # What a turned square shows beyond the photograph is the photograph mirrored.
        border = math.ceil(_BEYOND * len(pixels)) + 1
        pixels = np.pad(pixels, ((border, border), (border, border), (0, 0)), "reflect")
    a, b, x, c, d, y = transform
    image = Image.fromarray(pixels).transform(
        (side, side),
        Image.Transform.AFFINE,
        (a, b, x + border, c, d, y + border),
        Image.Resampling.BILINEAR,
    )
    return _recoloured(image, augmentation, random)


def _transform(
    augmentation: Augmentation, larger: int, side: int, random: np.random.Generator
) -> tuple[float, ...]:
    """From positions in the result to positions in the photograph, both from 0 to the side:
    `x' = a x + b y + c`, `y' = d x + e y + f`, in this order."""
    area = random.uniform(augmentation.smallest_crop, 1)
    bound = np.log(min(_ASPECT, 1 / area))  # a wider crop would not fit into the photograph
    aspect = np.exp(random.uniform(-bound, bound))
    width, height = min(np.sqrt(area * aspect), 1), min(np.sqrt(area / aspect), 1)
    middle_x = width / 2 + random.uniform(0, 1 - width)
    middle_y = height / 2 + random.uniform(0, 1 - height)
    angle = np.deg2rad(random.uniform(-augmentation.rotation, augmentation.rotation))
    across = -1 if augmentation.mirror and random.random() < 0.5 else 1
    down = -1 if augmentation.flip and random.random() < 0.5 else 1
    # Mirrored and turned about the middle of the result, then scaled to the crop.
    scale_x, scale_y = width * larger / side, height * larger / side
    a, b = scale_x * np.cos(angle) * across, -scale_x * np.sin(angle) * down
    d, e = scale_y * np.sin(angle) * across, scale_y * np.cos(angle) * down
    x = middle_x * larger - (a + b) * side / 2
    y = middle_y * larger - (d + e) * side / 2
    return (a, b, x, d, e, y)


def _recoloured(image: Image.Image, change: Augmentation, random: np.random.Generator) -> Pixels:
    from PIL import ImageEnhance

    for enhance, bound in (
        (ImageEnhance.Contrast, change.contrast),
        (ImageEnhance.Color, change.saturation),
        (ImageEnhance.Brightness, change.brightness),
    ):
        if bound:
            image = enhance(image).enhance(random.uniform(1 - bound, 1 + bound))
    pixels = np.asarray(image)
    if not change.noise:
        return pixels
    noise = change.noise * random.standard_normal((*pixels.shape[:2], 1), np.float32)
    noisy: Pixels = np.clip(np.rint(pixels + noise), 0, 255).astype(np.uint8)
    return noisy
