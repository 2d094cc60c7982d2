"""Zip archives that Teachable Machine exports: a model and its labels, taken as they are.

Its page crops photographs to their centre square, and gives float models -1 to 1
(https://github.com/googlecreativelab/teachablemachine-community, libraries/image).
"""

from __future__ import annotations

import os
import shutil
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from kit.errors import ModelFileError
from kit.filenames import irregular
from kit.model.model_file import ARCHIVE_ERRORS

FIT = "crop"
MEAN = STD = (127.5,)
_LABELS = "labels.txt"
_MOST_BYTES = 1 << 30


@dataclass(frozen=True)
class Unpacked:
    """What is in an export.

    Attributes:
        model: the model's file, unpacked.
        labels: the label file, unpacked.
    """

    model: Path
    labels: Path


def is_archive(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a zip archive, by its name and its first bytes."""
    if Path(path).suffix.lower() != ".zip" or irregular(path) is not None:
        return False
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"PK\x03\x04"
    except OSError:
        return False


def unpack(path: str | os.PathLike[str], folder: str, suffixes: Sequence[str]) -> Unpacked:
    """Unpacks the one model with one of these suffixes, and labels.txt, into a folder.

    Raises ModelFileError where the archive is damaged, or is no such export.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            infos = {PurePosixPath(info.filename).name: info for info in archive.infolist()}
            models = [name for name in infos if PurePosixPath(name).suffix.lower() in suffixes]
            if len(models) != 1 or _LABELS not in infos:
                raise ModelFileError(
                    f"{path}: expected an export of Teachable Machine, one model "
                    f"({', '.join(suffixes)}) and {_LABELS}, got {', '.join(sorted(infos)[:8])}: "
                    "unpack it and give the model"
                )
            found = {}
            for name in (models[0], _LABELS):
                if infos[name].file_size > _MOST_BYTES:
                    raise ModelFileError(f"{path}: expected a model of at most 1 GB, got more")
                found[name] = Path(folder, name)
                with archive.open(infos[name]) as source, found[name].open("wb") as target:
                    shutil.copyfileobj(source, target)
    except ARCHIVE_ERRORS as error:
        raise ModelFileError(f"{path}: expected a sound zip archive: {error}") from error
    return Unpacked(found[models[0]], found[_LABELS])
