"""Label files of other tools: text, numbered text, JSON or CSV, in UTF-8 or UTF-16."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.errors import LabelFileError, SpecError
from kit.model.spec import check_labels
from kit.model.tables import delimiter_of, encoding_of

_IMAGENET_CLASSES = 1000
_HOMONYMS = ("crane", "maillot")  # each is two classes of ImageNet
_NUMBERED = re.compile(r"(\d+)(?:[ \t]*[:;,][ \t]*|[ \t]+)(\S.*)")
_QUOTED = re.compile(r"""\s*(["'])(.*)\1\s*,?\s*""")
_NAME_COLUMNS = (
    *("display_name", "label", "labels", "name", "class_name", "classname", "class", "category"),
)
_INDEX_COLUMNS = (
    *("index", "idx", "id", "class_id", "class_index", "label_id", "number", "class_number"),
)


def read_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Labels of a file, in the order of the scores.

    Read are a label a line (quoted or not), lines with numbers from 0 before them (`0 name`,
    `0: name`), JSON (a list, or an object of index to name or name to index), and CSV, with a
    header or not.

    Raises LabelFileError where the file cannot be read, has blank lines, numbers that do not run
    from 0 on, or a label twice.
    """
    text = _text(path)
    try:
        labels = _parser(text, Path(path).suffix.lower())(text)
        check_labels(labels)
    except SpecError as error:
        raise LabelFileError(f"{path}: {error}") from error
    _check_unique(path, labels)
    return labels


def parse_labels(text: str) -> tuple[str, ...]:
    """Labels of the list inside a model file: one a line, in the order of the scores, as they are.

    Raises SpecError for an empty list. A line break at the end ends the last line.
    """
    # Only what ends a line in a text file: a label may hold any other character, blanks too.
    lines = text.removeprefix("\ufeff").split("\n")
    labels = tuple(line.removesuffix("\r") for line in lines)
    while labels and not labels[-1]:
        labels = labels[:-1]
    check_labels(labels)
    return labels


def _text(path: str | os.PathLike[str]) -> str:
    try:
        content = Path(path).read_bytes()
        text = content.decode(encoding_of(content))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise LabelFileError(
            f"{path}: expected a label file in UTF-8 or UTF-16: {reason}"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _parser(text: str, suffix: str) -> Callable[[str], tuple[str, ...]]:
    start = text.lstrip()[:1]
    if suffix == ".json" or (start and start in "[{"):
        return _of_json
    return _of_table if suffix in (".csv", ".tsv") else _of_lines


def _of_lines(text: str) -> tuple[str, ...]:
    lines = text.rstrip("\n").split("\n") if text.strip() else []
    blank = [number for number, line in enumerate(lines, 1) if not line.strip()]
    if blank or not lines:
        where = f"line {blank[0]} is blank: remove it" if blank else "it is empty"
        raise SpecError(f"expected a label in every line, {where}")
    quoted = [_QUOTED.fullmatch(line) for line in lines]
    if all(quoted):
        lines = [match[2] for match in quoted if match]
    return _without_numbers(lines)


def _without_numbers(lines: Sequence[str]) -> tuple[str, ...]:
    """The labels behind the numbers of the scores, if all have one; else the lines."""
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    names = {int(match[1]): match[2] for match in numbered if match}
    if not all(numbered) or sorted(names) != list(range(len(lines))):
        return tuple(lines)
    return tuple(names[index] for index in range(len(lines)))


def _of_json(text: str) -> tuple[str, ...]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        import ast

        try:
            data = ast.literal_eval(text.strip())  # a list as Python prints it
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise SpecError(f"expected JSON, got something else: {error}") from error
    if isinstance(data, dict):
        for name in ("id2label", "labels", "classes", "class_names", "class_indices"):
            data = data.get(name, data) if isinstance(data, dict) else data
    if isinstance(data, dict):
        return _of_mapping(data)
    if isinstance(data, list | tuple) and all(isinstance(name, str) for name in data):
        return tuple(data)
    raise SpecError("expected a list of labels, or an object of index to label")


def _of_mapping(data: Mapping[Any, Any]) -> tuple[str, ...]:
    pairs = list(data.items())
    if all(isinstance(value, int) for _, value in pairs):  # Keras' class_indices
        pairs = [(value, key) for key, value in pairs]
    return _ordered([(str(index), name) for index, name in pairs])


def _ordered(pairs: Sequence[tuple[str, Any]]) -> tuple[str, ...]:
    try:
        names = {int(index): str(name) for index, name in pairs}
    except ValueError as error:
        raise SpecError(f"expected a number for each label: {error}") from error
    if sorted(names) != list(range(len(pairs))):
        raise SpecError(
            f"expected the numbers 0 to {len(pairs) - 1}, each once, for {len(pairs)} labels"
        )
    return tuple(names[index] for index in range(len(names)))


def _of_table(text: str) -> tuple[str, ...]:
    import csv

    first = text.lstrip("\n").partition("\n")[0]
    try:
        table = csv.reader(io.StringIO(text), delimiter=delimiter_of(first), skipinitialspace=True)
        rows = [
            [cell.strip() for cell in row] for row in table if any(cell.strip() for cell in row)
        ]
    except csv.Error as error:
        raise SpecError(f"expected a CSV or TSV table: {error}") from error
    if not rows:
        raise SpecError("expected a label in every line, it is empty")
    header = [cell.lower() for cell in rows[0]]
    name = next((header.index(column) for column in _NAME_COLUMNS if column in header), None)
    index = next((header.index(column) for column in _INDEX_COLUMNS if column in header), None)
    if name is not None:
        rows = rows[1:]
    elif len(header) == 1:
        name, index = 0, None
    elif all(len(row) == 2 and row[0].isdigit() for row in rows):
        index, name = 0, 1
    else:
        raise SpecError(
            "expected a header with a column such as label or name (and index), got "
            f"{', '.join(rows[0])}"
        )
    if any(len(row) <= max(name, index or 0) for row in rows):
        raise SpecError("expected as many cells in every row as in the header")
    if index is None:
        return tuple(row[name] for row in rows)
    return _ordered([(row[index], row[name]) for row in rows])


def _check_unique(path: str | os.PathLike[str], labels: Sequence[str]) -> None:
    lines: dict[str, int] = {}
    for number, label in enumerate(labels, 1):
        if label in lines and not (label in _HOMONYMS and len(labels) >= _IMAGENET_CLASSES):
            raise LabelFileError(
                f"{path}: expected every label once, got {label!r} as the labels {lines[label]} "
                f"and {number}: make them different, as in 'crane (bird)'"
            )
        lines[label] = number
