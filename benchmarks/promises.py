"""Whether thresholds that promise a sensitivity keep it on patients of a real set.

This compares the thresholds of `--confidence 0` with those of 0.95. For each seed the set is split
by patients, a softmax layer is fitted on the train part's bottlenecks, a threshold is chosen on the
validation part, and the sensitivity is counted on the test part.

The comparison is fair because both thresholds come from the same scores. A test part is small, so
its sensitivity is an estimate: a threshold whose true sensitivity is just what was promised is
below it on every second test part. Beside the share of seeds that reach the target on their own
test part, the table has that of seeds whose test part does not contradict it: the upper end of the
95 % interval is at or above the target.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import Any

from common import argument_parser, machine_facts, report


def scores_by_seed(arguments: Any) -> Any:
    """Scores, truth and groups of the validation and the test part, for each seed."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    from kit.data import DataSettings, SplitSettings, load_dataset, split_dataset
    from kit.data.split import cases_of
    from kit.reporting import Silent
    from kit.training.backbones import choose
    from kit.training.learning import BackboneSource
    from kit.training.weights import find_weights, load_backbone

    choice = choose("mobilenet_v1", 0.5, 224)
    weights = find_weights(choice, "imagenet", 0)
    data = DataSettings(arguments.labels_csv, group_column=arguments.group_column)
    dataset = load_dataset(arguments.images, data)
    source = BackboneSource(load_backbone(choice, weights), choice, weights, choice.preprocess())
    vectors, _ = source.bottlenecks(dataset, Silent())
    label = dataset.labels.index(arguments.positive)
    images = {image.path: image for image in dataset.images if image.digest in vectors}
    for seed in range(arguments.seeds):
        split = split_dataset(dataset, SplitSettings(0.2, 0.2, seed))
        parts = {}
        for part in ("train", "validation", "test"):
            paths = [path for path in images if split[path] == part]
            features = np.stack([vectors[images[path].digest] for path in paths])
            truth = np.array([images[path].label == label for path in paths])
            parts[part] = (features, truth, cases_of(dataset, paths, ""))
        fitted = LogisticRegression(C=1.0, max_iter=300).fit(*parts["train"][:2])
        yield tuple(
            (fitted.predict_proba(features)[:, 1], truth, groups)
            for features, truth, groups in (parts["validation"], parts["test"])
        )


def main() -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--labels-csv", type=Path, required=True)
    parser.add_argument("--group-column", required=True)
    parser.add_argument("--positive", required=True)
    parser.add_argument("--target", type=float, default=0.9)
    parser.add_argument("--seeds", type=int, default=200)
    arguments = parser.parse_args()

    from kit.evaluation.metrics import Accuracy
    from kit.evaluation.thresholds import choose_operating_point

    found: dict[float, list[tuple[Accuracy, float]]] = {0.0: [], 0.95: []}
    for validation, test in scores_by_seed(arguments):
        for confidence, results in found.items():
            point = choose_operating_point(
                *(validation[0], validation[1], arguments.positive),
                target_sensitivity=arguments.target,
                confidence=confidence,
                groups=validation[2],
            )
            called = test[0] >= point.positive_from
            sensitivity = Accuracy.of_answers(called, test[2], test[1])
            specificity = Accuracy.of_answers(~called, test[2], ~test[1])
            results.append((sensitivity, specificity.value))
    rows = []
    for confidence, results in found.items():
        values = [sensitivity.value for sensitivity, _ in results]
        rows.append(
            [
                f"{confidence:g}",
                f"{sum(value >= arguments.target for value in values) / len(values):.3f}",
                f"{sum(one.high >= arguments.target for one, _ in results) / len(values):.3f}",
                f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})",
                f"{statistics.mean(other for _, other in results):.4f}",
            ]
        )
    report(
        "promises",
        machine_facts(),
        [
            f"confidence ({arguments.seeds} seeds, sensitivity {arguments.target:g})",
            "reached on the test part",
            "not contradicted",
            "sensitivity",
            "mean specificity",
        ],
        rows,
        {"target": arguments.target, "seeds": arguments.seeds},
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
