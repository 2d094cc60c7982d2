"""`--uncertain-to`: copies of what the model is not sure of, for a person to label.

The folder holds the images, whole files under names that tell nobody anything, and `labels.csv`
with a row for each. Who fills in its column `label` can train with it: `kit train FOLDER
--labels-csv FOLDER/labels.csv`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import time
from collections.abc import Mapping

from kit.device.appending import append_whole, open_alone
from kit.errors import KitError
from kit.files import write_beside
from kit.model.tables import delimiter_of

TABLE = "labels.csv"
COLUMNS = ("path", "label", "answer", "suggestion", "score", "unfamiliarity", "time")
_HEADER = (",".join(COLUMNS) + "\n").encode()
_NOT_SURE = ("uncertain", "unknown")


class SecondReading:
    """Copies uncertain and unknown images into a folder.

    A person may save the table at any time, so it is opened anew for each row and gets the row in
    the form that it has then: with a byte order mark, other delimiters or further columns.

    Args:
        folder: the folder; it need not exist.

    Raises:
        KitError: it holds another table.
        OSError: it cannot be read or written.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._path = folder, os.path.join(folder, TABLE)
        with self._open() as table:
            _mend(table, self._path)

    def append(self, row: Mapping[str, object], path: str) -> None:
        """Copies the image of a row of the results file, unless the model was sure of it.

        The same content is copied once. Raises OSError where it cannot be read or written, and
        KitError where the table became another.
        """
        if not (row.get("answer") in _NOT_SURE or row.get("unknown") is True):
            return
        with open(path, "rb") as file:
            content = file.read()
        digest = hashlib.sha256(content).hexdigest()[:16]
        name = digest + os.path.splitext(path)[1].lower()
        told = {
            "path": name,
            "answer": row.get("answer") or "unknown",
            "suggestion": row.get("label", ""),
            "score": row.get("score", ""),
            "unfamiliarity": row.get("unfamiliarity", ""),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        with self._open() as table, io.StringIO() as line:
            before, columns, delimiter = _mend(table, self._path)
            if digest.encode() in before:
                return
            # The image first: a row always has its image.
            write_beside(os.path.join(self._folder, name), content, force=True)
            csv.DictWriter(line, columns, delimiter=delimiter, lineterminator="\n").writerow(told)
            append_whole(table, line.getvalue().encode("utf-8", "replace"), self._path)
            os.fsync(table.fileno())

    def _open(self) -> io.FileIO:
        return open_alone(self._path, "--uncertain-to", wait=True)


def _mend(table: io.FileIO, path: str) -> tuple[bytes, list[str], str]:
    """Gives a table its header and its last row an end, and goes there.

    A last row without an end is completed if a person or an editor left it so, and cut away if a
    power cut did: then it lacks cells and has no label.

    Returns its content, its columns and what divides them; raises KitError of another table.
    """
    found = content = table.read().rstrip(b"\0")  # a power cut may leave zeros
    if _HEADER.startswith(content):
        content = _HEADER
    lines = content.splitlines(keepends=True)
    delimiter = delimiter_of(lines[0].decode("utf-8", "replace"))
    columns, last = (_cells(lines[place], delimiter) for place in (0, -1))
    if not set(COLUMNS) <= set(columns):
        raise KitError(
            f"{path}: expected a new folder, or a table of --uncertain-to in UTF-8 with the "
            f"columns {','.join(COLUMNS)}, got another table: choose another folder"
        )
    if not content.endswith((b"\n", b"\r")):
        whole = len(last) >= len(columns) or dict(zip(columns, last, strict=False)).get("label")
        content = content + b"\n" if whole else content.removesuffix(lines[-1])
    table.truncate(min(len(found), len(content)))
    table.seek(0, os.SEEK_END)
    append_whole(table, content[len(found) :], path)
    return content, columns, delimiter


def _cells(line: bytes, delimiter: str) -> list[str]:
    return next(csv.reader((line.decode("utf-8-sig", "replace"),), delimiter=delimiter))
