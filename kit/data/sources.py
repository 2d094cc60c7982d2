"""Where the labels come from: folders, a table (CSV or TSV), or the files' names."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from kit.choices import PARTS
from kit.data.corrections import corrected
from kit.data.scan import (
    PART_NAMES,
    Dataset,
    Entry,
    Found,
    Wording,
    build_dataset,
    check_root,
    files_below,
    label_of,
    listed,
    scan_images,
)
from kit.errors import DataError, OutputExistsError
from kit.filenames import text_bytes
from kit.model.tables import delimiter_of, encoding_of
from kit.reporting import counted
from kit.runtime.dicom import DICOM_SUBGROUPS, HEAD_BYTES, is_dicom, subgroups_of
from kit.runtime.paths import is_left_behind

UNMATCHED = "expected a name that the label pattern matches"
"""Why a file is left out that --label-regex gives no label."""


_PATHS = ("labels_csv", "corrections")


@dataclass(frozen=True)
class DataSettings:
    """Where labels, groups and given parts come from. Default: the folders.

    Attributes:
        labels_csv: a table with a header, CSV, TSV or with semicolons, in UTF-8 or UTF-16.
        path_column: its column of paths, relative to the images' folder. The folder and the
            extension may be missing, where what is left is the end of one file's path only.
        label_column: its column of labels.
        label_columns: its columns of 0 and 1, one a label and separated by commas, instead of
            label_column. The columns' names are the labels; each row has a single 1.
        group_column: its column of what must stay in one part (patients); None: DICOM files go by
            their patient's id, others stand for themselves.
        split_column: its column of train, validation (val) or test; None: parts are drawn. An
            empty cell is train, or what no row is given.
        label_regex: searched in each file's path, instead of folders. The label is the name of the
            named group that matches, as in `(?P<normal>_0)|(?P<tuberculosis>_1)`, else the text of
            the first group, else of the whole match. Files that do not match are left out.
        label_names: names for the labels that are found, as in `0=normal,1=abnormal`. Empty: the
            labels as they are.
        subgroup_columns: its columns by which figures are compared, separated by commas. Without a
            table: what DICOM files say themselves, of DICOM_SUBGROUPS.
        corrections: a table of kit.data.corrections, which is applied to what was found.
    """

    labels_csv: Path | None = None
    path_column: str = "path"
    label_column: str = "label"
    group_column: str | None = None
    split_column: str | None = None
    label_regex: str = ""
    label_columns: str = ""
    label_names: str = ""
    subgroup_columns: str = ""
    corrections: Path | None = None

    def __post_init__(self) -> None:
        if self.labels_csv is None:
            defaults = {"path_column": "path", "label_column": "label", "label_columns": ""}
            for name in (*defaults, "group_column", "split_column"):
                if getattr(self, name) != defaults.get(name):
                    flag = name.replace("_", "-")
                    raise ValueError(f"expected --labels-csv beside --{flag}, which names a column")
            known = ", ".join(DICOM_SUBGROUPS)
            if strangers := {*self.subgroups()} - {*DICOM_SUBGROUPS}:
                raise ValueError(
                    "expected --labels-csv beside --subgroup-columns, or only what DICOM files say "
                    f"themselves ({known}), got {listed(strangers)}"
                )
        elif self.label_regex:
            raise ValueError("expected labels from --labels-csv or by --label-regex, got both")
        try:
            re.compile(self.label_regex)
        except re.error as error:
            raise ValueError(
                f"expected a regular expression for labels, got {self.label_regex!r}: {error}"
            ) from error
        if self.label_columns and self.label_column != "label":
            raise ValueError("expected --label-column or --label-columns, got both")
        columns = self.one_hot_columns()
        if self.label_columns and (len({*columns}) < max(2, len(columns)) or "" in columns):
            raise ValueError(
                "expected at least 2 different columns of --label-columns, with commas between "
                f"them, got {self.label_columns!r}"
            )
        self.names_of_labels()

    @property
    def tables(self) -> tuple[Path, ...]:
        """The files that are read for it beside the images."""
        return tuple(one for one in (self.labels_csv, self.corrections) if one is not None)

    def one_hot_columns(self) -> tuple[str, ...]:
        """The columns of `label_columns`."""
        return tuple(name.strip() for name in self.label_columns.split(",") if self.label_columns)

    def subgroups(self) -> tuple[str, ...]:
        """The columns of `subgroup_columns`."""
        names = (name.strip() for name in self.subgroup_columns.split(","))
        return tuple(dict.fromkeys(name for name in names if name))

    def names_of_labels(self) -> dict[str, str]:
        """What `label_names` says; raises ValueError where it is wrong."""
        names: dict[str, str] = {}
        for pair in self.label_names.split(",") if self.label_names else ():
            label, equals, name = (label_of(part.strip()) for part in pair.partition("="))
            if not (label and equals and name) or label in names:
                raise ValueError(
                    "expected label names such as 0=normal,1=abnormal, each label once, "
                    f"got {self.label_names!r}"
                )
            names[label] = name
        return names

    def to_json(self) -> dict[str, Any]:
        """Plain values; the table's path is made absolute."""
        paths = {name: getattr(self, name) for name in _PATHS}
        told = {
            name: None if path is None else str(Path(path).resolve())
            for name, path in paths.items()
        }
        return {**asdict(self), **told}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DataSettings:
        """What to_json gave; an empty mapping is the default."""
        paths = {name: Path(data[name]) for name in _PATHS if data.get(name) is not None}
        return cls(**{**data, **paths})


