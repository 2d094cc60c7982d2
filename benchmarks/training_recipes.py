"""What each recipe reaches: accuracy on held-out images, and how well unknown images are told.

This compares the recipes of `kit train` on the same networks. Every figure is of the int8 file: its
accuracy, and by its screening form the AUROC of unfamiliarity and the share of unknown images that
are accepted where 95 % of the known ones are.

The comparison is fair because a fifth of the images, chosen by a hash of their content, is in
neither the train nor the validation part of any run, and all of them share this split: only what
training draws differs between seeds. With `max`, all students of a seed share its teachers.

It takes hours. Runs stay in --work, and a second start goes on where the first was broken off.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from common import argument_parser, machine_facts, report

_V1, _V2 = "mobilenet_v1", "mobilenet_v2"
NETWORKS = ((_V1, 0.25, 128), (_V1, 0.25, 224), (_V1, 0.5, 224), (_V2, 0.35, 128), (_V2, 0.35, 224))
RECIPES = ("quick", "best", "max")


@dataclass(frozen=True)
class Figures:
    """Of one run's int8 file: shares from 0 to 1."""

    accuracy: float
    auroc: float
    accepted: float
    size_bytes: int
    n: int
    unknown: int


def settings_of(recipe: str, network: tuple[str, float, int], seed: int, augment: str) -> Any:
    """The settings of a run: the split is the same for every seed."""
    from kit.workflows.options import train_settings

    backbone, alpha, side = network
    settings = train_settings(
        recipe,
        backbone=backbone,
        alpha=alpha,
        input_resolution=side,
        test=0.2,
        seed=seed,
        screening=True,
        augment=None if recipe == "quick" else augment,
    )
    return replace(settings, split=replace(settings.split, seed=0))


def trained(images: Path, run: Path, settings: Any, teachers: Path) -> Any:
    """The finished run; its teachers are fitted before, unless they are there."""
    from kit.cli.terminal import TerminalReporter
    from kit.workflows.run_folder import model_name
    from kit.workflows.teachers import fit_teachers
    from kit.workflows.train import train

    reporter = TerminalReporter()
    if not (run / model_name("int8")).exists():
        if settings.own_teachers:
            settings = fit_teachers(
                *(train, images, teachers, settings),
                force=False,
                resume=True,
                cache=None,
                reporter=reporter,
            )
        train(images, run, settings, resume=True, reporter=reporter)
    return run / model_name("int8")


def measured(plain: Path, images: Path, unknown: Path) -> Figures:
    """What a run's int8 file and its screening form are worth on the test part."""
    from kit.evaluation import evaluate_model
    from kit.export.screening_form import screening_name
    from kit.runtime import Classifier

    with Classifier.open(plain) as classifier:
        accuracy = evaluate_model(classifier, images, part="test").evaluation.accuracy
    screening = plain.with_name(screening_name(plain.name))
    with Classifier.open(screening) as classifier:
        found = evaluate_model(classifier, images, part="test", unknown_images=unknown).unknown
    assert found is not None and found.auroc.value is not None
    return Figures(
        accuracy.value,
        found.auroc.value,
        found.false_acceptance_at_95.value,
        plain.stat().st_size,
        accuracy.n,
        found.auroc.positives,
    )


def spread(values: Sequence[float]) -> str:
    """The mean, and from where to where."""
    mean = f"{statistics.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.4f} to {max(values):.4f})"


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--unknown-images", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="a folder for the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=RECIPES)
    parser.add_argument("--augment", default="photo")
    arguments = parser.parse_args()
    rows, measurements = [], []
    for network in NETWORKS:
        for recipe in arguments.recipes:
            name = f"{network[0]} {network[1]:g} at {network[2]}"
            found = []
            for seed in range(arguments.seeds):
                run = arguments.work / f"{name.replace(' ', '-')}-{recipe}-{seed}"
                settings = settings_of(recipe, network, seed, arguments.augment)
                teachers = arguments.work / f"seed-{seed}"
                plain = trained(arguments.images, run, settings, teachers)
                found.append(measured(plain, arguments.images, arguments.unknown_images))
            measurements.append({"network": name, "recipe": recipe, "runs": list(map(vars, found))})
            rows.append(
                (
                    *(name, recipe),
                    *(spread([getattr(one, of) for one in found]) for of in _COLUMNS),
                    f"{found[0].size_bytes / 1000:.0f} kB",
                )
            )
            print(*rows[-1], sep=" | ", file=sys.stderr)
    counts = f"N={found[0].n}, {found[0].unknown} unknown images, {arguments.seeds} seeds"
    report(
        "training_recipes",
        machine_facts(),
        ["network", f"recipe ({counts})", *_COLUMNS, "size"],
        rows,
        {"augment": arguments.augment, "runs": measurements},
    )
    return 0


_COLUMNS = ("accuracy", "auroc", "accepted")


if __name__ == "__main__":
    sys.exit(main())
