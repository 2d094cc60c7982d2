"""The one place that knows the interpreter packages."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
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


@dataclass(frozen=True)
class ImageShape:
    """What kind of image an input takes.

    Attributes:
        height: in pixels; 0 where the model leaves it open.
        width: in pixels; 0 where the model leaves it open.
        channels: 3 for RGB, 1 for grey.
        layout: one of kit.model.spec.LAYOUTS.
    """

    height: int
    width: int
    channels: int
    layout: str

    @classmethod
    def of(cls, shape: Sequence[int], signature: Sequence[int]) -> ImageShape:
        """From an input's shape and the same with -1 for lengths that are left open.

        Raises ModelFileError where it is no image.
        """
        known = [
            -1 if open_ < 0 else length for length, open_ in zip(shape, signature, strict=True)
        ]
        if len(known) == 4 and known[3] in (1, 3):
            (height, width), channels, layout = known[1:3], known[3], "NHWC"
        elif len(known) == 4 and known[1] in (1, 3):
            (height, width), channels, layout = known[2:4], known[1], "NCHW"
        else:
            raise ModelFileError(
                "expected an image classifier, its input [1, height, width, 3] in RGB (or 1 for "
                f"grey), or with these channels first, got an input of {list(shape)}"
            )
        return cls(max(height, 0), max(width, 0), channels, layout)

    def is_open(self) -> bool:
        return not (self.height and self.width)

    def dimensions(self, batch: int) -> list[int]:
        """The shape of a tensor of so many images."""
        size = [self.height, self.width]
        if self.layout == "NHWC":
            return [batch, *size, self.channels]
        return [batch, self.channels, *size]


class Runner:
    """One interpreter with one image as input and one row of numbers as output.

    A screening model has further outputs, which `further` reads. Of another model with several
    outputs one is chosen.

    Not for two threads at once; one for each thread is cheap, the weights are mapped.

    Attributes:
        input: one image of float32, uint8 or int8.
        image: its height, width, channels and layout.
        output: a row of float32, uint8, int8 or int16.
        output_index: of the row's tensor in the file.
        output_width: how many numbers `run` returns.
        further_outputs: names of those besides the row, in kit.model.spec; none of a plain file.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes,
        num_threads: int = 1,
        batch: int = 1,
        plain_kernels: bool = False,
        size: tuple[int, int] | None = None,
        output_tensor: str | None = None,
    ) -> None:
        """Builds the interpreter.

        Args:
            model: a path, or a file's content.
            num_threads: number of threads that one inference may use.
            batch: images in one inference.
            plain_kernels: leave out XNNPACK, as a runtime does that was built without it.
            size: height and width in pixels, for a model that leaves them open.
            output_tensor: name of the row, for a model with several outputs.

        Raises:
            ModelFileError: its input is no image, its output no row of numbers, or it leaves open
                what was not given either.
            InferenceError: the interpreter refuses the model.
            MissingDependencyError: there is no interpreter package.
        """
        _interpreter_class()  # its errors are not the model's
        self._make = partial(_interpreter, _source(model), num_threads, plain_kernels)
        with _explained():
            self._interpreter = self._make()
            inputs = self._interpreter.get_input_details()
            outputs = self._interpreter.get_output_details()
        if len(inputs) != 1 or not outputs:
            raise ModelFileError(
                "expected an image classifier with one input and one output, "
                f"got {len(inputs)} and {len(outputs)}"
            )
        (detail,) = inputs
        self._input_index = detail["index"]
        shape = [int(length) for length in detail["shape"]]
        signature = detail.get("shape_signature", shape)
        try:
            image = ImageShape.of(shape, signature if len(signature) == len(shape) else shape)
        except ModelFileError:
            with _explained():  # what is wrong with its operators comes first
                self._interpreter.allocate_tensors()
            raise
        self.image = _sized(image, size)
        further = {output["name"]: output["index"] for output in outputs[1:]}
        self._further = {} if further.keys() - {UNFAMILIARITY, ACTIVATION_MAP} else further
        self.further_outputs = tuple(self._further)
        chosen = 0
        if output_tensor is not None or (len(outputs) > 1 and not self._further):
            chosen = _chosen(outputs, _signature_names(self._interpreter), output_tensor)
        self._allocate(shape, batch, chosen)
        self.input = _tensor(self._interpreter.get_input_details()[0])
        self.output = _tensor(self._interpreter.get_output_details()[chosen])
        self.output_index = int(outputs[chosen]["index"])
        if self.input.dtype not in INPUT_DTYPES or self.output.dtype not in OUTPUT_DTYPES:
            raise ModelFileError(
                f"expected input of {', '.join(INPUT_DTYPES)} and output of "
                f"{', '.join(OUTPUT_DTYPES)}, got {self.input.dtype} and {self.output.dtype}"
            )
        self.output_width = int(np.prod(self.output.shape)) // self._images

    def _allocate(self, shape: Sequence[int], batch: int, chosen: int) -> None:
        """Gives the tensors their memory, for `batch` images.

        A graph may be written for a batch of another size. It is made smaller if its operators let
        it; else the images are run in a batch of that size, the rest of which stands idle.
        """
        self._batch = self._images = batch
        wanted = self.image.dimensions(batch)
        try:
            with _explained():
                if shape != wanted:
                    self._interpreter.resize_tensor_input(self._input_index, wanted)
                self._interpreter.allocate_tensors()
            output = self._interpreter.get_output_details()[chosen]["shape"]
            if shape[0] in (1, batch) or int(output[0]) == batch:
                return
        except InferenceError:
            if shape[0] in (1, batch) or batch > shape[0]:
                raise
        self._images = shape[0]
        with _explained():
            self._interpreter = self._make()
            self._interpreter.allocate_tensors()

    def tensor_shapes(self) -> dict[int, list[int]]:
        """The shape of every tensor by its number in the file, for the input as it is.

        What delegates fuse stays as the file has it, so build the Runner with `plain_kernels`.
        """
        return {
            int(detail["index"]): [int(length) for length in detail["shape"]]
            for detail in self._interpreter.get_tensor_details()
        }

    def run(self, tensor: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """One inference.

        Args:
            tensor: one image as kit.model.preprocess.to_input gives it.

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
            tensors: such images, `[batch, ...]`.

        Returns:
            float32 `[batch, output_width]`, dequantised.

        Raises:
            InferenceError: the model fails when it runs.
        """
        if self._images > self._batch:  # the rest of the batch stands idle
            tensors = np.concatenate(
                [tensors, np.repeat(tensors[:1], self._images - self._batch, 0)]
            )
        try:
            self._interpreter.set_tensor(self._input_index, tensors)
            self._interpreter.invoke()
            values = self._interpreter.get_tensor(self.output_index).reshape(self._images, -1)
            values = values[: self._batch]
        except (ValueError, RuntimeError) as error:
            raise InferenceError(_explain(error)) from error
        if self.output.quantization is not None:
            return dequantize(values, self.output.quantization)
        return np.asarray(values, np.float32).copy()

    def further(self, name: str) -> npt.NDArray[np.float32]:
        """What the last inference gave besides the row: one of `further_outputs`, float32."""
        return np.array(self._interpreter.get_tensor(self._further[name]), np.float32)


def _source(model: str | os.PathLike[str] | bytes) -> dict[str, Any]:
    """As the interpreters take it: a path that is no UTF-8 they refuse."""
    if isinstance(model, bytes):
        return {"model_content": model}
    path = os.fspath(model)
    try:
        path.encode()
    except UnicodeEncodeError:
        with open(path, "rb") as file:
            return {"model_content": file.read()}
    return {"model_path": path}


def _interpreter(source: dict[str, Any], num_threads: int, plain_kernels: bool) -> Any:
    interpreter_class = _interpreter_class()
    options: dict[str, Any] = {"num_threads": num_threads, **source}
    if plain_kernels:
        resolvers = sys.modules[interpreter_class.__module__].OpResolverType
        options["experimental_op_resolver_type"] = resolvers.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    return interpreter_class(**options)


def _sized(image: ImageShape, size: tuple[int, int] | None) -> ImageShape:
    """With the given height and width, where the model leaves them open."""
    if not image.is_open():
        return image
    if size is None:
        raise ModelFileError(
            "expected an input of a fixed size, got one that is left open: give --input-resolution"
        )
    return replace(image, height=image.height or size[0], width=image.width or size[1])


def _signature_names(interpreter: Any) -> dict[int, str]:
    """What the model's signatures call its tensors, by their number."""
    names: dict[int, str] = {}
    for key in interpreter.get_signature_list():
        details = interpreter.get_signature_runner(key).get_output_details()
        names |= {int(detail["index"]): name for name, detail in details.items()}
    return names


def _chosen(outputs: Sequence[dict[str, Any]], aliases: Mapping[int, str], name: str | None) -> int:
    """The position of the output with this name, or of this number."""
    names = [aliases.get(int(output["index"]), output["name"]) for output in outputs]
    own = [output["name"] for output in outputs]
    listed = ", ".join(
        f"{name} {[int(n) for n in output['shape']]}"
        for name, output in zip(names, outputs, strict=True)
    )
    if name is None:
        raise ModelFileError(
            f"expected one output, got {len(outputs)}: {listed}: choose one with --output-tensor"
        )
    for known in (names, own):
        if name in known:
            return known.index(name)
    if name.isdecimal() and int(name) < len(names):
        return int(name)
    raise ModelFileError(f"expected --output-tensor to be one of {listed}, got {name!r}")


def _tensor(detail: dict[str, Any]) -> Tensor:
    scale, zero_point = detail["quantization"]
    return Tensor(
        shape=tuple(int(length) for length in detail["shape"]),
        dtype=np.dtype(detail["dtype"]).name,
        quantization=QuantizationParameters(float(scale), int(zero_point)) if scale else None,
    )


@contextmanager
def _explained() -> Iterator[None]:
    """Silence, and an InferenceError in place of what interpreters raise."""
    try:
        with quiet_native:
            yield
    except (ValueError, RuntimeError, MemoryError) as error:
        raise InferenceError(_explain(error)) from error


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
