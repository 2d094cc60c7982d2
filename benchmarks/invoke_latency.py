"""Whether the latency that `kit benchmark` calls invoke is the interpreter's own.

This compares the median of `kit benchmark`'s invoke stage with that of a bare loop of the same
interpreter package, which sets the input once and then only invokes. If --benchmark-model names the
benchmark_model of TensorFlow Lite or LiteRT, the average that it prints is compared too. (It is
downloaded or built by hand, because no Python package brings it.)

The comparison is fair because all of them run the same file with the same threads, in processes of
their own, and take turns. Two things differ. kit benchmark decodes and resizes a photograph between
two inferences, as labelling does, and its stage includes the copies of input and output. And
benchmark_model is another build of the library.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from common import (
    argument_parser,
    interleave,
    machine_facts,
    median,
    median_ratio,
    report,
    run_child,
    verdict,
)

MOST = 1.25
_BARE = """
import sys
from importlib import import_module
from time import perf_counter
import numpy as np
module, model, threads, warm_ups, runs = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])
interpreter = import_module(module + ".interpreter").Interpreter(model, num_threads=threads)
interpreter.allocate_tensors()
taken = interpreter.get_input_details()[0]
interpreter.set_tensor(taken["index"], np.zeros(taken["shape"], taken["dtype"]) + taken["dtype"](1))
times = []
for _ in range(warm_ups + runs):
    began = perf_counter()
    interpreter.invoke()
    times.append(perf_counter() - began)
print(float(np.median(times[warm_ups:])) * 1e3)
"""
_AVERAGE = re.compile(r"Inference \(avg\): ([0-9.e+]+)")  # in microseconds


def main() -> None:
    parser = argument_parser(__doc__, images=False)
    parser.add_argument("--model", type=Path, required=True, help="a .tflite that the kit made")
    parser.add_argument("--interpreter", default="ai_edge_litert", help="package (ai_edge_litert)")
    parser.add_argument("--threads", type=int, default=1, help="(1)")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each (9)")
    parser.add_argument("--benchmark-model", type=Path, help="the binary, if there is one")
    options = parser.parse_args()
    from kit.device.benchmark import RUNS, WARM_UPS, benchmark

    model, threads = str(options.model), str(options.threads)

    def kit() -> float:
        found = benchmark(
            model, most_threads=options.threads, interpreter=options.interpreter
        ).measurements[-1]
        return found.stages["invoke"].median_ms

    def bare() -> float:
        counts = (str(WARM_UPS + 1), str(RUNS))
        command = [sys.executable, "-c", _BARE, options.interpreter, model, threads, *counts]
        return float(run_child(command).output)

    def binary() -> float:
        command = [
            str(options.benchmark_model.resolve()),
            f"--graph={model}",
            f"--num_threads={threads}",
            f"--warmup_runs={WARM_UPS}",
            f"--num_runs={RUNS}",
        ]
        printed = _AVERAGE.search(run_child(["sh", "-c", '"$@" 2>&1', "sh", *command]).output)
        if printed is None:
            sys.exit(f"{command[0]}: expected a line 'Inference (avg): ...', it printed none")
        return float(printed.group(1)) / 1e3

    contestants: dict[str, Callable[[], float]] = {"bare loop": bare, "kit benchmark": kit}
    if options.benchmark_model is not None:
        contestants["benchmark_model"] = binary
    interleave(contestants, 1)
    times = interleave(contestants, options.rounds)
    ratios = {name: median_ratio(times["kit benchmark"], times[name]) for name in times}
    report(
        "invoke_latency",
        machine_facts(),
        [f"{options.model.name}, {threads} threads", "median", "kit's to it", "to reach"],
        [
            [
                name,
                f"{median(values):.3f} ms",
                f"{ratios[name]:.3f}",
                "" if name == "kit benchmark" else verdict(ratios[name], at_most=MOST),
            ]
            for name, values in times.items()
        ],
        {"threads": options.threads, "milliseconds": times, "ratios": ratios},
    )


if __name__ == "__main__":
    main()
