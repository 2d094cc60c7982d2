"""Where the labels come from: folders, a table (CSV or TSV), or the files' names."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kit.choices import PARTS
from kit.data.scan import (
    PART_NAMES,
    Dataset,
    Entry,
    Wording,
    build_dataset,
    check_root,
    files_below,
    listed,
    scan_images,
)
from kit.errors import DataError

_DELIMITERS = (",", "\t", ";")
# What spreadsheets put first when they save a table as Unicode.
_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class DataSettings:
    """Where labels, groups and given parts come from. Default: the folders.

    Attributes:
        labels_csv: a table with a header, CSV, TSV or with semicolons, in UTF-8 or UTF-16.
        path_column: its column of paths, relative to the images' folder.
        label_column: its column of labels.
        group_column: its column of what must stay in one part (patients); None: DICOM files go by
            their patient's id, others stand for themselves.
        split_column: its column of train, validation (val) or test; None: parts are drawn. An
            empty cell is train, or what no row is given.
        label_regex: searched in each file's path, instead of folders. The label is the name of the
            named group that matches, as in `(?P<normal>_0)|(?P<tuberculosis>_1)`, else the text of
            the first group, else of the whole match. Files that do not match are left out.
    """

    labels_csv: Path | None = None
    path_column: str = "path"
    label_column: str = "label"
    group_column: str | None = None
    split_column: str | None = None
    label_regex: str = ""

    def __post_init__(self) -> None:
        if self.labels_csv is None:
            defaults = {"path_column": "path", "label_column": "label"}
            for name in ("path_column", "label_column", "group_column", "split_column"):
                if getattr(self, name) != defaults.get(name):
                    flag = name.replace("_", "-")
                    raise ValueError(f"expected --labels-csv beside --{flag}, which names a column")
        elif self.label_regex:
            raise ValueError("expected labels from --labels-csv or by --label-regex, got both")
        try:
            re.compile(self.label_regex)
        except re.error as error:
            raise ValueError(
                f"expected a regular expression for labels, got {self.label_regex!r}: {error}"
            ) from error

    def to_json(self) -> dict[str, Any]:
        """Plain values; the table's path is made absolute."""
        table = None if self.labels_csv is None else str(self.labels_csv.resolve())
        return {**asdict(self), "labels_csv": table}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DataSettings:
        """What to_json gave; an empty mapping is the default."""
        table = data.get("labels_csv")
        return cls(**{**data, "labels_csv": None if table is None else Path(table)})


def load_dataset(
    images: str | os.PathLike[str],
    settings: DataSettings | None = None,
    labels: Iterable[str] | None = None,
) -> Dataset:
    """Finds the labelled images. Contents are hashed, not yet decoded.

    Args:
        images: the folder; see scan_images for the default source, folders.
        settings: where the labels come from.
        labels: labels of a model, to evaluate it; every label found must be one of them.

    Raises:
        DataError: as scan_images; or the table is wrong: the message has the line's number.
        MissingDependencyError: there are DICOM files, and pydicom is missing.
    """
    settings = settings or DataSettings()
    if settings.labels_csv is not None:
        return _from_table(check_root(images), settings.labels_csv, settings, labels)
    if settings.label_regex:
        return _from_names(check_root(images), settings.label_regex, labels)
    return scan_images(images, labels=labels)


def _from_names(root: Path, label_regex: str, labels: Iterable[str] | None) -> Dataset:
    pattern = re.compile(label_regex)
    left_out: list[tuple[str, str]] = []
    entries = []
    for file in files_below(root, root, left_out):
        path = file.relative_to(root).as_posix()
        match = pattern.search(path)
        if match:
            entries.append(Entry(path, _label_of(match)))
        else:
            left_out.append((path, "expected a name that the label pattern matches"))
    if not entries:
        example = f", such as {left_out[0][0]}" if left_out else ""
        raise DataError(
            f"{root}: expected the label pattern {label_regex!r} to match the files' paths, it "
            f"matches none of {len(left_out)}{example}"
        )
    wording = Wording("the label pattern to give labels such", "given by the pattern", "change it")
    return build_dataset(root, entries, wording, labels, left_out, [])


def _label_of(match: re.Match[str]) -> str:
    named = [name for name, text in match.groupdict().items() if text is not None]
    if named:
        return named[0]
    return next((text for text in match.groups() if text is not None), match.group())


class _Problems:
    """What is wrong with a table: all of it is counted, the first is told."""

    def __init__(self, table: Path) -> None:
        self._table = table
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, what: str) -> None:
        self._found.append((line, what))

    def raise_if_any(self) -> None:
        if not self._found:
            return
        line, what = self._found[0]
        rest = [str(other) for other, _ in self._found[1:]]
        more = f" (also wrong: line {listed(rest)})" if rest else ""
        raise DataError(f"{self._table} line {line}: {what}{more}")


