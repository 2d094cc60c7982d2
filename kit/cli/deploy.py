"""`kit deploy`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

from kit.choices import WEB_LANGUAGES
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


def web(
    model: ModelArgument,
    output: Annotated[
        Path,
        option(OUTPUT, "The folder to write, or with --single-file the HTML file.", metavar="PATH"),
    ],
    title: Annotated[
        str,
        option(OUTPUT, "The title of the page.", metavar="TEXT", show_default="the labels"),
    ] = "",
    language: Annotated[
        str,
        option(
            OUTPUT,
            "The language that the page opens in; its user can change it.",
            choices=WEB_LANGUAGES,
        ),
    ] = WEB_LANGUAGES[0],
    single_file: Annotated[
        bool,
        option(
            OUTPUT,
            "Put everything into one HTML file, which works from a stick or a mail.",
            "--single-file",
        ),
    ] = False,
    force: ForceOption = False,
) -> None:
    """Write a page that labels images in any browser, without a network after the first visit."""
    from kit.deploy.web import deploy_web

    deployment = deploy_web(
        *(model, output),
        title=title,
        language=language,
        single_file=single_file,
        force=force,
    )
    print(f"{deployment.output}: {deployment.size_bytes / 1e6:.1f} MB", file=sys.stderr)
    print(deployment.output if single_file else f"kit serve {shlex.quote(str(output))}")
