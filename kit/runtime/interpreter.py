"""The one place that knows the interpreter packages."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.choices import INTERPRETERS
from kit.errors import InferenceError, MissingDependencyError, ModelFileError
from kit.model.preprocess import dequantize
from kit.model.spec import ACTIVATION_MAP, UNFAMILIARITY, QuantizationParameters
from kit.quiet import quiet_native

if TYPE_CHECKING:
    import numpy.typing as npt


INPUT_DTYPES = ("float32", "uint8", "int8")
OUTPUT_DTYPES = ("float32", "uint8", "int8", "int16")
INTERPRETER_VARIABLE = "KIT_INTERPRETER"
"""Environment variable that names the one interpreter to use."""


def interpreter_name() -> str:
    """The package whose interpreter is used: one of INTERPRETERS; raises as `Runner`."""
    return _interpreter_class().__module__.partition(".")[0]


def _interpreter_class() -> Callable[..., Any]:
    """ai_edge_litert's Interpreter, else tflite_runtime's, or the one that KIT_INTERPRETER names.

    Where both are installed the newer one is taken: on x86 it runs int8 models ten times faster,
    and tflite_runtime fails in a process that has loaded TensorFlow.

    Raises MissingDependencyError with the line that installs one, ValueError for a name that is
    none.
    """
    asked = os.environ.get(INTERPRETER_VARIABLE, "")
    if asked not in ("", *INTERPRETERS):
        raise ValueError(
            f"expected {INTERPRETER_VARIABLE} to be one of {', '.join(INTERPRETERS)}, got {asked!r}"
        )
    if asked in ("", "ai_edge_litert"):
        try:
            from ai_edge_litert.interpreter import Interpreter

            return Interpreter  # type: ignore[no-any-return]
        except ImportError as error:
            if asked:
                raise MissingDependencyError(
                    f"expected ai_edge_litert, as {INTERPRETER_VARIABLE} says, found none: "
                    "pip install ai-edge-litert"
                ) from error
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError as error:
        raise MissingDependencyError(
            "expected a TensorFlow Lite interpreter, found none: pip install ai-edge-litert "
            "(on 32-bit ARM: pip install tflite-runtime 'numpy<2')"
        ) from error
    if int(np.__version__.split(".")[0]) >= 2:
        # tflite-runtime 2.14.0 imports beside numpy 2, then crashes when an Interpreter is built.
        raise MissingDependencyError(
            f"expected numpy below 2 beside tflite-runtime, found {np.__version__}: "
            "pip install 'numpy<2', or pip install ai-edge-litert"
        )
    return Interpreter  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Tensor:
    """An input or output of a model.

    Attributes:
        shape: with the batch axis.
        dtype: numpy's name.
        quantization: None for one that is not quantised.
    """

    shape: tuple[int, ...]
    dtype: str
    quantization: QuantizationParameters | None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "shape": list(self.shape)}


class Runner:
    """One interpreter with one RGB image as input and one row of numbers as output.

    A screening model has further outputs, which `further` reads.

    Not for two threads at once; one for each thread is cheap, the weights are mapped.

    Attributes:
        input: `[1, side, side, 3]` of float32, uint8 or int8.
        output: a row of float32, uint8, int8 or int16.
        input_resolution: side of the square input, in pixels.
        output_width: how many numbers `run` returns.
        further_outputs: names of those besides the row, in kit.model.spec; none of a plain file.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        num_threads: int = 1,
        batch: int = 1,
        plain_kernels: bool = False,
    ) -> None:
        """Builds the interpreter.

        Args:
            model: a path, or a file's content.
            num_threads: number of threads that one inference may use.
            batch: images in one inference.
            plain_kernels: leave out XNNPACK, as a runtime does that was built without it.

        Raises:
            ModelFileError: its input is no RGB image, or its output no row of numbers.
            InferenceError: the interpreter refuses the model.
            MissingDependencyError: there is no interpreter package.
        """
        interpreter_class = _interpreter_class()
        source = (
            {"model_content": model} if isinstance(model, bytes) else {"model_path": str(model)}
        )
        options: dict[str, Any] = {"num_threads": num_threads, **source}
        if plain_kernels:
            resolvers = sys.modules[interpreter_class.__module__].OpResolverType
            options["experimental_op_resolver_type"] = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            with quiet_native:
                self._interpreter = interpreter_class(**options)
                self._interpreter.allocate_tensors()
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        except (ValueError, RuntimeError, MemoryError) as error:
            raise InferenceError(_explain(error)) from error
        further = {output["name"]: output["index"] for output in outputs[1:]}
        if len(inputs) != 1 or not outputs or further.keys() - {UNFAMILIARITY, ACTIVATION_MAP}:
            raise ModelFileError(
                "expected an image classifier with one input and one output, "
                f"got {len(inputs)} and {len(outputs)}"
            )
        self.input, self.output = _tensor(inputs[0]), _tensor(outputs[0])
        shape = self.input.shape
        if len(shape) != 4 or shape[0] != 1 or shape[1] != shape[2] or shape[3] != 3:
            raise ModelFileError(
                "expected an image classifier, its input [1, side, side, 3] in RGB, "
                f"got an input of {list(shape)}"
            )
        if any(length < 0 for length in inputs[0].get("shape_signature", ())[1:]):
            raise ModelFileError(
                "expected an input of a fixed size, got one that is left open: "
                "convert the model again with its height and width"
            )
        if self.input.dtype not in INPUT_DTYPES or self.output.dtype not in OUTPUT_DTYPES:
            raise ModelFileError(
                f"expected input of {', '.join(INPUT_DTYPES)} and output of "
                f"{', '.join(OUTPUT_DTYPES)}, got {self.input.dtype} and {self.output.dtype}"
            )
        self.input_resolution = shape[1]
        self.output_width = int(np.prod(self.output.shape))
        self._input_index, self._output_index = inputs[0]["index"], outputs[0]["index"]
        self._further = further
        self.further_outputs = tuple(further)
        self._batch = batch
        if batch > 1:
            self._interpreter.resize_tensor_input(self._input_index, [batch, *shape[1:]])
            self._interpreter.allocate_tensors()

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """One inference.

        Args:
            tensor: `[input_resolution, input_resolution, 3]` of the input's dtype.

        Returns:
            float32 `[output_width]`, dequantised.

        Raises:
            InferenceError: the model fails when it runs.
        """
        row: npt.NDArray[np.float32] = self.run_batch(tensor[None])[0]
        return row

    def run_batch(self, tensors: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """One inference of `batch` images.

        Args:
            tensors: `[batch, input_resolution, input_resolution, 3]` of the input's dtype.

        Returns:
            float32 `[batch, output_width]`, dequantised.

        Raises:
            InferenceError: the model fails when it runs.
        """
        try:
            self._interpreter.set_tensor(self._input_index, tensors)
            self._interpreter.invoke()
            values = self._interpreter.get_tensor(self._output_index).reshape(self._batch, -1)
        except (ValueError, RuntimeError) as error:
            raise InferenceError(_explain(error)) from error
        if self.output.quantization is not None:
            return dequantize(values, self.output.quantization)
        return np.asarray(values, np.float32).copy()

    def further(self, name: str) -> npt.NDArray[np.float32]:
        """What the last inference gave besides the row: one of `further_outputs`, float32."""
        return np.array(self._interpreter.get_tensor(self._further[name]), np.float32)


def _tensor(detail: dict[str, Any]) -> Tensor:
    scale, zero_point = detail["quantization"]
    return Tensor(
        shape=tuple(int(length) for length in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        quantization=QuantizationParameters(float(scale), int(zero_point)) if scale else None,
    )


def _explain(error: Exception) -> str:
    reason = " ".join(str(error).split())
    if "custom op" in reason.lower():
        return (
            "expected a model of TensorFlow Lite's own operators, it has a custom one: convert it "
            f"again without ({reason})"
        )
    missing = re.search(
        r"find op for builtin opcode '(\w+)' version '(\d+)'|builtin_code out of range: (\d+)",
        reason,
    )
    if missing:
        name, version, code = missing.groups()
        operator = f"operator {code}" if code else f"version {version} of operator {name}"
        return (
            f"expected a runtime with {operator}, this one is too old: pip install --upgrade "
            "ai-edge-litert, or convert the model again with kit convert ... --target-runtime 2.14"
        )
    return f"expected a model that the interpreter can run, it fails: {reason}"


class RunnerPool:
    """Interpreters of one file for several threads: made when they are needed, kept for the next.

    Args:
        make: one more of them.
    """

    def __init__(self, make: Callable[[], Runner]) -> None:
        self._make = make
        self._idle: list[Runner] = []

    @contextmanager
    def borrowed(self) -> Iterator[Runner]:
        """One for the caller alone; not kept where the caller fails."""
        try:
            runner = self._idle.pop()
        except IndexError:
            runner = self._make()
        yield runner
        self._idle.append(runner)

    def clear(self) -> None:
        """Frees those that nobody uses."""
        self._idle.clear()
