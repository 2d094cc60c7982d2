"""Which layers of a backbone learn, and where it is cut before the first of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kit.training.backbones import FIXED_SCALING

if TYPE_CHECKING:
    import keras

ALL = "all"
MOST = "most"
NONE = "none"
"""What stands for a number of layers (see kit.training.fine_tune.FineTuneSettings)."""

_MOMENTUM = 0.9
"""Momentum of batch normalisation's moving statistics.

Keras' 0.99 and 0.999 are for thousands of steps in an epoch. Here an epoch may have ten, and
validation would see the old network's statistics for a long time.
"""


def layers_that_learn(backbone: keras.Model, layers: int | str) -> int:
    """How many of the last layers `all`, `most` or a number stand for in this backbone.

    Raises ValueError where it has fewer.
    """
    weighted = weighted_layers(backbone)
    if layers == ALL:
        return len(weighted)
    if layers == MOST:
        side = backbone.input.shape[1] / 4
        # From the first on: the padding before a layer that halves makes its input a pixel larger.
        small = [layer.input.shape[1] <= side for layer in weighted]
        return len(weighted) - small.index(True)
    assert isinstance(layers, int)
    if layers > len(weighted):
        raise ValueError(
            f"expected at most {len(weighted)} layers, which {backbone.name} has, got {layers}: "
            f"give a lower --fine-tune, or {ALL}"
        )
    return layers


def cut_before(backbone: keras.Model, layers: int) -> Any:
    """The Keras tensor before the last `layers` layers, which everything passes through."""
    weighted = weighted_layers(backbone)
    order = {layer.name: position for position, layer in enumerate(backbone.layers)}
    first = order[weighted[-layers].name]
    reach = [
        max((order.get(node.operation.name, 0) for node in layer._outbound_nodes), default=0)
        for layer in backbone.layers
    ]
    for position in range(first - 1, 0, -1):
        # A shortcut from before must not pass it by.
        if all(end <= position for end in reach[:position]):
            return backbone.layers[position].output
    return backbone.input


def inferring(network: keras.Model) -> keras.layers.Layer:
    """Calls it as in use, also while it learns: batch normalisation keeps its statistics.

    (`training=False`, given where a network is put into another, is overridden by what `fit` says.)
    """
    import keras

    class Inferring(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def call(self, values: Any) -> Any:
            return self.network(values, training=False)

    return Inferring()


def set_trainable(rest: keras.Model, layers: int) -> None:
    """Lets the last `layers` layers learn; batch normalisation follows its batches faster then."""
    import keras

    learning = weighted_layers(rest)[-layers:]
    learns: dict[str, bool] = {}
    for layer in rest.layers:
        before = [
            learns.get(tensor._keras_history.operation.name, False)
            for tensor in layer._inbound_nodes[0].input_tensors
        ]
        # Batch normalisation goes with its convolution, whatever stands beside that.
        own = layer in learning if hasattr(layer, "kernel") else bool(before) and all(before)
        layer.trainable = learns[layer.name] = own
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM


def weighted_layers(model: keras.Model) -> list[Any]:
    """Convolutions and dense layers, from input to output; batch normalisation goes with them."""
    return [
        layer for layer in model.layers if hasattr(layer, "kernel") and layer.name != FIXED_SCALING
    ]
