"""TensorFlow Lite flatbuffers as objects (schema_py_generated's `ModelT`), and back to bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from kit.errors import ConversionError

_ALIGNMENT = 16
_DTYPES = ("float32", "float16", "int32", "uint8", "int64", "", "", "int16", "", "int8")
_WEIGHTED = ("Conv2DOptionsT", "DepthwiseConv2DOptionsT", "FullyConnectedOptionsT")


def from_bytes(flatbuffer: bytes) -> Any:
    """The model as a `ModelT`; raises ConversionError where it is no TensorFlow Lite model."""
    from ai_edge_litert import schema_py_generated as schema

    try:
        return schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(flatbuffer, 0))
    except Exception as error:  # the generated reader raises whatever its offsets lead to
        raise ConversionError(f"expected a TensorFlow Lite flatbuffer: {error}") from error


def to_bytes(model: Any) -> bytes:
    """A `.tflite` file's content."""
    import flatbuffers

    class Builder(flatbuffers.Builder):  # type: ignore[misc]
        """Aligns constants as schema.fbs asks (force_align), as the generated code does not."""

        def CreateNumpyVector(self, x: Any) -> Any:  # noqa: N802
            self.Prep(_ALIGNMENT, x.nbytes)
            return super().CreateNumpyVector(x)

    builder = Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def weighted_operators(model: Any) -> list[Any]:
    """The convolutions and dense layers whose weights are constants, in the order of the file."""
    graph = model.subgraphs[0]
    return [
        operator
        for operator in graph.operators
        if type(operator.builtinOptions).__name__ in _WEIGHTED
        and model.buffers[graph.tensors[operator.inputs[1]].buffer].data is not None
    ]


def stored_values(model: Any, tensor: Any) -> npt.NDArray[Any]:
    """A constant tensor as it is stored, in its shape."""
    data = bytes(model.buffers[tensor.buffer].data)
    return np.frombuffer(data, _DTYPES[tensor.type]).reshape(tensor.shape)


def constant_values(model: Any, tensor: Any) -> npt.NDArray[np.float64]:
    """A constant tensor, dequantised."""
    values = stored_values(model, tensor).astype(np.float64)
    if tensor.quantization is None or tensor.quantization.scale is None:
        return values
    scales = np.asarray(tensor.quantization.scale, np.float64)
    shape = [1] * values.ndim
    shape[tensor.quantization.quantizedDimension] = len(scales)
    # Where the file leaves it out, it is 0.
    zeros = tensor.quantization.zeroPoint
    if zeros is not None:
        values = values - np.asarray(zeros, np.float64).reshape(shape)
    return values * scales.reshape(shape)
