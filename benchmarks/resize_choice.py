"""Which resize method should be the default: accuracy with it, and loss on the other's pixels.

This compares a classifier trained on bottlenecks of `bilinear` pixels with one trained on
`antialias` pixels. Each is given held-out images resized by either method. The diagonal shows what
you get if your platform resizes as the model says; the other cells show a platform that uses the
other filter.

The comparison is fair because backbone, images, folds and the training of the head are the same in
all four cells, and no image is held out twice, so that the pooled answers are of different images.
The head is scikit-learn's LogisticRegression, which has one optimum. So the difference between the
cells is the pixels, not the luck of a training run.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common import FOLDS, Size, argument_parser, fold_of, machine_facts, report

if TYPE_CHECKING:
    from kit.data import Dataset


def vectors_of(dataset: Dataset, size: Size, cache: Path) -> dict[str, dict[str, Any]]:
    """Bottlenecks by resize method and digest."""
    from converters.tflite import convert_model
    from kit.model.spec import RESIZE_METHODS
    from kit.training.backbones import taking_pixels
    from kit.training.bottlenecks import extract_bottlenecks
    from kit.training.weights import find_weights, load_backbone

    choice = size.choice()
    weights = find_weights(choice, "imagenet")
    backbone = load_backbone(choice, weights)
    found = {}
    for method in RESIZE_METHODS:
        spec = choice.preprocess(resize=method)
        content = convert_model(taking_pixels(backbone, spec), "float32", spec)

        def make_backbone(content: bytes = content) -> bytes:
            return content

        found[method], _ = extract_bottlenecks(
            dataset, choice, weights, spec, make_backbone, cache=cache
        )
    return found


def right_answers(dataset: Dataset, size: Size, cache: Path) -> dict[tuple[str, str], Any]:
    """For (trained with, fed with): whether each image was answered right while held out."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    vectors = vectors_of(dataset, size, cache)
    # A file that can't be read has no vector, by either method.
    images = [image for image in dataset.images if all(image.digest in v for v in vectors.values())]
    truth = np.array([image.label for image in images])
    folds = np.array([fold_of(image.digest) for image in images])
    inputs = {
        method: np.stack([found[image.digest] for image in images])
        for method, found in vectors.items()
    }
    right = {(a, b): np.zeros(len(images), bool) for a in inputs for b in inputs}
    for fold in range(FOLDS):
        inside = folds == fold
        for trained_with in inputs:
            head = LogisticRegression(C=0.1, max_iter=2000)
            head.fit(inputs[trained_with][~inside], truth[~inside])
            for fed_with in inputs:
                answers = head.predict(inputs[fed_with][inside])
                right[trained_with, fed_with][inside] = answers == truth[inside]
    return right


def difference(one: Any, other: Any) -> tuple[float, float]:
    """Points by which `one` is more often right, and half its 95 % interval, paired by image."""
    import numpy as np

    steps = one.astype(float) - other.astype(float)
    return 100 * float(steps.mean()), 196 * float(np.std(steps)) / math.sqrt(len(steps))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--sizes",
        type=Size.parse,
        nargs="+",
        default=[Size(0.5, 224), Size(0.25, 128)],
        help="alpha/input_resolution (0.5/224 0.25/128)",
    )
    options = parser.parse_args()

    from kit.data import scan_images
    from kit.evaluation.metrics import Accuracy

    dataset = scan_images(options.images)
    rows: list[list[str]] = []
    results: dict[str, Any] = {}
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as cache:
            right = right_answers(dataset, size, Path(cache))
        methods = sorted({trained_with for trained_with, _ in right}, reverse=True)
        cells = {}
        for trained_with in methods:
            accuracies = {
                fed_with: Accuracy.of(int(values.sum()), len(values))
                for fed_with in methods
                for values in [right[trained_with, fed_with]]
            }
            other = next(method for method in methods if method != trained_with)
            change, half = difference(right[trained_with, other], right[trained_with, trained_with])
            rows.append(
                [
                    str(size),
                    trained_with,
                    *(str(accuracies[fed_with]) for fed_with in methods),
                    f"{change:+.2f} ± {half:.2f}",
                ]
            )
            cells[trained_with] = {
                "fed": {fed_with: value.to_json() for fed_with, value in accuracies.items()},
                "change_when_fed_the_other": {"points": change, "half_interval": half},
            }
        first, second = methods
        gain, half = difference(right[second, second], right[first, first])
        rows.append(
            [str(size), f"{second} - {first}, each on its own", "", "", f"{gain:+.2f} ± {half:.2f}"]
        )
        results[str(size)] = {
            "trained_with": cells,
            "gain": {"of": second, "over": first, "points": gain, "half_interval": half},
        }
    report(
        "resize_choice",
        machine_facts(),
        ["size", "trained with", *(f"fed with {name}" for name in methods), "change, points"],
        rows,
        {"folds": FOLDS, "sizes": results},
    )


if __name__ == "__main__":
    main()
