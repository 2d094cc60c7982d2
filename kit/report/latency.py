"""How long a file takes for one image, on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from kit.model.preprocess import to_input
from kit.model.spec import PreprocessSpec
from kit.runtime.interpreter import Runner
from kit.runtime.parallel import default_threads
from kit.runtime.self_test import draw_pattern

_WARM_UPS, _RUNS = 5, 30


@dataclass(frozen=True)
class Latency:
    """From decoded pixels to scores: resizing and inference, without reading a file.

    Attributes:
        median_ms: milliseconds.
        p95_ms: 95th percentile, milliseconds.
        runs: number of measured runs, after some that are not measured.
        num_threads: number of threads that an inference could use.
    """

    median_ms: float
    p95_ms: float
    runs: int
    num_threads: int


def measure_latency(
    model: str | os.PathLike[str] | bytes, spec: PreprocessSpec, num_threads: int | None = None
) -> Latency:
    """Times a file on one drawn image of 240 by 181 pixels.

    Args:
        model: a path, or a file's content.
        spec: what turns pixels into its input.
        num_threads: default: the cores, at most 4.

    Raises InferenceError where the model fails when it runs.
    """
    num_threads = num_threads or default_threads()
    runner, pixels = Runner(model, num_threads), draw_pattern(0)
    times = []
    for turn in range(_WARM_UPS + _RUNS):
        start = perf_counter()
        runner.run(to_input(pixels, spec, runner.input.dtype, runner.input.quantization))
        if turn >= _WARM_UPS:
            times.append(1000 * (perf_counter() - start))
    median, p95 = np.percentile(times, [50, 95])
    return Latency(float(median), float(p95), _RUNS, num_threads)
