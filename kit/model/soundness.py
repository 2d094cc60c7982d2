"""Is a model's flatbuffer sound? Interpreters trust it: a wrong number in it may end the process.

A file with the kit's card is known by its digest. One without is walked here, by the standard
library alone, before an interpreter sees it: every offset and vector, the size of each constant
against its shape and type, every index, and the order of the operators. Field numbers are those of
tensorflow/lite/schema.fbs.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from kit.errors import ModelFileError
from kit.model.flatbuffer import Table
from kit.model.operators import CODES, operator_codes

# Bits of an element by TensorType; 0 of those whose constants have no size of their own.
_BITS = {
    **{0: 32, 1: 16, 2: 32, 3: 8, 4: 64, 5: 0, 6: 8, 7: 16, 8: 64, 9: 8, 10: 64, 11: 128},
    **{12: 64, 13: 0, 14: 0, 15: 32, 16: 16, 17: 4, 18: 16, 19: 2, 20: 4, 21: 8, 22: 8},
}
_MOST_DIMENSIONS = 8
_MOST_ELEMENTS = 1 << 28  # a GB of float32; no image classifier has that
_OPTIONAL = -1
# Options of operators that divide by them, by their fields: strides, filters and dilations.
_POSITIVE = {
    CODES["CONV_2D"]: (1, (1, 2), (4, 5)),
    CODES["DEPTHWISE_CONV_2D"]: (2, (1, 2), (5, 6)),
    CODES["AVERAGE_POOL_2D"]: (5, (1, 2, 3, 4), ()),
    CODES["MAX_POOL_2D"]: (5, (1, 2, 3, 4), ()),
    CODES["L2_POOL_2D"]: (5, (1, 2, 3, 4), ()),
    CODES["TRANSPOSE_CONV"]: (49, (1, 2), ()),
}
_LISTS = (17, 30)  # ReshapeOptions and SqueezeOptions, which hold a vector
_INPUTS = {  # how many at least
    **dict.fromkeys((CODES[name] for name in ("CONV_2D", "DEPTHWISE_CONV_2D")), 2),
    **dict.fromkeys((CODES[name] for name in ("FULLY_CONNECTED", "BATCH_MATMUL")), 2),
    **dict.fromkeys((CODES[name] for name in ("ADD", "SUB", "MUL", "DIV", "MEAN", "SUM")), 2),
    CODES["TRANSPOSE_CONV"]: 3,
}


def check_model(model: Table) -> None:
    """Raises ModelFileError where the model is not sound.

    Args:
        model: root of the flatbuffer.
    """
    # Number 0 is empty by convention, whether it is there or not.
    sizes = [len(buffer.data(0)) for buffer in model.tables(4)] or [0]
    codes = [code for code, _, _ in operator_codes(model)]
    graphs = list(model.tables(2))
    for number, graph in enumerate(graphs):
        tensors = list(graph.tables(0))
        shapes = [_check_tensor(tensor, sizes, index) for index, tensor in enumerate(tensors)]
        _check_graph(graph, tensors, sizes, codes, shapes)
        if number == 0 and not (graph.length(1) and graph.length(2)):
            raise _unsound("inputs and outputs of the first graph", "none")
    for entry in model.tables(6):
        entry.text(0)
        if entry.integer(1, "<I") >= len(sizes):
            raise _unsound("metadata of a buffer that is there", f"number {entry.integer(1, '<I')}")
    model.text(3)
    model.integers(5)
    for signature in model.tables(7):
        _check_signature(signature, graphs)


def _check_signature(signature: Table, graphs: Sequence[Table]) -> None:
    """Names for the inputs and outputs of one graph."""
    signature.text(2)
    number = signature.integer(4, "<I")
    if number >= len(graphs):
        raise _unsound("signatures of a graph that is there", f"number {number}")
    tensors = graphs[number].length(0)
    for field in (0, 1):
        for entry in signature.tables(field):
            entry.text(0)
            if entry.integer(1, "<I") >= tensors:
                raise _unsound("signatures of tensors that are there", "others")


def _unsound(expected: str, got: str) -> ModelFileError:
    return ModelFileError(f"expected {expected}, got {got}: the file is damaged, copy it again")


def _check_tensor(tensor: Table, sizes: Sequence[int], index: int) -> tuple[int, ...]:
    """The shape of a tensor whose fields fit together."""
    tensor.text(3)
    tensor.length_of(9, 4)
    shape, kind, buffer = tensor.integers(0), tensor.integer(1, "<B"), tensor.integer(2, "<I")
    if kind not in _BITS:
        raise _unsound("tensors of known types", f"tensor {index} of type {kind}")
    elements = prod(shape)
    if len(shape) > _MOST_DIMENSIONS or min(shape, default=1) < 0 or elements > _MOST_ELEMENTS:
        raise _unsound("tensors of a sensible shape", f"tensor {index} of {list(shape)}")
    if any(length < -1 for length in tensor.integers(7)):
        raise _unsound("a shape signature of lengths", f"tensor {index} with another")
    if buffer >= len(sizes):
        raise _unsound(f"tensors in {len(sizes)} buffers", f"tensor {index} in number {buffer}")
    size = (elements * _BITS[kind] + 7) // 8
    if tensor.table(6) is not None:
        raise ModelFileError(
            "expected dense weights, got sparse ones: convert the model again without sparsity"
        )
    if sizes[buffer] and size and sizes[buffer] != size:
        raise _unsound(
            f"{size} bytes for tensor {index} of {list(shape)}", f"{sizes[buffer]} of them"
        )
    _check_quantization(tensor, shape, index)
    return shape


def _check_quantization(tensor: Table, shape: Sequence[int], index: int) -> None:
    quantization = tensor.table(4)
    if quantization is None:
        return
    scales = quantization.reals(2)
    zero_points = quantization.length_of(3, 8)
    axis = quantization.integer(6)
    quantization.table(5)
    for field in (0, 1):
        quantization.reals(field)
    if len(scales) > 1 and (not 0 <= axis < len(shape) or shape[axis] != len(scales)):
        raise _unsound(
            f"a scale for each channel of tensor {index} of {list(shape)}",
            f"{len(scales)} along axis {axis}",
        )
    if zero_points and zero_points != len(scales):
        raise _unsound(f"{len(scales)} zero points of tensor {index}", f"{zero_points}")
    if any(not 0 <= scale < float("inf") for scale in scales):
        raise _unsound(f"finite scales of tensor {index}", "others")


def _check_graph(
    graph: Table,
    tensors: Sequence[Table],
    sizes: Sequence[int],
    codes: Sequence[int],
    shapes: Sequence[tuple[int, ...]],
) -> None:
    """The order of the operators too: a value that nothing has computed lies nowhere."""
    graph.text(4)
    known = {
        index
        for index, tensor in enumerate(tensors)
        if sizes[tensor.integer(2, "<I")] or tensor.integer(5, "<B") or 0 in shapes[index]
    }
    inputs = _indices(graph, 1, len(tensors))
    known |= {*inputs}
    if any(sizes[tensors[index].integer(2, "<I")] for index in inputs):
        raise _unsound("inputs without values of their own", "others")
    for number, operator in enumerate(graph.tables(3)):
        code = operator.integer(0, "<I")
        if code >= len(codes):
            raise _unsound(f"operators among {len(codes)}", f"operator {number} of number {code}")
        needed = [
            index for index in _indices(operator, 1, len(tensors), _OPTIONAL) if index != _OPTIONAL
        ]
        if missing := [index for index in needed if index not in known]:
            raise _unsound(
                "operators in the order of their values",
                f"operator {number} that needs tensor {missing[0]} before it is computed",
            )
        if len(needed) < _INPUTS.get(codes[code], 0):
            raise _unsound("operators with all their inputs", f"operator {number} without")
        made = _indices(operator, 2, len(tensors))
        if any(sizes[tensors[index].integer(2, "<I")] for index in made) or {*made} & {*inputs}:
            raise _unsound("operators that write to tensors of their own", f"operator {number}")
        known |= {*made}
        _check_options(operator, codes[code], number)
    if not {*_indices(graph, 2, len(tensors))} <= known:
        raise _unsound("outputs that are computed", "others")


def _indices(table: Table, field: int, count: int, least: int = 0) -> tuple[int, ...]:
    found = table.integers(field)
    if any(not least <= index < count for index in found):
        raise _unsound(f"tensors 0 to {count - 1}", f"{list(found)[:8]}")
    return found


def _check_options(operator: Table, code: int, number: int) -> None:
    kind, options = operator.integer(3, "<B"), operator.table(4)
    operator.data(5)
    operator.data(6)
    operator.integers(7)
    if options is not None and kind in _LISTS:
        options.integers(0)
    if code not in _POSITIVE:
        return
    wanted, fields, dilations = _POSITIVE[code]
    if options is None or kind != wanted:
        raise _unsound("operators with options of their kind", f"operator {number} of another")
    values = [options.integer(field) for field in fields]
    values += [options.integer(field, default=1) for field in dilations]
    if any(not 0 < value <= 1 << 16 for value in values):
        raise _unsound("strides and filters above 0", f"{values} of operator {number}")
