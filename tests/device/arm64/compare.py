"""Compares what a device and this machine say of the same images: `compare.py MODEL DEVICE HERE`.

Each of the two is the output of `kit-label . --format json --top-k 1000000 --score-threshold 0` in
the images' folder, the device's after that of `--self-test`. The best label must be the same, and
the scores of all labels within what the model's arithmetic allows.
"""

import json
import sys
from pathlib import Path

from kit.model.model_file import read_model_file

ALLOWED = {"float32": 1e-4, "float16": 1e-3}
ALLOWED_OF_INTEGERS = 2 / 256
"""Two steps of a uint8 score: kernels of different processors round differently."""


def answers(path: str) -> dict[str, dict]:
    """By the images' paths below their folder."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    return {str(Path(row["image"])): row for row in rows}


def scores_of(answer: dict) -> dict[tuple[int, str], float]:
    """By index and label, since a label may be there twice; the best first."""
    return {(c["index"], c["label"]): c["score"] for c in answer["categories"]}


def main() -> None:
    model, device, here = sys.argv[1:]
    file = read_model_file(model)
    quantization = "" if file.card is None else file.card.quantization
    labels = set(enumerate(file.labels or ()))
    allowed = ALLOWED.get(quantization, ALLOWED_OF_INTEGERS)
    if "self-test passed" not in Path(device).read_text(encoding="utf-8"):
        sys.exit(f"{model}: expected its self-test to pass on the device")
    found, wanted = answers(device), answers(here)
    if not wanted or found.keys() != wanted.keys():
        of_one = ", ".join(sorted(found.keys() ^ wanted.keys())) or "none"
        sys.exit(f"{model}: expected answers on the same images, only one side has {of_one}")
    largest, labelled = 0.0, 0
    for name, row in wanted.items():
        other = found[name]
        if ("error" in row) != ("error" in other):
            error, other_error = row.get("error", "no error"), other.get("error", "no error")
            sys.exit(f"{model}, {name}: expected, as here, {error}; got {other_error}")
        if "error" in row:
            continue
        scores, others = scores_of(row), scores_of(other)
        # kit-label leaves out a score that is NaN.
        if not scores.keys() == others.keys() == labels:
            sys.exit(
                f"{model}, {name}: expected scores of {len(labels)} labels, got {len(others)}, "
                f"and {len(scores)} here"
            )
        best, other_best = next(iter(scores)), next(iter(others))
        if best != other_best:
            sys.exit(f"{model}, {name}: expected {best[1]}, got {other_best[1]}")
        for label, score in scores.items():
            difference = abs(score - others[label])
            if not difference <= allowed:  # NaN too
                sys.exit(
                    f"{model}, {name}: expected {label[1]} within {allowed:.6f} of {score:.6f}, "
                    f"got {others[label]:.6f}"
                )
            largest = max(largest, difference)
        labelled += 1
    print(
        f"{Path(model).name} ({quantization}): same label on {labelled} images, largest difference "
        f"of a score {largest:.6f} (allowed {allowed:.6f}), {len(wanted) - labelled} errors alike"
    )


if __name__ == "__main__":
    main()
