"""The record of a finished run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kit.errors import SpecError
from kit.model.spec import check_schema_version, load_json

MODEL_NAME, RUN_NAME, REPORT_NAME = "model.keras", "run.json", "report.html"


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
        raise SpecError(f"{path}: expected the record of a run, got other JSON")
    if not isinstance(record["schema_version"], int):
        raise SpecError(f"{path}: expected a whole number as schema_version")
    check_schema_version(str(path), record["schema_version"])
    return record
