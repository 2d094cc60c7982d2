"""How long work tells its progress: a Reporter, silent by default, drawn by the command line."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from kit.filenames import shown

Item = TypeVar("Item")


class Reporter(Protocol):
    """What a caller may show of work under way."""

    def say(self, line: str) -> None:
        """A step begins, or an intermediate result."""

    def warn(self, line: str) -> None:
        """Something that the user should know."""

    def track(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        """Passes the items on, showing how many of `total` are done."""


class Silent:
    """The default Reporter."""

    def say(self, line: str) -> None: ...

    def warn(self, line: str) -> None: ...

    def track(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        return iter(items)


_LISTED = 20


def tell_left_out(left_out: Sequence[tuple[str, str]], reporter: Reporter) -> None:
    """Warns of files that are not used, by path and reason: the first few, and how many more."""
    for path, reason in left_out[:_LISTED]:
        reporter.warn(f"left out {shown(path)}: {reason}")
    if len(left_out) > _LISTED:
        reporter.warn(f"left out {len(left_out) - _LISTED} more files")


def counted(number: int, noun: str) -> str:
    """`no problems`, `1 problem`, `2 problems`."""
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def plain_warnings() -> None:
    """Warnings of images as one line each.

    Remarks of Pillow and pydicom on odd files, such as damaged EXIF, say nothing that a user could
    act on.
    """
    warnings.filterwarnings("ignore", module="PIL|pydicom")
    warnings.showwarning = _show_warning


def _show_warning(message: Warning | str, *_where: object, **_more: object) -> None:
    sys.stderr.write(f"warning: {message}\n")
