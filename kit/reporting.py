"""How long work tells its progress: a Reporter, silent by default, drawn by the command line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

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
