"""`kit check`: what is wrong with a data set, before it is trained on."""

from __future__ import annotations

import io
import os
import random
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kit.data import PARTS, Dataset, DataSettings, LabelledImage, SplitSettings, load_dataset
from kit.data.near_copies import BLANK, HASH_SIDE, NEAR_BITS, hash_bits, near_copies
from kit.data.scan import FEW_IMAGES
from kit.data.sources import UNMATCHED
from kit.data.split import check_split, group_members, split_dataset, torn_apart
from kit.errors import DataError, ImageError
from kit.files import check_absent, write_beside
from kit.model.preprocess import Pixels
from kit.reporting import Reporter, Silent, counted
from kit.runtime.dicom import HEAD_BYTES, dicom_facts, is_dicom
from kit.runtime.images import read_image
from kit.runtime.parallel import default_threads, ordered_map

if TYPE_CHECKING:
    from PIL.Image import Image

_IMBALANCE = 5
_MIN_SIDE = 64
_SHORTCUT = 0.9
_DECODE_SIDE = 128

KINDS = {
    "unreadable": "cannot be read",
    "unlabelled": "no label, since the label pattern does not match",
    "copies_across_classes": "the same content in two classes: one label must be wrong",
    "copies_across_parts": "a content or a group in two given parts: the test knows the answer",
    "near_copies_across_classes": "nearly the same image in two classes",
    "near_copies_across_parts": "nearly the same image in two parts: put them in one group",
    "groups_across_classes": "one group (patient) in two classes",
    "missing_part": "a class without images in a part",
    "few_images": "too few images in a class",
    "imbalance": "classes of very different sizes",
    "shortcut": "a class that its files' form gives away: a model may learn that instead",
    "copies": "the same content more than once in a class",
    "near_copies": "nearly the same image more than once in a class",
    "tiny": f"a side below {_MIN_SIDE} pixels",
    "blank": "hardly any contrast: blank",
}
"""Every kind of problem and its heading, the worst first."""


@dataclass(frozen=True)
class Problem:
    """Something to look at before training.

    Attributes:
        kind: a key of KINDS.
        message: one line.
        images: paths of the images concerned; none where a whole class is.
    """

    kind: str
    message: str
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class ClassFacts:
    """One class as it is.

    Attributes:
        label: its name.
        images: how many can be read.
        parts: images of each part.
        width: smallest, median and largest, in pixels, upright.
        height: smallest, median and largest, in pixels, upright.
        formats: images of each file format.
        modes: images of each Pillow mode, or DICOM photometric interpretation.
    """

    label: str
    images: int
    parts: Mapping[str, int]
    width: tuple[int, int, int]
    height: tuple[int, int, int]
    formats: Mapping[str, int]
    modes: Mapping[str, int]


