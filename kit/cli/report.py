"""`kit report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from kit.cli.options import OUTPUT, ForceOption, ModelArgument, option


def report(
    model: ModelArgument,
    output: Annotated[
        Path | None,
        option(OUTPUT, "The file to write.", metavar="FILE", show_default="standard output"),
    ] = None,
    format: Annotated[
        str, option(OUTPUT, "Write a table in Markdown, or JSON.", choices=("markdown", "json"))
    ] = "markdown",
    force: ForceOption = False,
) -> None:
    """Show what reviewers ask of a model, as its card answers it, and what you have to fill in."""
    import json
    from dataclasses import asdict

    from kit.errors import ModelFileError
    from kit.filenames import text_bytes
    from kit.files import write_beside
    from kit.model.model_file import read_model_file
    from kit.report.checklist import checklist, markdown

    card = read_model_file(model).card
    if card is None:
        raise ModelFileError(
            f"{model}: expected a packaged model, got one without a card: kit package gives it one"
        )
    items = checklist(card)
    if format == "json":
        shown = json.dumps([asdict(item) for item in items], ensure_ascii=False, indent=1) + "\n"
    else:
        shown = markdown(model.name, items)
    if output is None:
        print(shown, end="")
    else:
        write_beside(output, text_bytes(shown), force)
        print(output)
