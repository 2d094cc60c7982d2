"""`kit deploy pi`: a folder that is copied to a Raspberry Pi and works there without a network.

The folder holds the model, our own wheel, the wheels that it needs there, pip itself, `install.sh`,
a README and a systemd unit for a folder that is watched. What differs between systems stands in
`SYSTEMS`, and nowhere else.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path

from converters.operators import check_runtime, runtimes_that_run
from kit.errors import DeploymentError, KitError, MissingDependencyError
from kit.files import check_absent, check_spares, folder_beside, size_of
from kit.model.model_file import read_model_file
from kit.runtime import Classifier

PROJECT = "mobilenet-kit"
MODEL_NAME = "model.tflite"
_SOURCES = ("kit", "converters", "pyproject.toml", "README.md", "LICENSE")
_FILES = ("install.sh", "README.md", "kit-label.service.in")
_PAGE = "web_files"
"""What `kit deploy web` needs, 3 MB of it, and no Pi."""
_OLDEST_GLIBC = 17
"""Wheels for manylinux name the glibc 2.x that they need; none for ARM names an older one."""


@dataclass(frozen=True)
class System:
    """An operating system of Raspberry Pis.

    Attributes:
        title: in words.
        architecture: Debian's name of it.
        machine: Python's name of it, in wheels' names and environment markers.
        python: version of its python3.
        glibc: minor version of its glibc 2.x.
        interpreter: the package that runs models there.
        runtime: the same, as converters.operators.RUNTIMES names it; empty where there is none.
        debian_packages: Debian's packages that are used in place of wheels, by project name: of
            some, 32-bit ARM has no wheels.
    """

    title: str
    architecture: str
    machine: str
    python: str
    glibc: int
    interpreter: str
    runtime: str
    debian_packages: Mapping[str, str] = field(default_factory=dict)


SYSTEMS: Mapping[str, System] = {
    "bookworm-arm64": System(
        title="Raspberry Pi OS 12 (bookworm), 64 bit",
        architecture="arm64",
        machine="aarch64",
        python="3.11",
        glibc=36,
        interpreter="tflite-runtime",
        runtime="2.14",
    ),
    "bookworm-armhf": System(
        title="Raspberry Pi OS 12 (bookworm), 32 bit",
        architecture="armhf",
        machine="armv7l",
        python="3.11",
        glibc=36,
        interpreter="tflite-runtime",
        runtime="2.14",
        debian_packages={"numpy": "python3-numpy", "pillow": "python3-pil"},
    ),
    "trixie-arm64": System(
        title="Raspberry Pi OS 13 (trixie), 64 bit",
        architecture="arm64",
        machine="aarch64",
        python="3.13",
        glibc=41,
        interpreter="ai-edge-litert",
        runtime="litert-2",
    ),
    "trixie-armhf": System(
        title="Raspberry Pi OS 13 (trixie), 32 bit",
        architecture="armhf",
        machine="armv7l",
        python="3.13",
        glibc=41,
        interpreter="",
        runtime="",
    ),
}
DEFAULT_SYSTEM = "bookworm-arm64"


@dataclass(frozen=True)
class Deployment:
    """A folder that was written.

    Attributes:
        folder: its path.
        system: what it is for.
        wheels: names of the wheels in it.
        size_bytes: size of all its files.
    """

    folder: Path
    system: System
    wheels: tuple[str, ...]
    size_bytes: int


def deploy_pi(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    system: str = DEFAULT_SYSTEM,
    force: bool = False,
) -> Deployment:
    """Writes the folder, complete or not at all.

    Args:
        model: a .tflite file with a card, so that the device can test itself.
        output: the folder.
        system: a name in SYSTEMS.
        force: replace what is there.

    Raises:
        DeploymentError: nothing runs models on that system, the model has no golden checks, or the
            wheels cannot be had.
        ConversionError: the model has operators that the system's interpreter lacks.
        ModelFileError: the model is none.
        OutputExistsError: the output exists, or is or holds the model.
        MissingDependencyError: pip or packaging is missing here.
        ValueError: an unknown system.
    """
    chosen = _choose(system)
    _check_model(model, chosen)
    check_absent(output, force)
    check_spares(output, model)
    with folder_beside(output, force) as folder:
        shutil.copyfile(model, folder / MODEL_NAME)
        wheels = folder / "wheels"
        wheels.mkdir()
        own = own_wheel(wheels)
        _download(_requirements(own, chosen), chosen, wheels)
        _write_files(folder, system, chosen)
        names = tuple(sorted(path.name for path in wheels.iterdir()))
        size_bytes = size_of(folder)
    return Deployment(Path(output), chosen, names, size_bytes)


def _choose(name: str) -> System:
    usable = [name for name, system in SYSTEMS.items() if system.runtime]
    if name not in SYSTEMS:
        raise ValueError(f"expected a system of {', '.join(usable)}, got {name!r}")
    system = SYSTEMS[name]
    if not system.runtime:
        raise DeploymentError(
            f"expected a system that an interpreter is published for, got {system.title}, with "
            f"Python {system.python} on {system.machine}: choose {' or '.join(usable)}"
        )
    return system


def _check_model(model: str | os.PathLike[str], system: System) -> None:
    file = read_model_file(model)
    if file.card is None or not file.card.golden:
        raise DeploymentError(
            f"{model}: expected a card with golden checks, by which the device tests itself, it "
            "has none: package it first (kit package)"
        )
    mode = file.card.quantization
    able = runtimes_that_run(file.operators, mode)
    remedies = [
        f"choose --system {name}" for name, other in SYSTEMS.items() if other.runtime in able
    ]
    again = f"convert it again with kit convert --target-runtime {system.runtime}"
    try:
        check_runtime(file.operators, system.runtime, mode, " or ".join((*remedies, again)))
    except KitError as error:
        raise type(error)(f"{model}: {error}") from error
    Classifier.open(model).close()


def own_wheel(folder: Path) -> Path:
    """Our own wheel: built from the source tree, or put together again from what is installed.

    Raises DeploymentError where neither is here, or the build fails.
    """
    root = Path(__file__).resolve().parents[2]
    if (root / "pyproject.toml").is_file():
        return _build(root, folder)
    try:
        return rebuild_wheel(distribution(PROJECT), folder)
    except PackageNotFoundError as error:
        raise DeploymentError(
            f"expected a source tree of {PROJECT} or its installed package, found neither: "
            f"pip install {PROJECT}"
        ) from error


def _build(root: Path, folder: Path) -> Path:
    import tempfile

    with tempfile.TemporaryDirectory() as copy:
        # Of a copy: a build leaves folders behind, and takes in what an older one left.
        for name in _SOURCES:
            if (root / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", _PAGE)
                shutil.copytree(root / name, Path(copy) / name, ignore=ignored)
            else:
                shutil.copyfile(root / name, Path(copy) / name)
        _pip("wheel", "--no-deps", "--wheel-dir", str(folder), copy, what=f"build {PROJECT}")
    return next(folder.glob("mobilenet_kit-*.whl"))


def rebuild_wheel(installed: Distribution, folder: Path) -> Path:
    """An installed distribution as the wheel that it came from, without the page for browsers.

    Its RECORD lists its files; left out is what pip adds: compiled modules, commands and notes on
    the installation.

    Args:
        installed: one of pure Python that was not installed as editable.
        folder: where the wheel goes.

    Raises DeploymentError where its files are not all there.
    """
    name = installed.metadata["Name"].replace("-", "_")
    listed = [
        file
        for file in installed.files or ()
        if ".." not in file.parts
        and "__pycache__" not in file.parts
        and _PAGE not in file.parts
        and file.name not in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
    ]
    if not any(file.parts[0] == "kit" for file in listed):
        raise DeploymentError(
            f"expected {name} with its modules, got an editable installation without its source "
            f"tree: pip install {PROJECT}"
        )
    path = folder / f"{name}-{installed.version}-py3-none-any.whl"
    information = f"{name}-{installed.version}.dist-info"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel, io.StringIO() as text:
        record = csv.writer(text, lineterminator="\n")
        for file in sorted(listed):
            try:
                content = file.read_binary()
            except OSError as error:
                raise DeploymentError(
                    f"expected {name} as it was installed, {file} cannot be read: "
                    f"pip install --force-reinstall {PROJECT}"
                ) from error
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            wheel.writestr(str(file), content)
            record.writerow((file, f"sha256={digest.decode()}", len(content)))
        record.writerow((f"{information}/RECORD", "", ""))
        wheel.writestr(f"{information}/RECORD", text.getvalue())
    return path


def _requirements(own: Path, system: System) -> list[str]:
    """What our wheel needs on a system and Debian does not provide, and pip to install it."""
    from email.parser import Parser

    try:
        from packaging.markers import default_environment
        from packaging.requirements import Requirement
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"expected the package packaging: pip install '{PROJECT}[train]'"
        ) from error
    with zipfile.ZipFile(own) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(wheel.read(name).decode())
    # pip evaluates markers for the machine that it runs on, whatever --platform says.
    environment: dict[str, str] = {
        **{key: str(value) for key, value in default_environment().items()},
        **{"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux", "extra": ""},
        "platform_machine": system.machine,
        "python_version": system.python,
        "python_full_version": f"{system.python}.0",
    }
    found = ["pip"]
    for text in metadata.get_all("Requires-Dist") or ():
        requirement = Requirement(text)
        wanted = requirement.marker is None or requirement.marker.evaluate(environment)
        if wanted and requirement.name not in system.debian_packages:
            found.append(f"{requirement.name}{requirement.specifier}")
    return found


def _download(requirements: Iterable[str], system: System, folder: Path) -> None:
    platforms = [
        *(
            f"manylinux_2_{minor}_{system.machine}"
            for minor in range(_OLDEST_GLIBC, system.glibc + 1)
        ),
        f"manylinux2014_{system.machine}",
        f"linux_{system.machine}",
    ]
    _pip(
        *("download", "--dest", str(folder), "--only-binary=:all:", "--implementation", "cp"),
        *("--python-version", system.python),
        *(argument for platform in platforms for argument in ("--platform", platform)),
        # What a wheel needs besides, Debian's packages are.
        *(["--no-deps"] if system.debian_packages else []),
        *requirements,
        what=f"download wheels for {system.title}",
    )


def _pip(*arguments: str, what: str) -> None:
    command = [sys.executable, "-m", "pip", *arguments, "--quiet", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()] or ["nothing"]
        if "No module named pip" in done.stderr:
            raise MissingDependencyError(f"expected pip, to {what}: python -m ensurepip")
        reason = next((line for line in said if line.startswith("ERROR: ")), said[-1])
        raise DeploymentError(
            f"expected pip to {what}, it says: {reason.removeprefix('ERROR: ').strip()}: "
            "is there a network?"
        )


def _write_files(folder: Path, name: str, system: System) -> None:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    facts = {"name": name, "system": system, "model": MODEL_NAME}
    for file in _FILES:
        template = files("kit.deploy").joinpath("pi_files", file).read_text(encoding="utf-8")
        text = environment.from_string(template).render(facts)
        (folder / file).write_text(text, encoding="utf-8", newline="\n")
    (folder / "install.sh").chmod(0o755)


def deployment_text(deployment: Deployment) -> str:
    """What was written and what comes next."""
    lines: Sequence[str] = (
        f"{deployment.folder}: {deployment.size_bytes / 1e6:.1f} MB for "
        f"{deployment.system.title}, {len(deployment.wheels)} wheels",
        f"copy it to the Pi, and run there: sh {deployment.folder.name}/install.sh",
    )
    return "\n".join(lines)
