"""Chooses the images that quantisation looks at to learn the range of every tensor."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path

from kit.data import Dataset, scan_images
from kit.errors import DataError, ImageError
from kit.evaluation.evaluate import truth_of
from kit.export.scoring_set import ScoringSet
from kit.model.preprocess import Pixels, fit_pixels
from kit.model.spec import PreprocessSpec
from kit.reporting import Reporter, tell_left_out
from kit.runtime.images import read_image
from kit.runtime.parallel import default_threads, ordered_map
from kit.runtime.paths import image_paths

IMAGES = 100
"""How many images are chosen by default; more gain nothing that can be measured."""
_FEW = 20  # fewer unseen photographs say little, so the seen ones are compared too
_COMPARED = 300


def representative_paths(
    dataset: Dataset, train_paths: Sequence[str], count: int, seed: int
) -> list[str]:
    """A seeded choice from the train part: each class by its share, with at least one image."""
    chooser = random.Random(seed)
    chosen: list[str] = []
    for label in range(len(dataset.labels)):
        inside = {image.path for image in dataset.images if image.label == label}
        paths = sorted(path for path in train_paths if path in inside)
        share = max(1, round(count * len(paths) / len(train_paths)))
        chosen += chooser.sample(paths, min(share, len(paths)))
    chooser.shuffle(chosen)  # so that the first few hold all classes
    return chosen


def read_representative(root: Path, paths: Sequence[str], spec: PreprocessSpec) -> list[Pixels]:
    """Pixels at the input resolution, uint8 `[side, side, 3]`."""

    def work(path: str) -> Pixels:
        return fit_pixels(read_image(root / path, spec.longer_side), spec)

    return list(ordered_map(work, paths, default_threads()))


def choose_photographs(
    images: Path | None,
    representative_images: Path | None,
    spec: PreprocessSpec,
    labels: tuple[str, ...],
    reporter: Reporter,
) -> tuple[list[Pixels], ScoringSet | None]:
    """Chooses what quantisation looks at, and other photographs to compare the files on.

    Args:
        images: labelled photographs, in a folder for each label.
        representative_images: a folder of any photographs; None: some of `images` are taken.
        spec: how photographs become pixels, uint8 `[side, side, 3]`.
        labels: the labels of the model.
        reporter: is told what was left out.

    Raises DataError where a folder does not exist or has too few images.
    """
    representative: list[Pixels] | None = None
    scoring_set = None
    if representative_images is not None:
        representative, scoring_set = _unlabelled(representative_images, spec, reporter)
    if images is None:
        return representative or [], scoring_set
    dataset = scan_images(images, labels=labels)
    for line in dataset.warnings:
        reporter.warn(line)
    paths = [image.path for image in dataset.images]
    if representative is None:
        if len(paths) <= 2 * _FEW:
            raise DataError(
                f"{images}: expected more than {2 * _FEW} images, to quantise by some and "
                f"score on others, got {len(paths)}: add images, or --representative-images FOLDER"
            )
        count = min(IMAGES, len(paths) // 2)
        chosen = representative_paths(dataset, paths, count, seed=0)
        representative, unreadable = _read(images, [images / path for path in chosen], spec)
        tell_left_out(unreadable, reporter)
        paths = [path for path in paths if path not in set(chosen)]
    scoring_set = ScoringSet("images", dataset.root, tuple(paths), truth_of(dataset, paths))
    return representative, scoring_set


def _unlabelled(
    folder: Path, spec: PreprocessSpec, reporter: Reporter
) -> tuple[list[Pixels], ScoringSet]:
    """A seeded choice of a folder's images to quantise with, and others to compare on."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of representative images, found no folder")
    paths = [Path(path) for path in image_paths([str(folder)], sys.stdin)]
    random.Random(0).shuffle(paths)
    pixels, unreadable = _read(folder, paths[:IMAGES], spec)
    tell_left_out(unreadable, reporter)
    if not pixels:
        raise DataError(f"{folder}: expected representative images, found none that can be read")
    others = paths[IMAGES : IMAGES + _COMPARED]
    seen = len(others) < _FEW
    if seen:
        reporter.say(
            "the files are compared on the representative images themselves: there are few others"
        )
    left_out = {path for path, _ in unreadable}
    compared = [str(path.relative_to(folder)) for path in (paths[:IMAGES] if seen else others)]
    kept = tuple(path for path in compared if path not in left_out)
    return pixels, ScoringSet("images", folder, kept, None)


def _read(
    root: Path, paths: Sequence[Path], spec: PreprocessSpec
) -> tuple[list[Pixels], list[tuple[str, str]]]:
    pixels: list[Pixels] = []
    unreadable: list[tuple[str, str]] = []
    for path in paths:
        try:
            pixels.append(fit_pixels(read_image(path, spec.longer_side), spec))
        except ImageError as error:
            unreadable.append((str(path.relative_to(root)), str(error)))
    return pixels, unreadable
