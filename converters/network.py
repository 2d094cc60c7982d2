"""A network to convert: whatever it came as, one frozen TensorFlow function of one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kit.errors import ConversionError
from kit.quiet import quiet_native

if TYPE_CHECKING:
    import keras

Array = npt.NDArray[np.float32]
# What stands between an operator and the output without changing what it means.
_PASSING = (
    *("Identity", "Reshape", "Squeeze", "Cast"),
    *("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxArgs"),
)
_LINEAR = ("BiasAdd", "Add", "AddV2", "MatMul", "Conv2D", "Mean", "AvgPool", "FusedBatchNormV3")


@dataclass(frozen=True)
class Network:
    """From one image to one row of numbers, without variables.

    Attributes:
        function: TensorFlow's ConcreteFunction, `[1, height, width, channels]` to
            `[1, output_width]`.
        output_width: numbers that it returns.
        output_kind: `scores`, or `independent_scores` of a multi-label model.
    """

    function: Any
    output_width: int
    output_kind: str = "scores"

    def scores(self, inputs: Array) -> Array:
        """What TensorFlow answers, one image at a time.

        Args:
            inputs: float32 `[images, height, width, channels]`.

        Returns:
            float32 `[images, output_width]`.

        Raises ConversionError where TensorFlow lacks an operator on this processor.
        """
        import tensorflow as tf

        rows = []
        for row in inputs:
            try:
                answer = self.function(tf.constant(row[None]))
            except tf.errors.UnimplementedError as error:
                reason = next((line for line in str(error).splitlines() if "op " in line), error)
                raise ConversionError(
                    "expected a source that TensorFlow can run here, to compare the file with, got "
                    f"{reason}: channels first run on any x86 with TF_ENABLE_ONEDNN_OPTS=1 set"
                ) from error
            rows.append(np.asarray(tf.nest.flatten(answer)[0]).reshape(-1))
        return np.array(rows, np.float32).reshape(len(inputs), self.output_width)


def of_keras(
    model: keras.Model, height: int, width: int | None = None, channels: int = 3
) -> Network:
    """The model's answer for one image of this size, in the dtype that it takes.

    Args:
        model: of one input and one output.
        height: of the input, in pixels.
        width: of the input, in pixels; None: as its height.
        channels: 3, or 1 for grey.
    """
    import tensorflow as tf

    # One image, fixed: a batch of unknown size would leave shape arithmetic in the graph.
    shape = [1, height, width or height, channels]
    signature = tf.TensorSpec(shape, model.inputs[0].dtype, name="image")
    function = tf.function(lambda image: model(image, training=False))
    return _frozen(function.get_concrete_function(signature))


def of_graph(
    graph: Any, image: str, output: str, size: tuple[int, int, int]
) -> tuple[Network, str]:
    """A part of a frozen graph, from an image tensor to scores.

    Logits get a softmax. One number alone, a logit or a sigmoid's answer, becomes two scores that
    sum to 1: the second label's is the answer. Several sigmoids stay independent scores.

    Args:
        graph: tf.compat.v1.GraphDef without variables.
        image: name of the node whose output is the image, already normalised.
        output: name of the node whose output is the answer.
        size: height and width of the input in pixels, and its channels.

    Returns:
        The network and, in words, what was done to its output; empty where nothing was.

    Raises:
        ConversionError: TensorFlow does not know an operator, shapes contradict each other, or
            the output is neither scores nor logits.
    """
    import tensorflow as tf

    nodes = {node.name: node for node in graph.node}
    last, tail = _deciding_operator(nodes, output)
    widths: list[int] = []

    def call(pixels: Any) -> Any:
        answer = tf.import_graph_def(graph, {f"{image}:0": pixels}, [f"{last}:0"], name="")[0]
        if answer.shape.rank is None or not answer.shape.is_fully_defined():
            raise ConversionError(
                f"expected an output of a known size, got {answer.shape}: choose another "
                "--output-tensor"
            )
        width = answer.shape.num_elements()
        widths.append(width)
        return tail.finish(answer if answer.shape.rank == 2 else tf.reshape(answer, [1, width]))

    signature = tf.TensorSpec([1, *size], tf.float32, name="image")
    try:
        with quiet_native:
            function = tf.compat.v1.wrap_function(call, [signature])
            network = _frozen(function)
            said, kind = tail.of_one if widths[-1] == 1 else tail.of_several
            return replace(network, output_kind=kind), said
    except (ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())
        raise ConversionError(
            f"expected a graph that TensorFlow can run from {image!r} to {output!r} at "
            f"{size[0]} by {size[1]} pixels: {reason:.300}"
        ) from error


def node_of(name: str) -> str:
    """A tensor's node: `final_result:0` is `final_result`, a control input `^a` is `a`."""
    return name.split(":")[0].lstrip("^")


def _frozen(function: Any) -> Network:
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    frozen = convert_variables_to_constants_v2(function)
    return Network(frozen, int(np.prod(frozen.outputs[0].shape.as_list())))


@dataclass(frozen=True)
class _Tail:
    """What becomes of the output, and in words, with the kind of scores that it gives."""

    finish: Callable[[Any], Any]
    of_one: tuple[str, str]
    of_several: tuple[str, str]


def _deciding_operator(nodes: Mapping[str, Any], output: str) -> tuple[str, _Tail]:
    """The node to take the answer from, and what to do with it."""
    import tensorflow as tf

    def two_scores(logit: Any) -> Any:
        return tf.nn.softmax(tf.matmul(logit, tf.constant([[0.0, 1.0]])))

    def softmax(logits: Any) -> Any:
        return two_scores(logits) if logits.shape[1] == 1 else tf.nn.softmax(logits)

    def sigmoid(logits: Any) -> Any:
        return two_scores(logits) if logits.shape[1] == 1 else tf.nn.sigmoid(logits)

    name = output
    while nodes[name].op in _PASSING and nodes[name].input:
        name = node_of(nodes[name].input[0])
    op = nodes[name].op
    if op == "Softmax":
        return output, _Tail(lambda scores: scores, ("", "scores"), ("", "scores"))
    if op in ("Sigmoid", "Logistic"):
        before = node_of(nodes[name].input[0])
        of_one = "a sigmoid of one number becomes the scores of two labels", "scores"
        of_several = (
            "each label has a sigmoid of its own: it is a multi-label model, whose scores are kept "
            "and do not sum to 1",
            "independent_scores",
        )
        return before, _Tail(sigmoid, of_one, of_several)
    if op in _LINEAR:
        said = f"its output, of {op}, is logits: a softmax is added"
        single = f"its one output, of {op}, is a logit: it becomes the scores of two labels"
        return output, _Tail(softmax, (single, "scores"), (said, "scores"))
    raise ConversionError(
        f"expected scores (Softmax, Sigmoid) or logits ({', '.join(_LINEAR)}) at the end, "
        f"got {op} {name!r}: choose another --output-tensor"
    )
