"""`kit convert --compare`: every quantisation of a source side by side."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from kit.errors import ConversionError, KitError
from kit.export.exported import Exported
from kit.model.preprocess import to_input
from kit.model.spec import QUANTIZATION_MODES, ModelCard
from kit.reporting import Reporter
from kit.runtime.interpreter import Runner
from kit.runtime.self_test import draw_pattern
from kit.workflows.convert import ConvertSettings, open_source

_WARM_UPS, _ROUNDS = 5, 40


@dataclass(frozen=True)
class Comparison:
    """A row of `compare`.

    Attributes:
        mode: the quantisation mode.
        exported: the file and its figures; None where it cannot be made.
        latency_ratio: time for one image divided by the float32 file's, on one thread here.
        error: why the file cannot be made; empty where it can.
    """

    mode: str
    exported: Exported | None
    latency_ratio: float | None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        if self.exported is None or self.latency_ratio is None:
            return {"quantization": self.mode, "error": self.error}
        return {
            "quantization": self.mode,
            "size_bytes": len(self.exported.content),
            "latency_ratio": round(self.latency_ratio, 3),
            **(self.exported.agreement.to_json() if self.exported.agreement else {}),
            **(self.exported.evaluation.accuracy.to_json() if self.exported.evaluation else {}),
        }


def compare(
    source: str | os.PathLike[str],
    settings: ConvertSettings | None = None,
    reporter: Reporter | None = None,
) -> tuple[Comparison, ...]:
    """Converts a source to every mode and measures the files side by side.

    A mode that cannot be made is a row with its error. Raises as `convert` where no mode can be.
    """
    exporter = open_source(source, settings or ConvertSettings(), reporter)
    made: dict[str, Exported | KitError] = {}
    for mode in QUANTIZATION_MODES:
        try:
            made[mode] = exporter.export(mode)
        except ConversionError as error:
            made[mode] = error
    if all(isinstance(result, KitError) for result in made.values()):
        raise next(result for result in made.values() if isinstance(result, KitError))
    files = {mode: item for mode, item in made.items() if isinstance(item, Exported)}
    ratios = latency_ratios([item.content for item in files.values()], files["float32"].card)
    by_mode = dict(zip(files, ratios, strict=True))
    return tuple(
        Comparison(mode, item, by_mode[mode])
        if isinstance(item, Exported)
        else Comparison(mode, None, None, str(item))
        for mode, item in made.items()
    )


def latency_ratios(files: Sequence[bytes], card: ModelCard) -> list[float]:
    """Median time for one image of each file, divided by the first file's.

    The files take turns on one thread, so that a busy machine slows them all alike.
    """
    runners = [Runner(content) for content in files]
    pixels = draw_pattern(0)
    inputs = [
        to_input(pixels, card.preprocess, runner.input.dtype, runner.input.quantization)
        for runner in runners
    ]
    times: list[list[float]] = [[] for _ in runners]
    for turn in range(_WARM_UPS + _ROUNDS):
        for runner, tensor, measured in zip(runners, inputs, times, strict=True):
            start = perf_counter()
            runner.run(tensor)
            if turn >= _WARM_UPS:
                measured.append(perf_counter() - start)
    medians = [statistics.median(measured) for measured in times]
    return [median / medians[0] for median in medians]
