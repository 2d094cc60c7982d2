"""The screening form of a .tflite file: what else its features tell, as further outputs.

`unfamiliarity`, float32 `[1, 1]`, see converters.familiarity. `activation_map`, float32
`[1, rows, columns, labels]`, the class activation map (B. Zhou et al., "Learning Deep Features for
Discriminative Localization", CVPR 2016): what each place of the last feature map adds to the logit
of each label, more than to the labels' mean where a softmax follows, which sees differences alone.

Operators are appended to the finished file, in its one graph, so that the scores stay the same to
the last bit in every quantisation; what is appended computes in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from converters.familiarity import Familiarity
from converters.model_object import constant_values, from_bytes, to_bytes
from kit.errors import ConversionError
from kit.model.spec import ACTIVATION_MAP, SCORES, UNFAMILIARITY

_FLOAT32, _FLOAT16, _INT32, _UINT8, _INT16, _INT8 = 0, 1, 2, 3, 7, 9  # TensorType in schema.fbs
_TYPES = {"float32": _FLOAT32, "float16": _FLOAT16, "int32": _INT32, "int8": _INT8}
_DEQUANTIZE_VERSIONS = {_UINT8: 1, _INT8: 2, _INT16: 3, _FLOAT16: 3}
_PASSING = ("RESHAPE", "SQUEEZE", "QUANTIZE", "DEQUANTIZE")
_ACTIVATIONS = ("SOFTMAX", "LOGISTIC")
_LINEAR = ("FULLY_CONNECTED", "CONV_2D")
_POOLING = ("MEAN", "AVERAGE_POOL_2D")
_MOST_FEATURES = 4096


def with_screening_outputs(flatbuffer: bytes, familiarity: Familiarity) -> bytes:
    """The file with unfamiliarity and, where its network allows one, an activation map.

    Args:
        flatbuffer: an image classifier with scores as its one output.
        familiarity: fitted on what `feature_probe` and `label_weights` of this file give.

    Raises ConversionError as `feature_probe`.
    """
    graph = _Graph(flatbuffer)
    head = graph.find_head()
    scores = graph.graph.outputs[0]
    graph.graph.tensors[scores].name = SCORES.encode()
    outputs = [scores, graph.append_unfamiliarity(head, familiarity)]
    if head.feature_map is not None:
        outputs.append(graph.append_activation_map(head))
    return graph.with_outputs(outputs)


def has_activation_map(flatbuffer: bytes) -> bool:
    """Whether the screening form has one: global average pooling stands before the last layer."""
    return _Graph(flatbuffer).find_head().feature_map is not None


def label_weights(flatbuffer: bytes) -> npt.NDArray[np.float64]:
    """What each feature adds to each label's logit, as the activation map shows it: float64
    `[labels, features]`.

    Raises ConversionError as `feature_probe`.
    """
    return _Graph(flatbuffer).find_head().contrast


def feature_probe(flatbuffer: bytes) -> bytes:
    """The file with the features as its one output, float32 `[1, features]`.

    Raises ConversionError where the last layer is no dense one, or sees no feature vector.
    """
    graph = _Graph(flatbuffer)
    return graph.with_outputs([graph.append_features(graph.find_head())])


def with_activation_map(flatbuffer: bytes) -> bytes:
    """The file with scores and the activation map as outputs.

    Raises ConversionError where its network allows none.
    """
    graph = _Graph(flatbuffer)
    head = graph.find_head()
    if head.feature_map is None:
        raise ConversionError(
            "expected global average pooling right before the last layer, for a heat map, "
            "this network has none"
        )
    return graph.with_outputs([graph.graph.outputs[0], graph.append_activation_map(head)])


@dataclass(frozen=True)
class _Head:
    """The last layer.

    Attributes:
        weights: float64 `[labels, features]`.
        features: index of the tensor that it sees.
        feature_map: index of what that is the mean of, `[1, rows, columns, features]`; None: of
            nothing.
        compares: whether a softmax follows.
    """

    weights: npt.NDArray[np.float64]
    features: int
    feature_map: int | None
    compares: bool

    @property
    def contrast(self) -> npt.NDArray[np.float64]:
        """The weights; where a softmax follows, which sees differences alone, less their mean."""
        return self.weights - self.weights.mean(axis=0) if self.compares else self.weights


class _Graph:
    """A model whose one graph is read backwards from its output, and grows."""

    def __init__(self, flatbuffer: bytes) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self._schema = schema
        self._model = from_bytes(flatbuffer)
        self.graph = self._model.subgraphs[0]
        self._makers = {int(o): op for op in self.graph.operators for o in op.outputs}
        codes = vars(schema.BuiltinOperator).items()
        self._names = {value: name for name, value in codes if isinstance(value, int)}
        self._contents: dict[bytes, int] = {}  # of constants that were added

    # ------------------------------------------------------------ reading

    def find_head(self) -> _Head:
        tensor, passed = self._before(int(self.graph.outputs[0]), (*_PASSING, *_ACTIVATIONS))
        weights: npt.NDArray[np.float64] | None = None
        while (layer := self._linear(tensor)) is not None:  # two in a row are one
            own = self._constant(int(layer.inputs[1]))
            own = own.reshape(len(own), -1)
            weights = own if weights is None else weights @ own
            tensor, _ = self._before(int(layer.inputs[0]), _PASSING)
        if weights is None:
            raise ConversionError(
                "expected a dense last layer, for a screening model, "
                f"got {self._name_of(tensor) or 'none'}: train with a backbone of the kit"
            )
        width = weights.shape[1]
        if width > _MOST_FEATURES or self._size(tensor) != width:
            raise ConversionError(
                f"expected a last layer on a vector of at most {_MOST_FEATURES} features, for a "
                f"screening model, got {self._size(tensor)}: take a network with global average "
                "pooling"
            )
        return _Head(weights, tensor, self._feature_map(tensor), "SOFTMAX" in passed)

    def _before(self, tensor: int, names: tuple[str, ...]) -> tuple[int, list[str]]:
        """Back over operators of these names: the tensor before the first other, and the names."""
        passed = []
        while (name := self._name_of(tensor)) in names:
            passed.append(name)
            tensor = int(self._makers[tensor].inputs[0])
        return tensor, passed

    def _linear(self, tensor: int) -> Any:
        """The operator behind a tensor if it is a dense layer without an activation."""
        if self._name_of(tensor) not in _LINEAR:
            return None
        layer = self._makers[tensor]
        rows_and_columns = self.graph.tensors[layer.inputs[0]].shape[1:-1]
        single = all(length == 1 for length in rows_and_columns)
        plain = layer.builtinOptions.fusedActivationFunction == 0
        return layer if single and plain else None

    def _feature_map(self, tensor: int) -> int | None:
        if self._name_of(tensor) not in _POOLING:
            return None
        source = int(self._makers[tensor].inputs[0])
        shape = list(self.graph.tensors[source].shape)
        # A mean of all places has one value for each channel.
        return source if len(shape) == 4 and self._size(tensor) == shape[3] else None

    def _name_of(self, tensor: int) -> str:
        """Name of the operator that makes it; empty for inputs and constants."""
        maker = self._makers.get(tensor)
        if maker is None:
            return ""
        code = self._model.operatorCodes[maker.opcodeIndex]
        return str(self._names[max(code.builtinCode, code.deprecatedBuiltinCode)])

    def _size(self, tensor: int) -> int:
        return int(np.prod(self.graph.tensors[tensor].shape))

    def _constant(self, tensor: int) -> npt.NDArray[np.float64]:
        if self._name_of(tensor) == "DEQUANTIZE":  # float16 files store them so
            tensor = int(self._makers[tensor].inputs[0])
        return constant_values(self._model, self.graph.tensors[tensor])

    # ------------------------------------------------------------ growing

    def append_features(self, head: _Head) -> int:
        features = self._as_float(head.features)
        shape = [1, self._size(head.features)]
        if list(self.graph.tensors[features].shape) == shape:
            return features
        options = self._schema.ReshapeOptionsT()
        options.newShape = shape
        wanted = self._stored("feature_shape", np.array(shape, np.int32))
        return self._append("RESHAPE", [features, wanted], shape, options)

    def append_unfamiliarity(self, head: _Head, familiarity: Familiarity) -> int:
        features = self.append_features(head)
        schema = self._schema
        shape = list(self.graph.tensors[features].shape)
        unit = self._append("L2_NORMALIZATION", [features], shape, schema.L2NormOptionsT())
        scale, offset = (
            self._stored(name, values.astype(np.float32))
            for name, values in (("scale", familiarity.scale), ("offset", familiarity.offset))
        )
        scaled = self._append("MUL", [unit, scale], shape, schema.MulOptionsT())
        values = self._append("SUB", [scaled, offset], shape, schema.SubOptionsT())
        directions = self._compact("directions", familiarity.directions)
        inside = self._dense(values, directions)
        axis = self._stored("feature_axis", np.array([1], np.int32))
        whole, part = (self._sum_of_squares(tensor, axis) for tensor in (values, inside))
        distance = self._difference(whole, part)
        centres = self._as_float(
            self._stored("centres", familiarity.centres, familiarity.centre_step)
        )
        lengths = self._stored("lengths", -familiarity.lengths.astype(np.float32))
        nearnesses = self._dense(unit, centres, lengths)
        nearest = self._reduced("REDUCE_MAX", nearnesses, axis)
        nearness = self._stored("nearness", np.array([[familiarity.nearness]], np.float32))
        away = self._difference(nearness, nearest)
        both = self._append("MUL", [distance, away], [1, 1], schema.MulOptionsT())
        root = self._append("SQRT", [both], [1, 1])
        if familiarity.weights is None:
            return self._append("SQRT", [root], [1, 1], name=UNFAMILIARITY)
        distance = self._append("SQRT", [root], [1, 1])
        found = self._dense(unit, self._compact("label_weights", familiarity.weights))
        best = self._reduced("REDUCE_MAX", found, axis)
        evidence, sharpness = (
            self._stored(name, np.array([[value]], np.float32))
            for name, value in (
                ("evidence", familiarity.evidence),
                ("sharpness", familiarity.sharpness),
            )
        )
        less = self._append("SUB", [evidence, best], [1, 1], schema.SubOptionsT())
        power = self._append("MUL", [less, sharpness], [1, 1], schema.MulOptionsT())
        factor = self._append("EXP", [power], [1, 1], schema.ExpOptionsT())
        return self._append("MUL", [distance, factor], [1, 1], schema.MulOptionsT(), UNFAMILIARITY)

    def append_activation_map(self, head: _Head) -> int:
        assert head.feature_map is not None
        weights = head.contrast
        options = self._schema.Conv2DOptionsT()
        options.padding = self._schema.Padding.VALID
        options.strideH = options.strideW = 1
        options.dilationHFactor = options.dilationWFactor = 1
        kernel = self._compact("map_weights", weights[:, None, None, :])
        bias = self._stored("map_bias", np.zeros(len(weights), np.float32))
        places = list(self.graph.tensors[head.feature_map].shape[:3])
        return self._append(
            "CONV_2D",
            [self._as_float(head.feature_map), kernel, bias],
            [*places, len(weights)],
            options,
            ACTIVATION_MAP,
        )

    def _dense(self, vector: int, weights: int, bias: int = -1) -> int:
        """`weights @ vector + bias`; -1: no bias."""
        rows = int(self.graph.tensors[weights].shape[0])
        options = self._schema.FullyConnectedOptionsT()
        return self._append("FULLY_CONNECTED", [vector, weights, bias], [1, rows], options)

    def _sum_of_squares(self, tensor: int, axis: int) -> int:
        shape = list(self.graph.tensors[tensor].shape)
        squares = self._append("SQUARE", [tensor], shape, self._schema.SquareOptionsT())
        return self._reduced("SUM", squares, axis)

    def _reduced(self, code: str, tensor: int, axis: int) -> int:
        options = self._schema.ReducerOptionsT()
        options.keepDims = True
        return self._append(code, [tensor, axis], [1, 1], options)

    def _difference(self, one: int, other: int) -> int:
        """0 where it is negative by rounding: no root of that."""
        difference = self._append("SUB", [one, other], [1, 1], self._schema.SubOptionsT())
        return self._append("RELU", [difference], [1, 1])

    def _as_float(self, tensor: int) -> int:
        kind = self.graph.tensors[tensor].type
        if kind == _FLOAT32:
            return tensor
        shape = list(self.graph.tensors[tensor].shape)
        options = self._schema.DequantizeOptionsT()
        version = _DEQUANTIZE_VERSIONS[kind]
        return self._append("DEQUANTIZE", [tensor], shape, options, version=version)

    def _compact(self, name: str, values: npt.NDArray[np.float64]) -> int:
        """A constant of 2 bytes a value, as float32."""
        return self._as_float(self._stored(name, values.astype(np.float16)))

    def _stored(self, name: str, values: npt.NDArray[Any], step: float | None = None) -> int:
        """A constant; integers with a step stand for that many times the step."""
        content = values.tobytes()
        if content not in self._contents:  # unfamiliarity and the map need the same weights
            buffer = self._schema.BufferT()
            buffer.data = np.frombuffer(content, np.uint8)
            self._model.buffers.append(buffer)
            self._contents[content] = len(self._model.buffers) - 1
        kind = _TYPES[values.dtype.name]
        index = self._tensor(name, values.shape, kind, self._contents[content])
        if step is not None:
            quantization = self._schema.QuantizationParametersT()
            quantization.scale = np.array([step], np.float32)
            quantization.zeroPoint = np.array([0], np.int64)
            self.graph.tensors[index].quantization = quantization
        return index

    def _tensor(self, name: str, shape: Any, kind: int, buffer: int = 0) -> int:
        tensor = self._schema.TensorT()
        tensor.name, tensor.type, tensor.buffer = name.encode(), kind, buffer
        tensor.shape = np.array(shape, np.int32)
        tensor.hasRank = True
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _append(
        self,
        code: str,
        inputs: list[int],
        shape: list[int],
        options: Any = None,
        name: str = "",
        version: int = 1,
    ) -> int:
        """One more operator; the index of the float32 tensor that it makes."""
        schema = self._schema
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(getattr(schema.BuiltinOperator, code), version)
        operator.inputs = np.array(inputs, np.int32)
        output = self._tensor(name or f"screening/{code.lower()}", shape, _FLOAT32)
        operator.outputs = np.array([output], np.int32)
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            operator.builtinOptions = options
        self.graph.operators.append(operator)
        return output

    def _code(self, builtin: int, version: int) -> int:
        codes = self._model.operatorCodes
        for index, code in enumerate(codes):
            known = max(code.builtinCode, code.deprecatedBuiltinCode)
            if (known, code.version) == (builtin, version) and not code.customCode:
                return index
        code = self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = builtin
        code.version = version
        codes.append(code)
        return len(codes) - 1

    def with_outputs(self, outputs: list[int]) -> bytes:
        self.graph.outputs = np.array(outputs, np.int32)
        # A signature of the old outputs would contradict the graph.
        self._model.signatureDefs = None
        return to_bytes(self._model)
