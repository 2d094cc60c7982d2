"""Wall time of `kit train` against the usual Keras route, on the same photographs.

This compares the whole command `kit train` with an empty cache (bottlenecks, head, conversion to
float32 and int8, scoring of both, the run folder) and the whole program keras_route.py (ten epochs
over the frozen backbone, no conversion).

The comparison is fair because both are processes of their own on the same cores and start from the
same weights file. Both may train on the same copy of the folder, and each keeps a fifth of it for
its own validation and test. Both are then scored on the same 20 % of the images, which neither has
seen and which are held out by a hash of their content. The copy was written just before, so both
read it from the system's file cache. The time for scoring the held-out images counts for neither.
The comparison favours Keras: its time ends with a model in memory, the kit's with scored files.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from common import (
    KIT,
    Size,
    argument_parser,
    hold_out,
    interleave,
    machine_facts,
    median,
    median_ratio,
    report,
    run_child,
    verdict,
)

LEAST_RATIO = 5.0


def run_kit(rest: Path, held_out: Path, size: Size) -> dict[str, Any]:
    """One `kit train` from nothing; what it wrote is scored on the held-out images."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        environment = {**os.environ, "KIT_CACHE_DIR": str(Path(folder, "cache"))}
        sizes = ["--alpha", str(size.alpha), "--input-resolution", str(size.input_resolution)]
        kit = [sys.executable, "-c", KIT]
        trained = run_child([*kit, "train", str(rest), "--output", str(run), *sizes], environment)
        model = str(run / "model_int8.tflite")
        scored = run_child([*kit, "evaluate", model, str(held_out), "--format", "json"])
    evaluation = json.loads(scored.output)
    return {
        "seconds": trained.seconds,
        "cpu_seconds": trained.cpu_seconds,
        "correct": evaluation["correct"],
        "n": evaluation["n"],
    }


def run_keras(rest: Path, held_out: Path, size: Size, weights: Path, epochs: int) -> dict[str, Any]:
    """One keras_route.py from nothing, which scores the held-out images itself."""
    done = run_child(
        [
            sys.executable,
            str(Path(__file__).with_name("keras_route.py")),
            *(str(rest), str(held_out), str(weights)),
            *("--alpha", str(size.alpha)),
            *("--input-resolution", str(size.input_resolution)),
            *("--epochs", str(epochs)),
        ]
    )
    found = json.loads(done.output.splitlines()[-1])
    return {
        "seconds": done.seconds - found["held_out_seconds"],
        "cpu_seconds": done.cpu_seconds - found["held_out_cpu_seconds"],
        "correct": found["correct"],
        "n": found["n"],
    }


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--size", type=Size.parse, default=Size(0.5, 224), help="(0.5/224)")
    parser.add_argument("--epochs", type=int, default=10, help="of the Keras route (10)")
    parser.add_argument("--rounds", type=int, default=1, help="how often both run (1)")
    options = parser.parse_args()

    from kit.data import scan_images
    from kit.evaluation.metrics import Accuracy
    from kit.training.weights import find_weights

    weights = find_weights(options.size.choice(), "imagenet").path
    if weights is None:
        parser.error("expected weights in a file")
    with tempfile.TemporaryDirectory() as folder:
        rest, held_out = hold_out(scan_images(options.images), 0, Path(folder))
        runs = interleave(
            {
                "kit train": lambda: run_kit(rest, held_out, options.size),
                "Keras route": lambda: run_keras(
                    rest, held_out, options.size, weights, options.epochs
                ),
            },
            options.rounds,
        )
    seconds = {name: [run["seconds"] for run in done] for name, done in runs.items()}
    ratio = median_ratio(seconds["Keras route"], seconds["kit train"])
    # Every round scores the same images: only one round may count towards N.
    accuracies = {
        name: Accuracy.of(done[0]["correct"], done[0]["n"]) for name, done in runs.items()
    }
    rows = [
        [f"{name} {options.size}", f"{median(seconds[name]):.1f}", str(accuracies[name]), ""]
        for name in runs
    ]
    reached = verdict(ratio, at_least=LEAST_RATIO)
    rows.append(["Keras time / kit time", f"{ratio:.2f}", "", reached])
    report(
        "train_speed",
        machine_facts(),
        ["", "seconds", "accuracy on held-out images", "to reach"],
        rows,
        {
            "size": str(options.size),
            "keras_epochs": options.epochs,
            "seconds": seconds,
            "cpu_seconds": {
                name: [run["cpu_seconds"] for run in done] for name, done in runs.items()
            },
            "ratio": ratio,
            "to_reach": LEAST_RATIO,
            "held_out": {name: accuracy.to_json() for name, accuracy in accuracies.items()},
        },
    )


if __name__ == "__main__":
    main()
