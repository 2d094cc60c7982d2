"""What `kit sweep` shows: a live table while it works, and the results."""

from __future__ import annotations

import os
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

from kit.cli.terminal import TerminalReporter
from kit.reporting import duration

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from kit.sweep import Progress, SweepResult

_STYLES = {"done": "green", "kept": "green", "failed": "red", "running": "bold"}


class TableReporter(TerminalReporter):
    """A kit.sweep.SweepReporter: a table that changes on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live.console.file.close()
            self._live = None

    def say(self, line: str) -> None:
        if self._live is None:
            super().say(line)
        else:
            self._live.console.print(line, markup=False, highlight=False)

    def warn(self, line: str) -> None:
        if self._live is None:
            super().warn(line)
        else:
            self.say(f"warning: {line}")

    def progress(self, progress: Progress) -> None:
        if self._live is None and sys.stderr.isatty():
            self._live = _live()
        if self._live is not None:
            self._live.update(_table(progress))


def _live() -> Live:
    from rich.console import Console
    from rich.live import Live

    # A descriptor of its own: kit.quiet turns standard error off at times, and a table that lost a
    # frame would be drawn in the wrong place.
    file = os.fdopen(
        *(os.dup(sys.stderr.fileno()), "w"),
        encoding=sys.stderr.encoding,
        errors="backslashreplace",  # a file's name may be no text
    )
    live = Live(console=Console(file=file), refresh_per_second=4)
    live.start()
    return live


def _table(progress: Progress) -> Table:
    from rich.markup import escape
    from rich.table import Table

    left = progress.seconds_left
    caption = "" if left is None else f"about {duration(left)} left"
    table = Table(box=None, pad_edge=False, caption=caption, caption_justify="left")
    longest = max((len(step.name) for step in progress.steps), default=0)
    table.add_column("step", no_wrap=True, min_width=longest)
    table.add_column("state", no_wrap=True)
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, overflow="ellipsis")
    for step in progress.steps:
        seconds = "" if step.seconds is None else f"{step.seconds:.1f}"
        table.add_row(
            step.name, step.state, seconds, escape(step.note), style=_STYLES.get(step.state, "dim")
        )
    return table


def sweep_text(result: SweepResult) -> str:
    """A line for each file, then the recommendations, then what was left out or failed."""
    from kit.sweep.results import failures, substitutes

    findings = result.findings
    lines: list[tuple[str, ...]] = [
        (
            *("file", "kB", "accuracy (95 % interval)", "beside the best", "same"),
            *("parameters", "multiply-adds", "cold", "median", "p95", "MB"),
        )
    ]
    for row in result.rows:
        if row.scored is None:
            continue
        compared, timed = findings.against_best.get(row.name), row.timed
        verdict = "the best"
        if compared is not None:
            verdict = (
                f"{'worse' if compared.is_real else 'not told apart'}, p {compared.adjusted:.2g}"
            )
        measured: tuple[str, ...] = ("",) * 6
        if timed is not None:
            peak = timed.peak_memory_bytes
            measured = (
                f"{timed.parameters / 1e6:.2f} M",
                f"{timed.multiply_adds / 1e6:.1f} M",
                f"{timed.cold_start_ms:.0f}",
                f"{timed.latency_ms:.2f}",
                f"{timed.latency_p95_ms:.2f}",
                "" if peak is None else f"{peak / 1e6:.0f}",
            )
        lines.append(
            (
                f"{row.name}{'*' if row.substitute else ''}",
                f"{row.scored.size_bytes / 1e3:.0f}",
                str(row.scored.accuracy),
                verdict,
                f"{row.scored.agreement:.4f}",
                *measured,
            )
        )
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    text += [
        "",
        "beside the best: McNemar's exact test on the same images, p adjusted by Holm's rule; "
        "same: answer as float32; milliseconds of one image: cold start, median, 95th percentile; "
        "MB: peak memory; on "
        f"{result.machine}",
        substitutes(result.rows),
        "",
    ]
    text += [f"{one.question}: {one.words}" for one in findings.recommendations]
    for what, skipped in (("left out", True), ("failed", False)):
        told = failures(result.rows, skipped=skipped)
        text += [f"{name}: {what}: {error}" for name, error in told]
    return "\n".join([*text, str(result.folder / "report.html")])
