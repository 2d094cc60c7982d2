"""Which reader a source needs, by what it is."""

from __future__ import annotations

import os
from pathlib import Path

from converters.sources.frozen_graph import read_frozen_graph
from converters.sources.keras_files import read_keras_file
from converters.sources.saved_model import SAVED_MODEL_NAME, read_saved_model
from converters.sources.source import SourceModel, SourceOptions
from kit.errors import ConversionError
from kit.filenames import irregular

_READERS = {
    ".pb": read_frozen_graph,
    ".keras": read_keras_file,
    ".h5": read_keras_file,
    ".hdf5": read_keras_file,
}


def check_exists(path: str | os.PathLike[str]) -> Path:
    """The path of a source; raises ConversionError where no file and no folder is there."""
    if not Path(path).exists():
        raise ConversionError(
            f"{path}: expected a run folder or a model to convert, nothing is there"
        )
    if not Path(path).is_dir() and (kind := irregular(path)) is not None:
        raise ConversionError(
            f"{path}: expected a model to convert, got {kind}: it is never opened"
        )
    return Path(path)


def read_source(path: str | os.PathLike[str], options: SourceOptions | None = None) -> SourceModel:
    """Reads a frozen graph, a Keras file or a SavedModel's folder.

    Raises ConversionError where it is none of them, or cannot be read as its kind.
    """
    path, options = check_exists(path), options or SourceOptions()
    reader = _READERS.get(path.suffix.lower())
    if (path / SAVED_MODEL_NAME).is_file():
        reader = read_saved_model
    if reader is None or (path.is_dir() and reader is not read_saved_model):
        hint = ": add labels and a card to it with kit package" if path.suffix == ".tflite" else ""
        raise ConversionError(
            f"{path}: expected a run folder, a SavedModel's folder or a file of "
            f"{', '.join(_READERS)}, got something else{hint}"
        )
    try:
        return reader(path, options)
    except ConversionError as error:
        if str(error).startswith(str(path)):
            raise
        raise ConversionError(f"{path}: {error}") from error
