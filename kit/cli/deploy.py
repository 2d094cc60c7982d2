"""`kit deploy`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from kit.cli.options import OUTPUT, ForceOption, ModelArgument, option


def pi(
    model: ModelArgument,
    output: Annotated[Path, option(OUTPUT, "The folder to write.", metavar="FOLDER")],
    system: Annotated[
        str,
        option(
            OUTPUT,
            "The system on the Raspberry Pi: bookworm-arm64, bookworm-armhf or trixie-arm64.",
            metavar="NAME",
        ),
    ] = "bookworm-arm64",
    force: ForceOption = False,
) -> None:
    """Write a folder that installs the model on a Raspberry Pi without a network."""
    from kit.deploy.pi import deploy_pi, deployment_text

    print(deployment_text(deploy_pi(model, output, system=system, force=force)))


def android(
    model: ModelArgument,
    app_folder: Annotated[
        Path, option(OUTPUT, "The folder of the app's source code.", "--app", metavar="FOLDER")
    ] = Path("android_demo"),
) -> None:
    """Put a model into the phone app, in place of the one that is there."""
    from kit.deploy.android import deploy_android

    deployment = deploy_android(model, app_folder)
    print(f"{deployment.asset}: {deployment.size_bytes} bytes", file=sys.stderr)
    print("\n".join(deployment.commands))
