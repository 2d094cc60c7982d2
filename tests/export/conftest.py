"""Fixtures of tests of exported files."""

import sys

import pytest
from environments import install, new_environment
from other_interpreters import REQUIREMENTS


@pytest.fixture(scope="session")
def python_of(tmp_path_factory):
    """`python_of(name)`: the Python of an environment with REQUIREMENTS[name], made once."""
    made = {}

    def python_for(name):
        if name not in REQUIREMENTS:
            return sys.executable
        if name not in made:
            python = new_environment(tmp_path_factory.mktemp("environment"))
            made[name] = python, install(python, *REQUIREMENTS[name])
        python, missing = made[name]
        if missing:
            pytest.skip(f"pip cannot install {' '.join(REQUIREMENTS[name])}: {missing}")
        return python

    return python_for
