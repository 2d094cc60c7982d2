"""`report.html`: what was trained or evaluated, how good it is and where it fails, in one file."""

from kit.report.build import of_evaluation, of_run
from kit.report.content import FileFacts, HeatMap, Mistake, Report
from kit.report.latency import Latency, measure_latency
from kit.report.render import render

__all__ = [
    "FileFacts",
    "HeatMap",
    "Latency",
    "Mistake",
    "Report",
    "measure_latency",
    "of_evaluation",
    "of_run",
    "render",
]
