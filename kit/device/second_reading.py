"""`--uncertain-to`: copies of what the model is not sure of, for a person to label.

The folder holds the images under names that tell nobody anything, and `labels.csv` with a row for
each. Who fills in its column `label` can train with it: `kit train FOLDER --labels-csv
FOLDER/labels.csv`.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import time
from collections.abc import Mapping

from kit.device.appending import Appended, append_whole, cut_torn_end, open_alone
from kit.errors import KitError
from kit.files import write_beside

TABLE = "labels.csv"
COLUMNS = ("path", "label", "answer", "suggestion", "score", "unfamiliarity", "time")
_HEADER = (",".join(COLUMNS) + "\n").encode()
_NOT_SURE = ("uncertain", "unknown")


class SecondReading(Appended):
    """Copies uncertain and unknown images into a folder. A context manager.

    Args:
        folder: the folder; it need not exist.

    Raises:
        KitError: it holds another table, or another process writes to it.
        OSError: it cannot be read or written.
    """

    def __init__(self, folder: str) -> None:
        self._folder, self._path = folder, os.path.join(folder, TABLE)
        self._file = open_alone(self._path, "--uncertain-to")
        try:
            cut_torn_end(self._file)
            self._file.seek(0)
            rows = self._file.read().decode("utf-8", "replace").splitlines()
            if rows and rows[0] + "\n" != _HEADER.decode():
                raise KitError(
                    f"{self._path}: expected a new folder or one of --uncertain-to, got another "
                    "table: choose another folder"
                )
            self._known = {row[0] for row in csv.reader(rows) if row}
            if not rows:
                append_whole(self._file, _HEADER, self._path)
        except BaseException:
            self._file.close()
            raise

    def append(self, row: Mapping[str, object], path: str) -> None:
        """Copies the image of a row of the results file, unless the model was sure of it.

        The same content is copied once. Raises OSError where it cannot be read or written.
        """
        if not (row.get("answer") in _NOT_SURE or row.get("unknown") is True):
            return
        with open(path, "rb") as file:
            content = file.read()
        digest = hashlib.sha256(content).hexdigest()[:16]
        name = digest + os.path.splitext(path)[1].lower()
        if name in self._known:
            return
        # The image first: a row always has its image.
        write_beside(os.path.join(self._folder, name), content, force=True)
        told = {
            "path": name,
            "answer": row.get("answer") or "unknown",
            "suggestion": row.get("label", ""),
            "score": row.get("score", ""),
            "unfamiliarity": row.get("unfamiliarity", ""),
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        with io.StringIO() as line:
            csv.DictWriter(line, COLUMNS, lineterminator="\n").writerow(told)
            append_whole(self._file, line.getvalue().encode("utf-8", "replace"), self._path)
        self._known.add(name)