def check_outside(
    output: str | os.PathLike[str], images: str | os.PathLike[str], settings: DataSettings
) -> None:
    """Raises OutputExistsError where the output would be taken for a class the next time."""
    place, root = Path(output).resolve(), Path(images).resolve()
    if settings.labels_csv is not None or settings.label_regex or not place.is_relative_to(root):
        return
    if not any(map(is_left_behind, place.relative_to(root).parts)):
        raise OutputExistsError(
            f"{output}: expected an output outside of {images}, since it would be taken for images "
            "there: choose another"
        )


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
    dataset = _found(images, settings, labels)
    if settings.corrections is None:
        return dataset
    return corrected(dataset, settings.corrections, may_be_new=labels is None)


def _found(
    images: str | os.PathLike[str], settings: DataSettings, labels: Iterable[str] | None
) -> Dataset:
    names = settings.names_of_labels()
    if settings.labels_csv is not None:
        return _from_table(check_root(images), settings.labels_csv, settings, names, labels)
    if settings.label_regex:
        dataset = _from_names(check_root(images), settings.label_regex, names, labels)
    else:
        dataset = scan_images(images, labels=labels, name_of=lambda folder: _named(folder, names))
    return _with_dicom_subgroups(dataset, settings.subgroups()) if settings.subgroups() else dataset


