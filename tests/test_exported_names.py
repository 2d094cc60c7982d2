"""Each package says what it is for and exports its public names."""

import importlib
import subprocess
import sys

import pytest

PACKAGES = (
    *("kit", "kit.model", "kit.runtime", "kit.device", "kit.data", "kit.evaluation"),
    *("kit.training", "kit.export", "kit.report", "kit.sweep", "kit.deploy", "kit.workflows"),
    *("kit.cli", "converters", "converters.sources", "converters.targets"),
)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_says_what_it_is_for(name):
    package = importlib.import_module(name)
    assert len(package.__doc__.splitlines()) >= 1
    assert package.__doc__.split("\n")[0].endswith((".", ":"))


@pytest.mark.tf
@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_are_there(name):
    package = importlib.import_module(name)
    public = getattr(package, "__all__", [])
    assert len(public) == len(set(public))
    for one in public:
        assert getattr(package, one) is not None
    assert set(public) <= set(dir(package))


def test_a_name_that_is_none():
    import kit

    with pytest.raises(AttributeError, match="module 'kit' has no attribute 'trian'"):
        _ = kit.trian


def test_the_public_face_loads_nothing_before_it_is_used():
    code = (
        "import sys, kit\n"
        "assert 'numpy' not in sys.modules\n"
        "kit.Classifier\n"
        "assert 'kit.training' not in sys.modules and 'numpy' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.tf
def test_the_public_names_are_documented_functions():
    import kit

    for name in kit.__all__:
        assert getattr(kit, name).__doc__
