"""Small coloured images from a seed, for the tests of the training side."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (210, 40, 40), "green": (40, 200, 50), "blue": (40, 60, 220)}


def coloured(colour, random, side=40):
    """Pixels about one colour, uint8 `[side, side, 3]`, with noise that makes each one unique."""
    noise = random.integers(-25, 26, (side, side, 3))
    return np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)


def draw_folder(root: Path, counts: Mapping[str, int], seed=0, side=40, suffix=".png"):
    """A folder for each class; one named as a colour gets it, any other grey."""
    random = np.random.default_rng(seed)
    for name, count in counts.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = coloured(COLOURS.get(name, (128, 128, 128)), random, side)
            Image.fromarray(pixels).save(root / name / f"{index:03d}{suffix}")
    return root
