"""`kit review`: which labels are probably wrong, and a page to mend them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit.data import Dataset, LabelledImage, load_dataset
from kit.data.corrections import read_corrections
from kit.data.split import group_keys, group_warnings
from kit.errors import ImageError
from kit.evaluation.label_errors import (
    DOUBT,
    LABEL,
    Suspect,
    are_suspects,
    scores_by_others,
)
from kit.evaluation.metrics import Scores, Truth
from kit.filenames import text_bytes
from kit.files import folder_beside
from kit.report.pictures import holds_dicom, jpeg_base64
from kit.report.review import render_review
from kit.reporting import Reporter, Silent
from kit.runtime.images import read_image
from kit.runtime.parallel import default_threads, ordered_map
from kit.training.backbones import choose
from kit.training.weights import find_weights
from kit.workflows.cross_validate import readable_bottlenecks, tied
from kit.workflows.train_settings import TrainSettings

SUSPECTS_NAME, PAGE_NAME = "suspects.csv", "index.html"
MOST_ON_PAGE = 10_000
_THUMBNAIL = 112  # pixels
_COLUMNS = ("path", "label", "suggested", "label_score", "suggested_score", "reason", "digest")


@dataclass(frozen=True)
class Review:
    """What was found.

    Attributes:
        output: the folder that was written.
        images: how many images were looked at.
        suspects: the most doubtful first.
        accuracy: share of images whose own label has the highest score.
    """

    output: Path
    images: int
    suspects: tuple[Suspect, ...]
    accuracy: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "output": str(self.output)}


def review(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: TrainSettings | None = None,
    *,
    force: bool = False,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> Review:
    """Scores every image by classifiers that have not learnt from it, and ranks the doubtful ones.

    Args:
        images: the folder.
        output: the folder to write: `suspects.csv`, and `index.html` to mend labels on.
        settings: the source of labels, the backbone, preprocessing, the seed, the groups and
            `gallery` are used; the weights have to be pretrained.
        force: replace what is there.
        cache: where bottlenecks are kept.
        reporter: is told of progress.

    Raises:
        DataError: the images cannot be used, or a label has too few.
        OutputExistsError: the output exists.
        WeightsError: the weights are not to be had.
    """
    settings, reporter = settings or TrainSettings(), reporter or Silent()
    with folder_beside(output, force) as folder:
        choice = choose(settings.backbone, settings.alpha, settings.input_resolution)
        weights = find_weights(choice, settings.weights, settings.fitting.seed)
        if weights.path is None:
            raise ValueError("expected pretrained weights, got none: random ones see nothing")
        dataset = load_dataset(images, settings.data)
        for line in (*dataset.warnings, *group_warnings(dataset, settings.split)):
            reporter.warn(line)
        reporter.say(f"{choice}, from {weights.description}")
        spec = choice.preprocess(settings.fit, settings.resize)
        dataset, vectors = readable_bottlenecks(dataset, choice, weights, spec, cache, reporter)
        truth = np.array([image.label for image in dataset.images], np.int64)
        members = tied(dataset, group_keys(dataset, settings.split.group_regex))
        reporter.say("classifiers that have not learnt from an image look at it")
        scores = scores_by_others(vectors, truth, members, settings.fitting.seed)
        suspects = _suspects(dataset, scores, truth)
        (folder / SUSPECTS_NAME).write_bytes(text_bytes(_csv(suspects)))
        shown = suspects[:MOST_ON_PAGE]
        pictures = _pictures(dataset, shown, settings.gallery, reporter)
        table = settings.data.corrections
        earlier = {} if table is None else read_corrections(table)
        page = render_review(dataset.labels, shown, len(suspects), len(truth), pictures, earlier)
        (folder / PAGE_NAME).write_bytes(text_bytes(page))
    accuracy = float((scores.argmax(axis=1) == truth).mean())
    return Review(Path(output), len(truth), suspects, accuracy)


def _suspects(dataset: Dataset, scores: Scores, truth: Truth) -> tuple[Suspect, ...]:
    places = np.arange(len(truth))
    confident, own = are_suspects(scores, truth), scores[places, truth]
    others = scores.copy()
    others[places, truth] = -1
    suggested, highest = others.argmax(axis=1), others.max(axis=1)
    order = np.argsort(own, kind="stable")
    return tuple(
        Suspect(
            path=dataset.images[place].path,
            digest=dataset.images[place].digest,
            label=dataset.labels[truth[place]],
            suggested=dataset.labels[suggested[place]],
            label_score=round(float(own[place]), 6),
            suggested_score=round(float(highest[place]), 6),
            reason=LABEL if confident[place] else DOUBT,
        )
        for place in order[highest[order] > own[order]]
    )


def _csv(suspects: Sequence[Suspect]) -> str:
    with io.StringIO() as text:
        writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: getattr(one, name) for name in _COLUMNS} for one in suspects)
        return text.getvalue()


def _pictures(
    dataset: Dataset, suspects: Sequence[Suspect], gallery: bool | None, reporter: Reporter
) -> dict[str, str]:
    """Small JPEGs of the suspects as base64, by path; of DICOM files only if they are asked for."""
    from PIL.Image import fromarray

    if gallery is False:
        return {}
    by_path = {image.path: image for image in dataset.images}

    def work(image: LabelledImage) -> str:
        if gallery is None and holds_dicom(dataset.root, [image.path]):
            return ""
        try:
            pixels = read_image(dataset.root / image.path, _THUMBNAIL)
        except ImageError:
            return ""
        return jpeg_base64(fromarray(pixels), _THUMBNAIL, quality=70)

    images = [by_path[one.path] for one in suspects]
    found = reporter.track(ordered_map(work, images, default_threads()), len(images), "thumbnails")
    return dict(zip((image.path for image in images), found, strict=True))
