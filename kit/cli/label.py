"""`kit label`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from kit.cli.options import (
    ANSWERS,
    OUTPUT,
    ForceOption,
    ForeignOptions,
    ModelArgument,
    ThreadsOption,
    option,
)


def label(
    model: ModelArgument,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE", help="Image files, folders, or - for paths on standard input."
        ),
    ],
    known: ForeignOptions,
    top_k: Annotated[
        int, option(ANSWERS, "Number of labels to give for each image.", metavar="N")
    ] = 3,
    score_threshold: Annotated[
        float | None,
        option(
            ANSWERS,
            "Leave out answers with a lower score.",
            metavar="SCORE",
            show_default="the model's own",
        ),
    ] = None,
    allow: Annotated[
        list[str] | None,
        option(ANSWERS, "Answer only with this label; you can give several.", metavar="LABEL"),
    ] = None,
    deny: Annotated[
        list[str] | None,
        option(ANSWERS, "Never answer with this label; you can give several.", metavar="LABEL"),
    ] = None,
    num_threads: ThreadsOption = None,
    explain: Annotated[  # no Path, which would drop a slash at the end
        str | None,
        option(
            OUTPUT,
            "Show where the model looked: write a PNG picture, or pictures into a folder (for "
            "several images, or where PATH ends in a slash).",
            metavar="PATH",
        ),
    ] = None,
    format: Annotated[
        str,
        option(
            OUTPUT,
            "Print text, a JSON object for each image, or a CSV table.",
            choices=("text", "json", "csv"),
        ),
    ] = "text",
    force: ForceOption = False,
) -> None:
    """Label images, with the code that kit-label runs on a device."""
    from kit.device.label import is_single_image, label_images

    with known.open(
        model,
        num_threads=num_threads,
        single_image=is_single_image(images),
        top_k=top_k,
        score_threshold=score_threshold,
        category_allowlist=allow or (),
        category_denylist=deny or (),
    ) as classifier:
        if not label_images(classifier, images, format, sys.stdout, sys.stderr, explain, force):
            raise typer.Exit(1)
