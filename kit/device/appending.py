"""Files that lines are appended to, by one process, so that any end of it may come."""

from __future__ import annotations

import io
import os
from types import TracebackType
from typing import Self

from kit.errors import KitError


def open_alone(path: str, option: str, wait: bool = False) -> io.FileIO:
    """Opens a file to read and append, made where there is none, and locks it.

    Args:
        path: the file; its folder is made too.
        option: which option names it, for the message.
        wait: whether to wait for another process that has it, rather than to raise.

    Raises:
        KitError: it is no file, or another process has it.
        OSError: it cannot be opened.
    """
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if os.path.exists(path) and not os.path.isfile(path):
        raise KitError(f"{path}: expected a file, got something else: choose another")
    file = io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
    try:
        import fcntl
    except ImportError:  # Windows, which runs no service of ours
        return file
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        file.close()
        raise KitError(
            f"{path}: expected to be alone with it, another kit-label writes to it: stop that one, "
            f"or choose another {option}"
        ) from error
    if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
        # Between opening and locking, the other one renamed it and began a new one.
        file.close()
        return open_alone(path, option, wait)
    return file


class Appended:
    """A file of `open_alone`, in `_file`, that goes to the disk and is closed at the end."""

    _file: io.FileIO

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()


def append_whole(file: io.FileIO, line: bytes, path: str) -> None:
    """Writes a line at the file's place, wholly or not at all; raises OSError where it cannot."""
    before = file.tell()
    try:
        # In one piece: what stops the process comes before or after.
        written = file.write(line)
        while written < len(line):  # the disk is full: the next attempt says so
            written += file.write(line[written:])
    except OSError as error:
        file.truncate(before)
        file.seek(before)
        error.filename = path
        raise


def cut_torn_end(file: io.FileIO) -> int:
    """Cuts away what stands after the last whole line, and goes there; returns how many bytes."""
    size = end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - 65536)
        file.seek(start)
        place = file.read(end - start).rfind(b"\n")
        if place >= 0:
            end = start + place + 1
            break
        end = start
    file.truncate(end)
    file.seek(end)
    return size - end
