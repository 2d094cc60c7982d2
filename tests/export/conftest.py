"""Fixtures of tests of exported files."""

import sys

import pytest
from environments import install, new_environment
from other_interpreters import REQUIREMENTS


@pytest.fixture(scope="session")
def python_of(tmp_path_factory):
    """`python_of(name)`: the Python of an environment with REQUIREMENTS[name], made once."""
    made, missing = {}, {}

    def python(name):
        if name not in REQUIREMENTS:
            return sys.executable
        if name not in made:
            made[name] = new_environment(tmp_path_factory.mktemp("environment"))
            missing[name] = install(made[name], *REQUIREMENTS[name])
        if missing[name]:
            pytest.skip(f"pip cannot install {' '.join(REQUIREMENTS[name])}: {missing[name]}")
        return made[name]

    return python
