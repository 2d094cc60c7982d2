"""Labels of images on a terminal, as text, JSON or CSV."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import TextIO

from kit.filenames import allow_any_name, shown
from kit.runtime.classifier import Classification, Classifier, Failure
from kit.runtime.paths import image_paths

FORMATS = ("text", "json", "csv")


def write_results(
    results: Iterable[Classification | Failure],
    style: str,
    out: TextIO,
    err: TextIO,
    further: Sequence[str] = (),
) -> bool:
    """Prints each result as it comes; returns whether every image could be labelled.

    Args:
        results: from Classifier.classify_files.
        style: one of FORMATS.
        out: results.
        err: failures, where the format has no place for them.
        further: columns that CSV has besides, of further_columns.
    """
    every = True
    if style == "csv":
        import csv

        table = csv.writer(out, lineterminator="\n")
        table.writerow(("image", "rank", "index", "label", "score", "error", *further))
    for result in results:
        failed = isinstance(result, Failure)
        every = every and not failed
        if style == "json":
            import json

            out.write(json.dumps(_as_json(result), ensure_ascii=False) + "\n")
        elif style == "csv":
            table.writerows(_csv_rows(result, further))
        elif isinstance(result, Failure):
            err.write(f"{shown(result.image)}: {result.error}\n")
        else:
            out.write(f"{shown(result.image or '')}: {_as_text(result)}\n")
        out.flush()
    return every


def _csv_rows(
    result: Classification | Failure, further: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """A row for each category; one without a category where there is none."""
    if isinstance(result, Failure):
        yield (result.image, "", "", "", "", result.error, *("" for _ in further))
        return
    told = _screening_fields(result)
    told["answer"] = result.answer or ("unknown" if result.unknown else "")
    besides = [told[name] for name in further]
    if not result.categories:  # all are below the threshold
        yield (result.image, "", "", "", "", "", *besides)
    for rank, c in enumerate(result.categories, 1):
        yield (result.image, rank, c.index, c.label, f"{c.score:.6f}", "", *besides)


def _as_text(result: Classification) -> str:
    said = [f"{c.label} {c.score:.3f}" for c in result.categories] or [
        "nothing above the threshold"
    ]
    if result.unknown:
        return f"unknown (nearest: {said[0]})"
    return (f"{result.answer}: " if result.answer else "") + ", ".join(said)


def _screening_fields(result: Classification) -> dict[str, object]:
    """What a screening model says besides."""
    if result.unfamiliarity is None:
        return {}
    return {"unknown": result.unknown, "unfamiliarity": round(result.unfamiliarity, 6)}


def _as_json(result: Classification | Failure) -> dict[str, object]:
    if isinstance(result, Failure):
        return {"image": result.image, "error": result.error}
    answer = {"answer": result.answer} if result.answer else {}
    categories = [
        {"index": c.index, "label": c.label, "score": round(c.score, 6)} for c in result.categories
    ]
    return {"image": result.image, **answer, **_screening_fields(result), "categories": categories}


def label_images(
    classifier: Classifier,
    images: Sequence[str],
    style: str,
    out: TextIO,
    err: TextIO,
    explain: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> bool:
    """Labels files, folders or the paths on standard input; returns whether all went well.

    Args:
        classifier: the model.
        images: files, folders, or `-`.
        style: one of FORMATS.
        out: results.
        err: failures, where the format has no place for them.
        explain: where overlays go: a PNG for one file; for several, or where it is a folder or
            ends in a slash, a folder; None: nowhere.
        force: replace overlays that are there.
    """
    if "-" in images:
        allow_any_name(sys.stdin, "surrogateescape")
    allow_any_name(out, "backslashreplace")
    paths = image_paths(images, sys.stdin)
    one = is_single_image(images)
    results: Iterable[Classification | Failure]
    if explain is not None:
        # A glob may give one image where the user means a folder.
        folder = os.fspath(explain).endswith(("/", os.sep)) or os.path.isdir(explain)
        results = _explained(classifier, paths, Path(explain), one and not folder, force)
    elif one:
        results = _one(classifier, images[0])
    else:
        results = classifier.classify_files(paths)
    return write_results(results, style, out, err, further_columns(classifier))


def is_single_image(images: Sequence[str]) -> bool:
    """Whether these arguments name one image file, and nothing else."""
    return len(images) == 1 and os.path.isfile(images[0])


def further_columns(classifier: Classifier) -> tuple[str, ...]:
    """Columns of the CSV of a model that tells unknown images, or has an operating point."""
    card = classifier.file.card
    if card is None or (card.screening is None and card.operating_point is None):
        return ()
    return (*(("unknown", "unfamiliarity") if card.screening else ()), "answer")


def _explained(
    classifier: Classifier, paths: Iterable[str], output: Path, one: bool, force: bool
) -> Iterator[Classification | Failure]:
    """Writes an overlay of each image: as the file `output`, or into the folder `output`."""
    from kit.errors import ImageError
    from kit.files import check_absent, write_beside
    from kit.runtime.explain import overlay

    used: set[str] = set()
    for path in paths:
        # Two folders may have images of one name.
        stem = Path(path).stem
        names = (f"{stem}_{number}" if number else stem for number in count())
        name = next(name for name in names if name not in used)
        used.add(name)
        target = check_absent(output if one else output / f"{name}.png", force)
        try:
            found = classifier.explain(path)
        except ImageError as error:
            yield Failure(path, str(error))
            continue
        with io.BytesIO() as picture:
            overlay(found.pixels, found.activation_map).save(picture, "PNG")
            write_beside(target, picture.getvalue(), force)
        yield found.classification


def _one(classifier: Classifier, image: str) -> Iterator[Classification | Failure]:
    """One image gets all threads for itself, and no second interpreter."""
    from kit.errors import ImageError

    try:
        yield classifier.classify(image)
    except ImageError as error:
        yield Failure(image, str(error))


def run_self_test(classifier: Classifier, out: TextIO) -> bool:
    """Prints how each golden check went; returns whether all passed."""
    from kit.runtime.self_test import self_test

    results = self_test(classifier)
    for result in results:
        pixels = "same pixels" if result.same_pixels else "OTHER PIXELS"
        out.write(
            f"pattern {result.pattern}: {pixels}, largest score difference "
            f"{result.difference:.4f} (allowed {result.tolerance:g}): "
            f"{'passed' if result.passed else 'FAILED'}\n"
        )
    passed = all(result.passed for result in results)
    out.write(f"self-test {'passed' if passed else 'FAILED'}\n")
    return passed
