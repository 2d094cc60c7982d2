"""`kit review`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from kit.cli.options import (
    OUTPUT,
    SPLIT,
    BackboneOptions,
    ConfigOption,
    DataOptions,
    FitOption,
    ForceOption,
    FormatOption,
    GalleryOption,
    ImagesArgument,
    ResizeOption,
    SeedOption,
    WeightsOption,
    option,
)
from kit.cli.terminal import TerminalReporter, import_tensorflow, print_json
from kit.model.spec import FITS, RESIZE_METHODS


def review(
    images: ImagesArgument,
    output: Annotated[Path, option(OUTPUT, "The folder to write.", metavar="FOLDER")],
    data: DataOptions,
    network: BackboneOptions,
    group_regex: Annotated[
        str,
        option(
            SPLIT,
            "Judge images (of a patient) together whose paths have the same match for this regular "
            "expression.",
            metavar="REGEX",
        ),
    ] = "",
    seed: SeedOption = 0,
    weights: WeightsOption = "imagenet",
    fit: FitOption = FITS[0],
    resize: ResizeOption = RESIZE_METHODS[0],
    gallery: GalleryOption = None,
    config: ConfigOption = None,
    format: FormatOption = "text",
    force: ForceOption = False,
) -> None:
    """Rank the labels that are probably wrong, and write a page to look at them and mend them."""
    from kit.cli.text import review_text
    from kit.workflows import review as workflow
    from kit.workflows.options import train_settings

    settings = train_settings(
        **asdict(data),
        **asdict(network),
        group_regex=group_regex,
        seed=seed,
        weights=weights,
        fit=fit,
        resize=resize,
        gallery=gallery,
    )
    import_tensorflow()
    result = workflow.review(images, output, settings, force=force, reporter=TerminalReporter())
    if format == "json":
        print_json(result.to_json())
    else:
        print(review_text(result))
