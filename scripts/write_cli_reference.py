"""Writes docs/cli.md: what every command says of itself when it is asked for --help.

python scripts/write_cli_reference.py
"""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"
_BEGINNING = """# Commands

`kit` is the command on the desktop. `kit-label` is the command on a device; it needs neither
TensorFlow nor Typer. This page shows what each command prints for `--help`. It is written by
`make docs-cli`.

Results go to standard output, progress and warnings to standard error. The exit status is 0 if all
went well, 1 if anything failed, and 2 for a mistake on the command line. An error is one line;
`KIT_DEBUG=1` shows where it comes from. `kit --install-completion` installs completion for your
shell.

`--config FILE` reads options from a TOML file, under the names that they have on the command line:

```toml
alpha = 0.25
input-resolution = 128
quantize = ["int8", "float32"]
```

Options on the command line override the file. A relative path in it counts from the current
folder. Each run and each sweep writes such a file, `settings.toml`, with every default spelt out.
"""


def reference() -> str:
    """The page."""
    import typer
    from typer.testing import CliRunner

    from kit.cli.app import app
    from kit.device.command import build_parser

    def help_of(*path: str) -> str:
        return CliRunner().invoke(app, [*path, "--help"], prog_name="kit").stdout.rstrip()

    parts = [_BEGINNING, "## kit\n", _block(help_of())]
    for path in commands(typer.main.get_command(app)):
        parts += [f"## kit {' '.join(path)}\n", _block(help_of(*path))]
    with patch.dict(os.environ, {"COLUMNS": "80"}):  # what argparse goes by
        parts += ["## kit-label\n", _block(build_parser().format_help().rstrip())]
    return "\n".join(parts)


def commands(group: object, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The path of every command, in the order in which help lists them."""
    found: list[tuple[str, ...]] = []
    for name, command in getattr(group, "commands", {}).items():
        inner = commands(command, (*prefix, name))
        found += inner or [(*prefix, name)]
    return found


def _block(text: str) -> str:
    return f"```text\n{text}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    print(PAGE)
