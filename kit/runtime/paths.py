"""Which files in a folder are images, by what they are and are called: nothing is opened."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import TextIO

from kit.errors import ImageError, KitError
from kit.filenames import irregular, shown

_LEFT_BEHIND = frozenset(
    {
        *("thumbs.db", "desktop.ini", "icon\r", "ehthumbs.db"),
        *("__macosx", "@eadir", "#recycle", "@recycle", "$recycle.bin", "lost+found"),
        *("system volume information", "network trash folder", "temporary items"),
    }
)
"""Files and folders of systems, archives and network drives, in lower case."""
_SIDE_SUFFIXES = frozenset(
    {
        *(".txt", ".md", ".rst", ".html", ".htm", ".pdf", ".doc", ".docx", ".rtf"),
        *(".csv", ".tsv", ".xls", ".xlsx", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml"),
        *(".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".3gp", ".mpg", ".mpeg", ".wmv"),
        *(".mp3", ".m4a", ".wav", ".aae", ".xmp", ".thm", ".ini", ".log", ".db", ".lnk", ".url"),
        *(".py", ".ipynb", ".sh", ".npy", ".npz", ".pkl", ".mat", ".h5", ".tflite", ".tfrecord"),
        *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".7z", ".rar", ".tmp", ".part", ".bak"),
    }
)
_SIDE_NAMES = frozenset(
    {"readme", "license", "licence", "copying", "notice", "authors", "citation", "changelog"}
    | {"checksums", "md5sums", "sha256sums", "dicomdir", "makefile"}
)


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems, archives and drives leave behind."""
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def is_side_file(name: str) -> bool:
    """Whether a file's name says that it is no image: a table, a text, a film, an archive."""
    path = PurePath(name.lower())
    return path.suffix in _SIDE_SUFFIXES or path.name in _SIDE_NAMES


def check_regular(path: str | os.PathLike[str]) -> None:
    """Raises ImageError where there is something that is no regular file."""
    if (kind := irregular(path)) is not None:
        raise ImageError(f"expected an image file, got {kind}: it is never opened")


def image_paths(images: Iterable[str], stdin: TextIO) -> Iterator[str]:
    """Files as they are, folders as the files in them, `-` as a path a line of standard input.

    Raises KitError where a folder cannot be read; see images_below.
    """
    for image in images:
        if image == "-":
            yield from (line.rstrip("\n") for line in stdin if line.strip())
        elif os.path.isdir(image):
            yield from images_below(image)
        else:
            yield image


def images_below(folder: str) -> Iterator[str]:
    """A folder's files at any depth, without what is left behind and what is no image by its name.

    A folder below it that cannot be read is left out, and a warning says so. Raises KitError where
    `folder` itself is missing or cannot be read.
    """

    def unreadable(error: OSError) -> None:
        if error.filename == folder:
            raise KitError(
                f"{shown(folder)}: expected a folder that can be read: {error.strerror}: put it "
                "there, or make it readable"
            ) from error
        if not isinstance(error, FileNotFoundError):  # it went just now: nothing is missed
            warnings.warn(
                f"left out {shown(error.filename)}: expected a folder that can be read: "
                f"{error.strerror}",
                stacklevel=2,
            )

    for parent, folders, names in os.walk(folder, onerror=unreadable):
        folders[:] = sorted(name for name in folders if not is_left_behind(name))
        yield from (
            os.path.join(parent, name)
            for name in sorted(names)
            if not is_left_behind(name) and not is_side_file(name)
        )
