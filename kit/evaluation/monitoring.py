"""Whether the images of the field still look to a model as those did that its thresholds are from.

A card keeps what the file said of the validation part: some of its largest scores, how
unfamiliar it found the images, and how these looked. As long as the field's images are of the same
kind, the rank of each new value among those and the earlier new ones is a matter of chance alone. A
bet against that is placed on every image, which wins where the ranks are not: a conformal test
martingale (V. Vovk et al., "Retrain or not retrain: conformal test martingales for change-point
detection", 2021). By Ville's inequality the capital of such a bet reaches 1 / q with a probability
of at most q, however often somebody looks, so that nothing has to be corrected for looking every
week.

A new bet begins each month. What is allowed for a year is shared by its months and by what is
watched.
"""

from __future__ import annotations

import csv
import math
import os
from bisect import bisect_left, bisect_right, insort
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.errors import DataError, ModelFileError
from kit.evaluation.confirmed import Kept, compare_with_promise, kept_text, read_confirmed
from kit.evaluation.metrics import Accuracy
from kit.model.model_file import read_model_file
from kit.model.spec import OperatingPoint
from kit.runtime.appearance import Appearance
from kit.runtime.classifier import Answer

FALSE_ALARMS = 0.05
"""Probability of any alarm in a year in which nothing has changed, at most."""

_MOST = 80
"""Images of the validation part that a card keeps values of: less than 2 kB of them."""
_MONTHS = 12
_STAKES = (-1.6, 0.0, 1.6)
_JUMP = 0.01
"""Share of the capital that changes its stake before each image."""
_NEAR = 1.0  # of a logarithm
_STEPS = 1000  # a value is kept in thousandths

_WATCHED = ("score", "unfamiliarity", *Appearance._fields)
"""What is watched: columns of the results file, but for the score, which is `highest_score`."""


def reference_of(
    answers: Sequence[Answer],
    labels: Sequence[str],
    point: OperatingPoint | None,
    limit: float | None = None,
) -> dict[str, Any]:
    """What a card keeps of the images that its thresholds are from.

    Args:
        answers: what the file gave for each image.
        labels: the labels, in the order of the scores.
        point: the operating point; None: there is none.
        limit: unfamiliarity above which an image is unknown; None of a plain file.
    """
    scores = np.array([answer.scores for answer in answers], np.float32)
    watched = {"score": scores.max(axis=1)}
    counts: Counter[str] = Counter()
    unknown = np.zeros(len(answers), bool)
    if limit is not None:
        unfamiliarity = np.array([answer.unfamiliarity for answer in answers], np.float64)
        watched["unfamiliarity"] = unfamiliarity
        unknown = unfamiliarity > limit
        counts["unknown"] = int(unknown.sum())
    looks = [answer.appearance for answer in answers if answer.appearance is not None]
    if len(looks) == len(answers):
        watched |= dict(zip(Appearance._fields, np.array(looks).T, strict=True))
    chosen = np.sort(np.random.default_rng(0).permutation(len(answers))[:_MOST])
    kept: dict[str, Any] = {"images": len(answers)}
    kept |= {name: _thousandths(values[chosen]) for name, values in watched.items()}
    if point is not None:
        of_label = scores[:, list(labels).index(point.positive)]
        said = Counter(point.answer(float(score)) for score in of_label[~unknown])
        counts.update({answer: said[answer] for answer in ("positive", "uncertain")})
    return {**kept, "answers": dict(counts)} if counts else kept


def _thousandths(values: npt.NDArray[np.floating]) -> list[int]:
    return [int(value) for value in np.rint(np.minimum(values, 1000) * _STEPS)]


@dataclass(frozen=True)
class Row:
    """An answered image of a results file.

    Attributes:
        time: UTC, as the device's clock said.
        values: by the names of what is watched.
        answer: `positive`, `negative`, `uncertain`, `unknown`; empty: there is no operating point.
        image: path of the image.
    """

    time: str
    values: Mapping[str, float]
    answer: str
    image: str = ""


@dataclass(frozen=True)
class Watch:
    """How the bet on one of the watched values went.

    Attributes:
        name: what is watched.
        capital: natural logarithm of the capital after each image, from the first on.
        alarm: index of the image at which it reached the limit; None: it never did.
        since: index of the image from which on it grew to there; None without an alarm.
        limit: natural logarithm of the capital that is an alarm.
        values: what was watched; nan where a row has none.
        reference: its values in the reference.
    """

    name: str
    capital: tuple[float, ...]
    alarm: int | None
    since: int | None
    limit: float
    values: tuple[float, ...]
    reference: tuple[float, ...]


@dataclass(frozen=True)
class Rate:
    """How often an answer was given in a month, and among the images of the reference.

    Attributes:
        month: `2026-11`.
        answer: the answer.
        share: of the month's images.
        reference: of the images that the thresholds are from.
    """

    month: str
    answer: str
    share: Accuracy
    reference: Accuracy


