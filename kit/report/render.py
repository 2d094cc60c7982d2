"""A report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from kit.evaluation.metrics import Accuracy
from kit.evaluation.ranking import Auc
from kit.report import plots
from kit.report.content import Report

MATRIX_CLASSES = 20
"""With more classes a matrix cannot be read: only the most confused pairs are shown."""
_NONE = "-"


def render(report: Report) -> str:
    """HTML, self-contained: no script, and nothing is loaded from anywhere.

    Labels and file names are foreign input and are escaped.
    """
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(
        percent=_percent,
        share=_share,
        auc=_auc,
        number=_number,
        kilobytes=_kilobytes,
        milliseconds=lambda value: f"{value:.1f}" if value >= 1 else f"{value:.2g}",
    )
    positive = report.screened.label if report.screened else None
    curves = plots.choose_curves(report.rankings, positive)
    calibration = report.scored.evaluation.calibration
    rings = _operating_points(report, curves)
    drawings = {}
    if report.history:
        drawings["curves"] = plots.training_curves(report.history)
    if curves:
        drawings["roc"] = plots.roc(curves, rings)
        drawings["precision_recall"] = plots.precision_recall(curves)
    if calibration is not None:
        drawings["reliability"] = plots.reliability(calibration.bins)
    if report.subgroups:
        drawings["subgroups"] = plots.forest(report.subgroups)
    template = files("kit.report").joinpath("template.html").read_text("utf-8")
    return environment.from_string(template).render(
        report=report,
        evaluation=report.scored.evaluation,
        accuracy=report.scored.evaluation.accuracy,
        operation=report.scored.operation,
        curves=curves,
        rings=rings,
        phases=_phases(report),
        matrix=len(report.scored.evaluation.labels) <= MATRIX_CLASSES,
        drawings={name: Markup(drawing) for name, drawing in drawings.items()},
    )


def _operating_points(report: Report, curves: Sequence[plots.Curve]) -> list[tuple[float, float]]:
    """False positive rate and sensitivity at the thresholds; two where they lie apart."""
    operation = report.scored.operation
    if operation is None or operation.rule_in.specificity.n == 0:
        return []
    if operation.rule_in.sensitivity.n == 0:
        return []
    # For two labels the curve drawn is that of one of them, maybe not of the one asked for.
    if operation.point.positive not in (curve.ranking.label for curve in curves):
        return []
    points = [
        (1 - figures.specificity.value, figures.sensitivity.value)
        for figures in (operation.rule_out, operation.rule_in)
    ]
    return list(dict.fromkeys(points))


def _phases(report: Report) -> list[tuple[str, int]]:
    """Name and last epoch of each phase of training that has a name."""
    ends = plots.phase_ends(report.history)
    named = [(report.history[end - 1].get("phase"), end) for end in ends]
    return [(name, end) for name, end in named if name]


def _percent(value: float | None) -> str:
    return _NONE if value is None or value != value else f"{100 * value:.1f}\u00a0%"


def _share(share: Accuracy) -> str:
    if not share.n:
        return _NONE
    return f"{_percent(share.value)} ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _auc(area: Auc) -> str:
    if area.value is None or area.low is None or area.high is None:
        return _NONE
    return f"{area.value:.4f} ({area.low:.4f} to {area.high:.4f})"


def _number(value: float | None, digits: int = 4) -> str:
    return _NONE if value is None or value != value else f"{value:.{digits}f}"


def _kilobytes(size: int) -> str:
    return f"{size / 1e3:,.0f} kB".replace(",", "\u00a0")
