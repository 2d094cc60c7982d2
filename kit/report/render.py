"""A report as one HTML page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from kit.report import plots
from kit.report.content import Report
from kit.report.page import page

MATRIX_CLASSES = 20
"""With more classes a matrix cannot be read: only the most confused pairs are shown."""


def render(report: Report) -> str:
    """HTML; see kit.report.page."""
    from markupsafe import Markup

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
    return page(
        "report.html",
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
