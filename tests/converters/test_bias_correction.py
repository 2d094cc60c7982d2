"""Biases that make up for rounded weights: unit tests on flatbuffers of single layers.

In each channel one weight is large, so that the others are rounded coarsely and the channel's mean
is off; what is corrected must bring it back.
"""

import numpy as np
import pytest
from drawing import coloured

import converters.tflite
from converters.bias_correction import IMAGES, corrected_biases
from converters.model_object import from_bytes, to_bytes, weighted_operators
from converters.network import of_keras
from converters.tflite import convert_network
from kit.errors import ConversionError
from kit.model.preprocess import to_input
from kit.model.spec import PreprocessSpec
from kit.runtime.interpreter import Runner

pytestmark = pytest.mark.tf

SIDE = 16
SPEC = PreprocessSpec(SIDE, mean=(0.0,) * 3, std=(255.0,) * 3)


@pytest.fixture(scope="module")
def pixels():
    random = np.random.default_rng(4)
    return [coloured(random.integers(60, 256, 3), random, SIDE) for _ in range(24)]


@pytest.fixture(scope="module")
def inputs(pixels):
    return [to_input(image, SPEC) for image in pixels]


def network(*layers):
    """These layers one after the other, their weights hard to round."""
    import keras

    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), *layers])
    random = np.random.default_rng(6)
    for layer in model.layers:
        for variable in layer.trainable_variables:
            shape = tuple(variable.shape)
            # Far from zero, and less than half a step of the large one: all rounded down.
            values = random.uniform(0.002, 0.003, shape).astype(np.float32)
            if len(shape) > 1:
                flat = values.reshape(
                    -1, shape[-1] if "depthwise" not in layer.name else shape[2] * shape[3]
                )
                flat[-1] = random.choice([-1, 1], flat.shape[1])
            variable.assign(values)
    return model


def converted(model, mode, pixels, monkeypatch):
    """The network in float32 and in a mode, biases as TensorFlow leaves them."""
    monkeypatch.setattr(converters.tflite, "corrected_biases", lambda quantized, *_: quantized)
    frozen = of_keras(model, SIDE)
    return (
        convert_network(frozen, "float32", SPEC),
        convert_network(frozen, mode, SPEC, pixels),
    )


def outputs(flatbuffer, pixels):
    runner = Runner(flatbuffer)
    rows = [
        runner.run(to_input(image, SPEC, runner.input.dtype, runner.input.quantization))
        for image in pixels
    ]
    return np.stack(rows)


def mean_errors(flatbuffer, float32, pixels):
    """How far the mean of each channel is off."""
    difference = outputs(flatbuffer, pixels) - outputs(float32, pixels)
    channels = from_bytes(float32)
    graph = channels.subgraphs[0]
    width = graph.tensors[graph.outputs[0]].shape[-1]
    return np.abs(difference.reshape(-1, width).mean(axis=0))


def convolution(**options):
    def made():
        import keras

        return keras.layers.Conv2D(40, 3, **options)

    return made


def depthwise(**options):
    def made():
        import keras

        return keras.layers.DepthwiseConv2D(3, name="depthwise", **options)

    return made


LAYERS = {
    "valid": convolution(),
    "same": convolution(padding="same"),
    "strides": convolution(strides=2, padding="same"),
    "dilation": convolution(dilation_rate=2),
    "dilation, same": convolution(dilation_rate=3, padding="same"),
    "no bias": convolution(use_bias=False),
    "activation": convolution(activation="relu6"),
    "depthwise": depthwise(),
    "depthwise, strides": depthwise(strides=2, padding="same"),
    "depthwise, dilation": depthwise(dilation_rate=2),
    "depth multiplier": depthwise(depth_multiplier=4),
}


@pytest.mark.parametrize("name", LAYERS)
def test_one_layer(name, pixels, inputs, monkeypatch):
    float32, plain = converted(network(LAYERS[name]()), "int16x8", pixels, monkeypatch)
    before = mean_errors(plain, float32, pixels)
    after = mean_errors(corrected_biases(plain, float32, inputs), float32, pixels)
    assert before.mean() > 0.005
    assert after.mean() < 0.1 * before.mean()


