"""Pareto plots: file size, and latency, against accuracy with its interval."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kit.report.svg import INK, LINE, REST, SERIES, to_svg
from kit.sweep.results import Findings, Row, substitutes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_POINTS = 72  # an inch, which is what an SVG of Matplotlib is measured in
# As wide as a phone: on a wider screen the letters grow with the drawing.
_PAGE_SIZE, _FILE_SIZE = (4.6, 3.8), (8.0, 5.6)  # inches
_LABEL_SIZE = 7  # points
_DPI = 150  # of the PNG
_MARKERS = "osD^vP"
# Where a label may stand beside its point: offset in points, and its own alignment.
_PLACES = (
    (6, 4, "left", "bottom"),
    (-6, 4, "right", "bottom"),
    (6, -4, "left", "top"),
    (-6, -4, "right", "top"),
    (0, 9, "center", "bottom"),
    (0, -9, "center", "top"),
)


@dataclass(frozen=True)
class Palette:
    """Colours of a drawing."""

    ink: str
    line: str
    rest: str
    series: tuple[str, ...]


PAGE = Palette(INK, LINE, REST, SERIES)
"""What kit.report.svg turns into the page's colours."""
PAPER = Palette(
    "#1c1c1a",
    "#d8d8d2",
    "#8a8a84",
    ("#0b67b2", "#c4540a", "#0a7f5b", "#9a3f86", "#8a6d00", "#b3273c"),
)


@dataclass(frozen=True)
class Axis:
    """What accuracy is drawn against.

    Attributes:
        label: with its unit.
        title: title of the drawing.
        cost: cost of a row; None if it is not known.
        front: names of the rows on it.
    """

    label: str
    title: str
    cost: Callable[[Row], float | None]
    front: Callable[[Findings], tuple[str, ...]]


AXES: Mapping[str, Axis] = MappingProxyType(
    {
        "size": Axis(
            "file, kB",
            "Accuracy against the file's size",
            lambda row: None if row.scored is None else row.scored.size_bytes / 1e3,
            lambda findings: findings.size_front,
        ),
        "latency": Axis(
            "median latency of one image, ms",
            "Accuracy against latency",
            lambda row: None if row.timed is None else row.timed.latency_ms,
            lambda findings: findings.latency_front,
        ),
    }
)


@dataclass(frozen=True)
class PagePlot:
    """A drawing for the page.

    Attributes:
        svg: an `svg` element; a circle of class `hit`, with the row's number as `data-row`, lies
            over each point.
        key: quantisation and number of the page's colour, from 1.
    """

    svg: str
    key: tuple[tuple[str, int], ...]


def write_plots(rows: Sequence[Row], findings: Findings) -> dict[str, bytes]:
    """`pareto_size.png`, `.svg`, `pareto_latency.png`, `.svg`, for which there are points."""
    import matplotlib

    files: dict[str, bytes] = {}
    for name, axis in AXES.items():
        if not _drawn(rows, axis):
            continue
        for suffix in ("png", "svg"):
            figure = _figure(_FILE_SIZE)
            _draw(figure, rows, findings, axis, PAPER)
            axes = figure.axes[0]
            axes.set_title(axis.title, fontsize="medium", color=PAPER.ink)
            axes.legend(frameon=False, fontsize="small", loc="lower right")
            if note := substitutes(rows):
                figure.supxlabel(note, fontsize=_LABEL_SIZE, color=PAPER.ink)
            out = io.BytesIO()
            with matplotlib.rc_context({"svg.hashsalt": name}):
                metadata = {"Date": None} if suffix == "svg" else None
                figure.savefig(out, format=suffix, dpi=_DPI, metadata=metadata)
            files[f"pareto_{name}.{suffix}"] = out.getvalue()
    return files


def page_plots(rows: Sequence[Row], findings: Findings) -> dict[str, PagePlot]:
    """By the key of AXES, for which there are points."""
    plots = {}
    for name, axis in AXES.items():
        points = _drawn(rows, axis)
        if not points:
            continue
        figure = _figure(_PAGE_SIZE)
        _draw(figure, rows, findings, axis, PAGE)
        svg = to_svg(figure, name, f"{axis.title}, {len(points)} files")
        hits = "".join(_hit(figure, index, x, y) for index, x, y in points)
        plots[name] = PagePlot(svg.replace("</svg>", f"{hits}</svg>"), _key(rows))
    return plots


