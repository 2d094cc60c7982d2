"""A folder with one folder for each class, to a list of labelled images."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from kit.errors import DataError, SpecError
from kit.spec import check_labels

FEW_IMAGES = 20
"""Below this many a class is warned of, as the retraining tutorials of 2017 did."""

_SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "icon\r"})


@dataclass(frozen=True)
class LabelledImage:
    """One image file.

    Attributes:
        path: relative to the data set's folder, with `/`.
        label: index in the data set's labels.
        digest: SHA-256 of the file's content, in hexadecimal.
    """

    path: str
    label: int
    digest: str


@dataclass(frozen=True)
class Dataset:
    """What a scan found.

    Attributes:
        root: the folder.
        labels: names of the class folders, sorted.
        images: sorted by path.
        left_out: path and reason of every file that is not used.
        warnings: what a user should know before training on this.
    """

    root: Path
    labels: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    left_out: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all contents and labels; names and order of files do not matter."""
        lines = sorted(f"{self.labels[image.label]}\0{image.digest}\n" for image in self.images)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def counts(self) -> tuple[int, ...]:
        """Images of each label."""
        counts = [0] * len(self.labels)
        for image in self.images:
            counts[image.label] += 1
        return tuple(counts)

    def only(self, paths: Iterable[str], labels: tuple[str, ...]) -> Dataset:
        """The images with these paths, their labels counted as in `labels`.

        Raises DataError where a path is missing, or its folder is none of `labels`.
        """
        by_path = {image.path: image for image in self.images}
        wanted = sorted(paths)
        if missing := [path for path in wanted if path not in by_path]:
            raise DataError(
                f"{self.root}: expected all images of before, {len(missing)} are missing, such as "
                f"{missing[0]}: name their folder with --images"
            )
        images = [by_path[path] for path in wanted]
        if strangers := {self.labels[image.label] for image in images} - {*labels}:
            raise DataError(f"expected labels of {_listed(labels)}, got {_listed(strangers)}")
        numbers = {name: number for number, name in enumerate(labels)}
        relabelled = (replace(image, label=numbers[self.labels[image.label]]) for image in images)
        return replace(self, labels=labels, images=tuple(relabelled))

    def without(self, reasons: Mapping[str, str]) -> Dataset:
        """This data set less the images with these paths, which are listed as left out."""
        kept = tuple(image for image in self.images if image.path not in reasons)
        return replace(self, images=kept, left_out=(*self.left_out, *sorted(reasons.items())))


def scan_images(root: str | os.PathLike[str], *, labels: Iterable[str] | None = None) -> Dataset:
    """Finds the labelled images below a folder. Contents are hashed, not yet decoded.

    Args:
        root: holds a folder for each class; images may lie deeper in it. The folder's name is the
            label as it is, in any script. Hidden and system files are passed over.
        labels: those of a model, to evaluate it; every folder must be one of them. Default: the
            folders' names.

    Raises:
        DataError: the folder is missing or unreadable, has no images, fewer than two classes, or
            a class that is not among `labels`.
    """
    root = Path(root)
    if not root.is_dir():
        found = "a file" if root.exists() else "nothing there"
        raise DataError(f"{root}: expected a folder with a folder of images per class, {found}")
    left_out: list[tuple[str, str]] = []
    warnings: list[str] = []
    folders, loose = [], 0
    try:
        for entry in sorted(root.iterdir(), key=lambda path: path.name):
            if _is_ignored(entry.name):
                continue
            if entry.is_dir():
                folders.append(entry)
            else:
                loose += 1
    except OSError as error:
        raise DataError(f"{root}: expected a readable folder: {error.strerror}") from error
    if loose:
        warnings.append(f"files beside the class folders, in no class, passed over: {loose}")
    files = {folder.name: _files(folder, root, left_out) for folder in folders}
    for name in [name for name, paths in files.items() if not paths]:
        warnings.append(f"the folder {name} has no files: it is no class")
        del files[name]
    try:
        check_labels(tuple(files) or ("none",))
    except SpecError as error:
        raise DataError(f"{root}: {error}: rename the folder") from error
    names = tuple(files) if labels is None else tuple(labels)
    if not files:
        raise DataError(f"{root}: expected a folder of images per class, found no images")
    if labels is None and len(files) < 2:
        raise DataError(
            f"{root}: expected at least 2 classes, a folder each, got 1 ({names[0]}): "
            "add a folder with images of something else"
        )
    if strangers := [name for name in files if name not in names]:
        raise DataError(
            f"{root}: expected folders named as the model's labels ({_listed(names)}), "
            f"got {_listed(strangers)}"
        )
    images = _without_contradictions(_hash(root, files, names, left_out), names, left_out)
    dataset = Dataset(root, names, images, tuple(left_out), ())
    if not images:
        raise DataError(
            f"{root}: expected images, all {len(left_out)} files were left out: {left_out[0][1]}"
        )
    for name, count in zip(names, dataset.counts(), strict=True):
        if count < FEW_IMAGES and labels is None:
            warnings.append(
                f"{name} has {count} images: fewer than {FEW_IMAGES} give a poor classifier"
            )
    return replace(dataset, warnings=tuple(warnings))


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def _files(folder: Path, root: Path, left_out: list[tuple[str, str]]) -> list[Path]:
    def unreadable(error: OSError) -> None:
        if Path(error.filename) == folder:  # going on without a whole class would be wrong
            raise DataError(
                f"{folder}: expected a readable folder: {error.strerror}: make it readable, or "
                "move it away"
            ) from error
        path = Path(error.filename).relative_to(root).as_posix()
        left_out.append((path, f"expected a readable folder: {error.strerror}"))

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not _is_ignored(name))
        found += [Path(parent, name) for name in sorted(names) if not _is_ignored(name)]
    return found


def _hash(
    root: Path,
    files: Mapping[str, list[Path]],
    names: tuple[str, ...],
    left_out: list[tuple[str, str]],
) -> list[LabelledImage]:
    images = []
    for name, paths in files.items():
        label = names.index(name)
        for path in paths:
            relative = path.relative_to(root).as_posix()
            try:
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                left_out.append((relative, f"expected a readable file: {error.strerror}"))
            else:
                images.append(LabelledImage(relative, label, digest))
    return sorted(images, key=lambda image: image.path)


def _without_contradictions(
    images: list[LabelledImage], names: tuple[str, ...], left_out: list[tuple[str, str]]
) -> tuple[LabelledImage, ...]:
    """Leaves out every image whose content stands in two classes: one of them must be wrong."""
    by_digest = defaultdict(set)
    for image in images:
        by_digest[image.digest].add(image.label)
    for image in images:
        others = by_digest[image.digest] - {image.label}
        if others:
            where = _listed([names[label] for label in sorted(others)])
            left_out.append((image.path, f"expected one class, the same content is in {where}"))
    return tuple(image for image in images if len(by_digest[image.digest]) == 1)


def _listed(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
