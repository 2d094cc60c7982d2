"""Operators of TensorFlow Lite, by their codes in tensorflow/lite/schema.fbs, and a file's own."""

from __future__ import annotations

from collections.abc import Mapping

from kit.model.flatbuffer import Table

CODES: Mapping[str, int] = {
    "ADD": 0,
    "AVERAGE_POOL_2D": 1,
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 4,
    "DEQUANTIZE": 6,
    "FULLY_CONNECTED": 9,
    "L2_POOL_2D": 12,
    "LOGISTIC": 14,
    "MAX_POOL_2D": 17,
    "MUL": 18,
    "RESHAPE": 22,
    "SOFTMAX": 25,
    "TRANSPOSE": 39,
    "MEAN": 40,
    "SUB": 41,
    "DIV": 42,
    "SQUEEZE": 43,
    "EXP": 47,
    "LOG_SOFTMAX": 50,
    "CAST": 53,
    "TRANSPOSE_CONV": 67,
    "EXPAND_DIMS": 70,
    "SUM": 74,
    "FAKE_QUANT": 80,
    "QUANTIZE": 114,
    "BATCH_MATMUL": 126,
}
"""Those that the kit looks at."""


def operator_codes(model: Table) -> tuple[tuple[int, str, int], ...]:
    """Builtin operator code (0 to 32 bit), name of a custom one, and version of each.

    Nodes of the graph refer to them by position.
    """
    return tuple(
        # The code was a signed byte until 127 was not enough (schema 3a).
        (max(code.integer(0, "<b"), code.integer(3)), code.text(1), code.integer(2, default=1))
        for code in model.tables(1)
    )
