"""Compares what a device and this machine say of the same images: `compare.py MODEL DEVICE HERE`.

Each of the two is the output of `kit-label --format json --top-k 1000`, the device's after that of
`--self-test`. Labels must be the same, and scores within what the model's arithmetic allows.
"""

import json
import sys
from pathlib import Path

from kit.model_file import read_model_file

ALLOWED = {"float32": 1e-4, "float16": 1e-3}
ALLOWED_OF_INTEGERS = 2 / 256
"""Two steps of a uint8 score: kernels of different processors round differently."""


def answers(path: str) -> dict[str, dict]:
    """By the images' names."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines if line.startswith("{")]
    return {Path(row["image"]).name: row for row in rows}


def main() -> None:
    model, device, here = sys.argv[1:]
    card = read_model_file(model).card
    quantization = "" if card is None else card.quantization
    allowed = ALLOWED.get(quantization, ALLOWED_OF_INTEGERS)
    if "self-test passed" not in Path(device).read_text(encoding="utf-8"):
        sys.exit(f"{model}: expected its self-test to pass on the device")
    found, wanted = answers(device), answers(here)
    if not wanted or found.keys() != wanted.keys():
        sys.exit(f"{model}: expected answers on {len(wanted)} images, got {len(found)}")
    largest, labelled = 0.0, 0
    for name, row in wanted.items():
        if "error" in row:
            if "error" not in found[name]:
                sys.exit(f"{model}, {name}: expected an error, as here: {row['error']}")
            continue
        scores, others = (
            {category["label"]: category["score"] for category in answer["categories"]}
            for answer in (row, found[name])
        )
        if next(iter(scores)) != next(iter(others)):
            sys.exit(f"{model}, {name}: expected {next(iter(scores))}, got {next(iter(others))}")
        difference = max(abs(scores[label] - others[label]) for label in scores)
        if difference > allowed:
            sys.exit(f"{model}, {name}: a score differs by {difference:.6f}, allowed {allowed:.6f}")
        largest, labelled = max(largest, difference), labelled + 1
    print(
        f"{Path(model).name} ({quantization}): same label on {labelled} images, largest difference "
        f"of a score {largest:.6f} (allowed {allowed:.6f}), {len(wanted) - labelled} errors alike"
    )


if __name__ == "__main__":
    main()
