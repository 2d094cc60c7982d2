"""Work in processes of its own: what ends one of them, memory included, ends no other."""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol, TypeVar

from kit.errors import KitError, one_line
from kit.reporting import Reporter, plain_warnings

Item = TypeVar("Item")
_TOLD_EVERY = 1.0  # seconds


class Watcher(Protocol):
    """Who follows the work of several processes, by the names of their tasks."""

    def begin(self, name: str) -> None:
        """Its process starts."""

    def say(self, name: str, line: str) -> None:
        """A step of it begins."""

    def warn(self, name: str, line: str) -> None:
        """Something that the user should know."""


class Sender(Protocol):
    """One end of something that takes messages."""

    def send(self, message: tuple[str, str], /) -> None: ...


class Relay:
    """A Reporter whose lines go elsewhere, as (`say` or `warn`, the line)."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    def say(self, line: str) -> None:
        self._sender.send(("say", line))

    def warn(self, line: str) -> None:
        self._sender.send(("warn", line))

    def track(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        told = time.monotonic()
        for number, item in enumerate(items, start=1):
            yield item
            if time.monotonic() - told > _TOLD_EVERY:
                told = time.monotonic()
                self.say(f"{what}: {number} of {total}")


class Executor(Protocol):
    """Who does the work of several tasks, and where."""

    @property
    def jobs(self) -> int:
        """Tasks at once."""

    def run(
        self,
        work: Callable[[Any, Reporter], None],
        tasks: Mapping[str, Any],
        watcher: Watcher,
    ) -> Generator[tuple[str, str], None, None]:
        """Does `work(task, reporter)` for each task, in this order as far as there is room.

        Args:
            work: a function of a module, so that it can be pickled, as can each task.
            tasks: tasks by name.
            watcher: takes their lines.

        Yields:
            Name and error of each task as it ends; the error is one line, empty for a success.
        """


@dataclass(frozen=True)
class Processes:
    """An Executor on this machine, in `jobs` processes."""

    jobs: int = 1

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise ValueError(f"expected at least 1 job, got {self.jobs}")

    def run(
        self, work: Callable[[Any, Reporter], None], tasks: Mapping[str, Any], watcher: Watcher
    ) -> Generator[tuple[str, str], None, None]:
        yield from in_processes(work, tasks, self.jobs, watcher)


def in_processes(
    work: Callable[[Any, Reporter], None], tasks: Mapping[str, Any], jobs: int, watcher: Watcher
) -> Generator[tuple[str, str], None, None]:
    """As Executor.run says. A process takes one task after another, since starting one takes as
    long as a small training; where it dies, a new one goes on with the next task."""
    context = get_context("spawn")  # a fork of a process with threads may never start
    waiting = deque(tasks.items())
    processes: dict[Connection, Any] = {}
    busy: dict[Connection, str] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < jobs:
                idle = next((one for one in processes if one not in busy), None)
                if idle is None:
                    idle, theirs = context.Pipe()
                    process = context.Process(target=_child, args=(work, theirs), daemon=True)
                    processes[idle] = process
                    process.start()
                    theirs.close()  # else its end is never seen
                busy[idle], task = waiting.popleft()
                watcher.begin(busy[idle])
                with suppress(OSError):  # it died while it was idle: reading will tell
                    idle.send(task)
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                name = busy[ready]
                try:
                    kind, text = ready.recv()
                except (EOFError, OSError):
                    process = processes.pop(ready)
                    process.join()
                    kind, text = "end", _sudden_end(process.exitcode)
                if kind == "end":
                    del busy[ready]
                    yield name, text
                elif kind == "say":
                    watcher.say(name, text)
                else:
                    watcher.warn(name, text)
    finally:
        for process in processes.values():
            if process.pid is not None:
                process.terminate()
                process.join()


def _sudden_end(code: int | None) -> str:
    how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
    return (
        f"expected the training to end by itself, its process ended with {how}: if it was for "
        "want of memory, take fewer --jobs"
    )


def _child(work: Callable[[Any, Reporter], None], parent: Connection) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.stdout = sys.stderr  # what libraries print is no result
    # As in the command line: Pillow's remarks on odd files say nothing a user could act on.
    plain_warnings()
    while True:
        try:
            task = parent.recv()
        except EOFError:
            return
        parent.send(("end", error_of(work, task, Relay(parent))))


def error_of(work: Callable[[Any, Reporter], None], task: Any, reporter: Reporter) -> str:
    """Does the work; gives what went wrong in one line, empty for a success."""
    try:
        work(task, reporter)
        return ""
    except KeyboardInterrupt:
        sys.exit(130)
    except (KitError, ValueError, OSError, MemoryError, ImportError) as raised:
        error = one_line(raised)
    except Exception as raised:  # of whatever kind: it costs this task alone
        error = f"{type(raised).__name__}: {' '.join(str(raised).split())}"
    if os.environ.get("KIT_DEBUG") == "1":
        traceback.print_exc()
    return error


def _end_with_parent() -> None:
    """Else a sweep that is killed leaves trainings behind, which the next one would meet."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
