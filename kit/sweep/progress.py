"""Where the combinations of a sweep stand, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kit.reporting import Reporter, Silent, duration

WAITING, KEPT, RUNNING, DONE, FAILED = "waiting", "kept", "running", "done", "failed"
"""KEPT is what an earlier call finished."""

TRAINING, TIMING = "train", "time"
_FIRST_TIMING_SECONDS = 5.0  # a guess, for as long as no file has been timed


@dataclass(frozen=True)
class Standing:
    """One step of a sweep: a training, or the timing of its files.

    Attributes:
        name: name of the combination or file.
        kind: TRAINING or TIMING.
        weight: how long it takes beside others of its kind.
        state: WAITING, KEPT, RUNNING, DONE or FAILED.
        note: what it is doing, or its result.
        seconds: time that it took; None before its end.
    """

    name: str
    kind: str
    weight: float
    state: str = WAITING
    note: str = ""
    seconds: float | None = None


@dataclass(frozen=True)
class Progress:
    """Progress of the whole sweep.

    Attributes:
        steps: in the order of the table.
        seconds_left: for all that is left; None: nothing of a kind has been measured yet.
    """

    steps: tuple[Standing, ...]
    seconds_left: float | None


class SweepReporter(Reporter, Protocol):
    """A Reporter that may draw a table."""

    def progress(self, progress: Progress) -> None:
        """Something has changed."""


class Quiet(Silent):
    """The default SweepReporter."""

    def progress(self, progress: Progress) -> None: ...


def seconds_left(
    steps: Sequence[Standing], jobs: int, elapsed: Mapping[str, float]
) -> float | None:
    """For all steps that have not ended: by the seconds that a unit of weight took so far.

    Args:
        steps: all of them.
        jobs: trainings at once; timings are one at a time.
        elapsed: seconds since each running step began, by name.

    Returns:
        None where trainings are left and none has ended.
    """
    total = 0.0
    for kind, at_once in ((TRAINING, jobs), (TIMING, 1)):
        left = [one for one in steps if one.kind == kind and one.state in (WAITING, RUNNING)]
        if not left:
            continue
        ended = [one for one in steps if one.kind == kind and one.seconds and one.state == DONE]
        if ended:
            rate = sum(one.seconds or 0.0 for one in ended) / sum(one.weight for one in ended)
        elif kind == TIMING:
            rate = _FIRST_TIMING_SECONDS
        else:
            return None
        each = [max(0.0, rate * one.weight - elapsed.get(one.name, 0.0)) for one in left]
        # Shared evenly among the jobs, but never less than the longest.
        total += max(sum(each) / min(at_once, len(each)), max(each))
    return total


class Board:
    """Keeps the standings, and tells a reporter of each change; a kit.sweep.processes.Watcher."""

    def __init__(self, steps: Sequence[Standing], jobs: int, reporter: SweepReporter) -> None:
        self._steps = {step.name: step for step in steps}
        self._jobs = jobs
        self._reporter = reporter
        self._began: dict[str, float] = {}
        self._warned: set[str] = set()
        self._tell()

    def begin(self, name: str) -> None:
        self._began[name] = time.monotonic()
        self._change(name, state=RUNNING)

    def say(self, name: str, line: str) -> None:
        self._change(name, note=line.splitlines()[-1] if line else "")

    def warn(self, name: str, line: str) -> None:
        if line not in self._warned:  # each training warns of the same images
            self._warned.add(line)
            self._reporter.warn(line)

    def end(self, name: str, error: str, note: str = "") -> None:
        seconds = time.monotonic() - self._began.pop(name)
        self._change(
            name, state=FAILED if error else DONE, note=error or note, seconds=round(seconds, 3)
        )
        steps = list(self._steps.values())
        number = sum(one.state in (KEPT, DONE, FAILED) for one in steps)
        how = f"failed: {error}" if error else f"{note + ', ' if note else ''}{seconds:.1f} s"
        self._reporter.say(f"[{number}/{len(steps)}] {name}: {how}; {self._left()}")

    def drop(self, name: str, reason: str) -> None:
        """A step that cannot begin, because what it needs has failed."""
        self._change(name, state=FAILED, note=reason)

    def _left(self) -> str:
        left = self._estimate()
        return "time left unknown" if left is None else f"about {duration(left)} left"

    def _estimate(self) -> float | None:
        now = time.monotonic()
        elapsed = {name: now - began for name, began in self._began.items()}
        return seconds_left(list(self._steps.values()), self._jobs, elapsed)

    def _change(self, name: str, **changes: str | float) -> None:
        self._steps[name] = replace(self._steps[name], **changes)  # type: ignore[arg-type]
        self._tell()

    def _tell(self) -> None:
        self._reporter.progress(Progress(tuple(self._steps.values()), self._estimate()))
