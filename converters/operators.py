"""Which runtime has the operators of a file.

From TensorFlow's tensorflow/compiler/mlir/lite/tools/versioning/runtime_version.cc, for operators
that occur in image classifiers, corrected where a released runtime resolves something else. What
was asked: tensorflow-cpu 2.3.4, 2.4.4, 2.5.3 and 2.6.5, tflite-runtime 2.7.0 to 2.14.0, and
ai-edge-litert 1.0.0, 1.0.1, 1.2.0, 1.4.0, 2.0.2, 2.0.3, 2.1.0, 2.1.6, 2.2.0 and 2.3.0, each with a
model that names one operator and version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kit.errors import ConversionError

RUNTIMES: Mapping[str, str] = {
    **{f"2.{minor}": f"2.{minor}.0" for minor in range(3, 15)},
    "litert-1": "2.18.0",
    "litert-2": "2.20.0",
}
"""Runtimes by their names on the command line, and the TensorFlow Lite version that each equals.

2.3 to 2.14 are tflite-runtime's own numbers, of which 2.14 is the last. LiteRT (ai-edge-litert)
continues them under numbers of its own. A line counts as its oldest release, so that a file runs in
every release of the line: 1.0.0 has all of the table below up to 2.18, 2.0.2 all up to 2.20.
(Later ones have more: the libraries of 1.4.0, 2.0.2 and 2.1.6 call themselves 2.20.0-dev0,
2.21.0-dev0 and 2.22.0-dev0.)
"""

# The converter leaves int8's operator versions in int16x8 files; 2.3 loads them and fails then.
_FIRST_BY_QUANTIZATION = {"int16x8": "2.4.0"}
_OLDEST = "1.5.0"
_ABSENT = "-"

# TensorFlow's list says otherwise of these. It names the version in which an entry was written,
# while a release may have been cut before the kernel was registered, so the release decides:
# later:   BATCH_TO_SPACE_ND 4, BROADCAST_ARGS 1, CAST 5, 7, CONV_2D 7, DEPTHWISE_CONV_2D 6, 7,
#          EXP 2, FULLY_CONNECTED 9, 10, MIRROR_PAD 3, PACK 4, REDUCE_PROD 2, SELECT 4,
#          SELECT_V2 2, SPACE_TO_BATCH_ND 4, TRANSPOSE 7
# earlier: GELU 1, TRANSPOSE_CONV 4
_FIRST_BY_VERSION = {
    "ABS": "1.13.0 2.4.0 2.5.0 2.6.0 2.12.0",
    "ADD": "1.5.0 1.14.0 2.4.0 2.6.0 2.13.0 2.23.0",
    "ADD_N": "1.14.0",
    "ARG_MAX": "1.9.0 1.14.0 2.9.0",
    "ARG_MIN": "1.9.0 1.14.0 2.9.0",
    "AVERAGE_POOL_2D": "1.5.0 1.14.0 2.3.0",
    "BATCH_MATMUL": "2.3.0 2.3.0 2.4.0 2.5.0",
    "BATCH_TO_SPACE_ND": "1.6.0 1.14.0 2.3.0 2.13.0",
    "BROADCAST_ARGS": "2.7.0",
    "BROADCAST_TO": "- 2.5.0 2.5.0",
    "CAST": "1.5.0 2.7.0 2.8.0 2.9.0 2.13.0 2.15.0 2.19.0 2.21.0",
    "CEIL": "1.14.0",
    "CONCATENATION": "1.5.0 1.14.0 2.3.0 2.14.0 2.21.0",
    "CONV_2D": "1.5.0 1.14.0 1.14.0 2.3.0 2.4.0 2.9.0 2.12.0 2.15.0",
    "COS": "1.14.0",
    "CUMSUM": "2.4.0",
    "DEPTHWISE_CONV_2D": "1.5.0 1.12.0 1.14.0 2.2.0 2.3.0 2.4.0 2.13.0",
    "DEPTH_TO_SPACE": "2.1.0 2.5.0",
    "DEQUANTIZE": "1.13.1 1.14.0 1.15.0 2.2.0 2.7.0 2.18.0 2.21.0 2.22.0",
    "DIV": "1.6.0 2.3.0",
    "ELU": "1.14.0",
    "EQUAL": "1.14.0 1.14.0 2.3.0 2.13.0 2.21.0",
    "EXP": "1.7.0 2.13.0",
    "EXPAND_DIMS": "1.10.0",
    "FAKE_QUANT": "1.5.0 1.10.0",
    "FILL": "1.13.0 2.3.0 2.5.0 2.12.0",
    "FLOOR": "1.9.0",
    "FLOOR_DIV": "1.14.0 1.14.0 2.13.0",
    "FLOOR_MOD": "1.13.0 2.13.0",
    "FULLY_CONNECTED": (
        "1.5.0 1.10.0 1.14.0 1.14.0 2.0.0 2.1.0 2.3.0 2.3.0 2.4.0 2.13.0 2.15.0 "
        "2.17.0 2.18.0 2.21.0"
    ),
    "GATHER": "1.6.0 1.14.0 1.15.0 2.4.0 2.5.0 2.13.0 2.15.0",
    "GATHER_ND": "1.14.0 2.3.0 2.5.0 2.13.0 2.16.0",
    "GELU": "2.8.0 2.9.0",
    "GREATER": "1.14.0 1.14.0",
    "GREATER_EQUAL": "1.14.0 1.14.0 2.13.0",
    "HARD_SWISH": "1.15.0",
    "L2_NORMALIZATION": "1.5.0 1.14.0",
    "L2_POOL_2D": "1.5.0",
    "LEAKY_RELU": "1.13.1 2.3.0",
    "LESS": "1.14.0 1.14.0 2.13.0",
    "LESS_EQUAL": "1.14.0 1.14.0",
    "LOCAL_RESPONSE_NORMALIZATION": "1.5.0",
    "LOG": "1.14.0 2.15.0",
    "LOGISTIC": "1.14.0 1.14.0 2.3.0",
    "LOG_SOFTMAX": "1.14.0 1.14.0",
    "MAXIMUM": "1.14.0 1.14.0 2.3.0 2.3.0",
    "MAX_POOL_2D": "1.5.0 1.14.0 2.3.0",
    "MEAN": "1.6.0 1.14.0 2.4.0",
    "MINIMUM": "1.14.0 1.14.0 2.3.0 2.3.0",
    "MIRROR_PAD": "1.13.1 2.3.0 2.13.0",
    "MUL": "1.5.0 1.14.0 1.15.0 2.3.0 2.6.0 2.11.0 2.13.0 2.23.0",
    "NEG": "1.9.0",
    "NOT_EQUAL": "1.14.0 1.14.0 2.3.0 2.21.0",
    "ONE_HOT": "1.11.0",
    "PACK": "1.11.0 1.14.0 2.3.0 2.14.0",
    "PAD": "1.5.0 1.14.0 2.4.0 2.6.0 2.20.0",
    "PADV2": "1.9.0 1.14.0 2.4.0 2.6.0 2.20.0",
    "POW": "1.10.0",
    "PRELU": "1.8.0",
    "QUANTIZE": "1.14.0 1.15.0 2.7.0 2.21.0 2.21.0 2.21.0",
    "RANGE": "1.13.0 2.14.0",
    "REDUCE_MAX": "1.11.0 1.14.0 2.5.0",
    "REDUCE_MIN": "1.11.0 1.14.0 2.5.0",
    "REDUCE_PROD": "1.11.0 2.7.0",
    "RELU": "1.5.0 2.1.0 2.5.0",
    "RELU6": "1.5.0 1.14.0 2.5.0",
    "RELU_0_TO_1": "2.10.0",
    "RELU_N1_TO_1": "1.5.0",
    "RESHAPE": "1.5.0",
    "RESIZE_BILINEAR": "1.7.0 1.14.0 2.2.0 2.5.0",
    "RESIZE_NEAREST_NEIGHBOR": "1.13.1 1.14.0 2.3.0 2.4.0",
    "REVERSE_V2": "1.14.0 2.2.0 2.5.0",
    "ROUND": "1.14.0",
    "RSQRT": "1.10.0 2.5.0 2.15.0",
    "SELECT": "1.14.0 1.14.0 2.12.0 2.14.0",
    "SELECT_V2": "2.2.0 2.14.0",
    "SHAPE": "1.10.0",
    "SIGN": "2.11.0 2.12.0",
    "SIN": "1.9.0",
    "SLICE": "1.14.0 1.14.0 1.14.0 2.4.0 2.5.0 2.14.0 2.21.0",
    "SOFTMAX": "1.5.0 1.14.0 2.3.0",
    "SPACE_TO_BATCH_ND": "1.6.0 1.14.0 2.3.0 2.13.0",
    "SPACE_TO_DEPTH": "1.5.0 1.14.0",
    "SPLIT": "1.5.0 1.14.0 1.14.0 2.3.0",
    "SPLIT_V": "1.13.1 2.3.0",
    "SQRT": "1.10.0 2.21.0",
    "SQUARE": "1.12.0",
    "SQUARED_DIFFERENCE": "1.13.1 2.5.0",
    "SQUEEZE": "1.6.0 2.5.0",
    "STRIDED_SLICE": "1.6.0 1.14.0 2.1.0 2.2.0 2.5.0 2.6.0 2.14.0 2.14.0",
    "SUB": "1.6.0 1.14.0 2.3.0 2.4.0 2.4.0",
    "SUM": "1.10.0 1.15.0",
    "TANH": "1.14.0 1.14.0 2.3.0",
    "TILE": "1.10.1 2.2.0 2.8.0",
    "TOPK_V2": "1.7.0 1.14.0 2.13.0",
    "TRANSPOSE": "1.6.0 1.14.0 1.15.0 2.3.0 2.4.0 2.12.0 2.19.0 2.22.0",
    "TRANSPOSE_CONV": "1.9.0 2.2.0 2.3.0 2.12.0 2.15.0",
    "UNPACK": "1.11.0 1.14.0 2.2.0 2.3.0 2.22.0",
    "WHERE": "1.14.0 2.8.0",
    "ZEROS_LIKE": "1.12.0",
}

FIRST_RUNTIME: Mapping[str, Mapping[int, str]] = {
    name: {
        version: first
        for version, first in enumerate(firsts.split(), start=1)
        if first != _ABSENT  # withdrawn before a release
    }
    for name, firsts in _FIRST_BY_VERSION.items()
}
"""First TensorFlow Lite version with each version of an operator."""


def operator_name(code: int, custom: str = "") -> str:
    """The name of a builtin operator's code in schema.fbs, or a custom operator's own."""
    from ai_edge_litert import schema_py_generated as schema

    if custom:
        return custom
    for name, value in vars(schema.BuiltinOperator).items():
        if value == code:
            return str(name)
    return f"operator {code}"


def minimum_runtime(operators: Iterable[tuple[int, str, int]], quantization: str = "") -> str:
    """The first TensorFlow Lite version that runs a file, such as `2.3.0`.

    Args:
        operators: code, custom name and version of each (kit.model.model_file.ModelFile.operators).
        quantization: quantisation of the file; empty if it is not known.

    Raises:
        ConversionError: one is not in the table.
    """
    firsts = [_FIRST_BY_QUANTIZATION.get(quantization, _OLDEST)]
    for name, version, first in _firsts(operators):
        if first is None:
            raise ConversionError(
                f"expected operators of known runtime versions, got {name} version {version}: "
                "no released runtime is known to have it"
            )
        firsts.append(first)
    return max(firsts, key=_numbers)


def runtimes_that_run(
    operators: Iterable[tuple[int, str, int]], quantization: str = ""
) -> tuple[str, ...]:
    """The names in RUNTIMES that run a file, oldest first; arguments as `minimum_runtime`."""
    firsts = [first for _, _, first in _firsts(operators)]
    firsts.append(_FIRST_BY_QUANTIZATION.get(quantization, _OLDEST))
    return tuple(runtime for runtime in RUNTIMES if all(_has(runtime, first) for first in firsts))


def check_runtime(
    operators: Iterable[tuple[int, str, int]],
    target: str,
    quantization: str = "",
    remedy: str = "",
) -> None:
    """Makes sure that a runtime runs a file.

    Args:
        operators: see minimum_runtime.
        target: a name in RUNTIMES.
        quantization: see minimum_runtime.
        remedy: what to do where it does not; empty: what `kit convert` can be asked for instead.

    Raises:
        ConversionError: it lacks some; says each, the first runtime that has it, and what to do.
        ValueError: an unknown target.
    """
    if target not in RUNTIMES:
        raise ValueError(f"expected a target runtime of {', '.join(RUNTIMES)}, got {target!r}")
    operators = tuple(operators)
    lacking = [
        f"{name} version {version} ({_origin(first)})"
        for name, version, first in _firsts(operators)
        if not _has(target, first)
    ]
    least = _FIRST_BY_QUANTIZATION.get(quantization)
    if least and not _has(target, least):
        lacking.append(f"the {quantization} kernels ({_origin(least)})")
    if not lacking:
        return
    if not remedy:
        able = runtimes_that_run(operators, quantization)
        newer = f"--target-runtime {able[0]} or newer" if able else "a model without"
        remedy = f"choose another --quantize, or {newer}"
    raise ConversionError(
        f"expected operators that {target} has, got {', '.join(lacking)}: {remedy}"
    )


def _firsts(operators: Iterable[tuple[int, str, int]]) -> list[tuple[str, int, str | None]]:
    """Each operator's name, version, and first TensorFlow Lite version; None where it has none."""
    named = [(operator_name(code, custom), version) for code, custom, version in operators]
    return [(name, version, FIRST_RUNTIME.get(name, {}).get(version)) for name, version in named]


def _has(runtime: str, first: str | None) -> bool:
    return first is not None and _numbers(first) <= _numbers(RUNTIMES[runtime])


def _origin(first: str | None) -> str:
    if first is None:
        return "in no released runtime that is known"
    named = next((runtime for runtime in RUNTIMES if _has(runtime, first)), None)
    return f"first in {named}" if named else f"first in TensorFlow Lite {first}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
