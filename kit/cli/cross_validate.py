"""`kit cross-validate`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

from kit.cli.options import (
    SPLIT,
    BackboneOptions,
    ConfigOption,
    DataOptions,
    FitOption,
    FormatOption,
    ImagesArgument,
    ResizeOption,
    SeedOption,
    ValidationOption,
    WeightsOption,
    option,
)
from kit.cli.terminal import TerminalReporter, import_tensorflow, print_json
from kit.model.spec import FITS, RESIZE_METHODS


def cross_validate(
    images: ImagesArgument,
    data: DataOptions,
    network: BackboneOptions,
    folds: Annotated[
        int, option(SPLIT, "Number of test parts that the images are divided into.", metavar="N")
    ] = 5,
    repeats: Annotated[
        int, option(SPLIT, "How often the images are divided anew.", metavar="N")
    ] = 1,
    validation: ValidationOption = 0.1,
    group_regex: Annotated[
        str,
        option(
            SPLIT,
            "Keep images together in one fold if their paths have the same match for this regular "
            "expression, such as those of a patient.",
            metavar="REGEX",
        ),
    ] = "",
    seed: SeedOption = 0,
    weights: WeightsOption = "imagenet",
    fit: FitOption = FITS[0],
    resize: ResizeOption = RESIZE_METHODS[0],
    config: ConfigOption = None,
    format: FormatOption = "text",
) -> None:
    """Train and score a head for each fold, so that every image is tested on once."""
    from kit.cli.text import cross_validation_text
    from kit.workflows import cross_validate as workflow
    from kit.workflows.options import train_settings

    settings = train_settings(
        **asdict(data),
        **asdict(network),
        validation=validation,
        group_regex=group_regex,
        seed=seed,
        weights=weights,
        fit=fit,
        resize=resize,
    )
    import_tensorflow()
    result = workflow.cross_validate(images, settings, folds, repeats, reporter=TerminalReporter())
    if format == "json":
        print_json(result.to_json())
    else:
        print(cross_validation_text(result))
