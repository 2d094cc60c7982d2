"""Label files of other tools."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kit.errors import ConversionError, SpecError
from kit.model.model_file import parse_labels

_IMAGENET_CLASSES = 1000
_HOMONYMS = ("crane", "maillot")  # each is two classes of ImageNet


def read_label_file(path: str | os.PathLike[str], count: int) -> tuple[str, ...]:
    """Labels, one a line in the order of the scores; `0 name` of Teachable Machine too.

    Args:
        path: the text file.
        count: labels that the model needs.

    Raises:
        ConversionError: the file cannot be read, has blank or duplicate lines, or another count.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        labels = parse_labels(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConversionError(f"{path}: expected a label file in UTF-8: {reason}") from error
    except SpecError as error:
        blank = [n for n, line in enumerate(text.split("\n"), 1) if not line.strip()]
        where = f"line {blank[0]} is blank: remove it" if blank and text.strip() else "it is empty"
        raise ConversionError(f"{path}: expected a label in every line, {where}") from error
    numbered = [re.fullmatch(rf"{index}[ \t:]+(\S.*)", text) for index, text in enumerate(labels)]
    if all(numbered):
        labels = tuple(match.group(1) for match in numbered if match)
    lines: dict[str, int] = {}
    for number, label in enumerate(labels, 1):
        if label in lines and not (label in _HOMONYMS and len(labels) >= _IMAGENET_CLASSES):
            raise ConversionError(
                f"{path}: expected every label once, got {label!r} in lines {lines[label]} and "
                f"{number}: make them different, as in 'crane (bird)'"
            )
        lines[label] = number
    if len(labels) != count:
        raise ConversionError(
            f"{path}: expected {count} labels, one for each score, got {len(labels)}: "
            "these labels belong to another model"
        )
    return labels
