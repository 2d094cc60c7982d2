"""`kit monitor`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import MODEL, OUTPUT, ForceOption, FormatOption, option
from kit.cli.terminal import print_json


def monitor(
    results: Annotated[
        list[Path],
        typer.Argument(
            metavar="RESULTS", help="CSV files that kit-label --output wrote, the oldest first."
        ),
    ],
    model: Annotated[
        Path, option(MODEL, "The .tflite file that gave these answers.", metavar="MODEL")
    ],
    confirmed: Annotated[
        Path | None,
        option(
            MODEL,
            "A table with the columns image and truth, of images that somebody has confirmed: "
            "compare sensitivity and specificity with what was promised.",
            metavar="FILE",
        ),
    ] = None,
    group_column: Annotated[
        str | None,
        option(
            MODEL,
            "The column of groups (patients) in the table of --confirmed: each counts once.",
            metavar="NAME",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        option(OUTPUT, "Write a page that shows it: HTML that needs nothing else.", metavar="FILE"),
    ] = None,
    format: FormatOption = "text",
    force: ForceOption = False,
) -> None:
    """Tell whether a device's images have shifted since its model was set up (exit status 1)."""
    from kit.evaluation.monitoring import monitor, monitored_text
    from kit.filenames import text_bytes
    from kit.files import check_absent, write_beside

    if output is not None:
        check_absent(output, force)
    found = monitor(results, model, confirmed, group_column)
    if output is not None:
        from kit.model.model_file import read_model_file
        from kit.report.monitored import render_monitored

        write_beside(output, text_bytes(render_monitored(found, read_model_file(model))), force)
    if format == "json":
        print_json(found.to_json())
    else:
        print(monitored_text(found))
        if output is not None:
            print(output)
    if not found.is_quiet:
        raise typer.Exit(1)
