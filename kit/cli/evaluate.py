"""`kit evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import (
    DATA,
    OUTPUT,
    SCREENING,
    DataOptions,
    ForceOption,
    ForeignOptions,
    FormatOption,
    GalleryOption,
    ModelArgument,
    PartOption,
    PositiveOption,
    PrevalenceOption,
    SplitColumnOption,
    ThreadsOption,
    option,
)
from kit.cli.terminal import TerminalReporter, print_json


def evaluate(
    model: ModelArgument,
    images: Annotated[
        Path,
        typer.Argument(metavar="IMAGES", help="A folder of images, with a folder for each label."),
    ],
    data: DataOptions,
    known: ForeignOptions,
    split_column: SplitColumnOption = None,
    part: PartOption = None,
    positive: PositiveOption = None,
    prevalence: PrevalenceOption = None,
    subgroup_columns: Annotated[
        str,
        option(
            DATA,
            "Compare the figures by these columns of the table, separated by commas; of DICOM "
            "files without a table by sex, age_band, manufacturer or model.",
            metavar="NAMES",
        ),
    ] = "",
    unknown_images: Annotated[
        Path | None,
        option(
            SCREENING,
            "A folder of images of something else, to measure how well the model tells them.",
            metavar="FOLDER",
        ),
    ] = None,
    misclassified: Annotated[
        Path | None,
        option(OUTPUT, "Write the wrong answers to this CSV file.", metavar="FILE"),
    ] = None,
    report: Annotated[
        Path | None, option(OUTPUT, "Write a report to this HTML file.", metavar="FILE")
    ] = None,
    gallery: GalleryOption = None,
    num_threads: ThreadsOption = None,
    format: FormatOption = "text",
    force: ForceOption = False,
) -> None:
    """Score a .tflite file on labelled images, with the runtime that ships."""
    from kit.cli.text import model_evaluation_text
    from kit.evaluation import evaluate_model
    from kit.evaluation.evaluate import check_positive
    from kit.filenames import text_bytes
    from kit.files import check_absent, write_beside
    from kit.report import of_evaluation, render
    from kit.reporting import tell_left_out

    reporter = TerminalReporter()
    for output in (misclassified, report):
        if output is not None:
            check_absent(output, force)
    with known.open(model, num_threads=num_threads) as classifier:
        if positive is not None:
            check_positive(positive, classifier.labels)
        result = evaluate_model(
            classifier,
            images,
            part=part,
            data=data.settings(split_column, subgroup_columns),
            prevalence=prevalence,
            unknown_images=unknown_images,
            reporter=reporter,
        )
        for line in result.warnings:
            reporter.warn(line)
        tell_left_out(result.left_out, reporter)
        if misclassified is not None:
            write_beside(misclassified, text_bytes(result.evaluation.misclassified_csv()), force)
        if report is not None:
            page = of_evaluation(
                classifier,
                images,
                result,
                part=part,
                positive=positive,
                prevalence=prevalence,
                num_threads=num_threads,
                gallery=gallery,
            )
            write_beside(report, text_bytes(render(page)), force)
    if format == "json":
        print_json({"model": str(model), **result.to_json(positive, prevalence)})
    else:
        print(model_evaluation_text(result, positive, prevalence))
