"""The `kit` command. Each command parses, calls one public function and prints."""

import sys


def main() -> None:
    """Entry point; says what to install where the packages for training are missing."""
    try:
        from kit.cli.app import app
    except ModuleNotFoundError as error:
        print(
            f"kit: expected the package {error.name}: pip install 'mobilenet-kit[train]' "
            "(a device needs kit-label alone)",
            file=sys.stderr,
        )
        sys.exit(1)
    app()
