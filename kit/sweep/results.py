"""The table of a sweep: a row for each file, read from the run folders and the timings."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations as pairs_of
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.errors import SpecError
from kit.evaluation.metrics import Accuracy
from kit.model.spec import load_json
from kit.model.tables import csv_text
from kit.sweep.grid import Combination
from kit.sweep.judge import (
    SIGNIFICANCE,
    Candidate,
    Limits,
    McNemar,
    Recommendation,
    best_of,
    holm,
    mcnemar,
    pareto_front,
    recommend,
)


@dataclass(frozen=True)
class Scored:
    """What the runtime found on the test part.

    Attributes:
        size_bytes: size of the file.
        accuracy: with its interval.
        agreement: share of images with the same answer as the float32 file, 0 to 1.
        right: bool `[test images]`, by path.
    """

    size_bytes: int
    accuracy: Accuracy
    agreement: float
    right: npt.NDArray[np.bool_] = field(repr=False, compare=False)

    @classmethod
    def of_run(cls, record: Mapping[str, Any], mode: str) -> Scored:
        """From a run's record; raises SpecError where it lacks something."""
        try:
            found, wrong = record["metrics"][mode], record["misclassified"][mode]
            low, high = found["interval_95"]
            return cls(
                int(found["size_bytes"]),
                Accuracy(int(found["correct"]), int(found["n"]), float(low), float(high)),
                float(found["agreement_with_float32"]),
                np.array([path not in wrong for path in test_paths(record)], np.bool_),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise SpecError(
                f"expected the figures of {mode} in run.json, it lacks {error}: delete the run "
                "folder, and the sweep trains it again"
            ) from error


def test_paths(record: Mapping[str, Any]) -> list[str]:
    """Paths of a run's test images, sorted."""
    return sorted(path for path, part in record["split"].items() if part == "test")


@dataclass(frozen=True)
class Timed:
    """What kit.device.benchmark found.

    Attributes:
        parameters: parameters of convolutions and dense layers.
        multiply_adds: multiply-adds of these layers in one inference.
        interpreter: package.
        num_threads: threads of one inference.
        cold_start_ms: from Python's being ready to the first scores.
        latency_ms: median of later images, from the file to the scores.
        latency_p95_ms: 95th percentile of them.
        invoke_ms: the model's own part of the median.
        peak_memory_bytes: peak memory of the process; None where the system does not tell.
    """

    parameters: int
    multiply_adds: int
    interpreter: str
    num_threads: int
    cold_start_ms: float
    latency_ms: float
    latency_p95_ms: float
    invoke_ms: float
    peak_memory_bytes: int | None

    @classmethod
    def of_benchmark(cls, record: Mapping[str, Any]) -> Timed:
        """From kit.device.benchmark.Benchmark's JSON: the best number of threads."""
        best = record["best"][0]
        row = next(
            one
            for one in record["measurements"]
            if all(one[name] == best[name] for name in ("interpreter", "num_threads"))
        )
        return cls(
            parameters=record["parameters"],
            multiply_adds=record["multiply_adds"],
            interpreter=row["interpreter"],
            num_threads=row["num_threads"],
            cold_start_ms=row["cold_start_ms"],
            latency_ms=row["latency_ms"]["median"],
            latency_p95_ms=row["latency_ms"]["p95"],
            invoke_ms=row["invoke_ms"]["median"],
            peak_memory_bytes=row["peak_memory_bytes"],
        )


@dataclass(frozen=True)
class Row:
    """One file of the grid.

    Attributes:
        combination: the network.
        quantization: mode.
        file: the .tflite, relative to the sweep's folder; None: there is none.
        scored: None: it could not be trained or converted.
        timed: None: it could not be timed.
        weights: what it was trained from.
        substitute: whether those are of another source than the first one asked for.
        error: what went wrong, in one line; empty where nothing did.
        skipped: left out, as asked or because there can be no such file: `error` says why.
    """

    combination: Combination
    quantization: str
    file: Path | None
    scored: Scored | None
    timed: Timed | None
    error: str = ""
    skipped: bool = False
    weights: str = ""
    substitute: bool = False

    @property
    def name(self) -> str:
        return f"{self.combination.name}_{self.quantization}"

    @property
    def candidate(self) -> Candidate | None:
        """For recommendations; None without figures."""
        if self.scored is None:
            return None
        latency = None if self.timed is None else self.timed.latency_ms
        return Candidate(self.name, self.scored.accuracy, self.scored.size_bytes, latency)


@dataclass(frozen=True)
class AgainstBest:
    """A file beside the most accurate one.

    Attributes:
        test: the first is the best one.
        adjusted: its p, for as many comparisons as there are rows.
    """

    test: McNemar
    adjusted: float

    @property
    def is_real(self) -> bool:
        return self.adjusted < SIGNIFICANCE


@dataclass(frozen=True)
class Findings:
    """What follows from the rows; every row is named by its `name`.

    Attributes:
        best: the most accurate; None where there is no figure at all.
        against_best: all others with figures.
        pairs: each two of them, in the order of the rows.
        size_front: smallest first, by bytes and accuracy.
        latency_front: fastest first.
        recommendations: in words.
    """

    best: str | None
    against_best: Mapping[str, AgainstBest]
    pairs: Mapping[tuple[str, str], McNemar]
    size_front: tuple[str, ...]
    latency_front: tuple[str, ...]
    recommendations: tuple[Recommendation, ...]


def judge(
    rows: Sequence[Row], limits: Limits = Limits(), groups: Sequence[str] | None = None
) -> Findings:
    """Fronts, comparisons and recommendations.

    Args:
        rows: rows; those without figures are ignored.
        limits: for the recommendation.
        groups: group of each test image, by path; None: each stands for itself.
    """
    right = {row.name: row.scored.right for row in rows if row.scored is not None}
    candidates = [row.candidate for row in rows if row.candidate is not None]
    best = best_of(candidates).name if candidates else None
    others = [name for name in right if name != best]
    tests = [mcnemar(right[best], right[name], groups) for name in others] if best else []
    adjusted = holm([test.p for test in tests])
    timed = [(one, one.latency_ms) for one in candidates if one.latency_ms is not None]
    return Findings(
        best=best,
        against_best={
            name: AgainstBest(test, p)
            for name, test, p in zip(others, tests, adjusted, strict=True)
        },
        pairs={
            (first, second): mcnemar(right[first], right[second], groups)
            for first, second in pairs_of(right, 2)
        },
        size_front=_front(candidates, [one.size_bytes for one in candidates]),
        latency_front=_front([one for one, _ in timed], [latency for _, latency in timed]),
        recommendations=recommend(candidates, limits),
    )


def _front(candidates: Sequence[Candidate], costs: Sequence[float]) -> tuple[str, ...]:
    front = pareto_front(costs, [one.accuracy.value for one in candidates])
    return tuple(candidates[index].name for index in front)


def _scored(get: Callable[[Scored], Any]) -> Callable[[Row, Findings], Any]:
    return lambda row, findings: None if row.scored is None else get(row.scored)


def _timed(get: Callable[[Timed], Any]) -> Callable[[Row, Findings], Any]:
    return lambda row, findings: None if row.timed is None else get(row.timed)


def _compared(get: Callable[[AgainstBest], Any]) -> Callable[[Row, Findings], Any]:
    def value(row: Row, findings: Findings) -> Any:
        found = findings.against_best.get(row.name)
        return None if found is None else get(found)

    return value


COLUMNS: Mapping[str, Callable[[Row, Findings], Any]] = MappingProxyType(
    {
        "name": lambda row, findings: row.name,
        "backbone": lambda row, findings: row.combination.choice.name,
        "alpha": lambda row, findings: row.combination.choice.alpha,
        "input_resolution": lambda row, findings: row.combination.choice.input_resolution,
        "quantization": lambda row, findings: row.quantization,
        "weights": lambda row, findings: row.weights or None,
        "substitute_weights": lambda row, findings: row.substitute,
        "parameters": _timed(lambda timed: timed.parameters),
        "multiply_adds": _timed(lambda timed: timed.multiply_adds),
        "size_bytes": _scored(lambda scored: scored.size_bytes),
        "accuracy": _scored(lambda scored: round(scored.accuracy.value, 6)),
        "accuracy_low": _scored(lambda scored: scored.accuracy.low),
        "accuracy_high": _scored(lambda scored: scored.accuracy.high),
        "n": _scored(lambda scored: scored.accuracy.n),
        "agreement_with_float32": _scored(lambda scored: scored.agreement),
        "cold_start_ms": _timed(lambda timed: timed.cold_start_ms),
        "latency_ms": _timed(lambda timed: timed.latency_ms),
        "latency_p95_ms": _timed(lambda timed: timed.latency_p95_ms),
        "invoke_ms": _timed(lambda timed: timed.invoke_ms),
        "num_threads": _timed(lambda timed: timed.num_threads),
        "peak_memory_bytes": _timed(lambda timed: timed.peak_memory_bytes),
        "on_size_front": lambda row, findings: row.name in findings.size_front,
        "on_latency_front": lambda row, findings: row.name in findings.latency_front,
        "only_best_right": _compared(lambda found: found.test.only_first),
        "only_this_right": _compared(lambda found: found.test.only_second),
        "p_against_best": _compared(lambda found: round(found.test.p, 9)),
        "p_adjusted": _compared(lambda found: round(found.adjusted, 9)),
        "worse_than_best": _compared(lambda found: found.is_real),
        "file": lambda row, findings: None if row.file is None else row.file.as_posix(),
        "error": lambda row, findings: row.error or None,
        "skipped": lambda row, findings: row.skipped,
    }
)
"""Columns of results.csv and results.json.

Accuracies are shares, 0 to 1, with 95 % intervals. `_ms` are milliseconds on the machine of the
sweep. Weights that are a substitute come from another source than the first one asked for. p is
that of McNemar's test against the most accurate file, adjusted by Holm's rule; a file is worse than
the best where p is below SIGNIFICANCE.
"""


def table(rows: Sequence[Row], findings: Findings) -> list[dict[str, Any]]:
    """A record of COLUMNS for each row."""
    return [{name: get(row, findings) for name, get in COLUMNS.items()} for row in rows]


def results_csv(rows: Sequence[Row], findings: Findings) -> str:
    """With a header; what is not known is empty."""
    records = (
        {
            name: str(value).lower() if isinstance(value, bool) else value
            for name, value in record.items()
        }
        for record in table(rows, findings)
    )
    return csv_text(list(COLUMNS), records)


def results_json(rows: Sequence[Row], findings: Findings, facts: Mapping[str, Any]) -> str:
    """`facts` first (when, what, where), then rows, fronts, comparisons and recommendations."""
    data = {
        **facts,
        "rows": table(rows, findings),
        "best": findings.best,
        "size_front": list(findings.size_front),
        "latency_front": list(findings.latency_front),
        "comparisons": [
            {"first": first, "second": second, **test.to_json()}
            for (first, second), test in findings.pairs.items()
        ],
        "recommendations": [one.to_json() for one in findings.recommendations],
    }
    return json.dumps(data, ensure_ascii=False, indent=1)


def substitutes(rows: Sequence[Row]) -> str:
    """What the asterisk of a row's name says; empty where none has one."""
    marked = dict.fromkeys(row.weights.partition("/")[0] for row in rows if row.substitute)
    return f"* from the weights of {', '.join(marked)}" if marked else ""


def failures(rows: Sequence[Row], *, skipped: bool = False) -> list[tuple[str, str]]:
    """What failed (or: was left out) and why; files of one combination that did alike together."""
    modes: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.error and row.skipped == skipped:
            modes.setdefault((row.combination.name, row.error), []).append(row.quantization)
    return [(f"{name} {', '.join(failed)}", error) for (name, error), failed in modes.items()]


def read_timing(
    path: Path, machine: str, size_bytes: int, settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """An earlier timing of this file, by these settings (TimingSettings.to_json), on such a
    machine; None where there is none that holds."""
    try:
        record = load_json(path.read_bytes(), str(path))
    except (OSError, SpecError):
        return None
    if not isinstance(record, dict):
        return None
    known = (record.get("machine"), record.get("size_bytes"), record.get("settings"))
    return record if known == (machine, size_bytes, settings) else None
