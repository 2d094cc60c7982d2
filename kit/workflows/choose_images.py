"""`kit review --unlabelled`: which of many photographs are worth a person's minute."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kit.data import Dataset, load_dataset, scan_unlabelled
from kit.errors import DataError
from kit.evaluation.label_errors import scores_by
from kit.evaluation.worth_labelling import worth_labelling
from kit.filenames import text_bytes
from kit.files import check_spares, folder_beside
from kit.model.tables import csv_text, delimiter_of, encoding_of
from kit.report.review import ReviewContent, Reviewed, render_review
from kit.reporting import Reporter, Silent, counted
from kit.workflows.cross_validate import readable_bottlenecks
from kit.workflows.review import PAGE_NAME, look_at, pretrained
from kit.workflows.train_settings import TrainSettings

CHOSEN_NAME = "chosen.csv"
MOST = 50
_COLUMNS = ("path", "suggested", "suggested_score", "digest")


@dataclass(frozen=True)
class Chosen:
    """What was chosen.

    Attributes:
        output: the folder that was written.
        images: the images, those that a classifier is least sure of first.
        of: how many there were.
    """

    output: Path
    images: tuple[Reviewed, ...]
    of: int

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "output": str(self.output)}


def choose_images(
    images: str | os.PathLike[str],
    unlabelled: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: TrainSettings | None = None,
    most: int = MOST,
    *,
    force: bool = False,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> Chosen:
    """Chooses photographs that are worth labelling next.

    Args:
        images: the folder of what is labelled already.
        unlabelled: a folder of photographs, or a CSV of `kit-label --output` that names them.
        output: the folder to write: `chosen.csv`, and `index.html` to label them on.
        settings: as for kit.workflows.review.review.
        most: how many to choose.
        force: replace what is there.
        cache: where bottlenecks are kept.
        reporter: is told of progress.

    Raises:
        DataError: the images cannot be used, or all are labelled already.
        OutputExistsError: the output exists, or is or holds what is read.
        ValueError: `most` is below 1, or the weights are random.
        WeightsError: the weights are not to be had.
    """
    settings, reporter = settings or TrainSettings(), reporter or Silent()
    check_spares(output, images, unlabelled, *settings.data.tables)
    if most < 1:
        raise ValueError(f"expected to choose at least 1 image, got {most}")
    with folder_beside(output, force) as folder:
        choice, weights = pretrained(settings, reporter)
        spec = choice.preprocess(settings.fit, settings.resize)
        pool = _pool(Path(unlabelled))
        dataset = load_dataset(images, settings.data)
        for line in (*dataset.warnings, *pool.warnings):
            reporter.warn(line)
        known = {image.digest for image in dataset.images}
        news = tuple(image for image in pool.images if image.digest not in known)
        if not news:
            raise DataError(f"{unlabelled}: expected images that {images} does not have, got none")
        if old := len(pool.images) - len(news):
            reporter.say(f"passed over {counted(old, 'image')} that {images} has already")
        dataset, vectors = readable_bottlenecks(dataset, choice, weights, spec, cache, reporter)
        pool, candidates = readable_bottlenecks(
            replace(pool, images=news), choice, weights, spec, cache, reporter
        )
        truth = np.array([image.label for image in dataset.images], np.int64)
        if len(np.unique(truth)) < 2:
            raise DataError(
                f"{dataset.root}: expected images of 2 labels or more that can be read, got fewer"
            )
        scores = scores_by(vectors, truth, candidates, len(dataset.labels))
        places = worth_labelling(candidates, scores, most, settings.fitting.seed)
        chosen = tuple(
            Reviewed(
                path=pool.images[place].path,
                digest=pool.images[place].digest,
                label="",
                suggested=dataset.labels[int(scores[place].argmax())],
                label_score=0.0,
                suggested_score=round(float(scores[place].max()), 6),
            )
            for place in places
        )
        shown = replace(pool, images=tuple(pool.images[place] for place in places))
        pictures = [one.picture for one in look_at(shown, settings.gallery, reporter)]
        page = render_review(ReviewContent(dataset.labels, chosen, 0, pictures))
        (folder / PAGE_NAME).write_bytes(text_bytes(page))
        (folder / CHOSEN_NAME).write_bytes(text_bytes(csv_text(_COLUMNS, map(vars, chosen))))
    return Chosen(Path(output), chosen, len(candidates))


def _pool(source: Path) -> Dataset:
    """The photographs of a folder, or those that a results file names."""
    if not source.is_file():
        return scan_unlabelled(source)
    content = source.read_bytes()
    try:
        text = content.decode(encoding_of(content))
        first = next(iter(text.splitlines()), "")
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter_of(first))
        names = dict.fromkeys(row["image"] or "" for row in rows)
    except (UnicodeDecodeError, csv.Error, KeyError, TypeError) as error:
        raise DataError(
            f"{source}: expected a folder, or a CSV of kit-label --output with the column image, "
            "got another file"
        ) from error
    paths = [path for name in names if (path := _found(name, source)) is not None]
    if not paths:
        raise DataError(
            f"{source}: expected images that are still there, got none of {len(names)}: "
            "run the command where kit-label was run"
        )
    pool = scan_unlabelled(source.parent, paths)
    if gone := len(names) - len(paths):
        told = f"left out {counted(gone, 'image')} of {source}, no longer there"
        pool = replace(pool, warnings=(*pool.warnings, told))
    return pool


def _found(name: str, source: Path) -> str | None:
    """The path of an image as kit-label was given it, or seen from where its results lie."""
    folder = source.parent.resolve()
    for path in (Path(name).resolve(), folder / name):
        if path.is_file():
            return str(path.relative_to(folder) if path.is_relative_to(folder) else path)
    return None
