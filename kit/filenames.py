"""Files by their names: what stands there, and how to write a name that is no text."""

from __future__ import annotations

import io
import os
import stat
import unicodedata
from pathlib import Path
from typing import TextIO

_KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISBLK, "a device"),
    (stat.S_ISCHR, "a device"),
)
_UNSHOWN = ("Cc", "Cs", "Zl", "Zp")
"""Unicode's categories of controls, halves of letters, and ends of lines and paragraphs."""


def irregular(path: str | os.PathLike[str]) -> str | None:
    """What stands there, if it is no regular file: a pipe would block whoever opens it.

    None of a regular file, and where nothing can be told: opening it then says why.
    """
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISREG(mode):
        return None
    return next((name for test, name in _KINDS if test(mode)), "something that is no file")


def text_bytes(text: str) -> bytes:
    """Text as UTF-8. Bytes of a file's name that are none appear as `\\udc80` to `\\udcff`.

    In a JSON string that is an escape, from which a reader gets the name back.
    """
    return text.encode("utf-8", "backslashreplace")


def shown(name: str) -> str:
    """A file's name in a line of text: without what breaks a line or moves the cursor."""
    return "".join(
        c.encode("unicode_escape").decode() if unicodedata.category(c) in _UNSHOWN else c
        for c in name
    )


def allow_any_name(stream: TextIO, errors: str = "backslashreplace") -> None:
    """File names may be bytes that are no text; none of them must end the work."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=errors)