def _with_dicom_subgroups(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """The data set with what its DICOM files say of themselves."""
    images = []
    for image in dataset.images:
        with (dataset.root / image.path).open("rb") as file:
            known = {}
            if is_dicom(file.read(HEAD_BYTES)):
                file.seek(0)
                known = subgroups_of(file)
        told = tuple((name, known.get(name, "")) for name in names)
        images.append(replace(image, subgroups=told))
    return replace(dataset, images=tuple(images))


def _named(label: str, names: Mapping[str, str]) -> str:
    """The label's name; raises DataError where there are names, but none of this label."""
    label = label_of(label)
    if not names:
        return label
    name = names.get(label) or names.get(_whole(label))
    if name is None:
        raise DataError(f"expected --label-names to name every label, it has no name for {label}")
    return name


def _whole(text: str) -> str:
    """A spreadsheet makes 1.0 of a column of whole numbers that has an empty cell."""
    return re.sub(r"\.0+$", "", text)


def _from_names(
    root: Path, label_regex: str, names: Mapping[str, str], labels: Iterable[str] | None
) -> Dataset:
    pattern = re.compile(label_regex)
    found = Found()
    unmatched: list[tuple[str, str]] = []
    entries = []
    for file in files_below(root, root, found):
        path = file.relative_to(root).as_posix()
        match = pattern.search(path)
        if match:
            entries.append(Entry(path, _named(label_of(_label_of(match)), names)))
        else:
            unmatched.append((path, UNMATCHED))
    if not entries:
        example = f", such as {unmatched[0][0]}" if unmatched else ""
        raise DataError(
            f"{root}: expected the label pattern {label_regex!r} to match the files' paths, it "
            f"matches none of {len(unmatched)}{example}"
        )
    found.left_out += unmatched
    wording = Wording("the label pattern to give labels such", "given by the pattern", "change it")
    return build_dataset(root, entries, wording, labels, found)


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
        (line, what), *others = sorted(self._found)
        rest = [str(other) for other, _ in others]
        more = f" (also wrong: line {listed(rest)})" if rest else ""
        raise DataError(f"{self._table} line {line}: {what}{more}")


def _from_table(
    root: Path,
    table: Path,
    settings: DataSettings,
    names: Mapping[str, str],
    labels: Iterable[str] | None,
) -> Dataset:
    problems = _Problems(table)
    entries: dict[str, tuple[int, Entry]] = {}
    missing: list[tuple[int, str]] = []
    files = _Files(root)
    rows = list(_rows(table, settings, problems))
    alone_in_cell = {label for _, row in rows if (label := _cell(row, settings.label_column))}
    for line, row in rows:
        path = _path_of(root, row[settings.path_column])
        try:
            label = _label_in(row, settings, names, alone_in_cell)
        except DataError as error:
            problems.add(line, str(error))
            continue
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
        elif not (matches := files.like(path)):
            missing.append((line, path))
        elif len(matches) > 1:
            problems.add(
                line,
                f"expected one file for {path}, got {len(matches)}, {listed(matches)}: write the "
                "folder and the extension into the table",
            )
        else:
            path = matches[0]
            subgroups = tuple((name, row[name].strip()) for name in settings.subgroups())
            entry = Entry(path, label, _digest(key) if key else None, part, subgroups)
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
    found = Found([(path, reason.format(line)) for line, path in missing])
    wording = Wording(f"the labels of {table.name} such", "in the label column", "change it there")
    if files.completed:
        found.warnings.append(
            f"{counted(files.completed, 'row')} of {table.name} without the whole path: each was "
            "matched to the one file whose path ends so"
        )
    alone = [entry.path for _, entry in entries.values() if entry.group is None]
    if settings.group_column and alone:
        found.warnings.append(
            f"{len(alone)} rows have no {settings.group_column}, so the image stands for itself, "
            f"such as {alone[0]}"
        )
    return build_dataset(root, [entry for _, entry in entries.values()], wording, labels, found)


def _cell(row: Mapping[str, str], column: str) -> str:
    return row.get(column, "").strip()


_ONE_HOT = {
    **dict.fromkeys(("0", "false", "no", ""), False),
    **dict.fromkeys(("1", "true", "yes"), True),
}
_NO_MULTI_LABEL = (
    "multi-label sets are not supported: leave the row out, or train one model for each label"
)


def _label_in(
    row: Mapping[str, str],
    settings: DataSettings,
    names: Mapping[str, str],
    all_labels: Collection[str],
) -> str:
    """The label of a row, by its name; empty where the cell is.

    Raises DataError where the row has several labels, or one-hot columns with something else.
    """
    columns = settings.one_hot_columns()
    if not columns:
        label = _cell(row, settings.label_column)
        parts = [part.strip() for part in re.split(r"[|;,]", label)]
        if len(parts) > 1 and ("|" in label or all(part in all_labels for part in parts)):
            raise DataError(f"expected one label, got {label!r}: {_NO_MULTI_LABEL}")
        return _named(label, names) if label else ""
    chosen = []
    for column in columns:
        value = _whole(_cell(row, column).lower())
        if value not in _ONE_HOT:
            raise DataError(f"expected 0 or 1 in the column {column}, got {_cell(row, column)!r}")
        if _ONE_HOT[value]:
            chosen.append(column)
    if not chosen:
        raise DataError(f"expected a 1 in one of the columns {listed(columns)}, got none")
    if len(chosen) > 1:
        raise DataError(
            f"expected a 1 in one column, got {len(chosen)} ({listed(chosen)}): {_NO_MULTI_LABEL}"
        )
    return _named(chosen[0], names)


class _Files:
    """The files below a folder, found by the end of their path.

    Attributes:
        completed: how many cells did not have the whole path.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._by_name: dict[str, list[str]] | None = None
        self.completed = 0

    def like(self, path: str) -> list[str]:
        """The file with this path; else all whose path ends so, their extension apart or not."""
        if (self._root / path).is_file():
            return [path]
        if self._by_name is None:
            self._by_name = self._read()
        wanted = _comparable(path)
        near = self._by_name.get(wanted.rpartition("/")[2], [])
        ends = [
            file
            for file in near
            if any(f"/{_comparable(one)}".endswith(f"/{wanted}") for one in _spellings(file))
        ]
        same = [file for file in ends if _is_spelt(path, file)]
        self.completed += len(same or ends) == 1
        return same or ends

    def _read(self) -> dict[str, list[str]]:
        by_name: dict[str, list[str]] = defaultdict(list)
        for file in files_below(self._root, self._root, Found()):
            path = file.relative_to(self._root).as_posix()
            for name in {_comparable(one).rpartition("/")[2] for one in _spellings(path)}:
                by_name[name].append(path)
        return by_name


def _spellings(path: str) -> tuple[str, str]:
    """With the extension, and without."""
    return path, str(PurePosixPath(path).with_suffix(""))


def _comparable(path: str) -> str:
    """Whatever the case of letters and however they are composed."""
    return label_of(path).casefold()


def _is_spelt(cell: str, file: str) -> bool:
    """Whether a cell is the end of a file's path in the same case."""
    return any(f"/{label_of(one)}".endswith(f"/{label_of(cell)}") for one in _spellings(file))


def _contradiction(entry: Entry, first: Entry, before: int) -> str:
    kinds = {
        "label": f"{entry.label}, in line {before} {first.label}",
        "part": f"{entry.part}, in line {before} {first.part}",
        "group": f"another one in line {before}",  # its name may be a patient's
        "subgroups": f"others in line {before}",
    }
    kind = next(kind for kind in kinds if getattr(entry, kind) != getattr(first, kind))
    return f"expected one {kind.removesuffix('s')} for {entry.path}, got {kinds[kind]}"


def _digest(key: str) -> str:
    return hashlib.sha256(text_bytes(key)).hexdigest()


def _path_of(root: Path, cell: str) -> str | None:
    """The path relative to the root, with `/`; None where it is empty or leads elsewhere."""
    if not (root / cell).exists():
        cell = cell.strip()
    if "\\" in cell and not (root / cell).exists():
        # Bytes of a name that are no UTF-8, as the kit writes them into tables.
        cell = re.sub(r"\\udc([89a-f][0-9a-f])", lambda m: chr(0xDC00 + int(m[1], 16)), cell)
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
            *(settings.one_hot_columns() or (settings.label_column,)),
            settings.group_column,
            settings.split_column,
            *settings.subgroups(),
        )
        if name
    ]
    first = next((line for line in io.StringIO(text) if line.strip()), "")
    # Strict: a quotation mark that is never closed would swallow the rest of the table.
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=delimiter_of(first),
        skipinitialspace=True,
        strict=True,
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
                "name columns with --path-column, --label-column or --label-columns, "
                "--group-column, --split-column, --subgroup-columns",
            )
    problems.raise_if_any()


def _text_of(table: Path) -> str:
    try:
        content = table.read_bytes()
    except OSError as error:
        raise DataError(f"{table}: expected a readable table: {error.strerror}") from error
    if content.startswith(b"PK\x03\x04"):
        raise DataError(f"{table}: expected a CSV or TSV table, got a workbook: save it as CSV")
    encoding = encoding_of(content)
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{table} line {line}: expected text in {encoding.upper()}, got the byte "
            f"0x{content[error.start]:02x}: save the table as UTF-8"
        ) from error
