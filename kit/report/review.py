"""The page of `kit review`: images to look at, labels to mend or to give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from kit.choices import PARTS
from kit.data.corrections import COLUMNS
from kit.evaluation import label_errors, oddities
from kit.inline import json_for_script, source_of
from kit.report.page import page

REASONS: Mapping[str, str] = {**label_errors.REASONS, **oddities.REASONS}
"""Every reason to look at an image, and what it says; the most important first."""
_A_BLOCK = 64
"""Pictures that stand in one block, which a browser takes apart when one of them is shown."""


@dataclass(frozen=True)
class Reviewed:
    """An image that was looked at.

    Attributes:
        path, digest: of the image.
        label: its own; empty where it has none.
        suggested: the label with the highest score of the others.
        label_score, suggested_score: by classifiers that saw neither it nor its group.
        reasons: keys of REASONS.
        part: the part that it is in; empty where it has none.
    """

    path: str
    digest: str
    label: str
    suggested: str
    label_score: float
    suggested_score: float
    reasons: tuple[str, ...] = ()
    part: str = ""


@dataclass(frozen=True)
class ReviewContent:
    """What the page shows.

    Attributes:
        labels: of the data set.
        images: in the order in which they are to be looked at.
        left_out: how many images the page does not show.
        pictures: a small JPEG as base64 of each image; empty where there is none.
        positions: place of each image on the map, 0 to 1, `[images][2]`; none without a map.
        earlier: rows of the corrections that were in force, by column; the page hands them on too.
        confused: label, other label and number of images whose own label scores less.
        groups: an image of each group that stands apart, the number of its images, how far apart it
            is, and of how many another label scores higher.
    """

    labels: Sequence[str]
    images: Sequence[Reviewed]
    left_out: int
    pictures: Sequence[str]
    positions: Sequence[Sequence[float]] = ()
    earlier: Sequence[Mapping[str, str]] = ()
    confused: Sequence[tuple[str, str, int]] = ()
    groups: Sequence[tuple[str, int, float, int]] = ()


def render_review(content: ReviewContent) -> str:
    """HTML, self-contained: its one script is its own, and nothing is loaded from anywhere."""
    from markupsafe import Markup

    script = files("kit.report").joinpath("review.js").read_text("utf-8")
    images = content.images
    reasons = [name for name in REASONS if any(name in one.reasons for one in images)]
    parts = [part for part in PARTS if any(part == one.part for one in images)]
    numbers = {label: number for number, label in enumerate(content.labels)}
    data: dict[str, Any] = {
        "labels": list(content.labels),
        "parts": parts,
        "reasons": reasons,
        "earlier": [[row[name] for name in COLUMNS] for row in content.earlier],
        "columns": COLUMNS,
        "positions": [[round(float(value), 4) for value in one] for one in content.positions],
        "images": [
            (
                *(one.path, one.digest, numbers.get(one.label, -1), numbers[one.suggested]),
                *(round(one.label_score, 4), round(one.suggested_score, 4)),
                [reasons.index(name) for name in one.reasons],
                parts.index(one.part) if one.part else -1,
            )
            for one in images
        ],
    }
    has_pictures = any(content.pictures)
    blocks = [
        " ".join(picture or "-" for picture in content.pictures[start : start + _A_BLOCK])
        for start in range(0, len(images) if has_pictures else 0, _A_BLOCK)
    ]
    return page(
        "review.html",
        content=content,
        counts=[(name, REASONS[name], sum(name in i.reasons for i in images)) for name in reasons],
        found=sum(bool(one.reasons) for one in images),
        parts=parts,
        unlabelled=all(not one.label for one in images),
        script=Markup(script),
        source=source_of(script),
        data=Markup(json_for_script(data)),
        blocks=[Markup(block) for block in blocks],
    )
