"""How much faster a network learns with batch normalisation in one kernel than with Keras' own.

This compares training steps of the same network with kit.training.batch_normalization, and as Keras
computes them. The images are random pixels in memory.

The comparison is fair because both have the same layers, variables and batches, and take turns, and
both are traced before. It leaves out what an epoch of `kit train` does besides: reading and
changing photographs, the first layers, which do not learn, and validation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from common import (
    argument_parser,
    interleave,
    machine_facts,
    median,
    median_ratio,
    report,
    timed,
    verdict,
)

KIT, KERAS = "one kernel", "Keras"
LEAST_RATIO = 1.2
_NETWORKS = (("mobilenet_v1", 0.25), ("mobilenet_v1", 0.5), ("mobilenet_v2", 0.35))
_BATCH, _CLASSES = 32, 5


def training(backbone: Any, side: int, steps: int, instead: Callable[[Any], Any]) -> Any:
    """A function that takes so many steps; the first was taken before."""
    import keras
    import numpy as np

    from kit.training.backbones import on_input

    inputs = keras.Input((side, side, 3))
    bottleneck = on_input(inputs, backbone, instead).output
    model = keras.Model(inputs, keras.layers.Dense(_CLASSES, "softmax")(bottleneck))
    model.compile("sgd", "categorical_crossentropy")
    random = np.random.default_rng(0)
    images = random.uniform(-1, 1, (_BATCH, side, side, 3)).astype(np.float32)
    truth = np.eye(_CLASSES, dtype=np.float32)[random.integers(0, _CLASSES, _BATCH)]

    def run() -> None:
        for _ in range(steps):
            model.train_on_batch(images, truth)

    model.train_on_batch(images, truth)
    return run


def main() -> None:
    parser = argument_parser(__doc__, images=False)
    parser.add_argument("--side", type=int, default=160, help="of the images in pixels (160)")
    parser.add_argument("--steps", type=int, default=10, help="in a turn (10)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    options = parser.parse_args()

    from kit.training.backbones import build, choose
    from kit.training.batch_normalization import fused

    rows, results = [], {}
    for name, alpha in _NETWORKS:
        choice = choose(name, alpha, options.side)
        backbone = build(choice, None)
        runs = {
            way: training(backbone, options.side, options.steps, instead)
            for way, instead in ((KIT, fused), (KERAS, lambda layer: layer))
        }
        seconds = interleave(
            {way: lambda run=run: timed(run) for way, run in runs.items()}, options.rounds
        )
        ratio = median_ratio(seconds[KERAS], seconds[KIT])
        images = options.steps * _BATCH
        rows += [
            [str(choice), way, f"{1000 * median(seconds[way]) / images:.2f}", "", ""]
            for way in seconds
        ]
        reached = verdict(ratio, at_least=LEAST_RATIO)
        rows.append([str(choice), f"{KERAS} / {KIT}", "", f"{ratio:.2f}", reached])
        results[str(choice)] = {"seconds": seconds, "ratio": ratio}
    report(
        "batch_normalization",
        machine_facts(),
        ["", "batch normalisation", "ms an image", "ratio", "to reach"],
        rows,
        {"batch": _BATCH, "to_reach": LEAST_RATIO, **results},
    )


if __name__ == "__main__":
    main()
