"""What Keras 2 wrote of a model, as Keras 3 reads it.

A function of TensorFlow's that was called between layers, such as what
`keras.applications.mobilenet_v2.preprocess_input` calls, is a TFOpLambda or a SlicingOpLambda in
a file of Keras 2. Keras 3 has neither. The functions named here become layers of this module, which
call the same functions again; the file brings their numbers, and no code.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterator
from typing import Any

OPERATIONS = ("TFOpLambda", "SlicingOpLambda")
"""Classes of Keras 2 for functions of TensorFlow."""
_SLICE = "__operators__.getitem"
_FUNCTIONS = {  # where they are in TensorFlow, by what files call them
    **{
        f"{group}{name}": f"math.{name}"
        for group in ("math.", "__operators__.")
        for name in ("add", "subtract", "multiply", "divide", "truediv", "negative")
    },
    "math.maximum": "math.maximum",
    "math.minimum": "math.minimum",
    "math.reduce_mean": "math.reduce_mean",
    "math.sigmoid": "math.sigmoid",
    "__operators__.sub": "math.subtract",
    "__operators__.mul": "math.multiply",
    "__operators__.neg": "math.negative",
    "nn.bias_add": "nn.bias_add",
    "nn.relu": "nn.relu",
    "nn.relu6": "nn.relu6",
    "nn.sigmoid": "nn.sigmoid",
    "nn.softmax": "nn.softmax",
    "cast": "cast",
    "clip_by_value": "clip_by_value",
    "reshape": "reshape",
}
_CONSTANT = "_CONSTANT_VALUE"  # in place of a layer's name: the number itself comes third
_DROPPED = ("module", "registered_name", "build_config")


def modernized(value: Any) -> Any:
    """A configuration of Keras 2 without what Keras 3 refuses.

    That is functions of TensorFlow, `groups` of depthwise convolutions (Teachable Machine's files
    have it) and the modules that Keras 2.13 to 2.15 named. A function that is not known here stays
    what it is.
    """
    if isinstance(value, list):
        return [modernized(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") in OPERATIONS:
        return _layer_of(value) or value
    parts = {name: modernized(part) for name, part in value.items()}
    if "class_name" in parts:
        for name in _DROPPED:
            parts.pop(name, None)
        layer = parts.get("config")
        if isinstance(layer, dict) and parts["class_name"] == "DepthwiseConv2D":
            parts["config"] = {key: v for key, v in layer.items() if (key, v) != ("groups", 1)}
    if "input_layers" in parts and isinstance(parts.get("layers"), list):
        _renumber(parts)
    for name in ("input_layers", "output_layers"):
        # A list of one would make the model return a list of one, which Sequential trips over.
        if isinstance(parts.get(name), list) and len(parts[name]) == 1:
            parts[name] = parts[name][0]
    return parts


def _renumber(model: dict[str, Any]) -> None:
    """Counts calls of models inside a model from 0, where Keras 2 counted from 1.

    To Keras 2, a model with an input of its own had been called once when it was made. Keras 3
    itself still allows for that in `output_layers`, but for functional models alone.
    """
    layers = [layer for layer in model["layers"] if isinstance(layer, dict)]
    inner = {str(layer.get("name")): layer["class_name"] for layer in layers if _has_input(layer)}
    calls = [call for layer in layers for call in _calls(layer.get("inbound_nodes"))]
    ends = [end for end in _calls(model.get("output_layers")) if inner.get(end[0]) == "Sequential"]
    # Keras 3 writes objects in place of these lists, and counts from 0.
    for call in (*calls, *ends) if calls else ():
        if call[0] in inner:
            call[1] -= 1


def _calls(value: Any) -> Iterator[list[Any]]:
    """Every `[name of a layer, number of its call, number of its output, ...]`."""
    if not isinstance(value, list):
        return
    if len(value) >= 3 and isinstance(value[0], str) and isinstance(value[1], int):
        yield value
    else:
        for part in value:
            yield from _calls(part)


def _has_input(layer: dict[str, Any]) -> bool:
    """Whether a layer is a model that knows its input."""
    if layer.get("class_name") in ("Functional", "Model"):
        return True
    if layer.get("class_name") != "Sequential":
        return False
    config = layer.get("config")
    inside = config.get("layers") if isinstance(config, dict) else None
    first = inside[0] if isinstance(inside, list) and inside else None
    return isinstance(first, dict) and first.get("class_name") == "InputLayer"


def _layer_of(operation: dict[str, Any]) -> dict[str, Any] | None:
    """The layer that does what an operation did; None where it is not known how."""
    try:
        name, (node,) = operation["config"]["name"], operation["inbound_nodes"]
        function = operation["config"]["function"]
        origin, index, third, arguments = node
        first: list[Any] = [origin, index, third]
        named = {key: v for key, v in arguments.items() if key != "name"}
        if function == _SLICE:
            named = {"slices": list(map(_slice, named.pop("slice_spec"))), **named}
        elif function not in _FUNCTIONS:
            return None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    tensors = {key: v for key, v in named.items() if _is_tensor(v)}
    constants = {key: v for key, v in named.items() if key not in tensors}
    if origin == _CONSTANT:
        constants[""] = third
    else:
        tensors = {"": first, **tensors}
    return {
        "class_name": "TensorFlowFunction",
        "name": name,
        "config": {
            "name": name,
            "function": function,
            "constants": constants,
            "tensors": list(tensors),
        },
        "inbound_nodes": [[[*tensor, {}] for tensor in tensors.values()]],
    }


def _is_tensor(value: Any) -> bool:
    """Whether an argument is a layer's output: its name, and which call and output of it."""
    return isinstance(value, list) and len(value) == 3 and isinstance(value[0], str)


