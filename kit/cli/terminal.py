"""What commands share: progress on standard error, errors in one line, exit codes."""

from __future__ import annotations

import functools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import typer

from kit.errors import KitError, in_words
from kit.filenames import allow_any_name
from kit.reporting import plain_warnings

Item = TypeVar("Item")
Parameters = ParamSpec("Parameters")


class TerminalReporter:
    """Draws bars with rate and time left on a terminal; plain lines elsewhere."""

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    def warn(self, line: str) -> None:
        print(f"warning: {line}", file=sys.stderr, flush=True)

    def track(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        began = time.monotonic()
        if sys.stderr.isatty():
            yield from self._bar(items, total, what)
        else:
            yield from items
        seconds = time.monotonic() - began
        self.say(f"{what}: {total} images in {seconds:.1f} s ({total / max(seconds, 1e-9):.0f}/s)")

    def _bar(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            ProgressColumn,
            Task,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(f"{task.speed:.0f}/s" if task.speed else "")

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            Rate(),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield from progress.track(items, total=total, description=what)


def reports_errors(function: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Turns what the kit raises into one line on standard error and an exit code."""

    @functools.wraps(function)
    def wrapped(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        allow_any_name(sys.stdout)
        plain_warnings()
        try:
            function(*args, **kwargs)
        except KeyboardInterrupt as error:
            how = str(error) or "nothing was overwritten"
            print(f"kit: interrupted; {how}", file=sys.stderr)
            raise typer.Exit(130) from None
        except BrokenPipeError:  # the reader, such as head, went away
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except (KitError, ValueError, OSError, ModuleNotFoundError, MemoryError) as error:
            if os.environ.get("KIT_DEBUG") == "1":
                raise
            print(f"kit: {_in_one_line(error)}", file=sys.stderr)
            usage = isinstance(error, ValueError) and not isinstance(error, KitError)
            raise typer.Exit(2 if usage else 1) from None

    return wrapped


@contextmanager
def going_on(how: str) -> Iterator[None]:
    """Says, when the work inside is interrupted, how it goes on."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(how) from None


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"expected the package {error.name}: pip install 'mobilenet-kit[train]'"
    if isinstance(error, MemoryError):
        return "expected enough memory, there is none left: close programs, or use a smaller input"
    return in_words(error)


def import_tensorflow() -> None:
    """Imports it without the lines that it logs while it starts."""
    from kit.quiet import quiet_native

    with quiet_native:
        import tensorflow  # noqa: F401


def print_json(data: dict[str, Any]) -> None:
    """Prints one line, with text as it is."""
    print(json.dumps(data, ensure_ascii=False))