def dense_network():
    import keras

    return network(keras.layers.Flatten(), keras.layers.Dense(10))


@pytest.mark.parametrize("mode", ["int8", "int16x8", "dynamic"])
def test_a_dense_layer(mode, pixels, inputs, monkeypatch):
    float32, plain = converted(dense_network(), mode, pixels, monkeypatch)
    before = mean_errors(plain, float32, pixels)
    after = mean_errors(corrected_biases(plain, float32, inputs), float32, pixels)
    assert before.mean() > 0.1
    assert after.mean() < 0.15 * before.mean()


@pytest.mark.parametrize("mode", ["int8", "int16x8", "dynamic"])
def test_layers_behind_each_other(mode, pixels, inputs, monkeypatch):
    """Both have no bias of their own, so that the converter gives them the same zeros."""
    import keras

    model = network(
        keras.layers.Conv2D(40, 3, use_bias=False, activation="relu"),
        keras.layers.Conv2D(40, 3, use_bias=False, name="second"),
    )
    float32, plain = converted(model, mode, pixels, monkeypatch)
    if mode == "dynamic":
        stored = from_bytes(plain)
        tensors = stored.subgraphs[0].tensors
        biases = [tensors[layer.inputs[2]].buffer for layer in weighted_operators(stored)]
        assert biases[0] == biases[1]
    before = mean_errors(plain, float32, pixels)
    corrected = corrected_biases(plain, float32, inputs)
    after = mean_errors(corrected, float32, pixels)
    assert before.mean() > 0.05
    assert after.mean() < 0.15 * before.mean()


def biases_of(flatbuffer):
    model = from_bytes(flatbuffer)
    tensors = model.subgraphs[0].tensors
    return [
        bytes(model.buffers[tensors[layer.inputs[2]].buffer].data)
        for layer in weighted_operators(model)
    ]


def test_only_biases_change(pixels, inputs, monkeypatch):
    float32, plain = converted(network(convolution()()), "int16x8", pixels, monkeypatch)
    corrected = corrected_biases(plain, float32, inputs)
    assert biases_of(corrected) != biases_of(plain)
    before, after = from_bytes(plain), from_bytes(corrected)
    (layer,) = weighted_operators(before)
    bias = before.subgraphs[0].tensors[layer.inputs[2]].buffer
    for index, (old, new) in enumerate(zip(before.buffers, after.buffers, strict=True)):
        same = (old.data is None and new.data is None) or bytes(old.data) == bytes(new.data)
        assert same == (index != bias)


def test_nothing_to_correct(pixels, inputs, monkeypatch):
    float32, _ = converted(network(convolution()()), "float32", pixels, monkeypatch)
    assert biases_of(corrected_biases(float32, float32, inputs)) == biases_of(float32)


def test_more_images_than_needed_change_nothing(inputs, pixels, monkeypatch):
    float32, plain = converted(network(convolution()()), "int16x8", pixels, monkeypatch)
    enough = (inputs * 4)[:IMAGES]
    more = [*enough, np.full_like(inputs[0], 7)]
    assert corrected_biases(plain, float32, more) == corrected_biases(plain, float32, enough)


def test_files_of_two_networks(pixels, inputs, monkeypatch):
    _, plain = converted(network(convolution()()), "int16x8", pixels, monkeypatch)
    other, _ = converted(dense_network(), "float32", pixels, monkeypatch)
    with pytest.raises(ConversionError, match="to have the float32 file's layers, got others"):
        corrected_biases(plain, other, inputs)
    with pytest.raises(ConversionError, match="expected a TensorFlow Lite flatbuffer"):
        corrected_biases(b"no flatbuffer", other, inputs)


def test_a_flatbuffer_there_and_back(pixels, monkeypatch):
    float32, _ = converted(dense_network(), "float32", pixels, monkeypatch)
    again = to_bytes(from_bytes(float32))
    assert np.array_equal(outputs(again, pixels), outputs(float32, pixels))