def _slice(part: Any) -> Any:
    """A part of an index, as JSON has it, for `_index`; raises ValueError for another."""
    if isinstance(part, int) and not isinstance(part, bool):
        return part
    if part.get("class_name") == "__ellipsis__":
        return "..."
    ends = [part["start"], part["stop"], part["step"]]
    if not all(end is None or isinstance(end, int) for end in ends):
        raise ValueError(f"expected a slice of whole numbers, got {ends}")
    return ends


def _index(part: Any) -> Any:
    if isinstance(part, list):
        return slice(*part)
    return ... if part == "..." else part


def _sliced(tensor: Any, slices: list[Any]) -> Any:
    return tensor[tuple(map(_index, slices))]


def _function(name: str) -> Callable[..., Any]:
    import tensorflow as tf

    if name == _SLICE:
        return _sliced
    return operator.attrgetter(_FUNCTIONS[name])(tf)  # type: ignore[no-any-return]


@functools.cache
def layers() -> dict[str, Any]:
    """The classes that a `modernized` configuration names beside Keras' own."""
    import keras

    class TensorFlowFunction(keras.layers.Layer):  # type: ignore[misc]
        """A function of TensorFlow's, of tensors and constants.

        Args:
            function: its name in the file.
            constants: arguments that are no tensors; "" is the first one.
            tensors: names of the arguments that are, in the order in which they come.
        """

        def __init__(
            self, function: str, constants: dict[str, Any], tensors: list[str], **options: Any
        ) -> None:
            super().__init__(autocast=False, **options)
            self._made_of = {"function": function, "constants": constants, "tensors": tensors}
            self._calls, self._constants, self._names = _function(function), constants, tensors

        def call(self, inputs: Any) -> Any:
            values = inputs if len(self._names) > 1 else [inputs]
            arguments = {**self._constants, **dict(zip(self._names, values, strict=True))}
            return self._calls(arguments.pop(""), **arguments)

        def get_config(self) -> dict[str, Any]:
            return {**super().get_config(), **self._made_of}

    return {"TensorFlowFunction": TensorFlowFunction}
