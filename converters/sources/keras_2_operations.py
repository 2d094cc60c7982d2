"""Arithmetic between the layers of Keras 2 files, which Keras 3 has no layers for.

`keras.applications.mobilenet_v2.preprocess_input` inside a model, as in the official transfer
learning tutorial, becomes layers of the classes TFOpLambda and SlicingOpLambda. The file names what
they compute and carries no code, and so a layer of the kit's can compute it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from kit.errors import ConversionError

LAYERS = ("TFOpLambda", "SlicingOpLambda")
NAME = "KerasTwoOperation"
_CONSTANT = "_CONSTANT_VALUE"
_FIRST = {  # what the operations call their first argument
    "nn.bias_add": "value",
    "nn.relu": "features",
    "nn.relu6": "features",
    "nn.softmax": "logits",
    "nn.sigmoid": "x",
    "reshape": "tensor",
    "math.reduce_mean": "input_tensor",
    "__operators__.getitem": "tensor",
    "image.resize": "images",
}


def _slices(specs: Any) -> tuple[Any, ...]:
    def one(spec: Any) -> Any:
        if not isinstance(spec, dict):
            return spec
        if "start" in spec:
            return slice(spec["start"], spec["stop"], spec["step"])
        return Ellipsis if spec.get("class_name") == "__ellipsis__" else None

    return tuple(one(spec) for spec in (specs if isinstance(specs, list) else [specs]))


def _operations() -> dict[str, Callable[..., Any]]:
    """What each operation computes, by TensorFlow's name for it."""
    from keras import ops

    arithmetic: dict[str, Callable[[Any, Any], Any]] = {
        "add": lambda x, y: x + y,
        "subtract": lambda x, y: x - y,
        "multiply": lambda x, y: x * y,
        "truediv": lambda x, y: x / y,
        "divide": lambda x, y: x / y,
        "maximum": lambda x, y: ops.maximum(x, y),
        "minimum": lambda x, y: ops.minimum(x, y),
    }
    return {
        **{f"math.{name}": function for name, function in arithmetic.items()},
        **{f"__operators__.{name}": function for name, function in arithmetic.items()},
        "nn.bias_add": lambda value, bias, data_format="NHWC": value + bias,
        "nn.relu": lambda features: ops.relu(features),
        "nn.relu6": lambda features: ops.relu6(features),
        "nn.sigmoid": ops.sigmoid,
        "math.sigmoid": ops.sigmoid,
        "math.tanh": ops.tanh,
        "nn.softmax": lambda logits, axis=None: ops.softmax(logits, -1 if axis is None else axis),
        "cast": lambda x, dtype: ops.cast(x, dtype),
        "reshape": lambda tensor, shape: ops.reshape(tensor, shape),
        "math.reduce_mean": lambda input_tensor, axis=None, keepdims=False: ops.mean(
            input_tensor, axis=axis, keepdims=bool(keepdims)
        ),
        "__operators__.getitem": lambda tensor, slice_spec: tensor[_slices(slice_spec)],
        "image.resize": lambda images, size, method="bilinear": ops.image.resize(
            images, size, interpolation=method
        ),
    }


def translated(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer of a Keras 2 configuration as one that `custom_objects` has.

    Raises ConversionError for an operation that is not in the table, or one that is used in several
    places with different arguments.
    """
    config = layer["config"]
    function, name = config.get("function", ""), config["name"]
    nodes = layer.get("inbound_nodes") or []
    if function not in _operations() or len(nodes) != 1:
        raise ConversionError(
            f"expected layers that Keras 3 has, got a {layer['class_name']} of Keras 2, {name!r}: "
            f"export a SavedModel there (model.export(folder))"
        )
    tensors: list[Any] = []
    first, index, output, given = nodes[0] if isinstance(nodes[0][0], str) else nodes[0][0]
    value = output if first == _CONSTANT else [first, index, output]
    given = {key: part for key, part in given.items() if key != "name"}
    arguments = {_FIRST.get(function, "x"): value, **given}
    for key, part in arguments.items():
        if _is_tensor(part):
            arguments[key] = {"tensor": len(tensors)}
            tensors.append([*part, {}])
    config = {"name": name, "trainable": False, "dtype": config.get("dtype", "float32")}
    return {
        "class_name": NAME,
        "name": name,
        "config": {**config, "function": function, "arguments": arguments},
        "inbound_nodes": [tensors],
    }


def _is_tensor(value: Any) -> bool:
    """Whether an argument is another layer's output: its name and two numbers."""
    return (
        isinstance(value, list)
        and len(value) == 3
        and isinstance(value[0], str)
        and all(isinstance(number, int) for number in value[1:])
    )


@lru_cache(maxsize=1)
def custom_objects() -> dict[str, type]:
    """The layer that computes the operations, for Keras to load."""
    import keras

    class KerasTwoOperation(keras.layers.Layer):  # type: ignore[misc]
        """One operation; `arguments` has `{"tensor": n}` in the place of the n-th input."""

        def __init__(self, function: str, arguments: dict[str, Any], **more: Any) -> None:
            super().__init__(**more)
            self.function, self.arguments = function, arguments

        def call(self, inputs: Any) -> Any:
            tensors = inputs if isinstance(inputs, list | tuple) else [inputs]
            dtype = tensors[0].dtype
            found = {key: self._value(part, tensors, dtype) for key, part in self.arguments.items()}
            return _operations()[self.function](**found)

        def _value(self, part: Any, tensors: Any, dtype: Any) -> Any:
            if isinstance(part, dict) and "tensor" in part:
                return tensors[part["tensor"]]
            if isinstance(part, list) and all(isinstance(number, float) for number in part):
                return keras.ops.convert_to_tensor(part, dtype)
            return part

        def get_config(self) -> dict[str, Any]:
            return {
                **super().get_config(),
                "function": self.function,
                "arguments": self.arguments,
            }

    return {NAME: KerasTwoOperation}
