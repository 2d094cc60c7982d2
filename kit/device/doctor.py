"""`kit-label --doctor`: what this device can run, and what to do where it cannot.

`kit doctor` (kit.workflows.doctor) adds what training needs.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kit import __version__
from kit.choices import INTERPRETERS
from kit.reporting import counted
from kit.runtime.machine import machine_kind

DISTRIBUTION = "mobilenet-kit"
OK, WARNING, FAILED = "ok", "warning", "FAILED"
SMALL_MODEL = Path(__file__).with_name("self_test.tflite")
"""A packaged model of 4 kB with golden checks; tests/files/make_models.py made it."""
LEAST_FREE_BYTES = 200_000_000
_CHILD_SECONDS = 60


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        group: what it belongs to.
        name: what was looked at.
        state: OK; WARNING where something less important is missing; FAILED where the main job
            cannot work.
        found: what was found.
        remedy: what to do; empty where nothing needs doing.
    """

    group: str
    name: str
    state: str
    found: str
    remedy: str = ""


def check_device() -> tuple[Check, ...]:
    """What labelling an image needs; FAILED where it cannot work."""
    return (
        *_python(),
        *(_package("numpy"), _package("pillow")),
        *_interpreters(),
        *_image_formats(),
        *_cameras(),
        free_disk(Path.cwd()),
    )


def works(checks: Iterable[Check]) -> bool:
    """Whether nothing failed."""
    return all(check.state != FAILED for check in checks)


def doctor_text(checks: Sequence[Check]) -> str:
    """A line for each check in its group, and below it the remedy."""
    width = max(len(check.name) for check in checks)
    lines: list[str] = []
    group = ""
    for check in checks:
        if check.group != group:
            group = check.group
            lines += ["", group] if lines else [group]
        mark = "" if check.state == OK else f"{check.state}: "
        lines.append(f"  {check.name:{width}}  {mark}{check.found}")
        if check.remedy:
            lines.append(f"  {'':{width}}  -> {check.remedy}")
    broken = sum(check.state == FAILED for check in checks)
    warned = sum(check.state == WARNING for check in checks)
    lines += ["", _verdict(broken, warned)]
    return "\n".join(lines)


def doctor_json(checks: Iterable[Check]) -> dict[str, Any]:
    """As `--format json` prints it."""
    checks = tuple(checks)
    return {"works": works(checks), "checks": [asdict(check) for check in checks]}


def _verdict(broken: int, warned: int) -> str:
    if broken:
        return f"{counted(broken, 'problem')} to mend before it can work"
    return f"it works; {counted(warned, 'remark')}" if warned else "it works"


def _python() -> tuple[Check, ...]:
    group = "this machine"
    old = sys.version_info < (3, 11)
    return (
        Check(group, "machine", OK, machine_kind()),
        Check(
            group,
            "Python",
            FAILED if old else OK,
            f"{platform.python_version()} ({sys.executable})",
            "install Python 3.11 or newer" if old else "",
        ),
        Check(group, "kit", OK, __version__),
    )


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution; None where there is none."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _package(name: str) -> Check:
    found = installed_version(name)
    if found is None:
        return Check("packages", name, FAILED, "not installed", f"pip install {name}")
    return Check("packages", name, OK, found)


def _interpreters() -> tuple[Check, ...]:
    """Each one that is installed labels a small model in a process of its own: it may crash."""
    found = [name for name in INTERPRETERS if find_spec(name) is not None]
    group = "interpreters"
    if not found:
        remedy = "pip install ai-edge-litert (on 32-bit ARM: pip install tflite-runtime 'numpy<2')"
        return (Check(group, "none", FAILED, "expected an interpreter, found none", remedy),)
    checks = [_interpreter(group, name) for name in found]
    if any(check.state == OK for check in checks):
        return tuple(checks)
    return tuple(Check(c.group, c.name, FAILED, c.found, c.remedy) for c in checks)


