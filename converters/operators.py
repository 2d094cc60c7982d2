"""Which runtime has the operators of a file.

First TensorFlow Lite version with each version of an operator, as listed in TensorFlow's
tensorflow/compiler/mlir/lite/tools/versioning/runtime_version.cc; the operators that occur in
image classifiers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.errors import ConversionError

FIRST_RUNTIME: Mapping[str, Mapping[int, str]] = {
    "ADD": {1: "1.5.0", 2: "1.14.0", 3: "2.4.0", 4: "2.6.0", 5: "2.13.0"},
    "ARG_MAX": {1: "1.9.0", 2: "1.14.0", 3: "2.9.0"},
    "AVERAGE_POOL_2D": {1: "1.5.0", 2: "1.14.0", 3: "2.3.0"},
    "CONCATENATION": {1: "1.5.0", 2: "1.14.0", 3: "2.3.0", 4: "2.14.0", 5: "2.21.0"},
    "CONV_2D": {
        1: "1.5.0",
        2: "1.14.0",
        3: "1.14.0",
        4: "2.3.0",
        5: "2.4.0",
        6: "2.9.0",
        7: "2.11.0",
        8: "2.15.0",
    },
    "DEPTHWISE_CONV_2D": {
        1: "1.5.0",
        2: "1.12.0",
        3: "1.14.0",
        4: "2.2.0",
        5: "2.3.0",
        6: "2.3.0",
        7: "2.11.0",
    },
    "DEQUANTIZE": {1: "1.13.1", 2: "1.14.0", 3: "1.15.0", 4: "2.2.0", 5: "2.7.0", 6: "2.18.0"},
    "DIV": {1: "1.6.0", 2: "2.3.0"},
    "EXPAND_DIMS": {1: "1.10.0"},
    "FULLY_CONNECTED": {
        1: "1.5.0",
        2: "1.10.0",
        3: "1.14.0",
        4: "1.14.0",
        5: "2.0.0",
        6: "2.1.0",
        7: "2.3.0",
        8: "2.3.0",
        9: "2.3.0",
        10: "2.11.0",
        11: "2.15.0",
        12: "2.17.0",
        13: "2.18.0",
        14: "2.21.0",
    },
    "GELU": {1: "2.9.0", 2: "2.9.0"},
    "HARD_SWISH": {1: "1.15.0"},
    "LOGISTIC": {1: "1.14.0", 2: "1.14.0", 3: "2.3.0"},
    "MAXIMUM": {1: "1.14.0", 2: "1.14.0", 3: "2.3.0", 4: "2.3.0"},
    "MAX_POOL_2D": {1: "1.5.0", 2: "1.14.0", 3: "2.3.0"},
    "MEAN": {1: "1.6.0", 2: "1.14.0", 3: "2.4.0"},
    "MINIMUM": {1: "1.14.0", 2: "1.14.0", 3: "2.3.0", 4: "2.3.0"},
    "MUL": {
        1: "1.5.0",
        2: "1.14.0",
        3: "1.15.0",
        4: "2.3.0",
        5: "2.6.0",
        6: "2.11.0",
        7: "2.13.0",
    },
    "PACK": {1: "1.11.0", 2: "1.14.0", 3: "2.3.0", 4: "2.13.0"},
    "PAD": {1: "1.5.0", 2: "1.14.0", 3: "2.4.0", 4: "2.6.0", 5: "2.20.0"},
    "PADV2": {1: "1.9.0", 2: "1.14.0", 3: "2.4.0", 4: "2.6.0", 5: "2.20.0"},
    "QUANTIZE": {1: "1.14.0", 2: "1.15.0", 3: "2.7.0", 4: "2.21.0"},
    "RELU": {1: "1.5.0", 2: "2.1.0", 3: "2.5.0"},
    "RELU6": {1: "1.5.0", 2: "1.14.0", 3: "2.5.0"},
    "RELU_0_TO_1": {1: "2.10.0"},
    "RESHAPE": {1: "1.5.0"},
    "RESIZE_BILINEAR": {1: "1.7.0", 2: "1.14.0", 3: "2.2.0", 4: "2.5.0"},
    "SHAPE": {1: "1.10.0"},
    "SOFTMAX": {1: "1.5.0", 2: "1.14.0", 3: "2.3.0"},
    "SQUEEZE": {1: "1.6.0", 2: "2.5.0"},
    "STRIDED_SLICE": {1: "1.6.0", 2: "1.14.0", 3: "2.1.0", 4: "2.2.0", 5: "2.5.0", 6: "2.6.0"},
    "SUB": {1: "1.6.0", 2: "1.14.0", 3: "2.3.0", 4: "2.4.0", 5: "2.4.0"},
    "SUM": {1: "1.10.0", 2: "1.15.0"},
    "TRANSPOSE": {1: "1.6.0", 2: "1.14.0", 3: "1.15.0", 4: "2.3.0", 5: "2.4.0", 6: "2.12.0"},
}


def operator_name(code: int, custom: str = "") -> str:
    """The name of a builtin operator's code in schema.fbs, or a custom operator's own."""
    from ai_edge_litert import schema_py_generated as schema

    if custom:
        return custom
    for name, value in vars(schema.BuiltinOperator).items():
        if value == code:
            return str(name)
    return f"operator {code}"


def minimum_runtime(operators: Iterable[tuple[int, str, int]]) -> str:
    """The first TensorFlow Lite version with all these operators, such as `2.3.0`.

    Args:
        operators: code, custom name and version of each (kit.model_file.ModelFile.operators).

    Raises:
        ConversionError: one is not in the table.
    """
    versions = []
    for code, custom, version in operators:
        name = operator_name(code, custom)
        first = FIRST_RUNTIME.get(name, {}).get(version)
        if first is None:
            raise ConversionError(
                f"expected operators of known runtime versions, got {name} version {version}: "
                "no released runtime is known to have it"
            )
        versions.append(first)
    return max(versions, key=lambda text: tuple(int(part) for part in text.split(".")))
