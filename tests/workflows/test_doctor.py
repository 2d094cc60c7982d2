"""What a desktop is told of itself."""

import json

import pytest
from typer.testing import CliRunner

from kit.cli.app import app
from kit.device.doctor import FAILED, OK, WARNING, works
from kit.training.backbones import choose
from kit.workflows import doctor

pytestmark = pytest.mark.tf


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Without starting interpreters and TensorFlow; a home of its own."""
    monkeypatch.setattr(doctor, "check_device", lambda: ())
    done = doctor.Check("training", "TensorFlow", OK, "2.21.0")
    monkeypatch.setattr(doctor, "_tensorflow", lambda: done)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("KIT_WEIGHTS_DIR", raising=False)
    return tmp_path


def by_name(checks=None):
    return {(one.group, one.name): one for one in checks or doctor.check_machine()}


@pytest.mark.slow
def test_this_machine_works():
    result = CliRunner().invoke(app, ["doctor", "--format", "json"])
    data = json.loads(result.stdout)
    failed = [check for check in data["checks"] if check["state"] == FAILED]
    assert (result.exit_code, failed) == (0, [])
    names = {(check["group"], check["name"]) for check in data["checks"]}
    assert {("extras", "train"), ("training", "TensorFlow"), ("bottlenecks", "cache")} <= names


def test_missing_packages_of_training(quick, monkeypatch):
    monkeypatch.setattr(
        doctor, "installed_version", lambda name: None if name == "scipy" else "99.0"
    )
    checks = by_name()
    train = checks["extras", "train"]
    assert train.state == FAILED
    assert "missing scipy" in train.found and "unsuitable tensorflow 99.0" in train.found
    assert train.remedy == "pip install 'mobilenet-kit[train]'"
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 1
    assert "1 problem to mend before it can work" in result.stdout


def test_a_missing_extra_is_no_problem(quick, monkeypatch):
    monkeypatch.setattr(
        doctor, "installed_version", lambda name: None if name == "pydicom" else "2.21.0"
    )
    dicom = by_name()["extras", "dicom"]
    assert (dicom.state, dicom.found.startswith("missing pydicom")) == (OK, True) or (
        dicom.state == WARNING
    )
    assert dicom.remedy == "if you need it: pip install 'mobilenet-kit[dicom]'"


def test_weights_in_a_folder(quick, monkeypatch):
    folder = quick / "weights"
    folder.mkdir()
    name = choose("mobilenet_v1", 0.25, 128).weights_names[0]
    (folder / name).write_bytes(b"")
    monkeypatch.setenv("KIT_WEIGHTS_DIR", str(folder))
    checks = by_name()
    found = checks["weights", "KIT_WEIGHTS_DIR"].found
    assert found == f"1 file in {folder}: mobilenet_v1 0.25 at 128"
    assert ("weights", "ImageNet") not in checks


def test_no_weights_are_a_remark(quick):
    check = by_name()["weights", "ImageNet"]
    assert check.state == WARNING
    assert "kit weights pull" in check.remedy


def test_a_weights_folder_that_is_not_there(quick, monkeypatch):
    monkeypatch.setenv("KIT_WEIGHTS_DIR", str(quick / "gone"))
    check = by_name()["weights", "KIT_WEIGHTS_DIR"]
    assert (check.state, "gone does not exist" in check.found) == (FAILED, True)


def test_the_cache_says_how_it_is_emptied(quick):
    (quick / "cache").mkdir()
    (quick / "cache" / "bottlenecks.sqlite").write_bytes(bytes(3_000_000))
    check = by_name()["bottlenecks", "cache"]
    assert check.found == f"3 MB in {quick / 'cache'}; to empty it: rm -r {quick / 'cache'}"


def test_a_cache_that_cannot_be_written(quick, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: False)
    check = by_name()["bottlenecks", "cache"]
    assert (check.state, "KIT_CACHE_DIR" in check.remedy) == (FAILED, True)
    assert not works(doctor.check_machine())


@pytest.mark.parametrize(
    ("code", "said"),
    [("import sys; sys.exit('no such library')", "no such library"), ("1/0", "ZeroDivision")],
)
def test_a_tensorflow_that_does_not_load(monkeypatch, tmp_path, code, said):
    (tmp_path / "tensorflow.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    check = doctor._tensorflow()
    assert check.state == FAILED
    assert said in check.found
    assert check.remedy == "pip install 'mobilenet-kit[train]'"