def _interpreter(group: str, name: str) -> Check:
    distribution = name.replace("_", "-")
    here = installed_version(distribution) or "of unknown version"
    command = [sys.executable, "-m", "kit.device", str(SMALL_MODEL), "--self-test"]
    environment = {**os.environ, "KIT_INTERPRETER": name}
    again = f"pip install --force-reinstall {distribution}"
    try:
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=_CHILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check(group, name, WARNING, f"{here}, hangs on a small model", again)
    if done.returncode == 0:
        return Check(group, name, OK, f"{here}, runs a small model and gives its scores")
    said = (done.stderr.strip().splitlines() or done.stdout.strip().splitlines() or [""])[-1]
    if done.returncode < 0:
        numpy_2 = (installed_version("numpy") or "").startswith("2.")
        remedy = "pip install 'numpy<2'" if numpy_2 and name == "tflite_runtime" else again
        return Check(group, name, WARNING, f"{here}, crashes on a small model", remedy)
    if "numpy<2" in said:
        return Check(group, name, WARNING, f"{here}, does not go with this numpy", said)
    if "FAILED" in done.stdout:
        return Check(group, name, WARNING, f"{here}, gives other scores than it should", again)
    return Check(group, name, WARNING, f"{here}, cannot run a small model: {said}", again)


def _image_formats() -> tuple[Check, ...]:
    group = "images"
    try:
        from PIL import features
    except ImportError:
        return ()  # told above
    formats = {"JPEG": "jpg", "PNG": "zlib", "WebP": "webp", "TIFF": "libtiff", "AVIF": "avif"}
    read = [name for name, codec in formats.items() if _has(features.check, codec)]
    lacking = [name for name in formats if name not in read]
    bad = not {"JPEG", "PNG"} <= set(read)
    told = ", ".join(read) + (f"; not {', '.join(lacking)}" if lacking else "")
    return (
        Check(
            group,
            "Pillow reads",
            FAILED if bad else OK,
            told,
            "pip install --force-reinstall pillow" if bad else "",
        ),
        _reader(group, "DICOM", "pydicom", "dicom"),
        _reader(group, "HEIC", "pillow-heif", "heic"),
    )


def _reader(group: str, name: str, distribution: str, extra: str) -> Check:
    """A format that a package of an extra reads."""
    found = installed_version(distribution)
    told = f"{distribution} {found}" if found else "not read"
    remedy = "" if found else f"if you need it: pip install '{DISTRIBUTION}[{extra}]'"
    return Check(group, name, OK, told, remedy)


def _has(check: Callable[[str], bool | None], codec: str) -> bool:
    try:
        return bool(check(codec))
    except ValueError:  # a codec that this Pillow does not know
        return False


def _cameras() -> tuple[Check, ...]:
    readers = [name for name in ("picamera2", "cv2") if find_spec(name) is not None]
    devices = sorted(str(path) for path in Path("/dev").glob("video*"))
    found = ", ".join(devices) or "none"
    by = f"{' and '.join(readers)} can read them" if readers else "no package can read them"
    remedy = ""
    if devices and not readers:
        remedy = "sudo apt-get install python3-picamera2 or python3-opencv"
    state = WARNING if remedy else OK
    return (Check("cameras", "devices", state, f"{found}; {by}", remedy),)


def free_disk(folder: Path, group: str = "disk") -> Check:
    """Room for results in a folder, or in the nearest one above it that is there."""
    there = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
    free = shutil.disk_usage(there).free
    short = free < LEAST_FREE_BYTES
    return Check(
        group,
        "free disk",
        WARNING if short else OK,
        f"{free / 1e9:.1f} GB in {there}",
        "make room: results need some" if short else "",
    )


def extras() -> dict[str, tuple[str, ...]]:
    """The distributions that each extra of the kit needs, by its own metadata."""
    found: dict[str, list[str]] = {}
    for line in requires(DISTRIBUTION) or ():
        requirement, _, marker = line.partition(";")
        _, given, extra = marker.partition("extra ==")
        if given:
            name = extra.strip().strip("'\"")
            found.setdefault(name, []).append(requirement.strip())
    return {name: tuple(lines) for name, lines in found.items()}
