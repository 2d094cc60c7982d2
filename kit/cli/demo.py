"""`kit demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from kit.cli.options import OUTPUT, ForceOption, option
from kit.cli.terminal import TerminalReporter, import_tensorflow


def demo(
    output: Annotated[
        Path, option(OUTPUT, "The folder to write images and a run to.", metavar="FOLDER")
    ] = Path("kit-demo"),
    force: ForceOption = False,
) -> None:
    """Go through everything on drawn images: retrain, convert, evaluate, label."""
    from kit.workflows.demo import run_demo

    import_tensorflow()
    print(run_demo(output, force=force, reporter=TerminalReporter()))
