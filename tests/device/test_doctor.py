"""What a device is told of itself, healthy and not."""

import json
import os
import subprocess
import sys
from collections import namedtuple

import pytest

from kit.device import doctor
from kit.device.command import main
from kit.device.doctor import FAILED, OK, WARNING, check_device, doctor_text, works
from kit.reporting import counted


def by_name(checks):
    return {(check.group, check.name): check for check in checks}


def test_a_healthy_device(capsys):
    assert main(["--doctor"]) == 0
    shown = capsys.readouterr().out
    assert "runs a small model and gives its scores" in shown
    assert "Pillow reads" in shown and "free disk" in shown
    assert shown.splitlines()[-1].startswith("it works")


def test_as_json(capsys):
    assert main(["--doctor", "--format", "json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["works"] is True
    assert {"group", "name", "state", "found", "remedy"} == set(data["checks"][0])


def test_a_model_beside_it_is_a_mistake(model, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(model), "--doctor"])
    assert ended.value.code == 2
    assert "expected --doctor alone" in capsys.readouterr().err


@pytest.fixture
def fake_interpreter(tmp_path, monkeypatch):
    """`fake_interpreter(source)`: only tflite_runtime is installed, with this Interpreter."""

    def made(source):
        package = tmp_path / "tflite_runtime"
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "interpreter.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
        monkeypatch.setattr(
            doctor,
            "find_spec",
            lambda name: name == "tflite_runtime" or None,
        )
        return by_name(check_device())["interpreters", "tflite_runtime"]

    return made


def test_an_interpreter_that_crashes(fake_interpreter, monkeypatch):
    monkeypatch.setattr(
        doctor, "installed_version", {"numpy": "2.4.0", "pillow": "11", "pydicom": None}.get
    )
    check = fake_interpreter("import os\nos.abort()\n")
    assert check.state == FAILED  # no other one is there
    assert check.found == "of unknown version, crashes on a small model"
    assert check.remedy == "pip install 'numpy<2'"


WRONG = """
import numpy as np
from ai_edge_litert.interpreter import Interpreter as Real

class Interpreter(Real):
    def get_tensor(self, index):
        return np.roll(super().get_tensor(index), 1, axis=-1)
"""


def test_an_interpreter_that_gives_other_scores(fake_interpreter, monkeypatch):
    monkeypatch.setattr("kit.model.spec.np", None, raising=False)
    check = fake_interpreter(WRONG)
    assert check.state == FAILED
    assert "does not go with this numpy" in check.found or "gives other scores" in check.found
    assert check.remedy


def test_an_interpreter_that_hangs(fake_interpreter, monkeypatch):
    monkeypatch.setattr(doctor, "_CHILD_SECONDS", 2)
    check = fake_interpreter("import time\ntime.sleep(60)\n")
    assert (check.state, "hangs on a small model" in check.found) == (FAILED, True)


def test_one_of_two_that_does_not_run_is_a_remark(monkeypatch):
    states = {"ai_edge_litert": OK, "tflite_runtime": WARNING}
    monkeypatch.setattr(doctor, "find_spec", lambda name: name in states or None)
    monkeypatch.setattr(
        doctor,
        "_interpreter",
        lambda group, name: doctor.Check(group, name, states[name], "x", "y"),
    )
    checks = check_device()
    assert works(checks)
    assert by_name(checks)["interpreters", "tflite_runtime"].state == WARNING


def test_no_interpreter(monkeypatch):
    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    checks = check_device()
    assert not works(checks)
    (check,) = [check for check in checks if check.group == "interpreters"]
    assert check.state == FAILED
    assert check.remedy.startswith("pip install ai-edge-litert")


def test_a_missing_package(monkeypatch):
    monkeypatch.setattr(doctor, "installed_version", {"numpy": "1.26.4"}.get)
    checks = by_name(check_device())
    assert checks["packages", "numpy"].found == "1.26.4"
    pillow = checks["packages", "pillow"]
    assert (pillow.state, pillow.remedy) == (FAILED, "pip install pillow")


def test_a_full_disk(monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**6))
    check = by_name(check_device())["disk", "free disk"]
    assert (check.state, bool(check.remedy)) == (WARNING, True)


def test_an_old_python(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 9, 0))
    check = by_name(check_device())["this machine", "Python"]
    assert (check.state, check.remedy) == (FAILED, "install Python 3.11 or newer")


def test_the_text_counts_what_is_to_be_mended(monkeypatch):
    check = doctor.Check("group", "name", FAILED, "none", "install it")
    assert doctor_text([check]).splitlines() == [
        "group",
        "  name  FAILED: none",
        "        -> install it",
        "",
        "1 problem to mend before it can work",
    ]
    assert [counted(number, "problem") for number in (0, 2)] == ["no problems", "2 problems"]


def test_the_small_model_is_packaged():
    code = (
        "from importlib.resources import files\n"
        "print(len(files('kit.device').joinpath('self_test.tflite').read_bytes()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) == doctor.SMALL_MODEL.stat().st_size > 1000
