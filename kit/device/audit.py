"""`--audit`: a log of answers in which each entry carries the hash of the one before.

A line of JSON for each answer, appended and never changed. Whoever alters, removes or swaps an
entry would have to make all later ones anew, and a hash that was noted elsewhere would no longer be
there. (A chain of hashes: S. Haber and W. S. Stornetta, "How to time-stamp a digital document",
1991.) No image, name or patient stands in it; a path only if it is asked for.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kit import __version__
from kit.device.appending import Appended, append_whole, cut_torn_end, open_alone
from kit.errors import KitError
from kit.model.model_file import ModelFile

_START = "0" * 64
"""The hash before the first entry."""
_ANSWER = ("label", "score", "answer", "unknown", "unfamiliarity")


@dataclass(frozen=True)
class Verified:
    """What a sound log holds.

    Attributes:
        entries: how many.
        first: time of the first one, UTC; empty where there is none.
        last: time of the last one.
        hash: hash of the last one, to be noted elsewhere.
    """

    entries: int
    first: str
    last: str
    hash: str


class AuditLog(Appended):
    """Appends an entry for each answer. A context manager.

    Args:
        path: the log; it need not exist.
        model: the model that answers.
        paths: whether entries name the images' paths.

    Raises:
        KitError: another file has this name, it was changed, or another process writes to it.
        OSError: it cannot be read or written.
    """

    def __init__(self, path: str, model: ModelFile, paths: bool = False) -> None:
        self._path, self._paths = path, paths
        self._facts = _facts(model)
        self._file = open_alone(path, "--audit")
        try:
            torn = cut_torn_end(self._file)
            self._number, self._last = _end_of(path)
            self._file.seek(0, os.SEEK_END)
            if torn:  # by a power cut or a full disk, and it is told rather than hidden
                self._write({"event": "cut a torn line", "bytes": torn})
        except BaseException:
            self._file.close()
            raise

    def append(self, row: Mapping[str, object], path: str) -> None:
        """Adds an entry for a row of the results file.

        Raises OSError where it cannot be written; the log is then as it was.
        """
        entry: dict[str, Any] = {name: row[name] for name in _ANSWER if name in row}
        entry["failed"] = "error" in row
        if self._paths:
            entry["path"] = os.fsdecode(path).encode("utf-8", "backslashreplace").decode()
        self._write({**self._facts, **entry})

    def _write(self, entry: Mapping[str, Any]) -> None:
        whole = {
            "number": self._number + 1,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            # So that no log made anew has a hash of the old one.
            **({} if self._number else {"log": secrets.token_hex(16)}),
            **entry,
            "previous": self._last,
        }
        digest = _hash(whole)
        append_whole(self._file, _line({**whole, "hash": digest}), self._path)
        self._number, self._last = self._number + 1, digest


def _facts(model: ModelFile) -> dict[str, Any]:
    """What decides on an answer, besides the image."""
    facts: dict[str, Any] = {"file": model.digest, "kit": __version__}
    card = model.card
    if card is None:
        return facts
    facts |= {"model": card.model_sha256, "card": card.version}
    if (point := card.operating_point) is not None:
        facts |= {"positive_from": point.positive_from, "negative_below": point.negative_below}
    if card.screening is not None:
        facts["unfamiliarity_threshold"] = card.screening.unfamiliarity_threshold
    return facts


def verify(path: str | os.PathLike[str], holds: str = "") -> Verified:
    """Goes through a whole log.

    Args:
        path: the log.
        holds: a hash that was noted at an earlier time; with it, a log that was cut at its end or
            made anew is found too.

    Raises:
        KitError: it cannot be read, or was changed, and where; or the hash is not in it.
    """
    entries, first, last, digest = 0, "", "", _START
    found = not holds
    for entry in _entries(os.fspath(path)):
        entries, digest, last = entry["number"], entry["hash"], str(entry["time"])
        first = first or last
        found = found or digest == holds
    if not found:
        raise KitError(
            f"{path}: expected an entry with the hash {holds}, which was noted before, there is "
            f"none among {entries}: entries were cut off, or the log was made anew"
        )
    return Verified(entries, first, last, digest)


def _entries(path: str) -> Iterator[dict[str, Any]]:
    """Each entry that follows from the one before; raises KitError at the first that does not."""
    number, last = 0, _START
    if not os.path.isfile(path):
        raise KitError(f"{path}: expected an audit log, there is no such file")
    with open(path, "rb") as file:
        for line in file:
            number += 1
            where = f"{path}: line {number}"
            entry = _parsed(line, where)
            if entry["hash"] != _hash(entry):
                raise KitError(f"{where}: expected an entry as it was written, it was changed")
            if entry["previous"] != last or entry["number"] != number:
                raise KitError(
                    f"{where}: expected the entry that follows the one before, got another: "
                    "entries before it were removed, swapped or put in"
                )
            last = entry["hash"]
            yield entry


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise KitError(f"{where}: expected an entry of an audit log, got no JSON") from error
    names = ("number", "time", "previous", "hash")
    if not isinstance(entry, dict) or not all(name in entry for name in names):
        raise KitError(f"{where}: expected an entry of an audit log, got other JSON")
    # As it would be written: what means the same in other bytes is a change too.
    if line != _line(entry):
        raise KitError(f"{where}: expected an entry as it was written, it was changed")
    return entry


def _end_of(path: str) -> tuple[int, str]:
    """Number and hash of the last entry of a log that is sound at its end."""
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65536))
        lines = file.read().splitlines(keepends=True)
    if not lines:
        return 0, _START
    entry = _parsed(lines[-1], f"{path}: its last line")
    if entry["hash"] != _hash(entry):
        raise KitError(
            f"{path}: expected a log as it was written, its last entry was changed: keep it, and "
            "choose another --audit"
        )
    return int(entry["number"]), str(entry["hash"])


def _line(entry: Mapping[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _hash(entry: Mapping[str, Any]) -> str:
    """Of all of an entry but its hash."""
    hashed = {name: value for name, value in entry.items() if name != "hash"}
    return hashlib.sha256(_line(hashed)).hexdigest()
