"""The drawings: training curves, ROC, precision and recall, reliability.

No text of others stands in them (labels are in the page's own keys beside), and no colour but those
of kit.report.svg.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.evaluation.calibration import ReliabilityBin
from kit.evaluation.metrics import Accuracy
from kit.evaluation.monitoring import Watch
from kit.evaluation.ranking import Ranking
from kit.evaluation.subgroups import Subgroup
from kit.evaluation.thresholds import ThresholdFigures
from kit.model.spec import OperatingPoint
from kit.report.svg import INK, LINE, REST, SERIES, to_svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# As wide as a phone: on a wider screen the letters grow with the drawing.
_WIDTH, _HEIGHT = 4.2, 3.2  # inches
_RUNS, _LEAST_RUN = 60, 10
"""Points over time at most, and images that each stands for at least."""
PAPER_SERIES = "#1f6feb"
"""For pictures that stand by themselves, outside the page and its colours."""
_GUIDE: dict[str, Any] = {"color": INK, "linewidth": 0.8, "linestyle": (0, (3, 3)), "alpha": 0.7}
_PAPER_GUIDE: dict[str, Any] = {**_GUIDE, "color": "black", "alpha": None}


@dataclass(frozen=True)
class Curve:
    """One label's line in a drawing.

    Attributes:
        ranking: with the points.
        colour: number of the page's colour, from 1; None: drawn in grey, and not in the key.
    """

    ranking: Ranking
    colour: int | None

    @property
    def line(self) -> dict[str, Any]:
        if self.colour is None:
            return {"color": REST, "linewidth": 0.8, "zorder": 1.5}
        return {"color": SERIES[self.colour - 1], "linewidth": 1.6}


def choose_curves(rankings: Sequence[Ranking], positive: str | None) -> tuple[Curve, ...]:
    """Which labels are drawn: of two the positive one, of a few all; of many the worst in colour.

    The two curves of two labels say the same.
    """
    drawn = [ranking for ranking in rankings if ranking.roc is not None]
    if len(rankings) == 2:
        drawn = [ranking for ranking in drawn if ranking.label == positive] or drawn[-1:]
    worst = sorted(drawn, key=lambda ranking: ranking.auc.value or 0.0)[: len(SERIES)]
    coloured = [ranking for ranking in drawn if ranking in worst]
    return tuple(
        Curve(ranking, coloured.index(ranking) + 1 if ranking in coloured else None)
        for ranking in drawn
    )


def training_curves(history: Sequence[Mapping[str, Any]]) -> str:
    """Cross-entropy and accuracy by epoch, of train and validation; phases one after another."""
    figure = _figure(_HEIGHT * 1.35)
    axes = figure.subplots(2, sharex=True)
    epochs = range(1, len(history) + 1)
    for axis, key, name in zip(
        axes, ("cross_entropy", "accuracy"), ("cross-entropy", "accuracy"), strict=True
    ):
        for index, prefix in enumerate(("", "validation_")):
            values = [record[f"{prefix}{key}"] for record in history]
            axis.plot(
                epochs,
                values,
                color=SERIES[index],
                linestyle=("--", "-")[index],
                marker="o" if len(history) == 1 else "",
            )
        for end in phase_ends(history)[:-1]:
            axis.axvline(end + 0.5, **_GUIDE)
        _dress(axis, "", name)
    axes[1].set_xlabel("epoch")
    axes[1].xaxis.get_major_locator().set_params(integer=True)
    title = f"Cross-entropy and accuracy of train and validation images over {len(history)} epochs"
    return to_svg(figure, "curves", title)


def phase_ends(history: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """The last epoch of each phase, from 1."""
    lengths = [
        len(list(records)) for _, records in itertools.groupby(history, lambda r: r.get("phase"))
    ]
    return tuple(itertools.accumulate(lengths))


def roc(curves: Sequence[Curve], points: Sequence[tuple[float, float]]) -> str:
    """ROC curves.

    Args:
        curves: see choose_curves.
        points: place of the operating point, false positive rate and sensitivity, 0 to 1.
    """
    figure = _figure()
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], **_GUIDE)
    for curve in curves:
        assert curve.ranking.roc is not None  # choose_curves leaves others out
        shape = curve.ranking.roc
        axis.plot(shape.false_positive_rate, shape.sensitivity, **curve.line)
    for rate, sensitivity in points:
        axis.plot(
            [rate], [sensitivity], "o", color=INK, markersize=7, fillstyle="none", clip_on=False
        )
    _unit_square(axis, "1 - specificity", "sensitivity")
    return to_svg(figure, "roc", _described("ROC curves", curves))


def precision_recall(curves: Sequence[Curve]) -> str:
    """Precision-recall curves of the same labels."""
    figure = _figure()
    axis = figure.subplots()
    for curve in curves:
        assert curve.ranking.precision_recall is not None  # it has a ROC curve
        shape = curve.ranking.precision_recall
        axis.plot(shape.recall, shape.precision, drawstyle="steps-pre", **curve.line)
    _unit_square(axis, "recall", "precision")
    return to_svg(figure, "precision-recall", _described("Precision-recall curves", curves))


def reliability(bins: Iterable[ReliabilityBin]) -> str:
    """Claimed against found probability with 95 % intervals, and how many images each point has."""
    figure = _figure(_HEIGHT * 1.25)
    upper, lower = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], **_GUIDE)
    filled = [one for one in bins if one.n]
    for one in filled:
        assert one.hit_rate is not None and one.mean_score is not None  # it has images
        share = Accuracy.of(round(one.hit_rate * one.n), one.n)
        upper.plot([one.mean_score] * 2, [share.low, share.high], color=SERIES[0], linewidth=1)
        upper.plot([one.mean_score], [one.hit_rate], "o", color=SERIES[0], markersize=5)
        lower.bar(one.low, one.n, one.high - one.low, align="edge", color=SERIES[0], edgecolor=LINE)
    _dress(upper, "", "share that is right")
    _dress(lower, "score of the answer", "images")
    upper.set_xlim(0, 1)
    upper.set_ylim(-0.02, 1.02)
    images = sum(one.n for one in filled)
    title = f"Share of right answers against the score they had, in {len(filled)} bins, N={images}"
    return to_svg(figure, "reliability", title)


def referred_and_missed(
    curve: Sequence[ThresholdFigures], point: OperatingPoint, path: str | os.PathLike[str]
) -> None:
    """Writes a picture of what each threshold costs, of 1,000 images: PNG, SVG or PDF by its name.

    Args:
        curve: figures at thresholds in their order, all at one prevalence.
        point: the operating point, which is marked.
        path: the file.

    Raises ValueError for another kind of file.
    """
    figure = _figure(_HEIGHT * 1.4)
    axes = figure.subplots(2, sharex=True)
    at = [row.threshold for row in curve]
    for axis, name, counts in (
        (axes[0], "referred", [row.referred_per_1000 for row in curve]),
        (axes[1], "missed", [row.missed_per_1000 for row in curve]),
    ):
        values, lows, highs = zip(*counts, strict=True)
        axis.fill_between(at, lows, highs, color=PAPER_SERIES, alpha=0.2, linewidth=0)
        axis.plot(at, values, color=PAPER_SERIES, linewidth=1.6)
        for threshold in {point.negative_below, point.positive_from}:
            axis.axvline(threshold, **_PAPER_GUIDE)
        axis.set_ylabel(f"{name} of 1,000")
        axis.set_ylim(bottom=0)
        _plain(axis)
    axes[1].set_xlabel(f"positive from this score on, at a prevalence of {curve[0].prevalence:g}")
    axes[1].set_xlim(0, 1)
    figure.savefig(path, dpi=150)


def evidence(watches: Sequence[Watch]) -> str:
    """The capital that bets against "nothing has shifted" have won, and what is an alarm."""
    figure, axes = _panels(watches)
    for axis, watch in zip(axes, watches, strict=True):
        powers = np.array(watch.capital) / np.log(10)
        axis.plot(range(1, len(powers) + 1), powers, color=SERIES[0], linewidth=1.2)
        axis.axhline(watch.limit / np.log(10), **_GUIDE)
        if watch.alarm is not None:
            axis.plot([watch.alarm + 1], [powers[watch.alarm]], "o", color=SERIES[1], markersize=5)
        _dress(axis, "", watch.name)
    axes[-1].set_xlabel("images")
    alarms = [watch.name for watch in watches if watch.alarm is not None]
    title = f"Evidence of a shift in powers of 10; alarms: {', '.join(alarms) or 'none'}"
    return to_svg(figure, "evidence", title)


def field_values(watches: Sequence[Watch]) -> str:
    """What was watched: the middle half of it over time, and where it lies in the reference."""
    figure, axes = _panels(watches)
    quartiles = (0.25, 0.5, 0.75)
    for axis, watch in zip(axes, watches, strict=True):
        for level in np.quantile(watch.reference, quartiles):
            axis.axhline(level, **_GUIDE)
        values = np.array(watch.values)
        runs = np.array_split(np.arange(len(values)), min(_RUNS, max(1, len(values) // _LEAST_RUN)))
        runs = [run for run in runs if not np.isnan(values[run]).all()]
        middles = [run.mean() + 1 for run in runs]
        low, half, high = np.array([np.nanquantile(values[run], quartiles) for run in runs]).T
        axis.fill_between(middles, low, high, color=SERIES[0], alpha=0.25, linewidth=0)
        axis.plot(middles, half, color=SERIES[0], linewidth=1.2, marker="." * (len(runs) == 1))
        _dress(axis, "", watch.name)
    axes[-1].set_xlabel("images")
    return to_svg(figure, "values", "Quartiles of what was watched, over time and where it is from")


def _panels(watches: Sequence[Watch]) -> tuple[Figure, Sequence[Axes]]:
    figure = _figure(0.4 + 1.1 * len(watches))
    return figure, list(np.atleast_1d(figure.subplots(len(watches), sharex=True)))


def forest(subgroups: Sequence[Subgroup]) -> str:
    """A line for each subgroup and figure: the share with its 95 % interval, by number."""
    names = list(subgroups[0].figures)
    figure = _figure(0.5 + 0.22 * len(subgroups) * len(names) + 0.3 * len(names))
    axes = np.atleast_1d(figure.subplots(len(names), sharex=True))
    for axis, name in zip(axes, names, strict=True):
        for row, one in enumerate(subgroups):
            share = one.figures[name]
            if share is not None:
                axis.plot([share.low, share.high], [row, row], color=SERIES[0], linewidth=1.2)
                axis.plot([share.value], [row], "o", color=SERIES[0], markersize=4)
        _dress(axis, name, "")
        axis.set_yticks(range(len(subgroups)), [str(row + 1) for row in range(len(subgroups))])
        axis.set_ylim(len(subgroups) - 0.5, -0.5)
    axes[-1].set_xlim(right=1.005)
    return to_svg(figure, "subgroups", f"{', '.join(names)} of {len(subgroups)} subgroups")


def _figure(height: float = _HEIGHT) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _plain(axis: Axes) -> None:
    """For a picture outside the page, in whose colours `_dress` draws."""
    axis.grid(linewidth=0.4)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)


def _dress(axis: Axes, x: str, y: str) -> None:
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(color=LINE, linewidth=0.6)
    axis.set_axisbelow(True)
    axis.tick_params(length=0)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axis.spines[side].set_color(LINE)


def _unit_square(axis: Axes, x: str, y: str) -> None:
    _dress(axis, x, y)
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)


def _described(what: str, curves: Sequence[Curve]) -> str:
    areas = [
        f"{curve.ranking.label} {curve.ranking.auc.value:.3f}"
        for curve in curves
        if curve.colour is not None
    ]
    return f"{what} of {len(curves)} labels; areas under the ROC curve: {', '.join(areas)}"
