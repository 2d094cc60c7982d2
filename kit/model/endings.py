"""How the outputs of a model's graph end: by that alone a file without a card tells its scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kit.errors import ModelFileError
from kit.model.flatbuffer import Table
from kit.model.operators import CODES, operator_codes

# What stands between an operator and the output without changing what it means.
_PASSING = {
    CODES[name]
    for name in (
        *("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "CAST"),
        *("QUANTIZE", "DEQUANTIZE", "FAKE_QUANT"),
    )
}
_LINEAR = {
    CODES[name]
    for name in (
        *("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D", "BATCH_MATMUL"),
        *("ADD", "SUB", "MUL", "MEAN", "AVERAGE_POOL_2D"),
    )
}
# Where the options of an operator say which activation is fused into it.
_ACTIVATIONS = {
    **{CODES[name]: 0 for name in ("FULLY_CONNECTED", "ADD", "SUB", "MUL")},
    **{CODES["CONV_2D"]: 3, CODES["DEPTHWISE_CONV_2D"]: 4, CODES["AVERAGE_POOL_2D"]: 5},
}


@dataclass(frozen=True)
class Ending:
    """What decides one output.

    Attributes:
        kind: `softmax`, `sigmoid`, `linear` (logits), or `unknown`.
        operator: the operator that decides it, by TensorFlow Lite's name or code.
    """

    kind: str
    operator: str


def output_ending(model: Table, tensor: int) -> Ending:
    """How the graph computes a tensor.

    Args:
        model: root of the flatbuffer, sound (kit.model.soundness).
        tensor: its index in the first subgraph.

    Raises ModelFileError where the graph goes in a circle.
    """
    codes = [code for code, _, _ in operator_codes(model)]
    graph = next(model.tables(2))
    made: dict[int, Table] = {}
    for operator in graph.tables(3):
        made.update(dict.fromkeys(operator.integers(2), operator))
    for _ in range(len(made) + 1):
        last = made.get(tensor)
        if last is None:
            return Ending("unknown", "no operator")
        code = codes[last.integer(0, "<I")]
        if code not in _PASSING:
            return Ending(_kind(code, last, made, codes), _name(code))
        tensor = last.integers(1)[0]
    raise ModelFileError("expected a graph without circles, got one that goes in a circle")


def _name(code: int) -> str:
    return next((name for name, of in CODES.items() if of == code), f"operator {code}")


def _kind(code: int, operator: Table, made: dict[int, Table], codes: Sequence[int]) -> str:
    if code == CODES["SOFTMAX"] or _is_spelt_out(code, operator, made, codes):
        return "softmax"
    if code == CODES["LOGISTIC"]:
        return "sigmoid"
    if code == CODES["LOG_SOFTMAX"]:  # a softmax of these gives the scores again
        return "linear"
    if code not in _LINEAR:
        return "unknown"
    options = operator.table(4)
    field = _ACTIVATIONS.get(code)
    fused = 0 if options is None or field is None else options.integer(field, "<b")
    return "unknown" if fused else "linear"


def _is_spelt_out(code: int, operator: Table, made: dict[int, Table], codes: Sequence[int]) -> bool:
    """Whether it is exp(x) / sum(exp(x)), as some exporters write a softmax."""
    if code != CODES["DIV"] or len(operator.integers(1)) != 2:
        return False
    above, below = (made.get(tensor) for tensor in operator.integers(1))
    if above is None or below is None:
        return False
    kinds = [codes[part.integer(0, "<I")] for part in (above, below)]
    return kinds == [CODES["EXP"], CODES["SUM"]]
