"""`kit deploy pi`: what is in the folder. device/arm64/arm64.sh installs one in a real userland."""

import base64
import csv
import ensurepip
import hashlib
import io
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from ai_edge_litert.schema_py_generated import BuiltinOperator
from training_fixtures import package
from typer.testing import CliRunner

from converters.model_object import from_bytes, to_bytes
from kit.cli.app import app
from kit.deploy import pi
from kit.deploy.pi import SYSTEMS, deploy_pi, rebuild_wheel
from kit.errors import (
    ConversionError,
    DeploymentError,
    MissingDependencyError,
    ModelFileError,
    OutputExistsError,
)
from kit.model.model_file import read_model_file

METADATA = """Metadata-Version: 2.4
Name: mobilenet-kit
Version: 0.1.0
Requires-Dist: pillow>=9.4
Requires-Dist: numpy>=1.23
Requires-Dist: numpy<2; platform_machine == 'aarch64' and python_version < '3.12'
Requires-Dist: tflite-runtime; platform_machine != 'x86_64' and python_version < '3.12'
Requires-Dist: ai-edge-litert; platform_machine == 'x86_64' or python_version >= '3.12'
Requires-Dist: tensorflow; extra == 'train'
"""


@pytest.fixture
def pip(monkeypatch):
    """What pip was asked for; it downloads nothing, and builds a wheel that holds METADATA."""
    asked = []

    def run(*arguments, what):
        asked.append(arguments)
        folder = Path(
            arguments[arguments.index("--dest" if "--dest" in arguments else "--wheel-dir") + 1]
        )
        if arguments[0] == "wheel":
            with zipfile.ZipFile(folder / "mobilenet_kit-0.1.0-py3-none-any.whl", "w") as wheel:
                wheel.writestr("mobilenet_kit-0.1.0.dist-info/METADATA", METADATA)
        else:
            (folder / "pip-26-py3-none-any.whl").touch()

    monkeypatch.setattr(pi, "_pip", run)
    return asked


def wanted(asked):
    """The requirements of a download."""
    return set(asked[-1][asked[-1].index("pip") :])


@pytest.mark.parametrize(
    ("system", "python", "requirements"),
    [
        ("bookworm-arm64", "3.11", {"pillow>=9.4", "numpy>=1.23", "numpy<2", "tflite-runtime"}),
        ("bookworm-armhf", "3.11", {"tflite-runtime"}),
        ("trixie-arm64", "3.13", {"pillow>=9.4", "numpy>=1.23", "ai-edge-litert"}),
    ],
)
def test_the_wheels_are_the_systems_own(pip, model, tmp_path, system, python, requirements):
    deployment = deploy_pi(model, tmp_path / "out", system=system)
    assert wanted(pip) == {"pip", *requirements}
    download = pip[-1]
    assert download[download.index("--python-version") + 1] == python
    machine, glibc = SYSTEMS[system].machine, SYSTEMS[system].glibc
    assert f"manylinux_2_{glibc}_{machine}" in download
    assert f"manylinux_2_{glibc + 1}_{machine}" not in download
    # Without Debian's packages a wheel's own needs must be found, too.
    assert ("--no-deps" in download) == bool(SYSTEMS[system].debian_packages)
    assert deployment.wheels == ("mobilenet_kit-0.1.0-py3-none-any.whl", "pip-26-py3-none-any.whl")


@pytest.mark.parametrize("system", [name for name, system in SYSTEMS.items() if system.runtime])
def test_the_folder_is_complete(pip, model, tmp_path, system):
    folder = tmp_path / "out"
    deployment = deploy_pi(model, folder, system=system)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("README.md", "install.sh", "kit-label.service.in", "model.tflite", "wheels")
    ]
    assert (folder / "model.tflite").read_bytes() == model.read_bytes()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert deployment.size_bytes == sum(path.stat().st_size for path in files)
    readme = (folder / "README.md").read_text()
    assert len(readme.splitlines()) <= 10 and SYSTEMS[system].title in readme
    assert ("python3-numpy" in readme) == bool(SYSTEMS[system].debian_packages)
    script = folder / "install.sh"
    assert os.access(script, os.X_OK) and b"\r" not in script.read_bytes()
    subprocess.run(["sh", "-n", script], check=True)
    unit = (folder / "kit-label.service.in").read_text()
    assert "--watch" in unit and "Restart=on-failure" in unit
    for text in (readme, unit, script.read_text()):
        assert "{{" not in text and "{%" not in text


