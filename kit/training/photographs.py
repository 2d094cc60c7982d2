"""Photographs that training reads again and again, and what of them is kept between epochs."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.data import LabelledImage
from kit.errors import DataError, ImageError
from kit.model.preprocess import Pixels
from kit.model.spec import PreprocessSpec
from kit.training.augment import (
    Augmentation,
    before_change,
    changed,
    drawing_for,
    read_to_change,
)
from kit.training.fitting import Truth

_OF_MIXING = 7  # a purpose of drawing_for
_ROOM = 2 << 30
"""Bytes that each Kept may take on disk; what is beyond them is computed every time."""


class Kept:
    """Arrays that are computed once and read back, as far as there is room on the disk.

    What comes back has the same values whether it was kept or not.

    Args:
        file: holds them; it is overwritten.
        count: how many there are.
        shape: of each.
        dtype: of each, and of what comes back.
    """

    def __init__(self, file: Path, count: int, shape: tuple[int, ...], dtype: Any) -> None:
        self._dtype = np.dtype(dtype)
        size = max(1, math.prod(shape) * self._dtype.itemsize)
        free = min(_ROOM, shutil.disk_usage(file.parent).free // 2)
        rows = min(count, free // size)
        if not _reserve(file, rows * size):
            rows = 0
        self._known = np.zeros(rows, np.bool_)
        self._rows: npt.NDArray[Any] = np.empty(0)
        if rows:
            self._rows = np.memmap(file, self._dtype, "r+", shape=(rows, *shape))
            if os.name == "posix":
                file.unlink()  # the space is free when the process ends, in whatever way

    def row(self, index: int, compute: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        """The array of this index; `compute` gives it where it is not kept yet."""
        if index < len(self._known) and self._known[index]:
            return np.array(self._rows[index])
        values = compute().astype(self._dtype, copy=False)
        if index < len(self._known):
            self._rows[index], self._known[index] = values, True
        return values


def _reserve(path: Path, size: int) -> bool:
    """Creates a file of this size on real blocks; returns False if there is no room.

    With a sparse file, a disk that fills up later would end the process without a message.
    """
    with path.open("wb") as file:
        try:
            if size and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
        except OSError:
            file.truncate(0)
            return False
    return True


@dataclass(frozen=True)
class Other:
    """Another photograph that shows through one.

    Attributes:
        index: which of the images.
        share: its share of the pixels, 0 to 0.5.
    """

    index: int
    share: float


@dataclass(frozen=True)
class Photographs:
    """Photographs that a part of the training reads.

    Attributes:
        root: the photographs' folder.
        images: the photographs, which are read as often as they are needed; the label of one that
            has none is below 0, and its path may be a whole one.
        spec: the preprocessing that turns them into pixels.
        augmentation: the random changes, drawn anew every epoch.
        seed: seed of these changes.
        mixed: share of the changed forms that another photograph shows through, 0 to 1.
    """

    root: Path
    images: Sequence[LabelledImage]
    spec: PreprocessSpec
    augmentation: Augmentation
    seed: int
    mixed: float = 0.0

    @property
    def truth(self) -> Truth:
        return np.array([image.label for image in self.images], np.int64)

    def read(
        self,
        index: int,
        epoch: int,
        spec: PreprocessSpec | None = None,
        decode: Callable[[int, PreprocessSpec], Pixels] | None = None,
    ) -> Pixels:
        """uint8 `[side, side, 3]`; the same arguments give the same pixels.

        Args:
            index: which of the images.
            epoch: which of its changed forms.
            spec: another preprocessing than the own, for the same changed form.
            decode: what to call in place of `decode`, as it may know what that gave before.

        Raises DataError where the photograph cannot be read.
        """
        spec, decode = spec or self.spec, decode or self.decode

        def changed_form(index: int) -> Pixels:
            drawing = drawing_for(self.images[index].digest, self.seed, epoch)
            return changed(decode(index, spec), spec, self.augmentation, drawing)

        pixels = changed_form(index)
        if (other := self.showing_through(index, epoch)) is None:
            return pixels
        share = np.float32(other.share)
        mixed = (1 - share) * pixels + share * changed_form(other.index)
        return np.rint(mixed).astype(np.uint8)

    def showing_through(self, index: int, epoch: int) -> Other | None:
        """What else is seen in a changed form, drawn anew every epoch; None: nothing."""
        if not self.mixed or self.augmentation == Augmentation():
            return None
        random = drawing_for(self.images[index].digest, self.seed, epoch, _OF_MIXING)
        if random.random() >= self.mixed:
            return None
        return Other(int(random.integers(len(self.images))), random.uniform(0, 0.5))

    def decode(self, index: int, spec: PreprocessSpec) -> Pixels:
        """What `read` changes, the same in every epoch: uint8 `[larger, larger, 3]`."""
        path = self.root / self.images[index].path
        try:
            return read_to_change(path, spec, self.augmentation)
        except ImageError as error:
            raise no_longer_readable(path, str(error)) from error

    def decoded(self, file: Path, spec: PreprocessSpec) -> Kept:
        """A place for what `decode` gives; none where photographs are read only once."""
        side = before_change(spec, self.augmentation).input_resolution
        count = 0 if self.augmentation == Augmentation() else len(self.images)
        return Kept(file, count, (side, side, 3), np.uint8)


def no_longer_readable(path: Path, reason: str) -> DataError:
    """The error for a photograph that could be read when the data set was scanned."""
    return DataError(f"{path}: {reason}: it could be read before; run again to leave it out")
