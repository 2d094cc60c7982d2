"""The table of operator versions, against runtimes and in what it says to people."""

import importlib
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as distribution_version

import pytest
from ai_edge_litert import schema_py_generated as schema
from one_operator import naming, patched

from converters.operators import (
    FIRST_RUNTIME,
    RUNTIMES,
    check_runtime,
    minimum_runtime,
    operator_name,
    runtimes_that_run,
)
from kit.errors import ConversionError, InferenceError
from kit.model.model_file import read_model_file
from kit.runtime.interpreter import Runner

CODES = {name: code for name, code in vars(schema.BuiltinOperator).items() if name.isupper()}
CONV_2D, SOFTMAX = CODES["CONV_2D"], CODES["SOFTMAX"]
FULLY_CONNECTED, QUANTIZE = CODES["FULLY_CONNECTED"], CODES["QUANTIZE"]
MODEL = "red_green_blue_int8.tflite"


def release(text):
    return tuple(int(part) for part in text.split("."))


@pytest.fixture(scope="module")
def installed():
    """The interpreter that the kit takes, and its name in RUNTIMES."""
    for distribution, package, name in (
        ("ai-edge-litert", "ai_edge_litert", "litert-{0}"),
        ("tflite-runtime", "tflite_runtime", "{0}.{1}"),
    ):
        try:
            numbers = distribution_version(distribution).split(".")
        except PackageNotFoundError:
            continue
        interpreter = importlib.import_module(f"{package}.interpreter").Interpreter
        return interpreter, name.format(*numbers)
    return pytest.fail("expected an interpreter")


@pytest.mark.parametrize("operator", FIRST_RUNTIME)
def test_the_installed_runtime_has_what_the_table_says(operator, installed):
    interpreter, name = installed
    for version, first in FIRST_RUNTIME[operator].items():
        if release(first) <= release(RUNTIMES[name]):
            interpreter(model_content=naming(CODES[operator], version))
    with pytest.raises(ValueError, match=f"'{operator}' version '99'"):
        interpreter(model_content=naming(CODES[operator], 99))


def test_runtimes_are_in_order():
    assert tuple(RUNTIMES)[-4:] == ("2.13", "2.14", "litert-1", "litert-2")
    assert list(RUNTIMES.values()) == sorted(RUNTIMES.values(), key=release)


def test_no_version_of_an_operator_is_older_than_the_one_before_it():
    for operator, firsts in FIRST_RUNTIME.items():
        versions = [release(firsts[version]) for version in sorted(firsts)]
        assert versions == sorted(versions), operator


def test_names_of_the_table_are_operators():
    assert {operator_name(CODES[name]) for name in FIRST_RUNTIME} == set(FIRST_RUNTIME)


@pytest.mark.parametrize(
    "operators, version",
    [
        ([(FULLY_CONNECTED, "", 12)], "2.17.0"),  # what tflite-runtime 2.14 refuses
        ([(FULLY_CONNECTED, "", 8)], "2.3.0"),
        ([(CONV_2D, "", 1), (SOFTMAX, "", 1)], "1.5.0"),
        ([(CONV_2D, "", 6), (CONV_2D, "", 7)], "2.12.0"),  # 12 is more than 9
        ([(CODES["BROADCAST_TO"], "", 2)], "2.5.0"),  # its first version; 1 was withdrawn
    ],
)
def test_minimum_runtime(operators, version):
    assert minimum_runtime(operators) == version


@pytest.mark.parametrize(
    "operators, runtimes",
    [
        ([(CONV_2D, "", 3)], tuple(RUNTIMES)),
        ([(FULLY_CONNECTED, "", 8)], tuple(RUNTIMES)),
        ([(FULLY_CONNECTED, "", 9)], tuple(RUNTIMES)[1:]),  # 2.3.4 lacks it, 2.4.4 has it
        ([(CONV_2D, "", 3), (FULLY_CONNECTED, "", 12)], ("litert-1", "litert-2")),
        ([(CODES["PAD"], "", 5)], ("litert-2",)),
        ([(QUANTIZE, "", 4)], ()),
        ([(CONV_2D, "", 3), (32, "Mine", 1)], ()),
    ],
)
def test_runtimes_that_run(operators, runtimes):
    assert runtimes_that_run(operators) == runtimes
    for name in RUNTIMES:
        if name in runtimes:
            check_runtime(operators, name)
        else:
            with pytest.raises(ConversionError, match=f"expected operators that {name} has"):
                check_runtime(operators, name)


def test_files_of_the_kit_run_everywhere(data):
    assert runtimes_that_run(read_model_file(data / MODEL).operators) == tuple(RUNTIMES)


@pytest.mark.parametrize(
    "operators, message",
    [
        (
            [(CONV_2D, "", 3), (CONV_2D, "", 8), (FULLY_CONNECTED, "", 12)],
            "expected operators that 2.14 has, got CONV_2D version 8 (first in litert-1), "
            "FULLY_CONNECTED version 12 (first in litert-1): "
            "choose another --quantize, or --target-runtime litert-1 or newer",
        ),
        (
            [(FULLY_CONNECTED, "", 14)],
            "expected operators that 2.14 has, got FULLY_CONNECTED version 14 "
            "(first in TensorFlow Lite 2.21.0): "
            "choose another --quantize, or a model without",
        ),
        (
            [(32, "Mine", 1)],
            "expected operators that 2.14 has, got Mine version 1 "
            "(in no released runtime that is known): "
            "choose another --quantize, or a model without",
        ),
    ],
)
def test_what_a_runtime_lacks_is_named(operators, message):
    with pytest.raises(ConversionError) as raised:
        check_runtime(iter(operators), "2.14")
    assert str(raised.value) == message


def test_an_unknown_target():
    with pytest.raises(ValueError, match=r"2\.3, .*2\.14, litert-1, litert-2, got '2\.15'"):
        check_runtime([(CONV_2D, "", 1)], "2.15")


# ---------------------------------------------------------------- what the device says


@pytest.mark.parametrize(
    "content, operator",
    [
        (lambda model: patched(model, {FULLY_CONNECTED: 77}), "version 77 of operator FULLY_"),
        (lambda model: naming(CODES["CONV_2D"], 99), "version 99 of operator CONV_2D"),
        (lambda model: naming(999, 1), "operator 999,"),
    ],
)
def test_a_file_with_an_operator_that_the_installed_runtime_lacks(data, content, operator):
    with pytest.raises(InferenceError, match=f"expected a runtime with {operator}") as raised:
        Runner(content((data / MODEL).read_bytes()))
    said = str(raised.value)
    assert "this one is too old: pip install --upgrade ai-edge-litert" in said
    assert said.endswith("convert ... --target-runtime 2.14")
    assert "\n" not in said