@dataclass(frozen=True)
class CheckReport:
    """What check_images found.

    Attributes:
        root: the folder.
        fingerprint: digest of contents and labels.
        images: how many can be read.
        groups: how many groups (patients) they belong to; None where none are known.
        classes: in the order of the labels.
        problems: the worst first.
        warnings: what was passed over, and how the folders or the table were read.
    """

    root: str
    fingerprint: str
    images: int
    groups: int | None
    classes: tuple[ClassFacts, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values; groups' keys (patients' ids) are not among them."""
        return asdict(self)


@dataclass(frozen=True)
class _ImageFacts:
    """What one decoded image shows."""

    width: int
    height: int
    format: str
    mode: str
    size_bytes: int
    contrast: float
    bits: npt.NDArray[np.bool_]


def check_images(
    images: str | os.PathLike[str] | Dataset,
    settings: DataSettings | None = None,
    split: SplitSettings | None = None,
    *,
    near_bits: int = NEAR_BITS,
    reporter: Reporter | None = None,
) -> CheckReport:
    """Decodes every image and looks for what spoils a classifier or its figures.

    Args:
        images: the folder, or the data set that was found in one (`settings` is then not used).
        settings: where labels, groups and given parts come from.
        split: as training would split it.
        near_bits: perceptual hashes (of 256 bits) this close are near copies; 0 to 255.
        reporter: progress.

    Raises:
        DataError: there is no data set to check.
        MissingDependencyError: there are DICOM files, and pydicom is missing.
    """
    if not 0 <= near_bits < HASH_SIDE**2:
        raise ValueError(f"expected 0 to {HASH_SIDE**2 - 1} bits for near copies, got {near_bits}")
    split = split or SplitSettings()
    dataset = images if isinstance(images, Dataset) else load_dataset(images, settings)
    left_out = dict(dataset.left_out)
    for path in (*(image.path for image in dataset.contradictions), *dataset.excluded):
        del left_out[path]
    reporter = reporter or Silent()
    for line in dataset.warnings:
        reporter.warn(line)
    facts, unreadable = _look_at_all(dataset, reporter)
    left_out |= unreadable
    problems = [_left_out(path, reason) for path, reason in left_out.items()]
    dataset = dataset.without(unreadable)
    if not dataset.images:
        raise DataError(f"{images}: expected images, none can be read: {problems[0].message}")
    parts = split_dataset(dataset, split)
    problems += _copies(dataset)
    problems += _torn(dataset, split)
    problems += _near_copies(dataset, parts, facts, near_bits)
    problems += _groups_across_classes(dataset, split)
    problems += _counts(dataset, parts, split)
    problems += _shortcuts(dataset, facts)
    problems += _small_or_blank(dataset, facts)
    order = list(KINDS)
    groups = group_members(dataset, split)
    return CheckReport(
        root=str(dataset.root),
        fingerprint=dataset.fingerprint,
        images=len(dataset.images),
        groups=len(groups) or None,
        classes=tuple(
            _facts(
                label, [image for image in dataset.images if image.label == number], parts, facts
            )
            for number, label in enumerate(dataset.labels)
        ),
        problems=tuple(sorted(problems, key=lambda problem: order.index(problem.kind))),
        warnings=dataset.warnings,
    )


def _left_out(path: str, reason: str) -> Problem:
    if reason == UNMATCHED:
        return Problem("unlabelled", path, (path,))
    return Problem("unreadable", f"{path}: {reason}", (path,))


def report_text(report: CheckReport, most: int = 10) -> str:
    """The report for people; at most so many problems of each kind are listed."""
    groups = "" if report.groups is None else f", {report.groups} groups"
    lines = [f"{report.images} images of {len(report.classes)} classes in {report.root}{groups}"]
    header = ("class", "images", *PARTS, "width", "height", "formats", "modes")
    rows = [header, *(_row(facts) for facts in report.classes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    for kind, heading in KINDS.items():
        found = [problem.message for problem in report.problems if problem.kind == kind]
        if found:
            lines += ["", f"{heading} ({len(found)}):", *(f"  {line}" for line in found[:most])]
            lines += [f"  and {len(found) - most} more"] if len(found) > most else []
    return "\n".join([*lines, "", counted(len(report.problems), "problem")])


def _row(facts: ClassFacts) -> tuple[str, ...]:
    return (
        facts.label,
        str(facts.images),
        *(str(facts.parts[part]) for part in PARTS),
        _span(facts.width),
        _span(facts.height),
        _tally(facts.formats),
        _tally(facts.modes),
    )


def _span(values: tuple[int, int, int]) -> str:
    low, median, high = values
    return str(low) if low == high else f"{low} to {high} ({median})"


def _tally(counts: Mapping[str, int]) -> str:
    only = len(counts) == 1
    return ", ".join(name if only else f"{name} {count}" for name, count in counts.items())


def _look_at_all(
    dataset: Dataset, reporter: Reporter
) -> tuple[dict[str, _ImageFacts], dict[str, str]]:
    """What each readable image shows by path, contradictions too; the reasons of the others."""

    def work(image: LabelledImage) -> _ImageFacts | str:
        try:
            return _look_at(dataset.root / image.path)
        except ImageError as error:
            return str(error)

    images = [*dataset.images, *dataset.contradictions]
    results = ordered_map(work, images, default_threads())
    facts: dict[str, _ImageFacts] = {}
    unreadable: dict[str, str] = {}
    tracked = reporter.track(results, len(images), "checking")
    for image, result in zip(images, tracked, strict=True):
        if isinstance(result, str):
            unreadable[image.path] = result
        else:
            facts[image.path] = result
    return facts, unreadable


def _look_at(path: Path) -> _ImageFacts:
    from PIL.Image import fromarray

    pixels = read_image(path, _DECODE_SIDE)
    kind, mode, width, height = _header(path)
    if (width > height) != (pixels.shape[1] > pixels.shape[0]):  # its orientation tag turns it
        width, height = height, width
    grey = fromarray(pixels).convert("L")
    return _ImageFacts(
        width=width,
        height=height,
        format=kind,
        mode=mode,
        size_bytes=path.stat().st_size,
        contrast=float(np.std(np.asarray(grey))),
        bits=hash_bits(grey),
    )


def _header(path: Path) -> tuple[str, str, int, int]:
    """Format, mode, width and height as stored."""
    from PIL import Image

    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
        file.seek(0)
        if is_dicom(head):
            return ("DICOM", *dicom_facts(file))
        with Image.open(file) as image:
            return image.format or "", image.mode, *image.size


def _copies(dataset: Dataset) -> Iterator[Problem]:
    for paths in _by_digest(dataset.contradictions).values():
        yield Problem("copies_across_classes", ", ".join(paths), paths)
    for paths in _by_digest(dataset.images).values():
        if len(paths) > 1:
            yield Problem("copies", ", ".join(paths), paths)


def _by_digest(images: Iterable[LabelledImage]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for image in images:
        found[image.digest] = (*found.get(image.digest, ()), image.path)
    return found


def _torn(dataset: Dataset, split: SplitSettings) -> Iterator[Problem]:
    for paths in torn_apart(dataset, split):
        yield Problem("copies_across_parts", ", ".join(paths), paths)


def _near_copies(
    dataset: Dataset, parts: Mapping[str, str], facts: Mapping[str, _ImageFacts], near_bits: int
) -> Iterator[Problem]:
    """Clusters of different contents whose hashes are near."""
    # Blank images are all alike, and told of by themselves.
    first = {
        image.digest: image
        for image in reversed(dataset.images)
        if facts[image.path].contrast >= BLANK
    }
    images = sorted(first.values(), key=lambda image: image.path)
    for places in near_copies([facts[image.path].bits for image in images], near_bits):
        found = [images[place] for place in places]
        paths = tuple(image.path for image in found)
        if len({image.label for image in found}) > 1:
            kind = "near_copies_across_classes"
        elif len({parts[path] for path in paths}) > 1:
            kind = "near_copies_across_parts"
        else:
            kind = "near_copies"
        yield Problem(kind, ", ".join(f"{path} ({parts[path]})" for path in paths), paths)


def _groups_across_classes(dataset: Dataset, split: SplitSettings) -> Iterator[Problem]:
    labels = {image.path: image.label for image in dataset.images}
    for paths in group_members(dataset, split):
        if len({labels[path] for path in paths}) > 1:
            yield Problem("groups_across_classes", ", ".join(paths), paths)


def _counts(dataset: Dataset, parts: dict[str, str], split: SplitSettings) -> Iterator[Problem]:
    try:
        check_split(dataset, parts, split)
    except DataError as error:
        yield Problem("missing_part", str(error))
    counts = dict(zip(dataset.labels, dataset.counts(), strict=True))
    for label, count in counts.items():
        if count < FEW_IMAGES:
            yield Problem("few_images", f"{label} has {count}: {FEW_IMAGES} are the least")
    least, most = min(counts, key=counts.__getitem__), max(counts, key=counts.__getitem__)
    if counts[most] > _IMBALANCE * counts[least]:
        yield Problem(
            "imbalance",
            f"{most} has {counts[most]} images, {least} {counts[least]}: look at the hit rate of "
            "each class, not at accuracy alone",
        )


def _shortcuts(dataset: Dataset, facts: Mapping[str, _ImageFacts]) -> Iterator[Problem]:
    """Features of the file, not of the picture, that tell a class from the others."""
    from sklearn.metrics import roc_auc_score

    found = [facts[image.path] for image in dataset.images]
    features: dict[str, list[float]] = {
        "width": [look.width for look in found],
        "height": [look.height for look in found],
        "ratio of the sides": [look.width / look.height for look in found],
        "bytes a pixel": [look.size_bytes / (look.width * look.height) for look in found],
    }
    for name, values in (("format", {x.format for x in found}), ("mode", {x.mode for x in found})):
        for value in sorted(values) if len(values) > 1 else ():
            features[f"{name} {value}"] = [getattr(look, name) == value for look in found]
    truth = np.array([image.label for image in dataset.images])
    # Two classes mirror each other.
    numbers = range(1) if len(dataset.labels) == 2 else range(len(dataset.labels))
    for number in numbers:
        inside = truth == number
        if min(inside.sum(), (~inside).sum()) < FEW_IMAGES:
            continue
        for name, column in features.items():
            area = roc_auc_score(inside, column)
            if max(area, 1 - area) >= _SHORTCUT:
                yield Problem(
                    "shortcut",
                    f"{dataset.labels[number]}: its {name} alone tells it from the others with an "
                    f"area under the ROC curve of {max(area, 1 - area):.3f} (0.5 is chance)",
                )


def _small_or_blank(dataset: Dataset, facts: Mapping[str, _ImageFacts]) -> Iterator[Problem]:
    for image in dataset.images:
        look = facts[image.path]
        if min(look.width, look.height) < _MIN_SIDE:
            said = f"{image.path}: {look.width} x {look.height} pixels"
            yield Problem("tiny", said, (image.path,))
        if look.contrast < BLANK:
            said = f"{image.path}: its grey values deviate by {look.contrast:.1f} of 255"
            yield Problem("blank", said, (image.path,))


def _facts(
    label: str,
    images: Sequence[LabelledImage],
    parts: Mapping[str, str],
    facts: Mapping[str, _ImageFacts],
) -> ClassFacts:
    found = [facts[image.path] for image in images]
    of_parts = Counter(parts[image.path] for image in images)
    return ClassFacts(
        label=label,
        images=len(images),
        parts={part: of_parts[part] for part in PARTS},
        width=_least_median_most([look.width for look in found]),
        height=_least_median_most([look.height for look in found]),
        formats=dict(Counter(look.format for look in found).most_common()),
        modes=dict(Counter(look.mode for look in found).most_common()),
    )


def _least_median_most(values: Sequence[int]) -> tuple[int, int, int]:
    if not values:
        return 0, 0, 0
    return min(values), round(statistics.median(values)), max(values)


# The contact sheet, in pixels.
_THUMBNAIL = 112
_GAP = 6
_MARGIN = 16
_TITLE = 40
_CAPTION = 190
_INK, _PALE, _PAPER, _FRAME = (32, 32, 32), (120, 120, 120), (255, 255, 255), (236, 236, 236)
_MOST_ROWS = 60


def draw_contact_sheet(
    dataset: Dataset,
    output: str | os.PathLike[str],
    *,
    columns: int = 10,
    seed: int = 0,
    force: bool = False,
) -> Path:
    """Draws a PNG with a row of whole images for each class, chosen by the seed.

    Args:
        dataset: from load_dataset; unreadable images are ignored.
        output: the file to write.
        columns: images of each class, 1 to 100.
        seed: another one chooses others.
        force: replace an existing file.

    Raises OutputExistsError where the file exists. Pixels may show what is burned into them, such
    as a patient's name; nothing else of a DICOM file gets here.
    """
    from PIL import Image, ImageDraw, ImageFont

    if not 1 <= columns <= 100:
        raise ValueError(f"expected 1 to 100 images a class, got {columns}")
    path = check_absent(output, force)
    labels = dataset.labels[:_MOST_ROWS]
    step = _THUMBNAIL + _GAP
    width = 2 * _MARGIN + _CAPTION + columns * step - _GAP
    sheet = Image.new("RGB", (width, 2 * _MARGIN + _TITLE + len(labels) * step - _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    shown = "" if len(labels) == len(dataset.labels) else f", the first {len(labels)} shown"
    title = f"{len(dataset.images)} images of {len(dataset.labels)} classes{shown}"
    draw.text((_MARGIN, _MARGIN), title, _INK, ImageFont.load_default(20))
    for row, label in enumerate(labels):
        images = [image for image in dataset.images if image.label == row]
        top = _MARGIN + _TITLE + row * step
        name = _wrapped(_drawable(label, row), ImageFont.load_default(16), _CAPTION - 2 * _GAP)
        count = f"{len(images)} image{'' if len(images) == 1 else 's'}"
        caption = [*((line, _INK, 16) for line in name), (count, _PALE, 13)]
        for number, (line, colour, size) in enumerate(caption):
            at = (_MARGIN, top + 4 + 20 * number)
            draw.text(at, line, colour, ImageFont.load_default(size))
        for column, thumbnail in enumerate(_thumbnails(dataset.root, images, columns, seed)):
            left = _MARGIN + _CAPTION + column * step
            draw.rectangle((left, top, left + _THUMBNAIL - 1, top + _THUMBNAIL - 1), _FRAME)
            free = (_THUMBNAIL - thumbnail.width) // 2, (_THUMBNAIL - thumbnail.height) // 2
            sheet.paste(thumbnail, (left + free[0], top + free[1]))
    content = io.BytesIO()
    sheet.save(content, "PNG", optimize=True)
    write_beside(path, content.getvalue(), force)
    return path


def _thumbnails(
    root: Path, images: Sequence[LabelledImage], count: int, seed: int
) -> Iterator[Image]:
    from PIL.Image import fromarray

    order = sorted(images, key=lambda image: image.digest)
    random.Random(seed).shuffle(order)
    drawn = 0
    for image in order:
        if drawn == count:
            return
        try:
            pixels: Pixels = read_image(root / image.path, _THUMBNAIL)
        except ImageError:
            continue
        thumbnail = fromarray(pixels)
        # Not thumbnail(), which leaves small images small.
        scale = _THUMBNAIL / max(thumbnail.size)
        size = tuple(max(1, round(side * scale)) for side in thumbnail.size)
        yield thumbnail.resize((size[0], size[1]))
        drawn += 1


def _drawable(label: str, number: int) -> str:
    """Pillow's own font has Latin letters alone: other labels go by their number."""
    try:
        label.encode("latin-1")
    except UnicodeEncodeError:
        return f"class {number}"
    return label


def _wrapped(text: str, font: Any, width: int, most: int = 3) -> list[str]:
    """Lines no wider than `width` pixels, broken anywhere; the last ends in dots if cut."""
    lines = [""]
    for letter in text:
        if font.getlength(lines[-1] + letter) <= width:
            lines[-1] += letter
        elif len(lines) == most:
            return [*lines[:-1], lines[-1][:-2] + "..."]
        else:
            lines.append(letter)
    return lines
