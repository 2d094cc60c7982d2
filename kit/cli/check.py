"""`kit check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import (
    DATA,
    OUTPUT,
    DataOptions,
    ForceOption,
    FormatOption,
    ImagesArgument,
    SplitColumnOption,
    SplitOptions,
    option,
)
from kit.cli.terminal import TerminalReporter, print_json


def check(
    images: ImagesArgument,
    data: DataOptions,
    split: SplitOptions,
    split_column: SplitColumnOption = None,
    near_bits: Annotated[
        int,
        option(
            DATA,
            "Two images are near copies if at most this many of the 256 bits of their perceptual "
            "hashes differ.",
            metavar="N",
        ),
    ] = 40,
    contact_sheet: Annotated[
        Path | None,
        option(OUTPUT, "Write a PNG picture with a row of images for each class.", metavar="FILE"),
    ] = None,
    strict: Annotated[
        bool, option(OUTPUT, "Exit with status 1 if anything is found.", "--strict")
    ] = False,
    format: FormatOption = "text",
    force: ForceOption = False,
) -> None:
    """Look for what is wrong with a data set, before you train on it."""
    from kit.data import load_dataset
    from kit.data.check import check_images, draw_contact_sheet, report_text
    from kit.files import check_absent

    if contact_sheet is not None:
        check_absent(contact_sheet, force)
    dataset = load_dataset(images, data.settings(split_column))
    report = check_images(
        dataset, split=split.settings(), near_bits=near_bits, reporter=TerminalReporter()
    )
    if contact_sheet is not None:
        draw_contact_sheet(dataset, contact_sheet, seed=split.seed, force=force)
    if format == "json":
        print_json(report.to_json())
    else:
        print(report_text(report))
    if strict and report.problems:
        raise typer.Exit(1)
