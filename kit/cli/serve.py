"""`kit serve`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from kit.cli.options import OUTPUT, option
from kit.cli.terminal import TerminalReporter


def serve(
    site: Annotated[
        Path, typer.Argument(metavar="SITE", help="A folder that kit deploy web wrote.")
    ],
    port: Annotated[
        int, option(OUTPUT, "The port to listen on.", min=0, max=65535, metavar="N")
    ] = 8437,
    https: Annotated[
        bool,
        option(
            OUTPUT,
            "Encrypt, with a certificate that this command makes: phones give a page their camera "
            "only then. Needs the extra sign.",
            "--https",
        ),
    ] = False,
) -> None:
    """Serve a page on this machine and its network, to try it at once; Ctrl-C ends it."""
    from kit.deploy.serve import open_server, told

    reporter = TerminalReporter()
    with open_server(site, port, https=https) as server:
        for line in told(server.server_port, https):
            reporter.say(line)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
