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
    plot: Annotated[
        Path | None,
        option(OUTPUT, "Draw the evidence of a shift: a PNG, SVG or PDF.", metavar="FILE"),
    ] = None,
    format: FormatOption = "text",
    force: ForceOption = False,
) -> None:
    """Tell whether a device's images have shifted since its model was set up (status 1)."""
    from kit.evaluation.monitoring import monitor, monitored_text
    from kit.files import check_absent

    if plot is not None:
        check_absent(plot, force)
    found = monitor(results, model, confirmed)
    if plot is not None:
        from kit.report.plots import evidence

        evidence(found.watches, plot)
    if format == "json":
        print_json(found.to_json())
    else:
        print(monitored_text(found))
    if not found.is_quiet:
        raise typer.Exit(1)
