"""`kit benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from kit.cli.options import (
    OUTPUT,
    TIMING,
    ForeignOptions,
    FormatOption,
    InterpreterOption,
    ModelArgument,
    option,
)
from kit.cli.terminal import TerminalReporter, print_json


def benchmark(
    model: ModelArgument,
    known: ForeignOptions,
    image: Annotated[
        Path | None,
        option(TIMING, "The image to label.", metavar="FILE", show_default="a drawn JPEG"),
    ] = None,
    threads: Annotated[
        int | None,
        option(
            TIMING,
            "Measure with 1 thread, with 2, and so on up to this number.",
            metavar="N",
            show_default="the number of cores, at most 4",
        ),
    ] = None,
    runs: Annotated[int, option(TIMING, "Timed runs after warm-up.", metavar="N")] = 50,
    warmup: Annotated[
        int,
        option(TIMING, "Untimed runs first; the first image is reported separately.", metavar="N"),
    ] = 5,
    interpreter: InterpreterOption = None,
    write: Annotated[
        bool,
        option(OUTPUT, "Store the best number of threads in the card of MODEL.", "--write"),
    ] = False,
    format: FormatOption = "text",
) -> None:
    """Measure the time to import, to load, for the first image and for later ones, and memory."""
    from kit.device.benchmark import benchmark as measure
    from kit.device.benchmark import benchmark_text

    result = measure(
        model,
        image=image,
        most_threads=threads,
        runs=runs,
        warm_ups=warmup,
        interpreter=interpreter,
        write=write,
        say=TerminalReporter().say,
        **known.arguments(),
    )
    if format == "json":
        print_json(result.to_json())
    else:
        print(benchmark_text(result))
