"""`kit review --apply`: a data set's images in a folder for each of their corrected labels."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kit.data import Dataset, DataSettings, LabelledImage, load_dataset
from kit.errors import DataError
from kit.files import folder_beside
from kit.reporting import Reporter, Silent, tell_left_out


@dataclass(frozen=True)
class CorrectedTree:
    """What was written.

    Attributes:
        output: the folder.
        images: how many images it has.
        linked: how many of them take no room of their own.
    """

    output: Path
    images: int
    linked: int

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "output": str(self.output)}


def write_corrected_tree(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: DataSettings | None = None,
    *,
    force: bool = False,
    reporter: Reporter | None = None,
) -> CorrectedTree:
    """Writes a folder of images for each label, for tools that know no corrections.

    Files are hard links where the file system can, else copies. Where the parts are given, the
    label's folders lie in one for each part.

    Args:
        images: the folder.
        output: the folder to write, which must lie outside of `images`.
        settings: the source of labels, and the corrections.
        force: replace what is there.
        reporter: is told of progress.

    Raises:
        DataError: the images cannot be used, or the output lies among them.
        OutputExistsError: the output exists.
    """
    reporter = reporter or Silent()
    if Path(output).resolve().is_relative_to(Path(images).resolve()):
        raise DataError(f"{output}: expected a folder outside of {images}, got one in it")
    dataset = load_dataset(images, settings)
    for line in dataset.warnings:
        reporter.warn(line)
    tell_left_out(dataset.left_out, reporter)
    linked = 0
    with folder_beside(output, force) as folder:
        targets = list(_targets(dataset).items())
        for path, target in reporter.track(targets, len(targets), "writing images"):
            place = folder / target
            place.parent.mkdir(parents=True, exist_ok=True)
            linked += _link_or_copy(dataset.root / path, place)
    return CorrectedTree(Path(output), len(targets), linked)


def _targets(dataset: Dataset) -> dict[str, str]:
    """Where each image goes, by its path; a name that is taken gets the start of its digest."""
    places = {image.path: _place(dataset, image) for image in dataset.images}
    names = Counter(places.values())
    found: dict[str, str] = {}
    taken: set[str] = set()
    for image in dataset.images:
        target = places[image.path]
        if names[target] > 1:
            target = _marked(target, image.digest[:12])
        if target in taken:  # the same content under one name
            target = _marked(target, str(len(taken)))
        taken.add(target)
        found[image.path] = target
    return found


def _place(dataset: Dataset, image: LabelledImage) -> str:
    part = f"{image.part}/" if image.part else ""
    return f"{part}{dataset.labels[image.label]}/{PurePosixPath(image.path).name}"


def _marked(target: str, mark: str) -> str:
    path = PurePosixPath(target)
    return str(path.with_name(f"{path.stem}-{mark}{path.suffix}"))


def _link_or_copy(source: Path, place: Path) -> bool:
    """Whether it is a link: of the file itself, wherever a symbolic link leads."""
    try:
        os.link(source.resolve(), place)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, place)
        return False
    return True