def short_name(row: Row, rows: Sequence[Row]) -> str:
    """`0.25/128 int8`; with its backbone where there are several, an asterisk where its weights are
    a substitute."""
    choice = row.combination.choice
    several = len({one.combination.choice.name for one in rows}) > 1
    backbone = f"{choice.name.removeprefix('mobilenet_')} " if several else ""
    alpha = "" if choice.alpha is None else f"{choice.alpha:g}/"
    mark = "*" if row.substitute else ""
    return f"{backbone}{alpha}{choice.input_resolution}{mark} {row.quantization}"


def _key(rows: Sequence[Row]) -> tuple[tuple[str, int], ...]:
    modes = dict.fromkeys(row.quantization for row in rows)
    return tuple((mode, index % len(SERIES) + 1) for index, mode in enumerate(modes))


def _drawn(rows: Sequence[Row], axis: Axis) -> list[tuple[int, float, float]]:
    """Number of the row, cost and accuracy of each point."""
    costs = [(index, row, axis.cost(row)) for index, row in enumerate(rows)]
    return [
        (index, cost, row.scored.accuracy.value)
        for index, row, cost in costs
        if cost is not None and row.scored is not None
    ]


def _figure(size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _draw(
    figure: Figure, rows: Sequence[Row], findings: Findings, axis: Axis, palette: Palette
) -> None:
    axes = figure.subplots()
    points = _drawn(rows, axis)
    place = {rows[index].name: (cost, accuracy) for index, cost, accuracy in points}
    front = [place[name] for name in axis.front(findings)]
    axes.step(
        [cost for cost, _ in front],
        [accuracy for _, accuracy in front],
        where="post",
        color=palette.rest,
        linewidth=1.4,
        zorder=1.5,
        label="Pareto front",
    )
    for number, (mode, colour) in enumerate(_key(rows)):
        of_mode = [
            (rows[index], cost) for index, cost, _ in points if rows[index].quantization == mode
        ]
        accuracies = [row.scored.accuracy for row, _ in of_mode if row.scored is not None]
        axes.errorbar(
            [cost for _, cost in of_mode],
            [accuracy.value for accuracy in accuracies],
            yerr=[
                [accuracy.value - accuracy.low for accuracy in accuracies],
                [accuracy.high - accuracy.value for accuracy in accuracies],
            ],
            color=palette.series[colour - 1],
            fmt=_MARKERS[number % len(_MARKERS)],
            markersize=5,
            elinewidth=0.8,
            capsize=2,
            label=mode,
        )
    _dress(axes, axis, palette)
    _label(figure, axes, rows, findings, axis, palette)


def _dress(axes: Axes, axis: Axis, palette: Palette) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12)
    axes.set_xlabel(axis.label, color=palette.ink)
    axes.set_ylabel("accuracy, 95 % interval", color=palette.ink)
    axes.grid(color=palette.line, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(length=0, which="both", labelcolor=palette.ink)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(palette.line)


def _label(
    figure: Figure,
    axes: Axes,
    rows: Sequence[Row],
    findings: Findings,
    axis: Axis,
    palette: Palette,
) -> None:
    """Names beside the points, the front's first; one that would cover another is left out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()  # only then is it known where things are
    front = axis.front(findings)
    points = sorted(_drawn(rows, axis), key=lambda point: rows[point[0]].name not in front)
    taken: list[Bbox] = []
    for _, cost, accuracy in points:
        x, y = axes.transData.transform((cost, accuracy))
        taken.append(Bbox.from_bounds(x - 4, y - 4, 8, 8))
    frame = axes.bbox  # beyond it stand the numbers of the axes
    for index, cost, accuracy in points:
        for x, y, horizontal, vertical in _PLACES:
            text = axes.annotate(
                short_name(rows[index], rows),
                (cost, accuracy),
                (x, y),
                textcoords="offset points",
                ha=horizontal,
                va=vertical,
                fontsize=_LABEL_SIZE,
                color=palette.ink,
            )
            text.set_in_layout(False)  # else the axes would make room for it, and points move
            # Wider than here: a browser's font may be.
            box = text.get_window_extent(canvas.get_renderer()).expanded(1.15, 1.0)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _hit(figure: Figure, index: int, cost: float, accuracy: float) -> str:
    """A circle over a point, where the drawing has it."""
    x, y = figure.axes[0].transData.transform((cost, accuracy)) / figure.dpi * _POINTS
    height = figure.get_figheight() * _POINTS
    return f'<circle class="hit" data-row="{index}" cx="{x:.2f}" cy="{height - y:.2f}" r="8"/>'
