"""TensorFlow SavedModels, those of TensorFlow Hub and Model Maker among them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.frozen_graph import Options, Source, source_of_graph
from kit.errors import ConversionError
from kit.noise import quiet_native

SAVED_MODEL_NAME = "saved_model.pb"
_SERVING = "serving_default"
# Operators that run Python or touch files while a SavedModel is loaded or run.
_FORBIDDEN = ("PyFunc", "PyFuncStateless", "EagerPyFunc", "ReadFile", "WriteFile", "Batch")


def read_saved_model(path: str | os.PathLike[str], options: Options) -> Source:
    """Reads a SavedModel's folder.

    Raises ConversionError where it is damaged, has no signature to serve, holds operators that
    act outside it or are unknown (a custom operator's library is never loaded), or as
    converters.frozen_graph says.
    """
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    tags, signature = _examine(Path(path))
    try:
        with quiet_native:
            loaded = tf.saved_model.load(os.fspath(path), tags=tags)
            function = loaded.signatures[signature]
            outputs = sorted(function.structured_outputs)
            frozen = convert_variables_to_constants_v2(function)
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())
        raise ConversionError(f"{path}: expected a sound SavedModel: {reason:.300}") from error
    graph = frozen.graph.as_graph_def()
    names = [tensor.op.name for tensor in frozen.outputs]
    chosen = options.output_tensor
    if chosen is None:
        if len(names) != 1:
            raise ConversionError(
                f"expected one output of the signature {signature!r}, it has {len(names)}: "
                f"{', '.join(outputs)}: choose one with --output-tensor"
            )
        chosen = names[0]
    elif chosen in outputs:
        chosen = names[outputs.index(chosen)]
    return source_of_graph(graph, "SavedModel", replace(options, output_tensor=chosen))


def _examine(path: Path) -> tuple[list[str], str]:
    """Tags and signature to load, once no operator in the file is one to refuse."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2
    from tensorflow.python.framework import op_def_registry

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((path / SAVED_MODEL_NAME).read_bytes())
    except (DecodeError, OSError) as error:
        raise ConversionError(f"{path}: expected a sound SavedModel: {error}") from error
    found: list[tuple[list[str], str]] = []
    for meta in model.meta_graphs:
        for op, name in _operators(meta.graph_def):
            if op in _FORBIDDEN:
                raise ConversionError(
                    f"{path}: expected a model that acts on its input alone, got {op} {name!r}: "
                    "do not load it"
                )
            if op_def_registry.get(op) is None:
                raise ConversionError(
                    f"{path}: expected TensorFlow's own operators, got a custom one, {op} "
                    f"{name!r}: save the model without it"
                )
        names = [name for name in meta.signature_def if not name.startswith("__")]
        serving = _SERVING if _SERVING in names else next(iter(names), None)
        if serving is not None and (serving == _SERVING or len(names) == 1):
            found.append((list(meta.meta_info_def.tags), serving))
    # A TensorFlow Hub module of TensorFlow 1 has a second graph, for training.
    found.sort(key=lambda item: "train" in item[0])
    if not found:
        raise ConversionError(
            f"{path}: expected a SavedModel with a signature to serve, {_SERVING!r}, it has none: "
            "save it again with signatures (Keras: model.export(folder))"
        )
    return found[0]


def _operators(graph: Any) -> list[tuple[str, str]]:
    own = [node for function in graph.library.function for node in function.node_def]
    functions = {function.signature.name for function in graph.library.function}
    return [(n.op, n.name) for n in (*graph.node, *own) if n.op not in functions]
