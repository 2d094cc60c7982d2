"""Which layers learn, and where a network is cut before them."""

import numpy as np
import pytest
from small_network import network

from kit.training.layers import ALL, MOST, cut_before, layers_that_learn, set_trainable

pytestmark = pytest.mark.tf


def branched():
    """Two convolutions side by side, as in ResNet and Inception."""
    import keras
    from keras.layers import Add, BatchNormalization, Conv2D, GlobalAveragePooling2D, ReLU

    def convolved(values, name):
        return BatchNormalization(name=f"{name}_bn")(
            Conv2D(4, 3, padding="same", name=name)(values)
        )

    inputs = keras.Input((8, 8, 3))
    values = convolved(inputs, "stem")
    around = convolved(values, "around")
    values = Add()([around, convolved(ReLU()(convolved(values, "one")), "two")])
    return keras.Model(inputs, GlobalAveragePooling2D()(convolved(values, "last")))


@pytest.mark.parametrize("layers", range(1, 6))
def test_batch_normalisation_learns_with_its_own_convolution(layers):
    """In the order of layers it comes after all the convolutions of parallel branches."""
    import keras

    backbone = branched()
    names = [layer.name for layer in backbone.layers if hasattr(layer, "kernel")]
    rest = keras.Model(cut_before(backbone, layers), backbone.output)
    set_trainable(rest, layers)
    inside = [name for name in names if name in {layer.name for layer in rest.layers}]
    learning = [name for name in inside if rest.get_layer(name).trainable]
    assert learning == names[-layers:]
    for name in inside:
        assert rest.get_layer(f"{name}_bn").trainable == (name in learning)


def most_by_hand(side):
    """MobileNet v1 halves in its first layer and in depthwise ones 2, 4, 6 and 12.

    The padding before a depthwise layer that halves is no part of the map.
    """
    inputs = [side]
    now = side / 2
    for block in range(1, 14):
        inputs.append(now)
        now = now / 2 if block in (2, 4, 6, 12) else now
        inputs.append(now)
    return sum(one <= side / 4 for one in inputs)


def test_how_many_layers_learn():
    from kit.training.backbones import build, choose

    backbone = build(choose("mobilenet_v1", 0.25, 64), None)
    assert layers_that_learn(backbone, ALL) == 27  # 13 pairs after the first
    assert layers_that_learn(backbone, MOST) == most_by_hand(64) < 27
    assert [layers_that_learn(backbone, number) for number in (1, 27)] == [1, 27]
    # Of the small one: `in_second` and `last` work on maps of 4, `between` on one of 8.
    assert layers_that_learn(network(), MOST) == 2


def last_possible_cut(backbone, layers):
    """The last layer before the learning ones without which the input does not reach the end."""
    import keras

    names = [layer.name for layer in backbone.layers]
    weighted = [layer.name for layer in backbone.layers if hasattr(layer, "kernel")]
    for layer in reversed(backbone.layers[: names.index(weighted[-layers])]):
        try:
            keras.Model(layer.output, backbone.output)
        except ValueError:  # Keras refuses what another path leads to
            continue
        return layer.name
    raise AssertionError("the input itself is one")


@pytest.fixture(scope="module")
def with_shortcuts():
    """MobileNet v2 with random weights that make a difference."""
    import keras

    from kit.training.backbones import build, choose

    keras.utils.set_random_seed(5)
    backbone = build(choose("mobilenet_v2", 0.35, 32), None)
    random = np.random.default_rng(5)
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, _ = layer.get_weights()
            variance = random.uniform(0.1, 0.4, gamma.shape)
            layer.set_weights([gamma, random.normal(0.2, 0.3, beta.shape), mean, variance])
    return backbone


def check_cut(backbone, layers):
    """The two parts, one after the other, are the whole; what learns is all in the second."""
    import keras

    cut = cut_before(backbone, layers)
    first, rest = keras.Model(backbone.input, cut), keras.Model(cut, backbone.output)
    images = np.random.default_rng(0).uniform(-1, 1, (2, *backbone.input.shape[1:]))
    expected = np.asarray(backbone(images))
    assert np.abs(np.asarray(rest(first(images))) - expected).max() < 1e-5
    assert np.abs(expected[0] - expected[1]).max() > 1e-3  # two images, two answers
    weighted = [layer.name for layer in backbone.layers if hasattr(layer, "kernel")]
    assert set(weighted[-layers:]) <= {layer.name for layer in rest.layers}
    assert cut._keras_history.operation.name == last_possible_cut(backbone, layers)


@pytest.mark.parametrize("layers", range(1, 7))
def test_no_shortcut_passes_the_cut_by(layers):
    check_cut(network(), layers)


@pytest.mark.parametrize("layers", [1, 2, 4, 5, 6, 9, 20, 33, 47, 51, 52])
def test_no_shortcut_of_mobilenet_v2_passes_the_cut_by(with_shortcuts, layers):
    check_cut(with_shortcuts, layers)


def test_the_cut_is_not_in_the_middle_of_a_shortcut():
    """Where the first that learns is inside a block, all of the block is run in Keras."""
    backbone = network()
    names = [cut_before(backbone, layers)._keras_history.operation.name for layers in (4, 5)]
    assert names == ["stem_relu", "stem_relu"]
