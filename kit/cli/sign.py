"""`kit sign`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from kit.cli.options import OUTPUT, ForceOption, ModelArgument, option
from kit.cli.terminal import TerminalReporter


def sign(
    model: ModelArgument,
    key: Annotated[
        Path,
        option(
            OUTPUT,
            "The private key, which must stay secret. Devices get the public key beside it, "
            "KEY.pub.",
            metavar="KEY",
        ),
    ],
    new_key: Annotated[bool, option(OUTPUT, "Make the two keys first.", "--new-key")] = False,
    output: Annotated[
        Path | None,
        option(OUTPUT, "The file to write.", metavar="FILE", show_default="MODEL itself"),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Sign a model and its card, so that devices run only what you release."""
    from kit.device.signature import is_readable_by_others, make_keys, signed
    from kit.files import check_absent, write_beside
    from kit.model.model_file import read_model_file

    reporter = TerminalReporter()
    read_model_file(model)  # told before a key is made
    if output is not None:
        check_absent(output, force)
    if new_key:
        reporter.say(f"wrote {key}, which must stay secret, and {make_keys(key)} for devices")
    if key.exists() and is_readable_by_others(key):
        reporter.warn(f"{key} can be read by others on this machine: chmod 600 {key}")
    content = signed(model.read_bytes(), key)
    write_beside(output or model, content, force=True)
    print(output or model)
