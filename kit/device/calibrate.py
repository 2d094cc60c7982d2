"""`kit-label --calibrate`: thresholds chosen on the device, as `kit calibrate` chooses them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from kit.choices import CONFIDENCE
from kit.reporting import Item, counted

_TARGETS = ("positive", "target_sensitivity", "target_specificity", "confidence", "prevalence")
_OF_TABLES = ("labels_csv", "path_column", "label_column", "group_column")
_OTHERS = ("group_regex", "note")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options of `--calibrate`; none of them has a default, so that it shows if given."""
    add = parser.add_argument_group("thresholds of this place").add_argument
    add(
        "--calibrate",
        metavar="NEW",
        help="Choose thresholds by the labelled images of the folder IMAGE, and write the model "
        "with them to this file; its weights stay. Without --positive choose the limit of the "
        "unknown alone, which needs no labels.",
    )
    add("--positive", metavar="LABEL", help="The label that counts as positive.")
    for name in ("sensitivity", "specificity"):
        add(
            f"--target-{name}",
            type=float,
            metavar="SHARE",
            help=f"Choose thresholds that reach this {name} on new images.",
        )
    add(
        "--confidence",
        type=float,
        metavar="SHARE",
        help=f"The probability with which they reach it (by default {CONFIDENCE:g}).",
    )
    add(
        "--prevalence",
        type=float,
        metavar="SHARE",
        help="The share of positives to show figures for (by default that of the images).",
    )
    add("--labels-csv", metavar="FILE", help="Take labels from this table, not from folders.")
    add("--path-column", metavar="NAME", help="The table's column of paths (by default path).")
    add("--label-column", metavar="NAME", help="The table's column of labels (by default label).")
    add("--group-column", metavar="NAME", help="The table's column of patients.")
    add(
        "--group-regex",
        metavar="REGEX",
        help="Take patients from paths by this expression (by default the training's).",
    )
    add(
        "--note",
        metavar="TEXT",
        help="Where this is done and who is answerable; the model's card keeps it.",
    )


def mistake(options: argparse.Namespace, others: bool) -> str | None:
    """What is wrong with these options beside others; None where nothing is."""
    names = (*_TARGETS, *_OF_TABLES, *_OTHERS)
    given = [name for name in names if getattr(options, name) is not None]
    if not options.calibrate:
        if given:
            return f"expected --{given[0].replace('_', '-')} beside --calibrate"
        return None
    if others or len(options.images) != 1:
        return "expected --calibrate alone, with one folder of images"
    if not options.note:
        return "expected --note beside --calibrate: where it is done and who is answerable"
    wanted = any(getattr(options, name) is not None for name in _TARGETS[1:])
    if wanted != (options.positive is not None):
        return "expected --positive LABEL and a target beside --calibrate, got one of them"
    return None


class _Lines:
    """A Reporter that prints lines."""

    def __init__(self, err: TextIO) -> None:
        self._err = err

    def say(self, line: str) -> None:
        print(line, file=self._err, flush=True)

    def warn(self, line: str) -> None:
        self.say(f"warning: {line}")

    def track(self, items: Iterable[Item], total: int, what: str) -> Iterator[Item]:
        self.say(f"{what}: {counted(total, 'image')}")
        return iter(items)


def run_calibrate(options: argparse.Namespace, out: TextIO, err: TextIO) -> None:
    """Writes the model with thresholds of this place, and prints what they do; raises KitError."""
    from kit.data import DataSettings
    from kit.evaluation.on_site import adjust_on_site, adjusted_text
    from kit.evaluation.thresholds import Targets
    from kit.files import check_absent, write_beside

    check_absent(options.calibrate, options.force)
    given = {name: getattr(options, name) for name in _OF_TABLES}
    table = {name: value for name, value in given.items() if value is not None}
    if options.labels_csv is not None:
        table["labels_csv"] = Path(options.labels_csv)
    targets = None
    if options.positive is not None:
        confidence = CONFIDENCE if options.confidence is None else options.confidence
        targets = Targets(
            options.positive,
            options.target_sensitivity,
            options.target_specificity,
            options.prevalence,
            confidence,
        )
    adjusted = adjust_on_site(
        *(options.model, options.images[0], options.note),
        targets=targets,
        data=DataSettings(**table),
        group_regex=options.group_regex or "",
        reporter=_Lines(err),
    )
    write_beside(options.calibrate, adjusted.content, options.force)
    if options.format == "json":
        import json

        shown = {"output": options.calibrate, **adjusted.to_json()}
        out.write(json.dumps(shown, ensure_ascii=False) + "\n")
    else:
        out.write(f"{adjusted_text(adjusted)}\n{options.calibrate}\n")
