"""Label a folder of photographs with the device runtime and write a CSV file.

    pip install mobilenet-kit
    python examples/label_folder.py model_int8.tflite photos/ --output answers.csv

This needs only what a device has: numpy, Pillow and a TensorFlow Lite interpreter.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

from kit.errors import KitError
from kit.runtime import Classifier, Failure

SUFFIXES = {".jpg", ".jpeg", ".png"}


def main() -> int:
    parser = argparse.ArgumentParser(description="Label a folder of photographs.")
    parser.add_argument("model", type=Path, help="A packaged .tflite file.")
    parser.add_argument("images", type=Path, help="A folder of photographs.")
    parser.add_argument("--output", type=Path, default=Path("answers.csv"), help="The CSV file.")
    arguments = parser.parse_args()

    paths = sorted(p for p in arguments.images.rglob("*") if p.suffix.lower() in SUFFIXES)
    failures = 0
    try:
        with (
            Classifier.open(arguments.model, top_k=1) as classifier,
            arguments.output.open("w", newline="", encoding="utf-8") as file,
        ):
            table = csv.writer(file)
            table.writerow(["image", "label", "score", "answer", "error"])
            for result in classifier.classify_files(paths):
                # An image that cannot be read does not stop the others.
                if isinstance(result, Failure):
                    failures += 1
                    table.writerow([result.image, "", "", "", result.error])
                    continue
                best = result.categories[0] if result.categories else None
                # A model with an operating point answers positive, negative or uncertain. A
                # screening model says of an image that is unlike its training that it is unknown.
                answer = "unknown" if result.unknown else result.answer or ""
                label = best.label if best else ""
                score = f"{best.score:.4f}" if best else ""
                table.writerow([result.image, label, score, answer, ""])
    except KitError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"{len(paths) - failures} images labelled, {failures} failed: {arguments.output}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
