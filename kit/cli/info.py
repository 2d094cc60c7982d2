"""`kit info`."""

from __future__ import annotations

from kit.cli.options import FormatOption, ModelArgument
from kit.cli.terminal import print_json


def info(model: ModelArgument, format: FormatOption = "text") -> None:
    """Show what a .tflite file is: its input, outputs, operators, labels and card."""
    from kit.cli.text import info_text
    from kit.workflows.describe import describe_model

    facts = describe_model(model)
    if format == "json":
        print_json(facts)
    else:
        print(info_text(facts))
