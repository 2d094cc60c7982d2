"""`kit sweep`: size and latency against accuracy over a grid, and which model to ship."""

from kit.sweep.grid import Combination, combinations
from kit.sweep.judge import (
    Candidate,
    Limits,
    McNemar,
    Recommendation,
    holm,
    mcnemar,
    pareto_front,
    recommend,
)
from kit.sweep.processes import Executor, Processes
from kit.sweep.progress import Progress, Standing, SweepReporter
from kit.sweep.results import Row
from kit.sweep.run import SweepResult, sweep
from kit.sweep.settings import SweepSettings, TimingSettings

__all__ = [
    "Candidate",
    "Combination",
    "Executor",
    "Limits",
    "McNemar",
    "Processes",
    "Progress",
    "Recommendation",
    "Row",
    "Standing",
    "SweepReporter",
    "SweepResult",
    "SweepSettings",
    "TimingSettings",
    "combinations",
    "holm",
    "mcnemar",
    "pareto_front",
    "recommend",
    "sweep",
]
