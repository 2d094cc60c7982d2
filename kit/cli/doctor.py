"""`kit doctor`."""

from __future__ import annotations

import typer

from kit.cli.options import FormatOption
from kit.cli.terminal import TerminalReporter, print_json


def doctor(format: FormatOption = "text") -> None:
    """Show what this machine can run, and what to do where something is missing."""
    from kit.device.doctor import doctor_json, doctor_text, works
    from kit.workflows.doctor import check_machine

    checks = check_machine(TerminalReporter())
    if format == "json":
        print_json(doctor_json(checks))
    else:
        print(doctor_text(checks))
    if not works(checks):
        raise typer.Exit(1)
