"""Whether a promise holds in the field, as far as somebody has confirmed what the images show.

A bet against the promise is placed on every confirmed image, or patient, as the promise counts
them: it wins where the model is wrong more often than was promised. As long as the promise holds,
its capital reaches 1 / q with a probability of at most q, however often somebody looks (A. Wald
1945; I. Waudby-Smith and A. Ramdas, "Estimating means of bounded random variables by betting",
2023).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kit.errors import DataError
from kit.evaluation.metrics import Accuracy
from kit.model.spec import OperatingPoint
from kit.model.tables import delimiter_of, encoding_of

LIMIT = math.log(1 / 0.05)
"""Logarithm of the capital at which a promise is called broken."""

_STAKES = np.linspace(0.05, 0.95, 10)
"""Shares of the largest stake at which nothing can be lost but all."""


@dataclass(frozen=True)
class Kept:
    """How a promise fares.

    Attributes:
        name: `sensitivity` or `specificity`.
        share: found so far, with its interval; of patients where they are known.
        target: what was promised; None: nothing was.
        broken_after: number of confirmed positives (negatives of a specificity) after which it was
            called broken; None: it was not.
    """

    name: str
    share: Accuracy
    target: float | None
    broken_after: int | None

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **self.share.to_json("value"),
            "target": self.target,
            "broken_after": self.broken_after,
        }


def read_confirmed(
    path: Path, group_column: str | None = None
) -> tuple[dict[str, str], dict[str, str]]:
    """What a table with the columns `image` and `truth` says.

    Args:
        path: a CSV file.
        group_column: its column of groups (patients); an empty cell: the image stands for itself.

    Returns:
        The truth of each image by its path, and the group of each that has one.

    Raises DataError where it cannot be read, or says two things of one image.
    """
    columns = ("truth",) if group_column is None else ("truth", group_column)
    try:
        content = path.read_bytes()
        with io.StringIO(content.decode(encoding_of(content)), newline="") as file:
            delimiter = delimiter_of(file.readline())
            file.seek(0)
            reader = csv.DictReader(file, delimiter=delimiter)
            if not {"image", *columns} <= {*(reader.fieldnames or ())}:
                raise DataError(
                    f"{path}: expected a table with the columns image and {' and '.join(columns)}"
                )
            truths: dict[str, str] = {}
            groups: dict[str, str] = {}
            for row in reader:
                image = str(row["image"] or "").strip()
                for column, known in zip(columns, (truths, groups), strict=False):
                    value = str(row[column] or "").strip()
                    if value and known.setdefault(image, value) != value:
                        raise DataError(
                            f"{path}: line {reader.line_num}: expected one {column} for {image}, "
                            f"got {known[image]} and {value}"
                        )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: expected a table that can be read: {reason}") from error
    return truths, groups


def compare_with_promise(
    answers: Sequence[tuple[str, str]],
    confirmed: Mapping[str, str],
    labels: Sequence[str],
    point: OperatingPoint,
    groups: Mapping[str, str] | None = None,
) -> tuple[Kept, ...]:
    """Sensitivity and specificity so far, against what was promised.

    A patient counts once, as in the promise: right where the answer to every confirmed image is.

    Args:
        answers: image and answer (`positive`, `negative`, `uncertain`, `unknown`), oldest first. An
            image that was answered again counts once, by the last answer.
        confirmed: the truth of images, a label of the model each.
        labels: the model's labels.
        point: the operating point, with what it promises.
        groups: the group (patient) of images; one without stands for itself.

    Raises DataError where a truth is none of the labels, or nothing is confirmed.
    """
    if strangers := sorted({*confirmed.values()} - {*labels}):
        raise DataError(
            f"expected truths of {', '.join(labels)}, got {', '.join(strangers[:5])}: name them as "
            "the model does"
        )
    known = {image: answer for image, answer in answers if image in confirmed}
    if not known:
        raise DataError(
            f"expected confirmed images among the {len(answers)} that were answered, none of "
            f"{len(confirmed)} is: their paths have to be written as in the results"
        )
    found: dict[tuple[str, str], bool] = {}
    cleared: dict[tuple[str, str], bool] = {}
    for image, answer in known.items():
        # Uncertain and unknown images go to a person, so nobody is missed by them, or called ill.
        ill = confirmed[image] == point.positive
        right, wrong = (found, "negative") if ill else (cleared, "positive")
        group = (groups or {}).get(image)
        case = ("image", image) if group is None else ("group", group)
        right[case] = right.get(case, True) and answer != wrong
    # Without a confidence a target was reached where it was chosen, and nothing was promised.
    promised = bool(point.confidence)
    return (
        _kept("sensitivity", [*found.values()], point.target_sensitivity if promised else None),
        _kept("specificity", [*cleared.values()], point.target_specificity if promised else None),
    )


def _kept(name: str, right: Sequence[bool], target: float | None) -> Kept:
    share = Accuracy.of_answers(np.array(right, bool))
    if target is None or target == 1:
        return Kept(name, share, target, None)
    # 1 + stake * (target - right) has a mean of at most 1 while the promise holds.
    stakes = _STAKES / (1 - target)
    capitals = np.zeros(len(stakes))
    for number, one in enumerate(right, 1):
        capitals += np.log1p(stakes * (target - one))
        if np.logaddexp.reduce(capitals) - math.log(len(stakes)) >= LIMIT:
            return Kept(name, share, target, number)
    return Kept(name, share, target, None)


def kept_text(kept: Sequence[Kept]) -> str:
    """A line for each figure."""
    lines = ["confirmed so far:"]
    for one in kept:
        if not one.share.n:
            lines.append(f"  {one.name}: no image to tell it by")
        elif one.target is None:
            lines.append(f"  {one.name} {one.share}; nothing was promised of it")
        elif one.broken_after is None:
            lines.append(
                f"  {one.name} {one.share}; {one.target:g} was promised, and nothing says that it "
                "is broken"
            )
        else:
            kind = "positives" if one.name == "sensitivity" else "negatives"
            lines.append(
                f"  {one.name} {one.share}; {one.target:g} was promised: THE PROMISE IS BROKEN, "
                f"noticed after {one.broken_after} confirmed {kind}"
            )
    return "\n".join(lines)
