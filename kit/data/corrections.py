"""Corrections of labels, as `kit review` hands them on.

They go by an image's content, so that a moved or renamed file keeps its own. Nothing in the user's
folders is changed. Of the columns of `corrections.csv`, which kit/report/review.js writes, `digest`
and `label` are needed; the others are for people.
"""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from kit.data.scan import Dataset, listed
from kit.errors import DataError
from kit.model.spec import check_labels
from kit.model.tables import delimiter_of, encoding_of
from kit.reporting import counted

COLUMNS = ("path", "digest", "label", "was", "reason", "by")
EXCLUDE = "exclude"
"""In place of a label: the image is to be left out."""


def corrected(dataset: Dataset, table: Path, may_be_new: bool = True) -> Dataset:
    """The data set with the labels of a table of corrections.

    Args:
        dataset: what was found.
        table: a CSV with the columns `digest` and `label`.
        may_be_new: whether it may name labels that the data set does not have.

    Raises DataError where the table cannot be read, contradicts itself, fits no image, or names a
    label that may not be new.
    """
    wanted = read_corrections(table)
    known = {image.digest for image in (*dataset.images, *dataset.contradictions)}
    if wanted and not {*wanted} & known:
        raise DataError(
            f"{table}: expected corrections of images in {dataset.root}, got "
            f"{counted(len(wanted), 'row')} that fit none of its {counted(len(known), 'image')}"
        )
    news = {label for digest, label in wanted.items() if digest in known}
    news -= {*dataset.labels, EXCLUDE}
    if news and not may_be_new:
        raise DataError(
            f"{table}: expected labels of {listed(dataset.labels)}, or {EXCLUDE}, got "
            f"{listed(news)}"
        )
    # What stands in two classes is left out, unless somebody says which of them is right.
    settled = [one for one in dataset.contradictions if one.digest in wanted]
    taken = sorted((*dataset.images, *settled), key=lambda one: one.path)
    labels, emptied = dataset.labels, []
    if news:
        check_labels(tuple(news))
    if may_be_new:
        # A class that all images have been taken from is none any more.
        left = {wanted.get(one.digest, dataset.labels[one.label]) for one in taken}
        had = {dataset.labels[one.label] for one in taken}
        emptied = sorted(had - left)
        labels = tuple(sorted({*dataset.labels, *news} - {*emptied}))
    numbers = {label: number for number, label in enumerate(labels)}
    images, excluded, changed = [], {}, set()
    for image in taken:
        own = dataset.labels[image.label]
        if wanted.get(image.digest) == EXCLUDE:
            excluded[image.path] = f"left out by {table.name}"
            continue
        label = wanted.get(image.digest, own)
        images.append(replace(image, label=numbers[label]))
        if label != own:
            changed.add(image.digest)
    if not images or (may_be_new and len(labels) < 2):
        raise DataError(
            f"{table}: expected corrections that leave images of at least 2 classes, they leave "
            f"{listed(labels if images else ()) or 'none'}: correct fewer"
        )
    back = {image.path for image in settled}
    others = [(path, reason) for path, reason in dataset.left_out if path not in back]
    told = [
        f"{counted(len(changed), 'label')} corrected and {counted(len(excluded), 'image')} left "
        f"out by {table.name}"
    ]
    if unmatched := len({*wanted} - known):
        told.append(f"{counted(unmatched, 'row')} of {table.name} fit no image here")
    for label in sorted(news):
        count = sum(image.label == numbers[label] for image in images)
        told.append(f"{label} is a new label, of {counted(count, 'image')}")
    told += [f"{label} has no image any more: it is no class" for label in emptied]
    return replace(
        dataset,
        labels=labels,
        images=tuple(images),
        left_out=(*others, *excluded.items()),
        warnings=(*dataset.warnings, *told),
        contradictions=tuple(
            replace(one, label=numbers[dataset.labels[one.label]])
            for one in dataset.contradictions
            if one.path not in back and dataset.labels[one.label] in numbers
        ),
        corrected=frozenset(changed),
        excluded=frozenset(excluded),
    )


def corrected_tests(dataset: Dataset, split: Mapping[str, str] | None = None) -> str | None:
    """A sentence on what corrections do to a test part; None where they do nothing.

    Args:
        dataset: the images.
        split: the part of each; None: all of them are tested on.
    """
    names = [
        image.path
        for image in dataset.images
        if image.digest in dataset.corrected and (split is None or split[image.path] == "test")
    ]
    told = []
    if names:
        count = counted(len(names), "test image")
        told.append(f"{count} had another label before the corrections, {listed(names)}")
    if dataset.excluded:
        told.append(f"{counted(len(dataset.excluded), 'image')} left out, of whatever part")
    if not told:
        return None
    return (
        f"{'; '.join(told)}: figures flatter if only what a model got wrong is mended or left out"
    )


def read_corrections(table: Path) -> dict[str, str]:
    """The label, or EXCLUDE, for each digest; raises DataError as `corrected`."""
    return {digest: row["label"] for digest, row in read_rows(table).items()}


def read_rows(table: Path) -> dict[str, dict[str, str]]:
    """The rows by digest, each with the COLUMNS that it has; raises DataError as `corrected`."""
    try:
        content = table.read_bytes()
        text = content.decode(encoding_of(content))
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is neither UTF-8 nor UTF-16"
        raise DataError(f"{table}: expected a table of corrections: {why}") from error
    whole = text
    text = text.lstrip("\r\n")  # a table has its header in the first line that says something
    before = len(whole.splitlines()) - len(text.splitlines())
    first = next(iter(text.splitlines()), "")
    found: dict[str, dict[str, str]] = {}
    try:
        # Strict: a quotation mark that is never closed would swallow the rest of the table.
        rows = csv.DictReader(
            io.StringIO(text, newline=""), delimiter=delimiter_of(first), strict=True
        )
        if not {"digest", "label"} <= {*(rows.fieldnames or ())}:
            raise DataError(
                f"{table}: expected the columns digest and label, as kit review writes them"
            )
        for row in rows:
            told = {name: (row.get(name) or "").strip() for name in COLUMNS}
            if not any(told.values()):
                continue  # a spreadsheet keeps a row whose cells were cleared
            digest, label = told["digest"].lower(), unicodedata.normalize("NFC", told["label"])
            if len(digest) != 64 or not label:
                raise DataError(
                    f"{table} line {before + rows.line_num}: expected a SHA-256 and a label, got "
                    f"{digest or 'none'} and {label or 'none'}"
                )
            told |= {"digest": digest, "label": label}
            first_label = found.setdefault(digest, told)["label"]
            if first_label != label:
                raise DataError(
                    f"{table} line {before + rows.line_num}: expected one label for an image, got "
                    f"{first_label} and {label}"
                )
    except csv.Error as error:
        raise DataError(
            f"{table}: expected a sound table of corrections, its reading fails: {error}"
        ) from error
    return found
