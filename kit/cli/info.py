"""`kit info`."""

from __future__ import annotations

from kit.cli.options import (
    FormatOption,
    ModelArgument,
    OpenResolutionOption,
    OutputTensorOption,
)
from kit.cli.terminal import print_json


def info(
    model: ModelArgument,
    input_resolution: OpenResolutionOption = None,
    output_tensor: OutputTensorOption = None,
    format: FormatOption = "text",
) -> None:
    """Show what a .tflite file is: its input, outputs, operators, labels and card."""
    from kit.cli.text import info_text
    from kit.workflows.describe import describe_model

    facts = describe_model(model, input_resolution=input_resolution, output_tensor=output_tensor)
    if format == "json":
        print_json(facts)
    else:
        print(info_text(facts))
