"""Keras files: `.keras`, and legacy `.h5` such as Teachable Machine exports."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.network import of_keras
from converters.sources import keras_2
from converters.sources.frozen_graph import source_of_graph
from converters.sources.source import SourceModel, SourceOptions
from kit.errors import ConversionError
from kit.model.model_file import ARCHIVE_ERRORS
from kit.quiet import quiet_native

if TYPE_CHECKING:
    import keras

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_CODE = (
    *("Lambda", "__lambda__"),
    *("TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"),  # of pickles or other files
)
_OTHER_KINDS = (
    (b"PK", "a zip archive: unpack it first, or name it .keras if Keras 3 wrote it"),
    (b"\x80", "a pickle, which could run any code when loaded"),
    (b"", "another kind of file, or an empty one"),
)


def read_keras_file(path: str | os.PathLike[str], options: SourceOptions) -> SourceModel:
    """Reads a saved Keras model.

    Code that a file carries (Lambda layers) or names (classes of other packages) is refused unless
    `options.unsafe`.

    Raises ConversionError where the file is damaged or of another kind, carries code, or as
    converters.sources.frozen_graph says.
    """
    model = load_keras_model(path, options.unsafe)
    if not model.built:
        raise ConversionError(
            f"{path}: expected a model that knows its input's shape, got one that was never built: "
            "start it with an Input layer"
        )
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ConversionError(
            f"{path}: expected a model with one input and one output, "
            f"got {len(model.inputs)} and {len(model.outputs)}"
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or shape[3] not in (1, 3):
        raise ConversionError(f"{path}: expected an input [batch, side, side, 3], got {shape}")
    # A side that is left open is as the other one.
    other = options.input_resolution or shape[1] or shape[2]
    height, width = (side or other for side in shape[1:3])
    if height is None or width is None:
        raise ConversionError(
            f"{path}: expected an input of a known size, the model leaves it open: "
            "give --input-resolution"
        )
    size = "x".join(dict.fromkeys((str(height), str(width))))
    try:
        with quiet_native:
            function = of_keras(model, height, width, shape[3]).function
    except MemoryError:
        raise
    except Exception as error:  # layers raise whatever does not suit them
        reason = " ".join(str(error).split())
        raise ConversionError(
            f"{path}: expected a model that takes an image of {size} pixels: {reason:.300}"
        ) from error
    output = options.output_tensor or function.outputs[0].op.name
    graph = function.graph.as_graph_def()
    return source_of_graph(graph, "Keras model", replace(options, output_tensor=output))


def load_keras_model(path: str | os.PathLike[str], unsafe: bool = False) -> keras.Model:
    """A Keras model from a file; raises ConversionError as `read_keras_file`."""
    path = Path(path)
    if path.suffix.lower() == ".keras":
        configuration, write = _configuration(path), _write_configuration
        if not _is_of_keras_2(path):
            _refuse_code(path, configuration, unsafe)
            return _load(path, path, unsafe)
    else:
        configuration, write = _legacy_configuration(path), _write_legacy_configuration
    _refuse_code(path, configuration, unsafe)
    changed = keras_2.modernized(configuration)
    _refuse_lost(path, changed)
    with tempfile.TemporaryDirectory(prefix="kit-") as folder:
        copy = Path(shutil.copyfile(path, Path(folder, f"model{path.suffix.lower()}")))
        write(copy, changed)
        return _load(copy, path, unsafe)


def _load(file: Path, path: Path, unsafe: bool) -> keras.Model:
    from keras import models

    try:
        with quiet_native:
            return models.load_model(file, keras_2.layers(), compile=False, safe_mode=not unsafe)
    except MemoryError:
        raise
    except Exception as error:  # Keras raises whatever a damaged configuration leads to
        reason = " ".join(str(error).split())
        if "keras.src.engine" in reason:
            raise ConversionError(
                f"{path}: expected a .keras file of Keras 3, got one of Keras 2: save it there as "
                ".h5, or export a SavedModel (model.export(folder))"
            ) from error
        raise ConversionError(
            f"{path}: expected a model of Keras' own layers: {reason:.300}"
        ) from error


def _configuration(path: Path) -> Any:
    """What a `.keras` file says of its layers."""
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    except MemoryError:
        raise
    except Exception as error:  # zipfile and json raise many kinds for a damaged file
        raise ConversionError(
            f"{path}: expected a Keras 3 file, a zip archive with config.json: {error}"
        ) from error


def _is_of_keras_2(path: Path) -> bool:
    """Whether Keras 2 wrote a `.keras` file, as 2.12 to 2.15 could."""
    try:
        with zipfile.ZipFile(path) as archive:
            return str(json.loads(archive.read("metadata.json"))["keras_version"]).startswith("2.")
    except Exception:  # of many kinds; Keras says what it misses in such a file
        return False


def _legacy_configuration(path: Path) -> Any:
    """What an HDF5 file says of its layers."""
    with path.open("rb") as file:
        start = file.read(len(HDF5_MAGIC))
    if start != HDF5_MAGIC:
        kind = next(name for magic, name in _OTHER_KINDS if start.startswith(magic))
        raise ConversionError(f"{path}: expected a Keras model in HDF5, got {kind}")
    import h5py

    try:
        with h5py.File(path) as file:
            text = file.attrs.get("model_config")
    except MemoryError:
        raise
    except Exception as error:  # h5py raises many kinds for a damaged file
        raise ConversionError(f"{path}: expected a sound HDF5 file: {error}") from error
    if text is None:
        raise ConversionError(
            f"{path}: expected a whole model, got weights alone: save it with model.save"
        )
    try:
        return json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConversionError(
            f"{path}: expected JSON in its model_config: {error}: save the model again"
        ) from error


def _refuse_code(path: Path, configuration: Any, unsafe: bool) -> None:
    """Raises ConversionError for layers that run Python from the file, or classes not Keras' own.

    Keras refuses them too, but not for every kind of file in every version.
    """
    for item in _objects(configuration):
        name, module = item["class_name"], str(item.get("module") or "keras")
        layer = (item.get("config") or {}) if isinstance(item.get("config"), dict) else {}
        if name in _CODE and not unsafe:
            raise ConversionError(
                f"{path}: expected a model without code of its own, got a {name} layer "
                f"{layer.get('name', '')!r}: --unsafe runs it, if you trust who made the file"
            )
        if module.split(".")[0] != "keras" and not unsafe:
            raise ConversionError(
                f"{path}: expected Keras' own layers, got a custom object, {module}.{name}: "
                "save the model without it, or export a SavedModel (model.export(folder))"
            )


def _refuse_lost(path: Path, configuration: Any) -> None:
    """Raises ConversionError for functions between layers that `keras_2` does not know."""
    for item in _objects(configuration):
        if item["class_name"] not in keras_2.OPERATIONS:
            continue
        layer = item.get("config") if isinstance(item.get("config"), dict) else {}
        function = f" ({layer['function']})" if layer and "function" in layer else ""
        raise ConversionError(
            f"{path}: expected layers that Keras 3 has, got a {item['class_name']} of Keras 2, "
            f"{(layer or {}).get('name', '')!r}{function}: export a SavedModel there "
            "(model.export(folder))"
        )


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object inside a configuration."""
    if isinstance(value, dict):
        if isinstance(value.get("class_name"), str):
            yield value
        for part in value.values():
            yield from _objects(part)
    elif isinstance(value, list):
        for part in value:
            yield from _objects(part)


def _write_legacy_configuration(path: Path, configuration: Any) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(configuration)


def _write_configuration(path: Path, configuration: Any) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
    except ARCHIVE_ERRORS as error:
        raise ConversionError(f"expected a sound zip archive: {error}") from error
    if isinstance(configuration, dict):
        name = configuration.get("class_name")
        module = "keras.src.models.functional" if name == "Functional" else "keras"
        configuration = {"module": module, "registered_name": name, **configuration}
    files["config.json"] = json.dumps(configuration).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
