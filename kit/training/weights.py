"""Pretrained weights: a folder first, then Keras' download; never a silent substitute."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import warnings
from collections.abc import Iterable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from kit.errors import WeightsError
from kit.training.backbones import BackboneChoice, build

if TYPE_CHECKING:
    import keras

FOLDER_VARIABLE = "KIT_WEIGHTS_DIR"


@dataclass(frozen=True)
class Weights:
    """What a backbone starts from.

    Attributes:
        description: for people and for the card.
        digest: SHA-256 of the file, or of the seed for random values.
        path: the file; None for random values.
        seed: seed of random values.
        source: which of the sources asked for they are of, from 0.
    """

    description: str
    digest: str
    path: Path | None
    seed: int = 0
    source: int = 0


def find_weights(choice: BackboneChoice, weights: str, seed: int = 0) -> Weights:
    """Finds what `--weights` asks for.

    Args:
        choice: the backbone.
        weights: sources, with commas, of which the first that has them counts: `imagenet`; an h5
            file without the top; a folder of such files, under the names that Keras gives
            ImageNet's; `none`.
        seed: for `none`.

    Raises:
        WeightsError: the file is not to be had; the message names it, its address, and the folder
            to put it in.
    """
    refusals = []
    sources = sources_of(weights)
    for number, source in enumerate(sources):
        try:
            return replace(_of_source(choice, source, seed), source=number)
        except WeightsError as error:
            refusals.append(str(error))
    raise WeightsError("; ".join(refusals))


def sources_of(weights: str) -> list[str]:
    """The sources that `--weights` names, with commas between them unless a file is called so."""
    return [weights] if Path(weights).exists() else weights.split(",")


def _of_source(choice: BackboneChoice, source: str, seed: int) -> Weights:
    if source == "none":
        return Weights(
            "random values", hashlib.sha256(f"random {seed}".encode()).hexdigest(), None, seed
        )
    if source != "imagenet":
        return _of_path(choice, Path(source))
    found = _in_folder(choice)
    if found is None:
        found = _download(choice)
    return _described(found, f"ImageNet ({found.name}){_trained_at(choice)}")


def _of_path(choice: BackboneChoice, path: Path) -> Weights:
    if path.is_file():
        return _described(path, path.name)
    if not path.is_dir():
        raise WeightsError(
            f"expected --weights imagenet, none, an h5 file or a folder of them, got {path}: no "
            "such file"
        )
    found = _known_file(choice, path)
    if found is None:
        raise WeightsError(f"{path}: expected a file {' or '.join(choice.weights_names)}")
    # Not "ImageNet": whose values they are is for the folder's name to say.
    return _described(found, f"{path.resolve().name}/{found.name}{_trained_at(choice)}")


def _trained_at(choice: BackboneChoice) -> str:
    if choice.pretrained_resolution == choice.input_resolution:
        return ""
    return f", trained at {choice.pretrained_resolution} pixels"


def pull_weights(
    choices: Iterable[BackboneChoice], folder: str | os.PathLike[str]
) -> dict[str, str]:
    """Puts weights into a folder for places without a network.

    Returns:
        For each file's name, `there` or `fetched`.

    Raises:
        WeightsError: one cannot be fetched; those before it stay.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    done = {}
    for choice in choices:
        present = [name for name in choice.weights_names if (folder / name).is_file()]
        if present:
            done[present[0]] = "there"
            continue
        name = choice.weights_names[0]
        partial = folder / f".{name}.partial"
        try:
            shutil.copyfile(_download(choice), partial)
            partial.replace(folder / name)
        finally:
            partial.unlink(missing_ok=True)
        done[name] = "fetched"
    return done


def load_backbone(choice: BackboneChoice, weights: Weights) -> keras.Model:
    """Builds the network with these weights.

    Raises WeightsError where they do not fit the network.
    """
    if weights.path is None:
        import keras

        keras.utils.set_random_seed(weights.seed)
        return build(choice, None)
    try:
        with warnings.catch_warnings():
            # Of a file that fits in part Keras only warns, and leaves the rest random.
            warnings.filterwarnings("error", message="(?s).*(could not be loaded|freshly-init)")
            return build(choice, str(weights.path))
    except (ValueError, OSError, KeyError, UserWarning) as error:
        reason = str(error).strip().splitlines()
        width = "" if choice.alpha is None else f" at alpha {choice.alpha}"
        raise WeightsError(
            f"{weights.path}: expected weights of {choice.name}{width} without the top: "
            f"{reason[0] if reason else type(error).__name__}"
        ) from error


def _in_folder(choice: BackboneChoice) -> Path | None:
    folder = os.environ.get(FOLDER_VARIABLE)
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise WeightsError(f"expected {FOLDER_VARIABLE} to name a folder, got {folder}")
    return _known_file(choice, Path(folder))


def _known_file(choice: BackboneChoice, folder: Path) -> Path | None:
    paths = (folder / name for name in choice.weights_names)
    return next((path for path in paths if path.is_file()), None)


def _download(choice: BackboneChoice) -> Path:
    """Through Keras' own cache in ~/.keras/models."""
    address = choice.weights_address
    try:
        import keras

        with redirect_stdout(sys.stderr):  # what it tells of itself is no result
            return Path(keras.utils.get_file(origin=address, cache_subdir="models"))
    except Exception as error:  # Keras raises what its downloader raises
        reason = str(error).rsplit("--", 1)[-1].strip() or type(error).__name__
        raise WeightsError(
            f"expected ImageNet weights, could not download {address} ({reason}): fetch "
            f"that file elsewhere, put it into a folder and set {FOLDER_VARIABLE} to it, or use "
            "--weights none"
        ) from error


def _described(path: Path, description: str) -> Weights:
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"{path}: expected a readable file: {error.strerror}") from error
    return Weights(description, digest, path)
