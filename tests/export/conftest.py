"""Fixtures of tests of exported files."""

import subprocess
import sys

import pytest
from other_interpreters import REQUIREMENTS, run


@pytest.fixture(scope="session")
def python_of(tmp_path_factory):
    """`python_of(name)`: the Python of an environment with REQUIREMENTS[name], made once."""
    made = {}

    def python(name):
        if name not in REQUIREMENTS:
            return sys.executable
        if name not in made:
            folder = tmp_path_factory.mktemp("environment")
            run(sys.executable, "-m", "venv", folder)
            made[name] = folder / "bin" / "python"
            command = [made[name], "-m", "pip", "install", *REQUIREMENTS[name]]
            installed = subprocess.run(command, capture_output=True, text=True)
            if installed.returncode:
                made[name] = (installed.stderr.strip().splitlines() or ["no reason given"])[-1]
        if isinstance(made[name], str):
            pytest.skip(f"pip cannot install {' '.join(REQUIREMENTS[name])}: {made[name]}")
        return made[name]

    return python
