"""TensorFlow SavedModels, those of TensorFlow Hub and Model Maker among them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from converters.network import node_of
from converters.sources.frozen_graph import (
    OUTSIDE,
    ancestors,
    called_functions,
    called_nodes,
    source_of_graph,
)
from converters.sources.random_layers import without_random_layers
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
_ASSIGNMENTS = ("AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp")
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
        with quiet_native, _without_assignments(Path(path), tags, signature) as (still, stale):
            loaded = tf.saved_model.load(os.fspath(still), tags=tags)
            function = loaded.signatures[signature]
            outputs = sorted(function.structured_outputs)
            frozen = convert_variables_to_constants_v2(function)
    except (MemoryError, ConversionError):
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
    left_out = without_random_layers(graph, chosen)
    _check_fresh(graph, chosen, stale)
    source = source_of_graph(graph, "SavedModel", replace(options, output_tensor=chosen))
    if left_out:
        said = f"random layers are left out, as in inference: {', '.join(left_out)}"
        source = replace(source, remarks=(*source.remarks, said))
    return source


def _check_fresh(graph: Any, output: str, stale: Collection[str]) -> None:
    """Raises ConversionError where the answer needs a value that the model itself has changed."""
    nodes = {node.name: node for node in graph.node}
    for name in sorted(ancestors(nodes, node_of(output))):
        if any(f"/{name}".endswith(f"/{read}") for read in stale):
            raise ConversionError(
                f"expected a model whose answers leave it as it is, it changes what {name!r} "
                "reads: save it without a state"
            )


@contextmanager
def _without_assignments(
    path: Path, tags: list[str], signature: str
) -> Iterator[tuple[Path, frozenset[str]]]:
    """The folder, or a copy whose signature leaves its variables as they are.

    Random layers have seeds, which every call changes; what changes cannot become a constant.

    Yields the folder, and the names of the nodes that read a variable behind an assignment: those
    values are not what they would be.
    """
    model = _parsed(path)
    meta = next(meta for meta in model.meta_graphs if list(meta.meta_info_def.tags) == tags)
    nodes = {node.name: node for node in meta.graph_def.node}
    started: set[str] = set()
    for tensor in meta.signature_def[signature].outputs.values():
        started |= ancestors(nodes, node_of(tensor.name), control=True)
    library = meta.graph_def.library
    called = called_functions(library, [nodes[name] for name in started])
    found = [_strip(body) for body in library.function if body.signature.name in called]
    stale = frozenset[str]().union(*(names for names in found if names is not None))
    if all(names is None for names in found):
        yield path, stale
        return
    with tempfile.TemporaryDirectory(prefix="kit-") as folder:
        copy = Path(folder, "model")
        shutil.copytree(path, copy)
        (copy / SAVED_MODEL_NAME).write_bytes(model.SerializeToString())
        (copy / "fingerprint.pb").unlink(missing_ok=True)  # of the file as it was
        yield copy, stale


def _strip(function: Any) -> set[str] | None:
    """Takes assignments out of a function; None where there are none.

    Returns the names of the nodes that read behind one.
    """
    gone = {node.name for node in function.node_def if node.op in _ASSIGNMENTS}
    if not gone:
        return None
    stale = set()
    kept = [node for node in function.node_def if node.name not in gone]
    for node in kept:
        behind = {of for of in node.input if of.startswith("^") and of[1:] in gone}
        if behind and node.op == "ReadVariableOp":
            stale.add(node.name)
        inputs = [of for of in node.input if of not in behind]
        del node.input[:]
        node.input.extend(inputs)
    for name in [name for name, node in function.control_ret.items() if node in gone]:
        del function.control_ret[name]
    signature = [name for name in function.signature.control_output if name in function.control_ret]
    del function.signature.control_output[:]
    function.signature.control_output.extend(signature)
    copies = [type(node).FromString(node.SerializeToString()) for node in kept]
    del function.node_def[:]
    function.node_def.extend(copies)
    return stale


def _parsed(path: Path) -> Any:
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    model = saved_model_pb2.SavedModel()
    try:
        model.ParseFromString((path / SAVED_MODEL_NAME).read_bytes())
    except (DecodeError, OSError) as error:
        raise ConversionError(f"{path}: expected a sound SavedModel: {error}") from error
    return model


def _examine(path: Path) -> tuple[list[str], str]:
    """Tags and signature to load, once no operator in the file is one to refuse."""
    from tensorflow.python.framework import op_def_registry

    model = _parsed(path)
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
