"""`kit review`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from kit.cli.options import (
    DATA,
    OUTPUT,
    BackboneOptions,
    ConfigOption,
    DataOptions,
    FitOption,
    ForceOption,
    FormatOption,
    GalleryOption,
    ImagesArgument,
    ResizeOption,
    SplitColumnOption,
    SplitOptions,
    WeightsOption,
    option,
)
from kit.cli.terminal import TerminalReporter, import_tensorflow, print_json
from kit.model.spec import FITS, RESIZE_METHODS

if TYPE_CHECKING:
    from kit.workflows.choose_images import Chosen
    from kit.workflows.corrected_tree import CorrectedTree
    from kit.workflows.review import Review


def review(
    images: ImagesArgument,
    output: Annotated[Path, option(OUTPUT, "The folder to write.", metavar="FOLDER")],
    data: DataOptions,
    split: SplitOptions,
    network: BackboneOptions,
    split_column: SplitColumnOption = None,
    unlabelled: Annotated[
        Path | None,
        option(
            DATA,
            "Choose from these photographs those that are worth labelling next: a folder, or the "
            "results.csv of kit-label.",
            metavar="PATH",
        ),
    ] = None,
    choose: Annotated[
        int,
        option(DATA, "How many photographs to choose from --unlabelled.", min=1, metavar="N"),
    ] = 50,
    apply: Annotated[
        bool,
        option(
            OUTPUT,
            "Write the images in a folder for each label, corrected by --corrections, for other "
            "tools; nothing is reviewed.",
        ),
    ] = False,
    link: Annotated[
        bool,
        option(
            OUTPUT,
            "With --apply, make hard links instead of copies. They take no room, but if you change "
            "one, you change the image itself.",
        ),
    ] = False,
    weights: WeightsOption = "imagenet",
    fit: FitOption = FITS[0],
    resize: ResizeOption = RESIZE_METHODS[0],
    gallery: GalleryOption = None,
    config: ConfigOption = None,
    format: FormatOption = "text",
    force: ForceOption = False,
) -> None:
    """Rank the labels that are probably wrong, and write a page to look at them and mend them."""
    from kit.cli.text import chosen_text, review_text, tree_text
    from kit.workflows import review as workflow
    from kit.workflows.choose_images import choose_images
    from kit.workflows.corrected_tree import write_corrected_tree
    from kit.workflows.options import train_settings

    if link and not apply:
        raise ValueError("expected --apply beside --link, which says how it copies, got none")
    settings = train_settings(
        **asdict(data),
        **asdict(split),
        **asdict(network),
        split_column=split_column,
        weights=weights,
        fit=fit,
        resize=resize,
        gallery=gallery,
    )
    reporter = TerminalReporter()
    result: Review | Chosen | CorrectedTree
    if apply:
        if unlabelled is not None:
            raise ValueError("expected --apply or --unlabelled, got both")
        result = write_corrected_tree(
            *(images, output, settings.data), link=link, force=force, reporter=reporter
        )
        text = tree_text(result)
    elif unlabelled is not None:
        import_tensorflow()
        result = choose_images(
            *(images, unlabelled, output, settings, choose), force=force, reporter=reporter
        )
        text = chosen_text(result)
    else:
        import_tensorflow()
        result = workflow.review(images, output, settings, force=force, reporter=reporter)
        text = review_text(result)
    if format == "json":
        print_json(result.to_json())
    else:
        print(text)
