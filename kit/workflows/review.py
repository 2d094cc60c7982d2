"""`kit review`: which labels are probably wrong, what else is odd, and a page to mend them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from converters.familiarity import LEAST_IMAGES, Familiarity
from kit.data import Dataset, LabelledImage, load_dataset
from kit.data.corrections import EXCLUDE, corrected_tests, read_rows
from kit.data.near_copies import BLANK, hash_bits, near_another_label
from kit.data.split import group_keys, group_warnings, has_groups, split_dataset
from kit.errors import DataError, ImageError
from kit.evaluation.label_errors import DOUBT, LABEL, TWICE, are_suspects, scores_by_others
from kit.evaluation.metrics import Scores, Truth
from kit.evaluation.oddities import (
    COPY,
    UNLIKE,
    Flags,
    Look,
    bar_of,
    confusions,
    far_out,
    groups_apart,
    odd_looks,
    positions,
)
from kit.filenames import text_bytes
from kit.files import check_spares, folder_beside
from kit.model.tables import csv_text
from kit.report.pictures import holds_dicom, jpeg_base64
from kit.report.review import ReviewContent, Reviewed, render_review
from kit.reporting import Reporter, Silent, counted
from kit.runtime.appearance import appearance_of
from kit.runtime.images import read_image
from kit.runtime.parallel import default_threads, ordered_map
from kit.training.backbones import BackboneChoice, choose
from kit.training.fitting import Vectors
from kit.training.weights import Weights, find_weights
from kit.workflows.cross_validate import Indices, readable_bottlenecks, tied
from kit.workflows.train_settings import TrainSettings

SUSPECTS_NAME, PAGE_NAME = "suspects.csv", "index.html"
MOST_ON_PAGE = 10_000
_THUMBNAIL, _QUALITY = 112, 65  # pixels; JPEG
_COLUMNS = ("path", "label", "suggested", "label_score", "suggested_score", "reason", "digest")


@dataclass(frozen=True)
class Review:
    """What was found.

    Attributes:
        output: the folder that was written.
        images: how many images were looked at.
        suspects: those with a reason to look at them; first what has two labels, then doubtful
            labels.
        accuracy: share of images whose own label has the highest score, of those with one label.
    """

    output: Path
    images: int
    suspects: tuple[Reviewed, ...]
    accuracy: float

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "output": str(self.output)}


class Seen(NamedTuple):
    """What one image showed: its look, its perceptual hash (none of a blank one), a small JPEG."""

    look: Look | None
    bits: npt.NDArray[np.bool_] | None
    picture: str


def review(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: TrainSettings | None = None,
    *,
    force: bool = False,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> Review:
    """Scores every image by classifiers that have not learnt from it, and looks for odd ones.

    Args:
        images: the folder.
        output: the folder to write: `suspects.csv`, and `index.html` to mend labels on.
        settings: the source of labels, the backbone, preprocessing, the parts, the seed, the groups
            and `gallery` are used; the weights have to be pretrained.
        force: replace what is there.
        cache: where bottlenecks are kept.
        reporter: is told of progress.

    Raises:
        DataError: the images cannot be used, or a label has too few.
        OutputExistsError: the output exists, or is or holds what is read.
        WeightsError: the weights are not to be had.
    """
    settings, reporter = settings or TrainSettings(), reporter or Silent()
    check_spares(output, images, *settings.data.tables)
    with folder_beside(output, force) as folder:
        choice, weights = pretrained(settings, reporter)
        dataset = load_dataset(images, settings.data)
        if EXCLUDE in dataset.labels:
            raise DataError(
                f"{dataset.root}: expected no class called {EXCLUDE}, since corrections leave an "
                "image out by this word, got one: rename it"
            )
        for line in (*dataset.warnings, *group_warnings(dataset, settings.split)):
            reporter.warn(line)
        spec = choice.preprocess(settings.fit, settings.resize)
        contested = {image.path for image in dataset.contradictions}
        if contested:
            reporter.warn(
                f"{counted(len(contested), 'image')} with the content of an image of another "
                "class: these come first on the page"
            )
        whole, vectors = readable_bottlenecks(
            replace(
                dataset,
                images=(*dataset.images, *dataset.contradictions),
                left_out=tuple(one for one in dataset.left_out if one[0] not in contested),
            ),
            *(choice, weights, spec, cache, reporter),
        )
        known = np.array([image.path not in contested for image in whole.images])
        dataset = replace(whole, images=tuple(compress(whole.images, known)))
        parts = split_dataset(dataset, settings.split)
        if told := corrected_tests(dataset, parts):
            reporter.warn(told)
        truth = np.array([image.label for image in whole.images], np.int64)
        keys = group_keys(whole, settings.split.group_regex)
        members = tied(whole, keys)
        reporter.say("classifiers that have not learnt from an image look at it")
        scores = scores_by_others(vectors, truth, members, settings.fitting.seed, known)
        seen = look_at(whole, settings.gallery, reporter)
        found = _reasons(vectors, truth, members, known, seen)
        reviewed, order = _ranked(whole, parts, scores, truth, known, found)
        suspects = tuple(one for one in reviewed if one.reasons)
        (folder / SUSPECTS_NAME).write_bytes(text_bytes(csv_text(_COLUMNS, map(_row, suspects))))
        shown = order[:MOST_ON_PAGE]
        named = reviewed
        if hides_pictures(whole, settings.gallery):
            # Names of files may be those of patients.
            named = tuple(
                replace(one, path=f"image {number}") for number, one in enumerate(reviewed, 1)
            )
        reporter.say(f"a map of {len(shown)} images")
        corrections = settings.data.corrections
        in_doubt = scores.argmax(axis=1) != truth
        content = ReviewContent(
            labels=dataset.labels,
            images=named[:MOST_ON_PAGE],
            left_out=len(reviewed) - len(shown),
            pictures=[seen[place].picture for place in shown],
            positions=positions(vectors[shown], settings.fitting.seed).tolist(),
            earlier=() if corrections is None else tuple(read_rows(corrections).values()),
            confused=[
                (dataset.labels[one.label], dataset.labels[one.other], one.images)
                for one in confusions(scores[known], truth[known])
            ],
            groups=[
                (
                    named[int((members[order] == one.group).argmax())].path,
                    *(one.images, one.apart, one.suspects),
                )
                for one in (
                    groups_apart(vectors[known], truth[known], members[known], in_doubt[known])
                    if has_groups(keys)
                    else ()
                )
            ],
        )
        (folder / PAGE_NAME).write_bytes(text_bytes(render_review(content)))
    return Review(Path(output), len(truth), suspects, float(1 - in_doubt[known].mean()))


def pretrained(settings: TrainSettings, reporter: Reporter) -> tuple[BackboneChoice, Weights]:
    """The backbone and its weights; raises ValueError for random ones."""
    choice = choose(settings.backbone, settings.alpha, settings.input_resolution)
    weights = find_weights(choice, settings.weights, settings.fitting.seed)
    if weights.path is None:
        raise ValueError(
            "expected pretrained weights, got --weights none: random ones tell nothing"
        )
    reporter.say(f"{choice}, from {weights.description}")
    return choice, weights


def look_at(dataset: Dataset, gallery: bool | None, reporter: Reporter) -> list[Seen]:
    """Decodes every image once.

    Args:
        dataset: the images.
        gallery: whether there are pictures; None: unless there are DICOM files.
        reporter: progress.
    """
    from PIL.Image import fromarray

    hidden = hides_pictures(dataset, gallery)

    def work(image: LabelledImage) -> Seen:
        try:
            pixels = read_image(dataset.root / image.path, _THUMBNAIL)
        except ImageError:
            return Seen(None, None, "")  # it was read a moment ago, or its bottleneck was cached
        small = fromarray(pixels)
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        grey = small.convert("L")
        values = np.asarray(grey)
        look = Look(*appearance_of(np.asarray(small)), bar_of(values))
        bits = hash_bits(grey) if values.std() >= BLANK else None
        return Seen(look, bits, "" if hidden else jpeg_base64(small, _THUMBNAIL, _QUALITY))

    found = ordered_map(work, dataset.images, default_threads())
    return list(reporter.track(found, len(dataset.images), "looking at images"))


def hides_pictures(dataset: Dataset, gallery: bool | None) -> bool:
    """Whether a page shows neither pictures nor names: by `gallery`, or because there is DICOM."""
    if gallery is not None:
        return not gallery
    return holds_dicom(dataset.root, (image.path for image in dataset.images))


def _reasons(
    vectors: Vectors, truth: Truth, members: Indices, known: Flags, seen: Sequence[Seen]
) -> dict[str, Flags]:
    """By reason other than its label, whether each image has it: bool `[images]`."""
    count = len(vectors)
    unlike = far_out(_log_unfamiliarity(vectors, members, known))
    found = {COPY: np.zeros(count, bool), UNLIKE: unlike}
    looked = [place for place, one in enumerate(seen) if one.look is not None]
    for reason, flags in odd_looks([look for one in seen if (look := one.look)]).items():
        found[reason] = np.zeros(count, bool)
        found[reason][looked] = flags
    hashed = [place for place, one in enumerate(seen) if one.bits is not None]
    bits = [bits for one in seen if (bits := one.bits) is not None]
    found[COPY][hashed] = near_another_label(bits, truth[hashed])
    found[COPY] &= known  # of the others it is told that they are the very same
    return found


def _log_unfamiliarity(vectors: Vectors, members: Indices, teach: Flags) -> npt.NDArray[np.float64]:
    """How unlike the others each image is, by what is known of the half that it is not in."""
    half = (np.unique(members, return_inverse=True)[1] % 2).astype(bool)
    values = np.zeros(len(vectors))
    if min((half & teach).sum(), (~half & teach).sum()) < LEAST_IMAGES:
        return values
    for own in (half, ~half):
        try:
            known = Familiarity.of(vectors[~own & teach])
        except DataError:  # all of them are alike
            return np.zeros(len(vectors))
        values[own] = np.log(known.unfamiliarity(vectors[own]) + 1e-9)
    return values


def _ranked(
    dataset: Dataset,
    parts: dict[str, str],
    scores: Scores,
    truth: Truth,
    known: Flags,
    reasons: dict[str, Flags],
) -> tuple[tuple[Reviewed, ...], Indices]:
    """All images: those of two labels first, then doubtful labels, what is odd, and the others; and
    their places."""
    places, twice = np.arange(len(truth)), ~known
    confident, own = are_suspects(scores, truth, known), scores[places, truth]
    others = scores.copy()
    others[places, truth] = -1
    suggested, highest = others.argmax(axis=1), others.max(axis=1)
    doubtful = highest > own
    reasons = {TWICE: twice, LABEL: doubtful & confident, DOUBT: doubtful & ~confident, **reasons}
    odd = np.any(list(reasons.values()), axis=0)
    # What nothing was found about, in the order of paths, or by chance where not all is shown.
    rest = places
    if len(truth) > MOST_ON_PAGE:
        rest = np.argsort(np.argsort([image.digest for image in dataset.images]))
    # What has the same content stays together; the one whose label is least likely decides.
    content = np.unique([image.digest for image in dataset.images], return_inverse=True)[1]
    least = np.full(len(truth), np.inf)
    np.minimum.at(least, content, own)
    of_label = doubtful | twice
    within = (np.where(of_label, own, rest), *np.where(twice, (content, least[content]), 0))
    order = np.lexsort((*within, ~odd, ~of_label, ~twice))
    reviewed = tuple(
        Reviewed(
            path=dataset.images[place].path,
            digest=dataset.images[place].digest,
            label=dataset.labels[truth[place]],
            suggested=dataset.labels[suggested[place]],
            label_score=round(float(own[place]), 6),
            suggested_score=round(float(highest[place]), 6),
            reasons=tuple(name for name, flags in reasons.items() if flags[place]),
            part=parts.get(dataset.images[place].path) or dataset.images[place].part or "",
        )
        for place in order
    )
    return reviewed, order


def _row(suspect: Reviewed) -> dict[str, Any]:
    row = {**vars(suspect), "reason": " ".join(suspect.reasons)}
    if suspect.suggested_score <= suspect.label_score:
        row |= {"suggested": "", "suggested_score": ""}  # nothing is wrong with its label
    return row
