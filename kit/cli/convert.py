"""`kit convert`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kit.choices import TARGET_NAMES
from kit.cli.given import given
from kit.cli.options import (
    GATES,
    NO_CARD,
    OUTPUT,
    QUANTISATION,
    QUANTIZE_HELP,
    DropOption,
    ForceOption,
    FormatOption,
    GivenFitOption,
    IntendedUseOption,
    LeastOption,
    NormalisationOptions,
    ScreeningOption,
    ThresholdOption,
    modes,
    option,
    triple,
)
from kit.cli.terminal import TerminalReporter, import_tensorflow, print_json

if TYPE_CHECKING:
    from kit.workflows.convert import ConvertSettings


@dataclass(frozen=True)
class GraphOptions:
    """What the graph of a source may not say."""

    input_resolution: Annotated[
        int | None,
        option(
            NO_CARD,
            "Side of the input in pixels, for a source that leaves it open.",
            metavar="PIXELS",
        ),
    ] = None
    input_tensor: Annotated[
        str | None,
        option(
            NO_CARD,
            "The node that takes the image.",
            metavar="NAME",
            show_default="found in the graph",
        ),
    ] = None
    output_tensor: Annotated[
        str | None,
        option(
            NO_CARD,
            "The node that gives the scores.",
            metavar="NAME",
            show_default="found in the graph",
        ),
    ] = None
    unsafe: Annotated[
        bool,
        option(
            NO_CARD,
            "Run code that the source carries, such as Lambda layers; do so only if you trust it.",
            "--unsafe",
        ),
    ] = False


_NOT_COMPARED = (
    *("quantize", "target", "screening", "force"),
    *("max_accuracy_drop", "assert_accuracy_at_least"),
)
_TRANSLATED = ("source", "output", "target", "force")


def convert(
    context: typer.Context,
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A run folder, a SavedModel's folder, or a .keras, .h5 or frozen .pb file; for "
            "--target c and onnx also a packaged .tflite file.",
        ),
    ],
    known: NormalisationOptions,
    graph: GraphOptions,
    output: Annotated[
        Path | None,
        option(OUTPUT, "The file to write; --compare needs none.", metavar="FILE"),
    ] = None,
    quantize: Annotated[
        list[str] | None,
        option(QUANTISATION, QUANTIZE_HELP, metavar="MODE", show_default="int8"),
    ] = None,
    images: Annotated[
        Path | None,
        option(
            QUANTISATION,
            "Labelled photographs to score the file on; for a run, its images if they have moved.",
            metavar="FOLDER",
        ),
    ] = None,
    representative_images: Annotated[
        Path | None,
        option(
            QUANTISATION,
            "A folder of photographs that quantisation looks at, labelled or not.",
            metavar="FOLDER",
        ),
    ] = None,
    compare: Annotated[
        bool,
        option(
            QUANTISATION,
            "Print a table over all quantisations, and write nothing.",
            "--compare",
        ),
    ] = False,
    fit: GivenFitOption = None,
    max_accuracy_drop: DropOption = None,
    assert_accuracy_at_least: LeastOption = None,
    target_runtime: Annotated[
        str | None,
        option(
            GATES,
            "The runtime that must be able to run the file: 2.3 to 2.14 (tflite-runtime), litert-1 "
            "or litert-2.",
            metavar="RUNTIME",
        ),
    ] = None,
    screening: ScreeningOption = False,
    target: Annotated[
        str,
        option(
            OUTPUT,
            "Write a .tflite file, C source (OUTPUT.h and OUTPUT.c) or an ONNX file.",
            choices=TARGET_NAMES,
        ),
    ] = TARGET_NAMES[0],
    score_threshold: ThresholdOption = None,
    intended_use: IntendedUseOption = "",
    format: FormatOption = "text",
    force: ForceOption = False,
) -> None:
    """Convert a run, or a model that others made, and score the converted file."""
    from converters.sources.source import SourceOptions
    from kit.export.exported import Gates, summary, verification
    from kit.workflows import convert as workflow

    if compare == (output is not None):
        raise ValueError(
            "expected --output FILE or --compare, which writes no file, got "
            f"{'both' if compare else 'neither'}"
        )
    translated = source.suffix == ".tflite" and target != TARGET_NAMES[0]
    for name, flag in given(context).items():
        if compare and name in _NOT_COMPARED:
            raise ValueError(f"expected {flag} with --output FILE, got --compare")
        if translated and name not in _TRANSLATED:
            raise ValueError(
                f"{source}: expected no {flag} for a .tflite file, which --target {target} takes "
                "as it is, got one: leave it out"
            )
    (mode, *others) = modes(quantize)
    if others:
        raise ValueError(f"expected one mode for --quantize, got {mode}, {', '.join(others)}")
    settings = workflow.ConvertSettings(
        quantize=mode,
        images=images,
        representative_images=representative_images,
        labels=known.labels,
        fit=fit,
        resize=known.resize,
        source=SourceOptions(
            triple(known.mean, "--mean"),
            triple(known.std, "--std"),
            graph.input_resolution,
            graph.input_tensor,
            graph.output_tensor,
            graph.unsafe,
        ),
        gates=Gates(max_accuracy_drop, assert_accuracy_at_least),
        target_runtime=target_runtime,
        score_threshold=score_threshold,
        intended_use=intended_use,
        target=target,
        screening=screening,
    )
    if output is None:
        _compare(source, settings, format)
        return
    if translated:
        if target == "onnx":
            import_tensorflow()
        for path in workflow.translate(source, output, target, force=force):
            print(path)
        return
    import_tensorflow()
    exported = workflow.convert(source, output, settings, force=force, reporter=TerminalReporter())
    if format == "json":
        print_json({"output": str(output), **exported.to_json()})
    else:
        print(summary(exported))
        print(verification(exported))


def _compare(source: Path, settings: ConvertSettings, format: str) -> None:
    from kit.cli.text import comparison_text
    from kit.workflows.compare import compare

    import_tensorflow()
    rows = compare(source, settings, TerminalReporter())
    if format == "json":
        print_json({"source": str(source), "modes": [row.to_json() for row in rows]})
    else:
        print(comparison_text(rows))
