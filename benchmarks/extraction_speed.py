"""Throughput of bottleneck extraction against the bare interpreter's on ready-made tensors.

This compares kit.training.bottlenecks.extract_bottlenecks from image files, with an empty cache
(reading, decoding, resizing, inference, writing to the cache), with the same backbone file fed with
tensors that were decoded and preprocessed beforehand. The latter runs once as one interpreter on
all cores and once as one interpreter for each core in threads; the faster of the two is the
reference.

The comparison is fair because file, interpreter package, cores and images are the same, and the two
sides take turns. It is strict because the reference only infers, with interpreters that were built
beforehand. A second reference starts from decoded pixels of any size, which it still has to resize,
as extraction must. The image files are in the system's file cache. The script also prints how fast
decoding and preprocessing are by themselves. Whatever the code, extraction cannot be faster than 1
/ (1 / reference + 1 / that) on cores that are all busy.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from common import (
    Size,
    argument_parser,
    interleave,
    machine_facts,
    median,
    median_ratio,
    report,
    spread,
    timed,
    verdict,
)

LEAST_RATIO = 0.75
EXTRACTION = "extraction from files"
ONE_INTERPRETER = "one interpreter, all cores"
ONE_PER_CORE = "one interpreter per core"
ON_PIXELS = "one interpreter per core, resizing decoded pixels"
DECODING = "decoding and preprocessing alone"


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--size", type=Size.parse, default=Size(0.5, 224), help="(0.5/224)")
    parser.add_argument("--count", type=int, default=600, help="images to take (600)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    options = parser.parse_args()

    from converters.tflite import convert_model
    from kit.data import scan_images
    from kit.model.preprocess import fit_pixels
    from kit.runtime.images import read_image
    from kit.runtime.interpreter import Runner
    from kit.runtime.parallel import default_threads, ordered_map
    from kit.training.backbones import taking_pixels
    from kit.training.bottlenecks import extract_bottlenecks
    from kit.training.weights import find_weights, load_backbone

    choice = options.size.choice()
    spec, weights = choice.preprocess(), find_weights(choice, "imagenet")
    content = convert_model(taking_pixels(load_backbone(choice, weights), spec), "float32", spec)
    dataset = scan_images(options.images)
    dataset = replace(dataset, images=spread(dataset, options.count))
    paths = [dataset.root / image.path for image in dataset.images]
    threads = default_threads()

    def prepare(path: Path) -> Any:
        return fit_pixels(read_image(path, spec.input_resolution), spec)

    def decode(path: Path) -> Any:
        return read_image(path, spec.input_resolution)

    tensors = list(ordered_map(prepare, paths, threads))
    decoded = list(ordered_map(decode, paths, threads))
    on_all_cores = Runner(content, threads)
    one_a_core: SimpleQueue[Runner] = SimpleQueue()
    for _ in range(threads):
        one_a_core.put(Runner(content, 1))

    def infer(tensor: Any) -> None:
        runner = one_a_core.get()
        runner.run(tensor)
        one_a_core.put(runner)

    def fit_and_infer(pixels: Any) -> None:
        infer(fit_pixels(pixels, spec))

    def in_threads(work: Any, items: Sequence[Any]) -> None:
        for _ in ordered_map(work, items, threads):
            pass

    def extract() -> None:
        with tempfile.TemporaryDirectory() as folder:
            extract_bottlenecks(dataset, choice, weights, spec, lambda: content, cache=Path(folder))

    def one_interpreter() -> None:
        for tensor in tensors:
            on_all_cores.run(tensor)

    contestants = {
        EXTRACTION: lambda: timed(extract),
        ONE_INTERPRETER: lambda: timed(one_interpreter),
        ONE_PER_CORE: lambda: timed(lambda: in_threads(infer, tensors)),
        ON_PIXELS: lambda: timed(lambda: in_threads(fit_and_infer, decoded)),
        DECODING: lambda: timed(lambda: in_threads(prepare, paths)),
    }
    interleave(contestants, 1)  # warms the interpreters and the file cache
    seconds = interleave(contestants, options.rounds)
    rates = {name: len(paths) / median(values) for name, values in seconds.items()}
    reference = max((ONE_INTERPRETER, ONE_PER_CORE), key=lambda name: rates[name])
    ratios = {name: median_ratio(seconds[reference], values) for name, values in seconds.items()}
    on_pixels = median_ratio(seconds[ON_PIXELS], seconds[EXTRACTION])
    alone = rates[DECODING]
    bound = 1 / (1 + rates[reference] / alone)
    reached = verdict(ratios[EXTRACTION], at_least=LEAST_RATIO)
    rows = [
        [
            name,
            f"{rate:.0f}",
            f"{ratios[name]:.3f}",
            reached if name == EXTRACTION else "",
        ]
        for name, rate in rates.items()
    ]
    rows.append(
        [
            "extraction, of resizing and inference",
            "",
            f"{on_pixels:.3f}",
            verdict(on_pixels, at_least=LEAST_RATIO),
        ]
    )
    rows.append(
        ["most that busy cores allow", f"{bound * rates[reference]:.0f}", f"{bound:.3f}", ""]
    )
    report(
        "extraction_speed",
        machine_facts(),
        [f"{options.size}, N={len(paths)}", "images/s", f"of {reference}", "to reach"],
        rows,
        {
            "size": str(options.size),
            "images": len(paths),
            "threads": threads,
            "images_per_second": rates,
            "reference": reference,
            "ratio": ratios[EXTRACTION],
            "ratio_to_resizing_and_inference": on_pixels,
            "to_reach": LEAST_RATIO,
            "most_that_busy_cores_allow": bound,
            "seconds": seconds,
        },
    )


if __name__ == "__main__":
    main()