@dataclass(frozen=True)
class Monitored:
    """What the results say.

    Attributes:
        rows: the answered images, in the order of the files.
        failed: images that could not be labelled.
        others: rows of other models, which are not looked at.
        torn: rows that are not whole.
        watches: for each watched value.
        rates: for each month and answer.
        kept: whether what was promised holds, where images were confirmed.
    """

    rows: tuple[Row, ...]
    failed: int
    others: int
    torn: int
    watches: tuple[Watch, ...]
    rates: tuple[Rate, ...]
    kept: tuple[Kept, ...] = ()

    @property
    def alarms(self) -> tuple[Watch, ...]:
        """What has shifted."""
        return tuple(watch for watch in self.watches if watch.alarm is not None)

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has shifted, and no promise is broken."""
        return not self.alarms and all(one.broken_after is None for one in self.kept)

    def to_json(self) -> dict[str, Any]:
        return {
            "images": len(self.rows),
            "failed": self.failed,
            "rows_of_other_models": self.others,
            "torn_rows": self.torn,
            "watched": [
                {
                    "name": watch.name,
                    "alarm": None if watch.alarm is None else self.rows[watch.alarm].time,
                    "since": None if watch.since is None else self.rows[watch.since].time,
                    "images_until_alarm": None
                    if watch.alarm is None or watch.since is None
                    else watch.alarm - watch.since + 1,
                    "capital": round(math.exp(min(watch.capital[-1], 700)), 3)
                    if watch.capital
                    else 1.0,
                }
                for watch in self.watches
            ],
            "rates": [
                {
                    "month": rate.month,
                    "answer": rate.answer,
                    **rate.share.to_json("share"),
                    "reference": rate.reference.to_json("share"),
                }
                for rate in self.rates
            ],
            "confirmed": [one.to_json() for one in self.kept],
        }


def monitor(
    results: Sequence[str | os.PathLike[str]],
    model: str | os.PathLike[str],
    confirmed: str | os.PathLike[str] | None = None,
    group_column: str | None = None,
) -> Monitored:
    """Compares the results of weeks with what a model's card keeps of the images it was set up on.

    Args:
        results: CSV files of `kit-label --output`, the oldest first.
        model: the file that gave these answers.
        confirmed: a table with the columns `image` and `truth`; see kit.evaluation.confirmed.
        group_column: its column of groups (patients), each of which counts once.

    Raises:
        ModelFileError: the model cannot be read, or its card keeps nothing to compare with.
        DataError: a table cannot be read, none of the rows is of this model, or none is confirmed.
        ValueError: a column without a table.
    """
    if group_column is not None and confirmed is None:
        raise ValueError("expected --confirmed beside --group-column, which names its column")
    file = read_model_file(model)
    card, digest = file.card, file.digest
    reference = {} if card is None else card.reference
    if not reference.get("score"):
        raise ModelFileError(
            f"{model}: expected a model whose card keeps what it said of known images, got none: "
            "train it with --screening or --positive, or set it up with kit calibrate"
        )
    rows, counts = [], Counter[str]()
    for path in results:
        for kind, row in _rows(Path(path), digest):
            counts[kind] += 1
            if row is not None:
                rows.append(row)
    if not rows:
        raise DataError(
            f"{results[0]}: expected rows of this model (its file begins with {digest[:12]}), got "
            f"{counts['other']} of other models and {counts['failed']} failures: give the file "
            "that gave these answers"
        )
    kept: tuple[Kept, ...] = ()
    if confirmed is not None:
        if card is None or card.operating_point is None:
            raise ModelFileError(f"{model}: expected an operating point to confirm, it has none")
        answers = [(row.image, row.answer) for row in rows]
        truths, groups = read_confirmed(Path(confirmed), group_column)
        kept = compare_with_promise(answers, truths, card.labels, card.operating_point, groups)
    # Of rows that an earlier kit wrote, some are not known.
    known = {name for row in rows for name in row.values}
    names = [name for name in _WATCHED if name in reference and name in known]
    if not names:
        raise DataError(
            f"{results[0]}: expected rows with the score of their image, got {len(rows)} answers "
            "of an earlier kit without one: label the images again"
        )
    limit = math.log(_MONTHS * len(names) / FALSE_ALARMS)
    months = _months(rows)
    watches = tuple(
        _watch(
            name,
            [value / _STEPS for value in reference[name]],
            [row.values.get(name, math.nan) for row in rows],
            months,
            limit,
        )
        for name in names
    )
    return Monitored(
        tuple(rows),
        counts["failed"],
        counts["other"],
        counts["torn"],
        watches,
        tuple(_rates(rows, months, reference)),
        kept,
    )


def _rows(path: Path, digest: str) -> Iterator[tuple[str, Row | None]]:
    """The kind of each row, and the row where it is an answer of this model."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(file)
            wanted = {"time", "model", "score", "answer", "error"}
            if not wanted <= {*(reader.fieldnames or ())}:
                raise DataError(f"{path}: expected a results file of kit-label --output")
            for cells in reader:
                if None in cells or None in cells.values():
                    yield "torn", None
                elif cells["model"] != digest[: len(cells["model"]) or 1]:
                    yield "other", None
                elif cells["error"]:
                    yield "failed", None
                else:
                    # Of rows that an earlier kit wrote, the score of the label is the best known.
                    cells["score"] = cells.get("highest_score") or cells["score"]
                    try:
                        values = {
                            # As the card keeps them: scores of int8 are often tied.
                            name: round(min(float(cells[name]), 1000) * _STEPS) / _STEPS
                            for name in _WATCHED
                            if cells.get(name)
                        }
                    except (ValueError, OverflowError):  # the latter of an infinity
                        yield "torn", None
                        continue
                    yield (
                        "answer",
                        Row(cells["time"], values, cells["answer"], cells.get("image", "")),
                    )
    except (OSError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{path}: expected a results file that can be read: {reason}") from error


def _months(rows: Sequence[Row]) -> list[str]:
    """The month of each row; a clock that jumps back begins no new one."""
    months, latest = [], ""
    for row in rows:
        latest = max(latest, row.time[:7])
        months.append(latest)
    return months


class _Bet:
    """A simple jumper (Vovk et al. 2021): stakes on numbers that are even between 0 and 1."""

    def __init__(self) -> None:
        self.capital = 0.0  # its logarithm
        self._shares = [1 / len(_STAKES)] * len(_STAKES)

    def place(self, number: float) -> None:
        # Three numbers: plain Python is faster than numpy here.
        shares = [
            ((1 - _JUMP) * share + _JUMP / len(_STAKES)) * (1 + stake * (number - 0.5))
            for share, stake in zip(self._shares, _STAKES, strict=True)
        ]
        won = sum(shares)
        self._shares = [share / won for share in shares]
        self.capital += math.log(won)


def _watch(
    name: str,
    reference: Sequence[float],
    values: Sequence[float],
    months: Sequence[str],
    limit: float,
) -> Watch:
    random = np.random.default_rng(0)
    capital: list[float] = []
    alarm = since = None
    known: list[float] = []
    bets: tuple[_Bet, ...] = ()
    start, lowest, total = 0, 0.0, 0.0
    for index, (value, month) in enumerate(zip(values, months, strict=True)):
        if index == 0 or month != months[index - 1]:
            known, bets = sorted(reference), (_Bet(), _Bet())
            start, lowest, total = index, 0.0, 0.0
        if not math.isnan(value):
            below, up_to = bisect_left(known, value), bisect_right(known, value)
            # Ties are broken at random, so that each rank is as likely as any other.
            rank = (below + random.random() * (up_to - below + 1)) / (len(known) + 1)
            insort(known, value)
            # That they are all higher, or lower; that they are nearer to the middle, or the ends.
            for bet, number in zip(bets, (rank, abs(2 * rank - 1)), strict=True):
                bet.place(number)
            most = max(bet.capital for bet in bets)
            total = most + math.log(sum(math.exp(bet.capital - most) for bet in bets) / len(bets))
        lowest = min(lowest, total)
        if total >= limit and alarm is None:
            alarm, since = index, _grew_from(capital, start, lowest)
        capital.append(total)
    return Watch(name, tuple(capital), alarm, since, limit, tuple(values), tuple(reference))


def _grew_from(capital: Sequence[float], start: int, lowest: float) -> int:
    """The image from which on the capital left its low: a bet that wins nothing wanders there."""
    near = [place for place in range(start, len(capital)) if capital[place] <= lowest + _NEAR]
    return near[-1] + 1 if near else start


def _rates(
    rows: Sequence[Row], months: Sequence[str], reference: Mapping[str, Any]
) -> Iterator[Rate]:
    counts = reference.get("answers")
    if not isinstance(counts, Mapping):
        return
    answered: dict[str, Counter[str]] = {}
    for row, month in zip(rows, months, strict=True):
        answered.setdefault(month, Counter())[row.answer] += 1
    images = int(reference["images"])
    for month, found in answered.items():
        for answer, known in counts.items():
            yield Rate(
                month,
                answer,
                Accuracy.of(found[answer], found.total()),
                Accuracy.of(int(known), images),
            )


def monitored_text(found: Monitored) -> str:
    """What has shifted and since when, then the rates by month."""
    rows = found.rows
    lines = [f"{len(rows)} images from {rows[0].time} to {rows[-1].time}"]
    for count, what in (
        (found.failed, "could not be labelled"),
        (found.others, "are of other models and were not looked at"),
        (found.torn, "are not whole and were not looked at"),
    ):
        if count:
            lines.append(f"{count} rows {what}")
    for watch in found.watches:
        if watch.alarm is None or watch.since is None:
            lines.append(f"{watch.name}: nothing says that it has shifted")
        else:
            lines.append(
                f"{watch.name}: HAS SHIFTED since about {rows[watch.since].time}, noticed at "
                f"{rows[watch.alarm].time} after {watch.alarm - watch.since + 1} images"
            )
    if found.kept:
        lines += ["", kept_text(found.kept)]
    if found.rates:
        lines += ["", "answers by month (95 % intervals), and where the thresholds are from:"]
    lines += [
        f"  {rate.month}  {rate.answer:10} {rate.share}, there {rate.reference.value:.4f}"
        for rate in found.rates
    ]
    return "\n".join(lines)
