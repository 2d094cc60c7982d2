"""Leaves random layers out of a graph that was saved with them at work.

Keras 3 exports RandomFlip and its like as they are in training: `model.export` of the official
image classification tutorial's model gives another answer at each call. In `model.predict` these
layers pass their images on, and so they do here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from converters.network import node_of
from converters.sources.frozen_graph import ancestors, is_random

_RANK = 4  # of a batch of images
_LAYER = re.compile(
    r"(random_(flip|rotation|zoom|translation|crop|contrast|brightness|hue|saturation|sharpness"
    r"|shear|perspective|posterization|invert|grayscale|gaussian_blur|color_jitter|"
    r"color_degeneration|elastic_transform|erasing|height|width)|gaussian_noise|gaussian_dropout"
    r"|dropout|spatial_dropout2d|alpha_dropout|aug_mix|rand_augment|auto_contrast|equalization"
    r"|solarization)(_\d+)*"
)


def without_random_layers(graph: Any, output: str) -> tuple[str, ...]:
    """Lets images pass by every layer that draws random numbers.

    A layer is a scope with a name that Keras gives such layers, which a single batch of images
    enters and one of the same shape leaves. What cannot be left out so stays, for the caller to
    refuse: code of somebody's own may do more than draw numbers.

    Args:
        graph: a tf.compat.v1.GraphDef without variables; it is changed.
        output: name of the node that gives the answer.

    Returns:
        The names of the layers that were left out.
    """
    left_out: list[str] = []
    nodes = {node.name: node for node in graph.node}
    shapes = None
    while True:
        needed = ancestors(nodes, node_of(output))
        drawn = sorted(name for name in needed if is_random(nodes[name].op))
        if not drawn:
            return tuple(sorted(left_out))
        shapes = shapes or _shapes(graph)
        for scope in _scopes(drawn[0]):
            passage = _passage(nodes, needed, scope, shapes)
            if passage is not None:
                _pass_by(nodes, scope, *passage)
                left_out.append(scope.rpartition("/")[2])
                break
        else:
            return tuple(sorted(left_out))


def _scopes(name: str) -> Iterator[str]:
    """The scopes of Keras' random layers around a node, the innermost first."""
    while "/" in name:
        name = name.rpartition("/")[0]
        if _LAYER.fullmatch(name.rpartition("/")[2]):
            yield name


def _passage(
    nodes: Mapping[str, Any], needed: set[str], scope: str, shapes: Mapping[str, Any]
) -> tuple[str, str] | None:
    """The tensors of images that enter a scope and leave it; None unless it is one each."""
    inside = {name for name in needed if name.startswith(f"{scope}/")}
    leaving = _inputs(nodes, needed - inside, inside)
    if len(leaving) != 1:
        return None
    (last,) = leaving
    shape = shapes.get(last)
    if shape is None or shape.rank != _RANK:
        return None
    entering = {
        tensor
        for tensor in _inputs(nodes, inside, needed - inside)
        if shapes.get(tensor) is not None
        and shapes[tensor].rank == _RANK
        and shapes[tensor].is_compatible_with(shape)
        and _sees_image(nodes, node_of(tensor))
    }
    return (entering.pop(), last) if len(entering) == 1 else None


def _inputs(nodes: Mapping[str, Any], users: set[str], makers: set[str]) -> set[str]:
    """The tensors of `makers` that `users` take."""
    return {
        _full(tensor)
        for name in users
        for tensor in nodes[name].input
        if not tensor.startswith("^") and node_of(tensor) in makers
    }


def _full(tensor: str) -> str:
    return tensor if ":" in tensor else f"{tensor}:0"


def _sees_image(nodes: Mapping[str, Any], name: str) -> bool:
    return any(nodes[of].op == "Placeholder" for of in ancestors(nodes, name))


def _pass_by(nodes: Mapping[str, Any], scope: str, first: str, last: str) -> None:
    """Whoever takes the scope's last tensor takes its first."""
    for name, node in nodes.items():
        if name.startswith(f"{scope}/"):
            continue
        for position, tensor in enumerate(node.input):
            if not tensor.startswith("^") and _full(tensor) == last:
                node.input[position] = first


def _shapes(graph: Any) -> dict[str, Any]:
    """The static shape of every tensor, by its name."""
    import tensorflow as tf

    with tf.Graph().as_default() as imported:
        tf.import_graph_def(graph, name="")
        return {
            tensor.name: tensor.shape
            for operation in imported.get_operations()
            for tensor in operation.outputs
        }
