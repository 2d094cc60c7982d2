"""TensorFlow SavedModels, those of TensorFlow Hub and Model Maker among them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.network import node_of
from converters.sources.frozen_graph import (
    OUTSIDE,
    ancestors,
    called_nodes,
    source_of_graph,
)
from converters.sources.source import SourceModel, SourceOptions
from kit.errors import ConversionError
from kit.quiet import quiet_native

SAVED_MODEL_NAME = "saved_model.pb"
_SERVING = "serving_default"
# Operators that run Python, reach a network or touch files while a SavedModel is loaded or run.
_FORBIDDEN = (
    *OUTSIDE,
    *("PyFunc", "EagerPyFunc", "RemoteCall", "RpcCall", "RpcClient", "RpcServer", "WriteFile"),
    *("CreateSummaryFileWriter", "CreateSummaryDbWriter", "DebugIdentityV2", "DebugIdentityV3"),
    *("SaveDataset", "SaveDatasetV2", "DatasetToTFRecord", "ExperimentalDatasetToTFRecord"),
)
# Every SavedModel can save itself again, but not while it is loaded.
_SAVING = ("Save", "SaveSlices", "SaveV2", "MergeV2Checkpoints", "DistributedSave")
_AT_LOADING = ("saved_model_main_op", "legacy_init_op")


def read_saved_model(path: str | os.PathLike[str], options: SourceOptions) -> SourceModel:
    """Reads a SavedModel's folder.

    Raises ConversionError where it is damaged, has no signature to serve, holds operators that
    act outside it or are unknown (a custom operator's library is never loaded), or as
    converters.sources.frozen_graph says.
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
    except MemoryError:
        raise
    except Exception as error:  # TensorFlow raises whatever a damaged file leads to
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
    if not model.meta_graphs:
        raise ConversionError(f"{path}: expected a sound SavedModel, got one without a graph")
    found: list[tuple[list[str], str]] = []
    others: list[str] = []
    for meta in model.meta_graphs:
        saving = {node.name for node in _run_at_loading(meta) if node.op in _SAVING}
        for op, name, to_file in _operators(meta.graph_def):
            if op in _FORBIDDEN or name in saving or to_file:
                raise ConversionError(
                    f"{path}: expected a model that only computes on its input, got {op} {name!r}: "
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
        others += names
    # A TensorFlow Hub module of TensorFlow 1 has a second graph, for training.
    found.sort(key=lambda item: "train" in item[0])
    if not found:
        raise ConversionError(
            f"{path}: expected a SavedModel with a signature to serve, {_SERVING!r}, it has "
            f"{', '.join(sorted(others)) or 'none'}: "
            "save it again with signatures (Keras: model.export(folder))"
        )
    return found[0]


def _run_at_loading(meta: Any) -> Iterator[Any]:
    """Nodes that loading may run: of the object graph's functions, and before TensorFlow 2 those
    that initialise or restore."""
    graph = meta.graph_def
    nodes = {node.name: node for node in graph.node}
    started = [meta.saver_def.restore_op_name]
    for name in _AT_LOADING:
        if name in meta.collection_def:
            started += meta.collection_def[name].node_list.value
    for name, signature in meta.signature_def.items():
        if name.startswith("__"):
            started += [tensor.name for tensor in signature.outputs.values()]
    before: set[str] = set()
    for name in started:
        before |= ancestors(nodes, node_of(name), control=True)
    bodies = {function.signature.name: function.node_def for function in graph.library.function}
    restored = meta.object_graph_def.concrete_functions
    own = [node for name in restored for node in bodies.get(name, ())]
    return called_nodes(graph.library, [*own, *(nodes[name] for name in before)])


def _operators(graph: Any) -> list[tuple[str, str, bool]]:
    """Operator, name, and whether it prints to a file, of every node but calls."""
    from tensorflow.python.framework import op_def_registry

    own = [node for function in graph.library.function for node in function.node_def]
    functions = {function.signature.name for function in graph.library.function}
    return [
        (node.op, node.name, node.attr["output_stream"].s.startswith(b"file:"))
        for node in (*graph.node, *own)
        if node.op not in functions or op_def_registry.get(node.op) is not None
    ]
