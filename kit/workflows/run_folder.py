"""The run folder: what lies in it under which name, and its record, written and read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kit.data import Dataset
from kit.errors import SpecError
from kit.export.exported import Exported
from kit.filenames import text_bytes
from kit.model.spec import SCHEMA_VERSION, check_schema_version, load_json
from kit.training.learning import Learned

MODEL_NAME, RUN_NAME, REPORT_NAME = "model.keras", "run.json", "report.html"


def model_name(mode: str) -> str:
    """The name of the file of a quantisation mode."""
    return f"model_{mode}.tflite"


def write_run(
    run: Path,
    settings: Mapping[str, Any],
    dataset: Dataset,
    split: Mapping[str, str],
    learnt_from: Iterable[str],
    learned: Learned,
    measured: Mapping[str, Exported],
    representative: Sequence[str],
) -> dict[str, Any]:
    """Writes `labels.txt` and `run.json`.

    Args:
        run: the folder.
        settings: settings of the training, as JSON can hold them.
        dataset: the images.
        split: the part of each image, by path.
        learnt_from: digests of the images that decided on the weights.
        learned: the fitted classifier.
        measured: every file with its figures, by mode; float32 is always among them.
        representative: paths of the images that quantisation looked at.

    Returns:
        The record, as run.json has it.
    """
    card = measured["float32"].card.to_json()
    for name in ("golden", "metrics", "quantization", "model_sha256"):  # of one file
        card.pop(name)
    (run / "labels.txt").write_text("".join(f"{label}\n" for label in dataset.labels), "utf-8")
    record = {
        "schema_version": SCHEMA_VERSION,
        "created": card["created"],
        "images": str(dataset.root.resolve()),
        "settings": dict(settings),
        "card": {**card, "quantization": "float32"},
        "metrics": {
            mode: {"size_bytes": len(file.content), **file.card.metrics["test"]}
            for mode, file in measured.items()
        },
        "history": list(learned.history),
        "fine_tuned": learned.fine_tuned,
        "share": learned.share,
        # With `split`: which images each file answers rightly, to compare files by.
        "misclassified": {
            mode: {wrong.image: wrong.predicted for wrong in file.evaluation.misclassified}
            for mode, file in measured.items()
            if file.evaluation is not None
        },
        "left_out": dict(dataset.left_out),
        "representative_dataset": list(representative),
        "split": dict(split),
        "learnt_from": sorted(learnt_from),
    }
    (run / RUN_NAME).write_bytes(run_json(record))
    return record


def run_json(record: Mapping[str, Any]) -> bytes:
    """The content of run.json."""
    return text_bytes(json.dumps(record, ensure_ascii=False, indent=1))


def read_run(run: str | os.PathLike[str]) -> dict[str, Any]:
    """The record of a run folder; raises SpecError where it is missing, damaged or newer."""
    path = Path(run, RUN_NAME)
    try:
        record = load_json(path.read_bytes(), str(path))
    except OSError as error:
        raise SpecError(
            f"{run}: expected a run folder that kit train wrote: {error.strerror}"
        ) from error
    needed = ("schema_version", "card", "images", "split", "representative_dataset")
    if not isinstance(record, dict) or not all(name in record for name in needed):
        raise SpecError(f"{path}: expected the record of a run, got other JSON: train it again")
    if not isinstance(record["schema_version"], int):
        raise SpecError(
            f"{path}: expected a whole number as schema_version, got "
            f"{record['schema_version']!r}: train it again"
        )
    check_schema_version(str(path), record["schema_version"])
    return record
