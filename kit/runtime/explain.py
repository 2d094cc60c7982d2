"""Where a model looked: its activation map laid over the photograph."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from kit.model.preprocess import Pixels, crop_size
from kit.model.spec import PreprocessSpec

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

ActivationMap: TypeAlias = "npt.NDArray[np.float32]"

_RAMP = np.array(
    [(0, 0, 0), (110, 0, 120), (220, 40, 50), (255, 160, 0), (255, 255, 120)], np.float32
)
"""Colours from no evidence to the most; brighter all the way, so that it reads in grey too."""
_BAND = 64  # rows that are drawn at once
_OPACITY = 0.65  # where the evidence is strongest; the photograph is to be seen beneath


def overlay(pixels: Pixels, activation_map: ActivationMap) -> Image:
    """The photograph with the evidence for a label over it.

    Only what speaks for the label is shown, in shares of the strongest place of this image: two
    overlays say nothing of which image is the surer.

    Args:
        pixels: uint8 `[height, width, 3]`, RGB.
        activation_map: float32 `[rows, columns]`, of the same part of the photograph.

    Returns:
        An RGB image of the size of `pixels`.
    """
    from PIL import Image

    height, width = pixels.shape[:2]
    strongest = float(activation_map.max())
    shares = np.maximum(activation_map, 0) / strongest if strongest > 0 else activation_map * 0
    small = Image.fromarray(shares.astype(np.float32))
    heat = np.asarray(small.resize((width, height), Image.Resampling.BICUBIC)).clip(0, 1)
    steps = np.linspace(0, 1, len(_RAMP))
    result = np.empty_like(pixels)
    for start in range(0, height, _BAND):  # a large X-ray at once would take a Pi's whole memory
        rows = slice(start, start + _BAND)
        colours = np.stack([np.interp(heat[rows], steps, channel) for channel in _RAMP.T], axis=-1)
        opacity = _OPACITY * heat[rows, :, None]
        blended = pixels[rows] * (1 - opacity) + colours * opacity
        result[rows] = np.floor(blended + 0.5).astype(np.uint8)
    return Image.fromarray(result)


def seen_part(pixels: Pixels, spec: PreprocessSpec) -> Pixels:
    """What of a photograph the model sees, in the photograph's own aspect.

    The centre with `crop`, all with `stretch`, and all with black beside it with `pad`.

    Args:
        pixels: uint8 `[height, width, 3]`.
        spec: the preprocessing of the model.

    Returns:
        uint8 `[rows, columns, 3]`.
    """
    height, width = pixels.shape[:2]
    if spec.fit == "crop":
        rows, columns = crop_size(height, width, spec)
        top, left = (height - rows) // 2, (width - columns) // 2
        return pixels[top : top + rows, left : left + columns]
    if spec.fit == "pad":
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        padded = np.zeros((side, side, 3), np.uint8)
        padded[top : top + height, left : left + width] = pixels
        return padded
    return pixels
