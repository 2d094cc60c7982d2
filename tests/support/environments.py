"""Environments of their own for what tests run beside the kit."""

import os
import subprocess
import sys
from pathlib import Path


def without_pythonpath() -> dict[str, str]:
    """This process's environment variables, but for what would lend its packages to another."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command, **options):
    """What a command prints, without the PYTHONPATH of this process; it must succeed."""
    done = subprocess.run(
        command, capture_output=True, text=True, env=without_pythonpath(), **options
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def new_environment(folder: Path) -> Path:
    """Makes an empty environment; returns its Python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    return folder / "bin" / "python"


def install(python: Path, *arguments) -> str | None:
    """Installs into an environment what pip is given; returns why it could not be.

    The pip of this process does it, and compiles nothing that is not imported: that saves half
    of the time.
    """
    options = ["--python", python, "install", "--no-compile"]
    command = [sys.executable, "-m", "pip", *options, *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or ["no reason given"])[-1]
