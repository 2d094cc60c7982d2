"""Accuracy of the shipped files on images that training never saw, and what int8 costs.

This compares the float32 and the int8 file of the same training run, on the same held-out images,
with the runtime that ships.

The comparison is fair because the held-out fifth is chosen by a hash of the images' content and
lies in another folder than the one that kit.workflows.train is given. So neither weights nor early
stopping nor the representative images can have seen it. Each fold holds out another fifth and
trains anew. No image is held out twice, so the pooled answers are of different images and Wilson's
interval applies to them. The interval of the drop is that of paired answers: both files saw the
same images, so it is narrower than the intervals of the two accuracies suggest.
"""

from __future__ import annotations

import math
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import FOLDS, Size, argument_parser, hold_out, machine_facts, report, verdict

if TYPE_CHECKING:
    from kit.data import Dataset

MODES = ("float32", "int8")
LEAST_ACCURACY = {"0.5/224": 0.88, "0.25/224": 0.845}
MOST_DROP_POINTS = 0.7


def held_out_answers(
    rest: Path, held_out: Path, size: Size, cache: Path, resize: str, work: Path
) -> tuple[dict[str, Any], Any]:
    """Trains on one folder; answers of each file for the other, by mode, and the truth."""
    from kit.data import scan_images
    from kit.evaluation.evaluate import score_files, truth_of
    from kit.runtime import Classifier
    from kit.workflows.train import TrainSettings, train

    settings = TrainSettings(
        alpha=size.alpha,
        input_resolution=size.input_resolution,
        quantize=MODES,
        resize=resize,
    )
    result = train(rest, work / "run", settings, force=True, cache=cache)
    answers: dict[str, Any] = {}
    truth: Any = None
    for mode in MODES:
        with Classifier.open(result.files[mode]) as classifier:
            dataset = scan_images(held_out, labels=classifier.labels)
            paths = [image.path for image in dataset.images]
            scores, unreadable = score_files(classifier, dataset.root, paths)
            truth = truth_of(dataset, [path for path in paths if path not in unreadable])
            answers[mode] = scores.argmax(axis=1)
    return answers, truth


def measure(dataset: Dataset, size: Size, folds: int, cache: Path, resize: str) -> dict[str, Any]:
    """Pooled figures of one size."""
    import numpy as np

    from kit.evaluation.metrics import Accuracy

    right: dict[str, list[Any]] = {mode: [] for mode in MODES}
    same: list[Any] = []
    per_fold = []
    for fold in range(folds):
        with tempfile.TemporaryDirectory() as folder:
            rest, held_out = hold_out(dataset, fold, Path(folder))
            answers, truth = held_out_answers(rest, held_out, size, cache, resize, Path(folder))
        for mode in MODES:
            right[mode].append(answers[mode] == truth)
        same.append(answers["float32"] == answers["int8"])
        per_fold.append({mode: float(right[mode][-1].mean()) for mode in MODES})
        print(f"{size} fold {fold + 1} of {folds}: {per_fold[-1]}", file=sys.stderr)
    pooled = {mode: np.concatenate(right[mode]) for mode in MODES}
    n = len(pooled["int8"])
    lost = int((pooled["float32"] & ~pooled["int8"]).sum())
    gained = int((~pooled["float32"] & pooled["int8"]).sum())
    drop = (lost - gained) / n
    return {
        "accuracies": {mode: Accuracy.of(int(pooled[mode].sum()), n) for mode in MODES},
        "drop_points": 100 * drop,
        "drop_half_interval": 196 * math.sqrt(max(0.0, (lost + gained) / n - drop**2) / n),
        "lost": lost,
        "gained": gained,
        "agreement": float(np.concatenate(same).mean()),
        "per_fold": per_fold,
    }


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--sizes",
        type=Size.parse,
        nargs="+",
        default=[Size(0.5, 224), Size(0.25, 224)],
        help="alpha/input_resolution (0.5/224 0.25/224)",
    )
    parser.add_argument(
        "--folds", type=int, choices=range(1, FOLDS + 1), default=3, help="to hold out (3)"
    )
    parser.add_argument("--resize", default="bilinear", help="bilinear or antialias (bilinear)")
    options = parser.parse_args()

    from kit.data import scan_images

    dataset = scan_images(options.images)
    with tempfile.TemporaryDirectory() as cache:
        measured = {
            str(size): measure(dataset, size, options.folds, Path(cache), options.resize)
            for size in options.sizes
        }
    rows = []
    for size, found in measured.items():
        int8 = found["accuracies"]["int8"]
        reached = [
            verdict(int8.value, at_least=LEAST_ACCURACY.get(size)),
            f"drop {verdict(found['drop_points'], at_most=MOST_DROP_POINTS)}",
        ]
        rows.append(
            [
                size,
                str(found["accuracies"]["float32"]),
                str(int8),
                f"{found['drop_points']:.2f} ± {found['drop_half_interval']:.2f}",
                f"{found['agreement']:.4f}",
                ", ".join(filter(None, reached)),
            ]
        )
    report(
        "accuracy",
        machine_facts(),
        ["size", "float32", "int8", "drop, points", "same answer", "to reach"],
        rows,
        {
            "folds": options.folds,
            "resize": options.resize,
            "sizes": {
                size: {
                    **found,
                    "accuracies": {
                        mode: accuracy.to_json() for mode, accuracy in found["accuracies"].items()
                    },
                    "to_reach": LEAST_ACCURACY.get(size),
                }
                for size, found in measured.items()
            },
            "drop_to_reach": MOST_DROP_POINTS,
        },
    )


if __name__ == "__main__":
    main()
