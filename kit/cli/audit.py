"""`kit audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import GATES, FormatOption, option
from kit.cli.terminal import print_json


def verify(
    log: Annotated[
        Path, typer.Argument(metavar="FILE", help="A log that kit-label --audit wrote.")
    ],
    holds: Annotated[
        str,
        option(
            GATES,
            "A hash that was noted before: fail unless it is still in the log, which finds a log "
            "that was cut at its end or made anew.",
            metavar="HASH",
        ),
    ] = "",
    format: FormatOption = "text",
) -> None:
    """Check that no entry of an audit log was changed, removed, swapped or put in."""
    from dataclasses import asdict

    from kit.device.audit import verify

    found = verify(log, holds)
    if format == "json":
        print_json({"log": str(log), **asdict(found)})
    elif not found.entries:
        print(f"{log}: no entries yet")
    else:
        print(
            f"{log}: {found.entries} entries from {found.first} to {found.last}, none changed\n"
            f"note the last hash: {found.hash}"
        )
