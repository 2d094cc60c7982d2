"""`kit doctor`: what this machine can run of all that the kit does, and how to get the rest."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from kit.device.doctor import (
    DISTRIBUTION,
    FAILED,
    OK,
    WARNING,
    Check,
    check_device,
    extras,
    free_disk,
    installed_version,
)
from kit.reporting import Reporter, Silent, counted
from kit.training.backbones import BACKBONES, every_choice
from kit.training.bottlenecks import CACHE_VARIABLE, cache_folder
from kit.training.weights import FOLDER_VARIABLE

_NEEDED = "train"
_OF_CONTRIBUTORS = ("dev", "docs")
_IMPORT_SECONDS = 120


def check_machine(reporter: Reporter | None = None) -> tuple[Check, ...]:
    """What training, converting and labelling need; FAILED where training cannot work.

    Args:
        reporter: is told of what takes some seconds.
    """
    reporter = reporter or Silent()
    reporter.say("starting each interpreter, and TensorFlow, once")
    return (
        *check_device(),
        *_extras(),
        _tensorflow(),
        *_weights(),
        *_cache(),
    )


def _extras() -> tuple[Check, ...]:
    from packaging.requirements import Requirement

    checks = []
    for extra, lines in extras().items():
        if extra in _OF_CONTRIBUTORS:
            continue
        missing, wrong = [], []
        for line in lines:
            wanted = Requirement(line)
            if wanted.name == DISTRIBUTION:
                continue
            found = installed_version(wanted.name)
            if found is None:
                missing.append(wanted.name)
            elif not wanted.specifier.contains(found, prereleases=True):
                wrong.append(f"{wanted.name} {found} (expected {wanted.specifier})")
        checks.append(_extra(extra, missing, wrong))
    return tuple(checks)


def _extra(extra: str, missing: Sequence[str], wrong: Sequence[str]) -> Check:
    command = f"pip install '{DISTRIBUTION}[{extra}]'"
    needed = extra == _NEEDED
    if not missing and not wrong:
        return Check("extras", extra, OK, "complete")
    told = [f"missing {', '.join(missing)}"] if missing else []
    told += [f"unsuitable {', '.join(wrong)}"] if wrong else []
    state = FAILED if needed and missing else WARNING if needed or wrong else OK
    return Check(
        "extras", extra, state, "; ".join(told), command if needed else f"if you need it: {command}"
    )


def _tensorflow() -> Check:
    """Its import is tried in a process of its own, which it may end."""
    here = installed_version("tensorflow")
    remedy = f"pip install '{DISTRIBUTION}[{_NEEDED}]'"
    if here is None:
        return Check("training", "TensorFlow", FAILED, "not installed", remedy)
    try:
        done = subprocess.run(
            [sys.executable, "-c", "import tensorflow, keras; print(keras.__version__)"],
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
            capture_output=True,
            text=True,
            timeout=_IMPORT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Check("training", "TensorFlow", FAILED, f"{here}, hangs while it loads", remedy)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it crashes"])[-1]
        return Check("training", "TensorFlow", FAILED, f"{here}, does not load: {said}", remedy)
    return Check("training", "TensorFlow", OK, f"{here} with Keras {done.stdout.strip()}")


def _weights() -> tuple[Check, ...]:
    named = os.environ.get(FOLDER_VARIABLE, "")
    folders = {
        FOLDER_VARIABLE: Path(named) if named else None,
        "Keras' cache": Path.home() / ".keras" / "models",
    }
    checks = []
    total = 0
    for name, folder in folders.items():
        if folder is None:
            checks.append(Check("weights", name, OK, "not set"))
            continue
        if not folder.is_dir():
            state, remedy = OK, ""
            if name == FOLDER_VARIABLE:
                state, remedy = (
                    FAILED,
                    f"set {FOLDER_VARIABLE} to a folder that exists, or unset it",
                )
            checks.append(Check("weights", name, state, f"{folder} does not exist", remedy))
            continue
        found = _known_weights(folder)
        total += len(found)
        told = f"{counted(len(found), 'file')} in {folder}"
        checks.append(Check("weights", name, OK, told + (f": {', '.join(found)}" if found else "")))
    if not total:
        checks.append(
            Check(
                "weights",
                "ImageNet",
                WARNING,
                "none here; Keras downloads them when they are needed",
                "without a network: kit weights pull FOLDER elsewhere, copy the folder here, "
                f"and set {FOLDER_VARIABLE} to it",
            )
        )
    return tuple(checks)


def _known_weights(folder: Path) -> list[str]:
    """The networks whose weights are there, such as `mobilenet_v1 0.5 at 224`."""
    found = []
    for backbone in BACKBONES:
        for choice in every_choice(backbone):
            if any((folder / name).is_file() for name in choice.weights_names):
                alpha = "" if choice.alpha is None else f" {choice.alpha:g}"
                found.append(f"{backbone}{alpha} at {choice.input_resolution}")
    return found


def _cache() -> tuple[Check, ...]:
    folder = cache_folder()
    try:
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        sizes, writable = [], False
        reason = f" ({error.strerror})"
    else:
        reason = ""
    if not writable:
        remedy = f"make it writable, or set {CACHE_VARIABLE} to another folder"
        return (Check("bottlenecks", "cache", FAILED, f"{folder} is not writable{reason}", remedy),)
    told = f"{sum(sizes) / 1e6:.0f} MB in {folder}"
    return (
        Check(
            "bottlenecks", "cache", OK, told + (f"; to empty it: rm -r {folder}" if sizes else "")
        ),
        free_disk(folder, "bottlenecks"),
    )
