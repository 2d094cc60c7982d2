"""Which images quantisation looks at, to learn the range of every tensor."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from kit.data import Dataset
from kit.preprocess import Pixels, fit_pixels
from kit.runtime.images import read_image
from kit.runtime.parallel import default_threads, ordered_map
from kit.spec import PreprocessSpec

IMAGES = 100
"""How many are chosen, unless told otherwise; more gain nothing that can be measured."""


def representative_paths(
    dataset: Dataset, train_paths: Sequence[str], count: int, seed: int
) -> list[str]:
    """Images of the train part for quantisation: each class by its share, at least one, seeded."""
    chooser = random.Random(seed)
    chosen: list[str] = []
    for label in range(len(dataset.labels)):
        inside = {image.path for image in dataset.images if image.label == label}
        paths = sorted(path for path in train_paths if path in inside)
        share = max(1, round(count * len(paths) / len(train_paths)))
        chosen += chooser.sample(paths, min(share, len(paths)))
    chooser.shuffle(chosen)  # whoever takes the first few gets all classes
    return chosen


def read_representative(root: Path, paths: Sequence[str], spec: PreprocessSpec) -> list[Pixels]:
    """Pixels at the input resolution, uint8 `[side, side, 3]`."""

    def work(path: str) -> Pixels:
        return fit_pixels(read_image(root / path, spec.input_resolution), spec)

    return list(ordered_map(work, paths, default_threads()))
