"""`kit review --apply`: a data set's images in a folder for each of their corrected labels."""

from __future__ import annotations

import os
import re
import shutil
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kit.data import Dataset, DataSettings, LabelledImage, load_dataset
from kit.errors import DataError
from kit.files import check_spares, folder_beside
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
    link: bool = False,
    force: bool = False,
    reporter: Reporter | None = None,
) -> CorrectedTree:
    """Writes a folder of images for each label, for tools that know no corrections.

    Where the parts are given, the labels' folders lie in one for each part. Folders below a
    class's own stay.

    Args:
        images: the folder.
        output: the folder to write, apart from `images`.
        settings: the source of labels, and the corrections.
        link: write hard links where the file system can. They take no room, but who changes such a
            file changes the image that it was made from.
        force: replace what is there.
        reporter: is told of progress.

    Raises:
        DataError: the images cannot be used, a label is no name of a folder, or the output lies
            among the images.
        OutputExistsError: the output exists, or is or holds what is read.
    """
    settings, reporter = settings or DataSettings(), reporter or Silent()
    check_spares(output, images, *settings.tables)
    if Path(output).resolve().is_relative_to(Path(images).resolve()):
        raise DataError(f"{output}: expected a folder outside of {images}, got one in it")
    dataset = load_dataset(images, settings)
    for line in dataset.warnings:
        reporter.warn(line)
    tell_left_out(dataset.left_out, reporter)
    in_folders = settings.labels_csv is None and not settings.label_regex
    linked = 0
    with folder_beside(output, force) as folder:
        targets = list(_targets(dataset, in_folders).items())
        for path, target in reporter.track(targets, len(targets), "writing images"):
            place = folder / target
            place.parent.mkdir(parents=True, exist_ok=True)
            linked += link and _linked(dataset.root / path, place)
            if not place.exists():
                shutil.copy2(dataset.root / path, place)
    return CorrectedTree(Path(output), len(targets), linked)


def _targets(dataset: Dataset, in_folders: bool) -> dict[str, str]:
    """Where each image goes, by its path; a name that is taken gets the start of its digest."""
    for label in dataset.labels:
        if label in (".", "..") or re.search(r"[/\\\0]", label):
            raise DataError(
                f"expected labels that can be names of folders, got {label!r}: rename it"
            )
    has_parts = any(image.part for image in dataset.images)
    places = {image.path: _place(dataset, image, in_folders, has_parts) for image in dataset.images}
    names = Counter(map(_spelt, places.values()))
    found: dict[str, str] = {}
    taken: set[str] = set()
    for image in dataset.images:
        target = places[image.path]
        if names[_spelt(target)] > 1:
            target = _marked(target, image.digest[:12])
        if _spelt(target) in taken:  # the same content under one name
            target = _marked(target, str(len(taken)))
        taken.add(_spelt(target))
        found[image.path] = target
    return found


def _spelt(target: str) -> str:
    """As file systems compare names that know neither capitals nor how letters are composed."""
    return unicodedata.normalize("NFC", target).casefold()


def _place(dataset: Dataset, image: LabelledImage, in_folders: bool, has_parts: bool) -> str:
    below = PurePosixPath(image.path).parts
    if in_folders:
        below = below[1 + has_parts :]
    part = (image.part or "train",) if has_parts else ()
    return str(PurePosixPath(*part, dataset.labels[image.label], *below))


def _marked(target: str, mark: str) -> str:
    path = PurePosixPath(target)
    return str(path.with_name(f"{path.stem}-{mark}{path.suffix}"))


def _linked(source: Path, place: Path) -> bool:
    """Whether a link could be made: of the file itself, wherever a symbolic link leads."""
    try:
        os.link(source.resolve(), place)
    except FileExistsError:
        raise
    except OSError:  # another file system, or one without links
        return False
    return True
