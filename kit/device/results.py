"""The CSV of `--output`: a row for each image, written so that any end of the process may come.

A row goes to the file in one piece as soon as it is made, and to the disk within a second. What a
power cut tears off is cut away at the next start, and the image it was of is labelled again: an
image is known by its path, size and time of change, which its row holds.

At a size the file is renamed to `results-0001.csv` and so on, and a new one is begun. By size, not
by day: a device without a network does not know the day. No file is ever deleted, and all of them
say what has been labelled.
"""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from typing import BinaryIO, NamedTuple

import numpy as np

from kit import __version__
from kit.device.appending import Appended, append_whole, open_alone
from kit.errors import KitError
from kit.filenames import text_bytes
from kit.model.model_file import ModelFile
from kit.runtime.appearance import Appearance
from kit.runtime.classifier import Classification, Failure

_IMAGE = ("time", "image", "size_bytes", "modified_ns")  # these stand first in every version
COLUMNS = (
    *(*_IMAGE, "model", "card", "kit", "negative_below", "positive_from"),
    *("label", "score", "highest_score", "answer", "unknown", "unfamiliarity"),
    *(*Appearance._fields, "error"),
)
_EARLIER = (
    tuple(name for name in COLUMNS if name != "highest_score"),
    (*_IMAGE, "model", "label", "score", "answer", "unknown", "unfamiliarity", "error"),
)
"""Columns of files that earlier kits began: they are numbered, and a new one is begun."""
ROTATE_MB = 10.0
"""Megabytes (10^6 bytes) at which a new file is begun: some forty thousand rows."""
_HEADERS = tuple((",".join(columns) + "\n").encode() for columns in (COLUMNS, *_EARLIER))
_HEADER = _HEADERS[0]
_SYNC_SECONDS = 1.0


class FileState(NamedTuple):
    """What tells one state of an image file from another.

    Attributes:
        size_bytes: size of the file.
        modified_ns: when it was changed, in nanoseconds since 1970.
    """

    size_bytes: int
    modified_ns: int


