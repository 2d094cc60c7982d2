"""The sweep's report.html: one file, a table to sort, plots that answer a pointer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from kit.inline import json_for_script, source_of
from kit.sweep.plots import AXES, page_plots, short_name
from kit.sweep.results import COLUMNS, Findings, Row, failures, substitutes

MATRIX_ROWS = 30
"""With more files the table of all pairs is left to results.json."""
_NONE = "-"


def render(rows: Sequence[Row], findings: Findings, facts: Mapping[str, Any], title: str) -> str:
    """HTML, self-contained: its one script is its own, and nothing is loaded from anywhere.

    Args:
        rows: a file each.
        findings: what was found in these rows.
        facts: as results.json has them: `images`, `machine`, `created`, `timed_image`, `groups`.
        title: foreign text, escaped as all is.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    folder = files("kit.sweep")
    script = folder.joinpath("report.js").read_text("utf-8")
    plots = page_plots(rows, findings)
    table = [
        (index, [(*cell(row, findings), kind) for cell, kind in CELLS.values()], row)
        for index, row in enumerate(rows)
    ]
    scored = [row for row in rows if row.scored is not None]
    return environment.from_string(folder.joinpath("report.html").read_text("utf-8")).render(
        title=title,
        facts=facts,
        findings=findings,
        headings=[(name, kind) for name, (_, kind) in CELLS.items()],
        table=table,
        failures=failures(rows),
        left_out=failures(rows, skipped=True),
        substitutes=substitutes(rows),
        plots={
            name: (AXES[name].title, Markup(plot.svg), plot.key) for name, plot in plots.items()
        },
        matrix=_matrix(scored, findings) if 1 < len(scored) <= MATRIX_ROWS else [],
        short={row.name: short_name(row, rows) for row in rows},
        tips=json_for_script({index: _tip(row, rows) for index, row in enumerate(rows)}),
        script=Markup(script),
        source=source_of(script),
    )


Cell = Callable[[Row, Findings], tuple[str, Any]]
"""What is shown, and what is sorted by; None comes last."""


def _of(column: str, show: Callable[[Any], str]) -> Cell:
    """A cell of one of COLUMNS."""

    def cell(row: Row, findings: Findings) -> tuple[str, Any]:
        value = COLUMNS[column](row, findings)
        return (_NONE, None) if value is None else (show(value), value)

    return cell


def _accuracy(row: Row, findings: Findings) -> tuple[str, Any]:
    if row.scored is None:
        return _NONE, None
    found = row.scored.accuracy
    shown = f"{_percent(found.value)} ({100 * found.low:.1f} to {100 * found.high:.1f})"
    return shown, found.value


def _difference(row: Row, findings: Findings) -> tuple[str, Any]:
    if row.name == findings.best:
        return "the best", 1.0
    found = findings.against_best.get(row.name)
    if found is None:
        return _NONE, None
    verdict = "worse" if found.is_real else "not told apart"
    test = found.test
    return (
        f"{verdict}, p {found.adjusted:.2g} ({test.only_first}:{test.only_second})",
        found.adjusted,
    )


def _pixels(row: Row, findings: Findings) -> tuple[str, Any]:
    side = row.combination.choice.input_resolution
    return f"{side}{'*' if row.substitute else ''}", side


def _front(row: Row, findings: Findings) -> tuple[str, Any]:
    names = [
        name
        for name, front in (("size", findings.size_front), ("latency", findings.latency_front))
        if row.name in front
    ]
    return " and ".join(names) or _NONE, len(names)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}\u00a0%"


def _kilobytes(value: int) -> str:
    return f"{value / 1e3:,.0f}".replace(",", "\u00a0")


CELLS: Mapping[str, tuple[Cell, str]] = MappingProxyType(
    {
        "backbone": (_of("backbone", str), "text"),
        "alpha": (_of("alpha", "{:g}".format), "number"),
        "pixels": (_pixels, "number"),
        "quantization": (_of("quantization", str), "text"),
        "accuracy, 95 % interval": (_accuracy, "number"),
        "beside the best": (_difference, "number"),
        "kB": (_of("size_bytes", _kilobytes), "number"),
        "median ms": (_of("latency_ms", "{:.1f}".format), "number"),
        "p95 ms": (_of("latency_p95_ms", "{:.1f}".format), "number"),
        "model alone ms": (_of("invoke_ms", "{:.1f}".format), "number"),
        "cold start ms": (_of("cold_start_ms", "{:.0f}".format), "number"),
        "memory MB": (_of("peak_memory_bytes", lambda value: f"{value / 1e6:.0f}"), "number"),
        "same as float32": (_of("agreement_with_float32", _percent), "number"),
        "million parameters": (_of("parameters", lambda value: f"{value / 1e6:.2f}"), "number"),
        "million multiply-adds": (
            _of("multiply_adds", lambda value: f"{value / 1e6:.1f}"),
            "number",
        ),
        "on the front of": (_front, "number"),
    }
)
"""Columns of the page: what is in them, and whether that is text or a number."""


def _tip(row: Row, rows: Sequence[Row]) -> list[str]:
    """Lines that a pointer on a point brings up."""
    lines = [short_name(row, rows)]
    if row.scored is not None:
        lines += [f"accuracy {row.scored.accuracy}", f"{row.scored.size_bytes / 1e3:.0f} kB"]
    if row.timed is not None:
        timed = row.timed
        lines.append(f"{timed.latency_ms:.1f} ms, 95th percentile {timed.latency_p95_ms:.1f} ms")
    return lines


def _matrix(rows: Sequence[Row], findings: Findings) -> list[tuple[str, list[str]]]:
    """Images that the row's file alone, and the column's alone, answers rightly; and p."""
    lines = []
    for one in rows:
        cells = []
        for other in rows:
            found = findings.pairs.get((one.name, other.name))
            turned = findings.pairs.get((other.name, one.name))
            if found is not None:
                cells.append(f"{found.only_first}:{found.only_second}, {found.p:.2g}")
            elif turned is not None:
                cells.append(f"{turned.only_second}:{turned.only_first}, {turned.p:.2g}")
            else:
                cells.append("")
        lines.append((one.name, cells))
    return lines
