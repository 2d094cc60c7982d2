"""The worst mistakes, with small pictures that stand in the page itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import ImageError
from kit.evaluation.metrics import Misclassified
from kit.report.content import HeatMap, Mistake
from kit.runtime.dicom import HEAD_BYTES, is_dicom
from kit.runtime.explain import overlay
from kit.runtime.images import read_image
from kit.runtime.paths import check_regular

if TYPE_CHECKING:
    from PIL.Image import Image

MOST = 24
"""Mistakes that are shown: with a side of at most 224 pixels the page stays below 3 MB."""
_SIDE, _QUALITY = 224, 75


def worst_mistakes(
    misclassified: Sequence[Misclassified],
    root: Path,
    named: bool,
    heat_map: HeatMap | None = None,
) -> tuple[Mistake, ...]:
    """The surest wrong answers.

    Args:
        misclassified: surest first.
        root: the folder that their paths are relative to.
        named: whether photographs and file names may be shown.
        heat_map: see kit.report.content; None: no heat maps.
    """
    found = []
    for row, wrong in enumerate(misclassified[:MOST], start=1):
        name = picture = heat = ""
        if named:
            name = wrong.image
            picture, heat = _pictures(root / wrong.image, heat_map)
        found.append(Mistake(row, name, wrong.label, wrong.predicted, wrong.score, picture, heat))
    return tuple(found)


def holds_dicom(root: Path, paths: Iterable[str]) -> bool:
    """Whether any of these files is a DICOM image; those that cannot be read count as none."""
    for path in paths:
        try:
            check_regular(root / path)
            with (root / path).open("rb") as file:
                if is_dicom(file.read(HEAD_BYTES)):
                    return True
        except (OSError, ImageError):
            continue
    return False


def _pictures(path: Path, heat_map: HeatMap | None) -> tuple[str, str]:
    from PIL.Image import fromarray

    try:
        if heat_map is None:
            return _data_address(fromarray(read_image(path, _SIDE))), ""
        pixels, activation = heat_map(path)
    except ImageError:  # it was scored a moment ago, and is gone or has changed
        return "", ""
    return _data_address(fromarray(pixels)), _data_address(overlay(pixels, activation))


def _data_address(image: Image) -> str:
    return f"data:image/jpeg;base64,{jpeg_base64(image, _SIDE, _QUALITY)}"


def jpeg_base64(image: Image, side: int, quality: int) -> str:
    """A JPEG as base64 of an image that is made at most so large, in pixels."""
    image.thumbnail((side, side))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return base64.b64encode(file.getvalue()).decode("ascii")
