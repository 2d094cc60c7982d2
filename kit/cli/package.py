"""`kit package`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from kit.cli.options import (
    OUTPUT,
    ForceOption,
    ForeignOptions,
    FormatOption,
    GivenFitOption,
    IntendedUseOption,
    ModelArgument,
    ThresholdOption,
    option,
)
from kit.cli.terminal import TerminalReporter, print_json


def package(
    model: ModelArgument,
    output: Annotated[Path, option(OUTPUT, "The .tflite file to write.", metavar="FILE")],
    known: ForeignOptions,
    fit: GivenFitOption = None,
    score_threshold: ThresholdOption = None,
    intended_use: IntendedUseOption = "",
    format: FormatOption = "text",
    force: ForceOption = False,
) -> None:
    """Add labels, metadata and a card to a .tflite file that others made; its weights stay."""
    from kit.workflows.package import PackageSettings, package_model

    settings = PackageSettings(
        **known.settings(),
        fit=fit,
        score_threshold=score_threshold,
        intended_use=intended_use,
    )
    card = package_model(model, output, settings, force=force, reporter=TerminalReporter())
    if format == "json":
        print_json({"output": str(output), "size_bytes": output.stat().st_size, **card.to_json()})
    else:
        print(
            f"{output}: {card.quantization}, {len(card.labels)} labels, {len(card.golden)} golden "
            f"checks passed; runs from TensorFlow Lite {card.minimum_runtime}"
        )