def test_install_says_where_it_is_not_for(pip, model, tmp_path):
    """Here is no Pi of that system: it must say so, and leave nothing."""
    deploy_pi(model, tmp_path / "out", system="bookworm-armhf")
    done = subprocess.run(
        ["sh", tmp_path / "out" / "install.sh"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stdout == ""
    assert "expected Raspberry Pi OS 12 (bookworm), 32 bit: armhf with Python 3.11" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out" / "env").exists()


@pytest.fixture
def here(pip, model, tmp_path, monkeypatch):
    """A folder for this machine, whose kit-label says where it runs; returns a run of install.sh"""
    bundled = sorted(Path(ensurepip.__file__).with_name("_bundled").glob("pip-*.whl"))
    if sys.platform != "linux" or shutil.which("dpkg") is None or not bundled:
        pytest.skip("install.sh is for Debian, and this test needs ensurepip's wheel")
    architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True).strip()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    system = pi.System("Here", architecture, platform.machine(), python, 36, "x", "2.14")
    monkeypatch.setattr(pi, "SYSTEMS", {"here": system})
    folder = tmp_path / "a folder"
    deploy_pi(model, folder, system="here")
    shutil.copy(bundled[0], folder / "wheels" / "pip-26-py3-none-any.whl")
    information = "mobilenet_kit-0.1.0.dist-info"
    contents = {
        "own.py": "import sys\ndef main(): print(sys.prefix, *sys.argv[1:])\n",
        f"{information}/METADATA": METADATA.partition("Requires-Dist")[0],
        f"{information}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{information}/entry_points.txt": "[console_scripts]\nkit-label = own:main\n",
        f"{information}/RECORD": "",
    }
    with zipfile.ZipFile(folder / "wheels" / "mobilenet_kit-0.1.0-py3-none-any.whl", "w") as wheel:
        for name, text in contents.items():
            wheel.writestr(name, text)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python3").symlink_to(Path(sys.base_prefix) / "bin" / f"python{python}")

    def run(*command):
        return subprocess.run(
            command,
            cwd=folder,
            env={"PATH": f"{programs}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
        )

    return folder, programs, run


def test_an_update_over_the_folder(here):
    folder, programs, run = here
    told = f"{folder / 'env'} model.tflite --self-test\n"
    first = run("sh", "install.sh")
    assert (first.returncode, first.stdout) == (0, told), first.stderr
    shutil.copy(*(folder / "wheels" / f"pip-{v}-py3-none-any.whl" for v in (26, 27)))
    (programs / "systemctl").write_text('#!/bin/sh\n[ "$*" = "is-active --quiet kit-label" ]\n')
    (programs / "systemctl").chmod(0o755)
    again = run("sh", "install.sh")
    assert again.returncode == 0, again.stderr
    assert again.stdout.startswith(told) and "sudo systemctl restart kit-label" in again.stdout
    for wheel in (folder / "wheels").glob("mobilenet_kit-*"):
        wheel.unlink()
    assert run("sh", "install.sh").returncode != 0
    assert run("env/bin/kit-label", "works").stdout == f"{folder / 'env'} works\n"


def test_a_system_without_an_interpreter_is_told_first(pip, model, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DeploymentError, match=r"Python 3\.13 on armv7l: choose bookworm-arm64"):
        deploy_pi(model, out, system="trixie-armhf")
    with pytest.raises(ValueError, match=r"expected a system of bookworm-arm64, .*got 'windows'"):
        deploy_pi(model, out, system="windows")
    assert not out.exists() and not pip


def test_models_that_do_not_do(pip, data, tmp_path, repackage, monkeypatch):
    out, text = tmp_path / "out", tmp_path / "text.tflite"
    text.write_text("no model " * 9)
    for path in (text, tmp_path / "none.tflite"):
        with pytest.raises(ModelFileError, match="expected"):
            deploy_pi(path, out)
    with pytest.raises(DeploymentError, match="expected a card with golden checks"):
        deploy_pi(data / "plain_int8.tflite", out)
    monkeypatch.setattr(
        pi, "SYSTEMS", {"old": pi.System("Old", "arm64", "aarch64", "3.11", 31, "x", "2.3")}
    )
    real = pi.check_runtime
    monkeypatch.setattr(pi, "check_runtime", lambda ops, *rest: real([*ops, (114, "", 5)], *rest))
    with pytest.raises(ConversionError, match="model"):
        deploy_pi(repackage("red_green_blue_int8.tflite", {}), out, system="old")
    assert not out.exists() and not pip


def test_newer_operators_name_the_system_that_has_them(pip, data, tmp_path):
    path = data / "red_green_blue_int8.tflite"
    model = from_bytes(path.read_bytes())
    for code in model.operatorCodes:
        if code.builtinCode == BuiltinOperator.DEQUANTIZE:
            code.version = 6  # first in litert-1
    file = tmp_path / "newer.tflite"
    file.write_bytes(package(to_bytes(model), replace(read_model_file(path).card, model_sha256="")))
    with pytest.raises(ConversionError, match="got DEQUANTIZE version 6") as raised:
        deploy_pi(file, tmp_path / "out", system="bookworm-armhf")
    assert str(raised.value).endswith(
        ": choose --system trixie-arm64 or convert it again with kit convert --target-runtime 2.14"
    )
    assert not pip


def test_what_is_there_is_kept(pip, model, tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(OutputExistsError):
        deploy_pi(model, out)
    with pytest.raises(OutputExistsError, match="which it is or holds"):
        deploy_pi(shutil.copy(model, tmp_path / "copy.tflite"), tmp_path, force=True)
    assert not pip
    monkeypatch.setattr(pi, "_write_files", lambda *rest: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        deploy_pi(model, out, force=True)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["out"]


@pytest.mark.parametrize(
    ("script", "error", "match"),
    [
        (
            "import sys; sys.exit('noise\\nERROR: No matching distribution found for x\\n')",
            DeploymentError,
            r"it says: No matching distribution found for x: is there a network\?$",
        ),
        (
            "import sys; sys.exit('/usr/bin/python: No module named pip')",
            MissingDependencyError,
            "ensurepip",
        ),
    ],
)
def test_a_pip_that_fails_is_told_in_one_line(tmp_path, monkeypatch, script, error, match):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{script}"\n')
    python.chmod(0o755)
    monkeypatch.setattr(pi.sys, "executable", str(python))
    with pytest.raises(error, match=match) as raised:
        pi._pip("download", what="download wheels")
    assert "\n" not in str(raised.value)


def installed(folder):
    """A distribution as pip leaves it; returns its RECORD's folder."""
    information = folder / "mobilenet_kit-0.1.0.dist-info"
    contents = {
        "kit/__init__.py": b"__version__ = '0.1.0'\n",
        "kit/data/\u00e4, b.txt": b"\0\1",
        "kit/__pycache__/__init__.cpython-311.pyc": b"x",
        "../../../bin/kit-label": b"#!/x",
        "mobilenet_kit-0.1.0.dist-info/METADATA": METADATA.encode(),
        "mobilenet_kit-0.1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nTag: py3-none-any\n",
        "mobilenet_kit-0.1.0.dist-info/INSTALLER": b"pip\n",
        "mobilenet_kit-0.1.0.dist-info/direct_url.json": b"{}",
        "mobilenet_kit-0.1.0.dist-info/RECORD": b"",
    }
    with io.StringIO() as text:
        csv.writer(text).writerows((name, "", "") for name in contents)
        contents["mobilenet_kit-0.1.0.dist-info/RECORD"] = text.getvalue().encode()
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return information


def test_a_wheel_from_what_is_installed(tmp_path):
    information = installed(tmp_path / "lib" / "python3" / "site-packages")
    path = rebuild_wheel(Distribution.at(information), tmp_path)
    assert path.name == "mobilenet_kit-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path) as wheel:
        assert wheel.testzip() is None
        record = list(
            csv.reader(wheel.read("mobilenet_kit-0.1.0.dist-info/RECORD").decode().splitlines())
        )
        assert {row[0] for row in record} == set(wheel.namelist())
        assert set(wheel.namelist()) == {
            *("kit/__init__.py", "kit/data/\u00e4, b.txt"),
            *(f"mobilenet_kit-0.1.0.dist-info/{name}" for name in ("METADATA", "RECORD", "WHEEL")),
        }
        for name, digest, size in record:
            if digest:
                content = wheel.read(name)
                algorithm, _, text = digest.partition("=")
                assert algorithm == "sha256" and int(size) == len(content)
                padded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
                assert padded == hashlib.sha256(content).digest()


def test_an_installation_that_is_not_all_there(tmp_path):
    information = installed(tmp_path / "lib" / "python3" / "site-packages")
    (information.parent / "kit" / "__init__.py").unlink()
    with pytest.raises(DeploymentError, match="--force-reinstall"):
        rebuild_wheel(Distribution.at(information), tmp_path)
    (information / "RECORD").write_text("mobilenet_kit-0.1.0.dist-info/METADATA,,\n")
    with pytest.raises(DeploymentError, match="editable"):
        rebuild_wheel(Distribution.at(information), tmp_path)


def test_the_command(pip, model, tmp_path):
    out = tmp_path / "out"
    run = CliRunner().invoke
    done = run(app, ["deploy", "pi", str(model), "--output", str(out)])
    assert done.exit_code == 0 and f"sh {out.name}/install.sh" in done.output
    done = run(app, ["deploy", "pi", str(model), "--output", str(out)])
    assert done.exit_code == 1 and "--force" in done.output
    done = run(app, ["deploy", "pi", str(model), "--output", str(out), "--system", "x", "--force"])
    assert done.exit_code == 2


@pytest.mark.slow
def test_a_rebuilt_wheel_is_the_one_that_was_built(tmp_path):
    """Our own: built from this source tree, installed, put together again."""
    built, again = tmp_path / "built", tmp_path / "again"
    built.mkdir()
    again.mkdir()
    own = pi.own_wheel(built)
    target = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target]
    subprocess.run([*command, own], check=True)
    rebuilt = rebuild_wheel(Distribution.at(next(target.glob("*.dist-info"))), again)
    assert rebuilt.name == own.name
    with zipfile.ZipFile(own) as one, zipfile.ZipFile(rebuilt) as other:
        record = next(name for name in one.namelist() if name.endswith("/RECORD"))
        names = set(one.namelist()) - {record}
        assert {"kit/deploy/pi_files/install.sh", "kit/report/report.html"} <= names
        assert names == set(other.namelist()) - {record}
        assert all(one.read(name) == other.read(name) for name in names)
