"""A model file into the phone app, android_demo/."""

from __future__ import annotations

import os
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path

from kit.deploy.checked import checked_model
from kit.errors import ModelFileError
from kit.files import write_beside

APP = "android_demo"
_ASSET = Path("app/src/main/assets/model.tflite")  # ModelStore.kt opens it under this name
_BUILD = "build-apk.sh"
_APK = Path("app/target/kit-label.apk")
_VERSIONS = Path("gradle/libs.versions.toml")
_LARGEST_BYTES = 150 << 20
"""Beside TensorFlow Lite it stays within the 200 MB that stores take of one app."""


@dataclass(frozen=True)
class AndroidDeployment:
    """Where a model was put, and how to get it onto a phone.

    Attributes:
        asset: the copy in the app.
        size_bytes: size of the model.
        commands: two lines for a shell in any folder: build the APK, install it.
    """

    asset: Path
    size_bytes: int
    commands: tuple[str, str]


def deploy_android(
    model: str | os.PathLike[str], app: str | os.PathLike[str] = APP
) -> AndroidDeployment:
    """Puts a model into the app, in place of the one before, if it is one that the app can run.

    Args:
        model: a .tflite file with a card.
        app: the app's folder.

    Raises:
        ModelFileError: the file is damaged, is no image classifier, has no card, needs a newer
            runtime than the app's, is too large, or gives other scores than its card promises.
        InferenceError: the interpreter refuses it.
        ValueError: `app` is no such folder.
        OSError: the copy cannot be written; the model before stays.
    """
    folder = Path(app)
    if not (folder / _BUILD).is_file() or not (folder / _VERSIONS).is_file():
        raise ValueError(
            f"{folder}: expected the app's folder, with {_BUILD} in it: "
            f"give it (--app path/to/{APP})"
        )
    file = checked_model(model)
    assert file.card is not None  # it was checked
    if file.size_bytes > _LARGEST_BYTES:
        raise ModelFileError(
            f"{file.path}: expected a model of at most {_LARGEST_BYTES >> 20} MB, got "
            f"{file.size_bytes / (1 << 20):.0f} MB: train a smaller network, or --quantize int8"
        )
    runtime = _runtime_of(folder)
    if _parts(file.card.minimum_runtime) > _parts(runtime):
        raise ModelFileError(
            f"{file.path}: expected a model for the app's TensorFlow Lite {runtime}, it needs "
            f"{file.card.minimum_runtime}: convert it again with --target-runtime 2.14"
        )
    asset = folder / _ASSET
    write_beside(asset, file.path.read_bytes(), force=True)
    build, apk = (shlex.quote(str((folder / name).resolve())) for name in (_BUILD, _APK))
    return AndroidDeployment(asset, file.size_bytes, (build, f"adb install -r {apk}"))


def _runtime_of(app: Path) -> str:
    versions = tomllib.loads((app / _VERSIONS).read_text(encoding="utf-8"))["versions"]
    return str(versions["tensorflow-lite"])


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
