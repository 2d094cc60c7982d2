"""How many labels are saved by labelling what `kit review --unlabelled` chooses.

From a pool of photographs, all of whose labels are known here, batches are labelled one after the
other: at random, or by choice. After each, the head's accuracy on images outside of the pool is
measured, with the classifier that chooses. The first batch is random for both.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import numpy as np
from common import argument_parser, machine_facts, report

FIRST = 50


def curve(
    vectors: np.ndarray,
    truth: np.ndarray,
    pool: np.ndarray,
    test: np.ndarray,
    batch: int,
    labels: int,
    seed: int,
    chosen: bool,
) -> dict[int, float]:
    """Accuracy by the number of labelled images."""
    from kit.evaluation.label_errors import classifier
    from kit.evaluation.worth_labelling import worth_labelling

    random = np.random.default_rng(seed)
    known = random.choice(pool, FIRST, replace=False)
    found = {}
    while True:
        model = classifier(len(known)).fit(vectors[known], truth[known])
        found[len(known)] = float((model.predict(vectors[test]) == truth[test]).mean())
        if len(known) >= labels:
            return found
        free = np.setdiff1d(pool, known)
        if chosen:
            scores = model.predict_proba(vectors[free])
            news = free[worth_labelling(vectors[free], scores, batch, seed)]
        else:
            news = random.choice(free, batch, replace=False)
        known = np.concatenate([known, news])


def main() -> int:
    from kit.cli.terminal import TerminalReporter
    from kit.data import load_dataset
    from kit.data.split import split_dataset
    from kit.workflows.cross_validate import readable_bottlenecks
    from kit.workflows.options import train_settings
    from kit.workflows.review import pretrained

    parser = argument_parser(__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=50)
    parser.add_argument("--labels", type=int, default=400)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    settings, reporter = train_settings(test=0.2), TerminalReporter()
    choice, weights = pretrained(settings, reporter)
    spec = choice.preprocess(settings.fit, settings.resize)
    dataset, vectors = readable_bottlenecks(
        load_dataset(arguments.images), choice, weights, spec, None, reporter
    )
    parts = split_dataset(dataset, settings.split)
    truth = np.array([image.label for image in dataset.images])
    tested = np.array([parts[image.path] == "test" for image in dataset.images])
    pool, test = np.flatnonzero(~tested), np.flatnonzero(tested)
    curves = {
        how: [
            curve(*(vectors, truth, pool, test, arguments.batch, arguments.labels), seed, chosen)
            for seed in range(arguments.seeds)
        ]
        for how, chosen in (("random", False), ("chosen", True))
    }
    counts = list(curves["random"][0])
    means = {
        how: [statistics.mean(one[count] for one in found) for count in counts]
        for how, found in curves.items()
    }
    rows = [
        (str(count), *(f"{means[how][place]:.3f}" for how in means))
        for place, count in enumerate(counts)
    ]
    report(
        "choose_images",
        machine_facts(),
        ["labelled", *(f"{how} (N={len(test)}, {arguments.seeds} seeds)" for how in means)],
        rows,
        {"batch": arguments.batch, "pool": len(pool), "curves": curves},
    )
    if arguments.plot is not None:
        _plot(arguments.plot, counts, curves, means, len(test))
    return 0


def _plot(
    path: Path,
    counts: list[int],
    curves: dict[str, list[dict[int, float]]],
    means: dict[str, list[float]],
    tested: int,
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    for how, colour in (("chosen", "#0b67b2"), ("random", "#c4540a")):
        for one in curves[how]:
            axes.plot(counts, list(one.values()), color=colour, alpha=0.25, linewidth=1)
        axes.plot(counts, means[how], color=colour, marker="o", label=how)
    axes.set(xlabel="labelled photographs", ylabel=f"accuracy (N={tested})")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
