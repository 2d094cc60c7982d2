"""`kit calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from kit.cli.options import (
    DATA,
    OUTPUT,
    DataOptions,
    ForceOption,
    FormatOption,
    ImagesArgument,
    ModelArgument,
    option,
)
from kit.cli.terminal import TerminalReporter, print_json
from kit.cli.train import TargetOptions

_PICTURES = (".png", ".svg", ".pdf")


def calibrate(
    model: ModelArgument,
    images: ImagesArgument,
    output: Annotated[Path, option(OUTPUT, "The .tflite file to write.", metavar="FILE")],
    note: Annotated[
        str,
        option(
            OUTPUT,
            "Where this is done and who is answerable, which the card keeps.",
            metavar="TEXT",
        ),
    ],
    data: DataOptions,
    targets: TargetOptions,
    group_regex: Annotated[
        str,
        option(
            DATA,
            "Take groups (patients) from paths, by the first group of this regular expression. By "
            "default the training's, unless --group-column is given.",
            metavar="REGEX",
        ),
    ] = "",
    plot: Annotated[
        Path | None,
        option(
            OUTPUT,
            "Draw how many of 1,000 are referred and missed at each threshold: a PNG, SVG or PDF.",
            metavar="FILE",
        ),
    ] = None,
    format: FormatOption = "text",
    force: ForceOption = False,
) -> None:
    """Choose a model's thresholds anew, on images of the place where it is used; weights stay."""
    from kit.evaluation.on_site import adjust_on_site, adjusted_text
    from kit.files import check_absent, write_beside

    for path in (output, plot):
        if path is not None:
            check_absent(path, force)
    if plot is not None and plot.suffix.lower() not in _PICTURES:
        raise ValueError(f"expected --plot FILE that ends in {', '.join(_PICTURES)}, got {plot}")
    if plot is not None and targets.positive is None:
        raise ValueError("expected --positive LABEL, whose thresholds --plot draws, got none")
    adjusted = adjust_on_site(
        *(model, images, note),
        targets=targets.settings(),
        data=data.settings(),
        group_regex=group_regex,
        reporter=TerminalReporter(),
    )
    write_beside(output, adjusted.content, force)
    if plot is not None and adjusted.operation is not None:
        from kit.report.plots import referred_and_missed

        referred_and_missed(adjusted.curve, adjusted.operation.point, plot)
    if format == "json":
        print_json({"output": str(output), **adjusted.to_json()})
    else:
        print(f"{adjusted_text(adjusted)}\n{output}")