def file_state(path: str) -> FileState | None:
    """The state of a regular file; None for anything else, and where there is nothing."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return FileState(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None


class ResultsFile(Appended):
    """Appends rows to a CSV, and goes on with the one that is there. A context manager.

    Attributes:
        path: path of the file that is written to.
        found: images that had a row when it was opened.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        model: ModelFile,
        rotate_mb: float = ROTATE_MB,
        before: Sequence[Callable[[Mapping[str, object], str], None]] = (),
    ) -> None:
        """Repairs and reads what is there, and locks it.

        Args:
            path: the CSV; it need not exist.
            model: the model; rows hold the first 12 digits of its file's SHA-256, the card's
                version and the thresholds in use.
            rotate_mb: megabytes at which a new file is begun.
            before: functions that get each row, and the path of its image, before it is written:
                what they do is done for every row that the file has.

        Raises:
            KitError: another file has this name, or another process writes to it.
            OSError: it cannot be read or written.
            ValueError: rotate_mb is not above 0.
        """
        if not rotate_mb > 0:
            raise ValueError(f"expected megabytes above 0 for rotate_mb, got {rotate_mb:g}")
        self.path = os.path.abspath(path)
        self._most_bytes = rotate_mb * 1e6
        self._before = before
        self._known = _Hashes()
        self._synced = time.monotonic()
        self._facts = _facts(model)
        for older in self._rotated():
            with open(older, "rb") as rows:
                self._read(rows, older)
        self._file = open_alone(self.path, "--output")
        try:
            with open(self.path, "rb") as rows:
                sound = self._read(rows, self.path)
                rows.seek(0)
                is_earlier = rows.readline() in _HEADERS[1:]
            self._file.truncate(sound)
            self._file.seek(sound)
            if is_earlier:
                self._rotate()
            elif not sound:
                append_whole(self._file, _HEADER, self.path)
        except BaseException:
            self._file.close()
            raise
        self._known.sort()
        self.found = len(self._known)

    def is_own(self, path: str) -> bool:
        """Whether a path is this file's, or one that it was renamed to."""
        return path == self.path or self._number(path) is not None

    def has(self, path: str, state: FileState | None) -> bool:
        """Whether there is a row of this state of an image; of None: of its being missing."""
        return self._key(_shown(path), state) in self._known

    def claim(self, path: str, state: FileState | None) -> bool:
        """Whether it has no row and was not claimed before: then it is claimed now."""
        return self._known.insert(self._key(_shown(path), state))

    def append(
        self, result: Classification | Failure, path: str, state: FileState | None = None
    ) -> None:
        """Adds a row: the best category, or the error.

        Raises OSError where it cannot be written; the file is then as it was.
        """
        if self._file.tell() >= self._most_bytes:
            self._rotate()
        size, modified = ("", "") if state is None else state
        shown = _shown(path)
        row: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "image": shown,
            "size_bytes": size,
            "modified_ns": modified,
            **self._facts,
        }
        if isinstance(result, Failure):
            row["error"] = " ".join(result.error.split())
        else:
            for best in result.categories[:1]:
                row |= {"label": _shown(best.label), "score": f"{best.score:.6f}"}
            if result.highest_score is not None:
                row["highest_score"] = f"{result.highest_score:.6f}"
            row["answer"] = result.answer
            if result.unfamiliarity is not None:
                row["unknown"] = result.unknown
                row["unfamiliarity"] = f"{result.unfamiliarity:.6f}"
            if result.appearance is not None:
                row |= {name: f"{v:.4f}" for name, v in result.appearance._asdict().items()}
        for told in self._before:
            told(row, path)
        with io.StringIO() as line:
            csv.DictWriter(line, COLUMNS, lineterminator="\n").writerow(row)
            append_whole(self._file, text_bytes(line.getvalue()), self.path)
        self._known.insert(self._key(shown, state))
        if time.monotonic() - self._synced >= _SYNC_SECONDS:
            self.sync()

    def sync(self) -> None:
        """To the disk, where a power cut does not reach."""
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def _rotate(self) -> None:
        folder, name = os.path.split(self.path)
        stem, suffix = os.path.splitext(name)
        number = 1 + max((self._number(path) or 0 for path in self._rotated()), default=0)
        self.sync()
        os.rename(self.path, os.path.join(folder, f"{stem}-{number:04}{suffix}"))
        full = self._file
        self._file = open_alone(
            self.path, "--output"
        )  # where it fails, the full one is still open, for __exit__
        full.close()
        append_whole(self._file, _HEADER, self.path)

    def _rotated(self) -> list[str]:
        folder = os.path.dirname(self.path)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        paths = (os.path.join(folder, name) for name in sorted(names))
        return [path for path in paths if self._number(path) is not None]

    def _number(self, path: str) -> int | None:
        stem, suffix = os.path.splitext(self.path)
        found = re.fullmatch(re.escape(stem) + r"-(\d{4,})" + re.escape(suffix), path)
        return int(found[1]) if found else None

    def _read(self, file: BinaryIO, path: str) -> int:
        """Remembers the rows' images; returns where what is whole ends, in bytes."""
        head = file.readline(max(map(len, _HEADERS)))
        if head not in _HEADERS:
            begun = head.rstrip(b"\0")
            if any(header.startswith(begun) for header in _HEADERS):  # torn off
                return 0
            raise KitError(
                f"{path}: expected a new file or one of kit-label's with the columns "
                f"{','.join(COLUMNS)}, got another: choose another --output"
            )
        end = sound = len(head)
        for line in file:
            end += len(line)
            # A power cut may leave a part of a row, or zeros or anything else where rows were.
            if not line.endswith(b"\n") or b"\0" in line:
                continue
            try:
                cells = next(csv.reader((line.decode("utf-8", "replace"),)), [])
            except csv.Error:  # such as a carriage return, which no row has
                continue
            sound = end
            if len(cells) == head.count(b",") + 1:
                size, modified = cells[2], cells[3]
                known = size.isdecimal() and modified.removeprefix("-").isdecimal()
                state = FileState(int(size), int(modified)) if known else None
                self._known.append(self._key(cells[1], state))
        return sound

    @staticmethod
    def _key(shown: str, state: FileState | None) -> int:
        return hash((shown, state))


def _facts(model: ModelFile) -> dict[str, object]:
    """What decided on every answer, besides the image."""
    facts: dict[str, object] = {"model": model.digest[:12], "kit": __version__}
    if model.card is not None:
        facts["card"] = model.card.version
        if (point := model.card.operating_point) is not None:
            facts |= {
                "negative_below": f"{point.negative_below:.6f}",
                "positive_from": f"{point.positive_from:.6f}",
            }
    return facts


class _Hashes:
    """What Python's hash() gives for some things; each takes 8 bytes.

    In a set of a million names a process would grow by 200 MB. Two of a million share a hash with a
    chance of 1 in 10^7.
    """

    def __init__(self) -> None:
        self._values = array("q")

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, value: int) -> bool:
        place = bisect_left(self._values, value)
        return place < len(self._values) and self._values[place] == value

    def insert(self, value: int) -> bool:
        """Returns whether it was not there."""
        place = bisect_left(self._values, value)
        if place < len(self._values) and self._values[place] == value:
            return False
        self._values.insert(place, value)
        return True

    def append(self, value: int) -> None:
        """Faster for many: but `sort` must come before anything else."""
        self._values.append(value)

    def sort(self) -> None:
        """Once each, in order."""
        self._values = array("q", np.unique(np.array(self._values, np.int64)).tobytes())


def _shown(text: str) -> str:
    """In one line and as text, so that a line is a row: names may hold anything."""
    text = text.replace("\r", "\\r").replace("\n", "\\n")
    return text_bytes(text).decode()
