"""What a sweep takes beyond its unavoidable parts.

This compares `kit.sweep.sweep` over a grid, with an empty cache, with the sum of its parts, one
after another in a process that has everything loaded. The parts are decoding and resizing once for
each resolution, bottlenecks once for each backbone, the heads, and the conversions; scoring the
test part with each file is counted separately. A sweep adds processes, checks, reports and the
golden runs of the card. Timing the files consists of waiting by nature, so it is shown apart from
both.

The comparison is fair because both sides do the same work on the same images with the same weights,
in one run. The parts come second, with files in the system's cache.
"""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from common import argument_parser, machine_facts, report, verdict

from kit.data import Dataset, load_dataset, split_dataset
from kit.export.representative import read_representative, representative_paths
from kit.model.spec import ModelCard
from kit.sweep import Combination, Progress, SweepSettings, TimingSettings, sweep
from kit.sweep.progress import TIMING, Quiet
from kit.sweep.shared_bottlenecks import decode
from kit.training.learning import BackboneSource, learn
from kit.training.weights import find_weights, load_backbone
from kit.workflows.train import TrainSettings

MOST = 1.3
Result = TypeVar("Result")


class Watch(Quiet):
    """Keeps the last table."""

    last: Progress

    def progress(self, progress: Progress) -> None:
        self.last = progress


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--alpha", type=float, nargs="+", default=[0.25], help="(0.25)")
    parser.add_argument("--input-resolution", type=int, nargs="+", default=[128, 160, 192, 224])
    parser.add_argument("--backbone", nargs="+", default=["mobilenet_v1"], help="(mobilenet_v1)")
    parser.add_argument("--weights", default="imagenet", help="as of kit sweep (imagenet)")
    parser.add_argument("--quantize", nargs="+", default=["int8", "float16", "float32"])
    options = parser.parse_args()
    training = TrainSettings(weights=options.weights, quantize=tuple(options.quantize))
    settings = SweepSettings(
        tuple(options.backbone),
        tuple(options.alpha),
        tuple(options.input_resolution),
        training,
        TimingSettings(),
        skip_missing=True,
    )
    watch = Watch()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        began = time.perf_counter()
        result = sweep(
            options.images, folder / "sweep", settings, cache=folder / "one", reporter=watch
        )
        whole = time.perf_counter() - began
        done = list(dict.fromkeys(row.combination for row in result.rows if row.scored))
        timing = sum(step.seconds or 0 for step in watch.last.steps if step.kind == TIMING)
        parts = unavoidable(options.images, folder, training, done)
    listed = sum(seconds for part, seconds in parts.items() if part != "score")
    ratio = (whole - timing) / listed
    with_scores = (whole - timing) / (listed + parts["score"])
    rows = [[part, f"{seconds:.1f}", ""] for part, seconds in parts.items()]
    rows += [
        ["sum without scoring", f"{listed:.1f}", ""],
        ["sweep without timing", f"{whole - timing:.1f}", ""],
        ["of the sum without scoring", f"{ratio:.2f}", verdict(ratio, at_most=MOST)],
        ["of the sum with scoring", f"{with_scores:.2f}", verdict(with_scores, at_most=MOST)],
        ["timing of the files", f"{timing:.1f}", ""],
    ]
    report(
        "sweep_overhead",
        machine_facts(),
        [f"{len(done)} combinations in {', '.join(options.quantize)}", "seconds", "to reach"],
        rows,
        {"parts": parts, "sweep": whole, "timing": timing, "ratios": [ratio, with_scores]},
    )


def unavoidable(
    images: Path, folder: Path, training: TrainSettings, grid: Sequence[Combination]
) -> dict[str, float]:
    """Seconds of each part."""
    import keras

    from converters.network import of_keras
    from converters.tflite import convert_network
    from kit.evaluation.evaluate import score_files
    from kit.export.finish import finish
    from kit.runtime import Classifier

    seconds: defaultdict[str, float] = defaultdict(float)

    def measure(part: str, work: Callable[..., Result], *given: Any, **named: Any) -> Result:
        began = time.perf_counter()
        found = work(*given, **named)
        seconds[part] += time.perf_counter() - began
        return found

    dataset = load_dataset(images, training.data)
    split = split_dataset(dataset, training.split)
    parts = {name: [path for path in split if split[path] == name] for name in set(split.values())}
    once = list({image.digest: image for image in dataset.images}.values())
    decoded: dict[int, Dataset] = {}
    for combination in grid:
        keras.backend.clear_session()
        choice = combination.choice
        side = choice.input_resolution
        spec = choice.preprocess(training.fit, training.resize)
        if side not in decoded:
            place = folder / f"decoded-{side}"
            place.mkdir()
            decoded[side] = measure("decode", decode, dataset, once, spec, place, Quiet())
        weights = find_weights(choice, training.weights)
        backbone = measure("extract", load_backbone, choice, weights)
        source = BackboneSource(backbone, choice, weights, spec, folder / "two")
        vectors, _ = measure("extract", source.bottlenecks, decoded[side], Quiet())
        learning = training.learning
        learned = measure("fit", learn, source, dataset, parts, vectors, learning, reporter=Quiet())
        paths = representative_paths(
            dataset, parts["train"], training.representative_images, training.split.seed
        )
        pixels = read_representative(dataset.root, paths, spec)
        network = of_keras(learned.model, side)
        float32 = measure("convert", convert_network, network, "float32", spec)
        for mode in dict.fromkeys(("float32", *training.quantize)):
            made = float32
            if mode != "float32":
                made = measure("convert", convert_network, network, mode, spec, pixels, float32)
            path = folder / f"{mode}.tflite"
            card = ModelCard(
                choice.name, choice.alpha, weights.description, mode, spec, dataset.labels
            )
            path.write_bytes(finish(made, card).content)
            with Classifier.open(path) as classifier:
                measure("score", score_files, classifier, dataset.root, parts["test"])
    return dict(seconds)


if __name__ == "__main__":
    main()