def _from_table(
    root: Path, table: Path, settings: DataSettings, labels: Iterable[str] | None
) -> Dataset:
    problems = _Problems(table)
    entries: dict[str, tuple[int, Entry]] = {}
    missing: list[tuple[int, str]] = []
    for line, row in _rows(table, settings, problems):
        path = _path_of(root, row[settings.path_column])
        label = row[settings.label_column].strip()
        given = row[settings.split_column].strip() if settings.split_column else ""
        key = row[settings.group_column].strip() if settings.group_column else ""
        part = PART_NAMES.get(given.lower())
        if path is None:
            cell = row[settings.path_column]
            problems.add(line, f"expected a path below {root}, got {cell or 'an empty cell'}")
        elif not label:
            problems.add(line, f"expected a label for {path}, got an empty cell: name its class")
        elif given and part is None:
            problems.add(line, f"expected {', '.join(PARTS)} (or nothing) as the part, got {given}")
        elif not (root / path).is_file():
            missing.append((line, path))
        else:
            entry = Entry(path, label, _digest(key) if key else None, part)
            before, first = entries.setdefault(path, (line, entry))
            if first != entry:
                problems.add(line, _contradiction(entry, first, before))
    problems.raise_if_any()
    if not entries:
        such = f", such as line {missing[0][0]}: {missing[0][1]}" if missing else ""
        raise DataError(
            f"{table}: expected rows with files below {root}, {len(missing)} rows have none"
            f"{such}: paths are relative to that folder"
        )
    reason = "expected a file, there is none; it is in line {} of the table"
    left_out = [(path, reason.format(line)) for line, path in missing]
    wording = Wording(f"the labels of {table.name} such", "in the label column", "change it there")
    warnings = []
    alone = [entry.path for _, entry in entries.values() if entry.group is None]
    if settings.group_column and alone:
        warnings.append(
            f"{len(alone)} rows have no {settings.group_column}, so the image stands for itself, "
            f"such as {alone[0]}"
        )
    found = [entry for _, entry in entries.values()]
    return build_dataset(root, found, wording, labels, left_out, warnings)


def _contradiction(entry: Entry, first: Entry, before: int) -> str:
    kinds = {
        "label": f"{entry.label}, in line {before} {first.label}",
        "part": f"{entry.part}, in line {before} {first.part}",
        "group": f"another one in line {before}",  # its name may be a patient's
    }
    kind = next(kind for kind in kinds if getattr(entry, kind) != getattr(first, kind))
    return f"expected one {kind} for {entry.path}, got {kinds[kind]}"


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _path_of(root: Path, cell: str) -> str | None:
    """The path relative to the root, with `/`; None where it is empty or leads elsewhere."""
    if "\\" in cell and not (root / cell).exists():
        cell = cell.replace("\\", "/")
    path = PurePosixPath(cell)
    if path.is_absolute():
        for folder in (root, root.resolve()):
            if path.is_relative_to(folder.as_posix()):
                path = path.relative_to(folder.as_posix())
                break
    if path.is_absolute() or ".." in path.parts or not path.parts:
        return None
    return path.as_posix()


def _rows(
    table: Path, settings: DataSettings, problems: _Problems
) -> Iterator[tuple[int, dict[str, str]]]:
    """Line and cells by column, for each row that is sound and not empty."""
    text = _text_of(table)
    wanted = [
        name
        for name in (
            settings.path_column,
            settings.label_column,
            settings.group_column,
            settings.split_column,
        )
        if name
    ]
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    delimiter = max(_DELIMITERS, key=first.count)
    # Strict: a quotation mark that is never closed would swallow the rest of the table.
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    header: list[str] = []
    try:
        for row in reader:
            line = reader.line_num
            if not any(cell.strip() for cell in row):
                continue
            if not header:
                header = [cell.strip() for cell in row]
                _check_header(header, wanted, line, problems)
            elif len(row) != len(header):
                problems.add(
                    line,
                    f"expected {len(header)} cells as in the header, got {len(row)}: put quotation "
                    "marks around a cell that contains the delimiter",
                )
            else:
                yield line, dict(zip(header, row, strict=True))
    except csv.Error as error:
        problems.add(reader.line_num, f"expected a CSV or TSV table: {error}")
    if not header:
        problems.add(1, f"expected a header with the columns {', '.join(wanted)}, got nothing")


def _check_header(header: list[str], wanted: list[str], line: int, problems: _Problems) -> None:
    for name in wanted:
        if (count := header.count(name)) != 1:
            problems.add(
                line,
                f"expected a column {name} once, got it {count} times among {listed(header)}: "
                "name columns with --path-column, --label-column, --group-column, --split-column",
            )
    problems.raise_if_any()


def _text_of(table: Path) -> str:
    try:
        content = table.read_bytes()
    except OSError as error:
        raise DataError(f"{table}: expected a readable table: {error.strerror}") from error
    encoding = next(
        (name for mark, name in _BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8"
    )
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{table} line {line}: expected text in {encoding.upper()}, got the byte "
            f"0x{content[error.start]:02x}: save the table as UTF-8"
        ) from error
