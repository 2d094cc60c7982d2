"""Corrections of labels, as `kit review` hands them on.

They go by an image's content, so that a moved or renamed file keeps its own. Nothing in the user's
folders is changed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kit.data.scan import Dataset, listed
from kit.errors import DataError
from kit.model.tables import delimiter_of, encoding_of
from kit.reporting import counted

COLUMNS = ("path", "digest", "label", "was", "reason", "by")
"""Of `corrections.csv`; `digest` and `label` are needed, the others are for people."""
EXCLUDE = "exclude"
"""In place of a label: the image is to be left out."""


def corrected(dataset: Dataset, table: Path) -> Dataset:
    """The data set with the labels of a table of corrections.

    Args:
        dataset: what was found.
        table: a CSV with the columns `digest` and `label`.

    Raises DataError where the table cannot be read, contradicts itself, or names a label that the
    data set does not have.
    """
    wanted = _read(table)
    if strangers := {*wanted.values()} - {*dataset.labels, EXCLUDE}:
        raise DataError(
            f"{table}: expected labels of {listed(dataset.labels)}, or {EXCLUDE}, got "
            f"{listed(strangers)}"
        )
    numbers = {label: number for number, label in enumerate(dataset.labels)}
    images, left_out, changed = [], [], set()
    for image in dataset.images:
        label = wanted.get(image.digest)
        if label == EXCLUDE:
            left_out.append((image.path, f"left out by {table.name}"))
        elif label is None or numbers[label] == image.label:
            images.append(image)
        else:
            images.append(replace(image, label=numbers[label]))
            changed.add(image.digest)
    unmatched = len({*wanted} - {image.digest for image in dataset.images})
    told = [
        f"{counted(len(changed), 'label')} corrected and {counted(len(left_out), 'image')} left "
        f"out by {table.name}"
    ]
    if unmatched:
        told.append(f"{counted(unmatched, 'row')} of {table.name} fit no image here")
    return replace(
        dataset,
        images=tuple(images),
        left_out=(*dataset.left_out, *left_out),
        warnings=(*dataset.warnings, *told),
        corrected=frozenset(changed),
    )


def corrected_tests(dataset: Dataset, split: Mapping[str, str]) -> str | None:
    """A sentence on corrected test images; None where there are none."""
    names = [
        image.path
        for image in dataset.images
        if image.digest in dataset.corrected and split[image.path] == "test"
    ]
    if not names:
        return None
    return (
        f"{counted(len(names), 'test image')} had another label before the corrections, "
        f"{listed(names)}: figures flatter if only what a model got wrong is mended"
    )


def _read(table: Path) -> dict[str, str]:
    try:
        content = table.read_bytes()
        text = content.decode(encoding_of(content))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{table}: expected a table of corrections, it cannot be read") from error
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter_of(text))
    if not {"digest", "label"} <= {*(rows.fieldnames or ())}:
        raise DataError(
            f"{table}: expected the columns digest and label, as kit review writes them"
        )
    found: dict[str, str] = {}
    for row in rows:
        digest, label = (row["digest"] or "").strip().lower(), (row["label"] or "").strip()
        if len(digest) != 64 or not label:
            raise DataError(
                f"{table} line {rows.line_num}: expected a SHA-256 and a label, got "
                f"{digest or 'none'} and {label or 'none'}"
            )
        if found.setdefault(digest, label) != label:
            raise DataError(
                f"{table} line {rows.line_num}: expected one label for an image, got "
                f"{found[digest]} and {label}"
            )
    return found
