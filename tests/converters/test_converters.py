"""Keras to TensorFlow Lite, and what is packaged with it."""

import zipfile

import numpy as np
import pytest
from drawing import coloured
from training_fixtures import MEAN, SIDE, STD, colour_card, package

from converters import add_metadata, append_files, convert_model
from converters.operators import minimum_runtime
from kit.errors import ConversionError
from kit.model.model_file import read_model_file
from kit.model.preprocess import to_input
from kit.model.spec import QUANTIZATION_MODES, PreprocessSpec, QuantizationParameters
from kit.runtime.interpreter import Runner

pytest_plugins = ["training_fixtures"]

SPEC = PreprocessSpec(SIDE, mean=MEAN, std=STD)


def photos(count, seed):
    """Colours of every kind, so that the scores of a network spread."""
    random = np.random.default_rng(seed)
    return [coloured(random.integers(0, 256, 3), random, SIDE) for _ in range(count)]


def small_network():
    """Every kind of layer that MobileNet v1 has, with answers that differ from image to image."""
    import keras

    keras.utils.set_random_seed(11)
    random = np.random.default_rng(11)
    layers = keras.layers
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Conv2D(40, 1, use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.Conv2D(48, 1, use_bias=False)(x)  # large enough for dynamic mode's 8 bits
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax", name="scores")(x))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights(
                [
                    random.uniform(0.8, 1.4, gamma.shape),
                    random.normal(0.5, 0.5, beta.shape),
                    mean,
                    random.uniform(0.05, 0.3, variance.shape),
                ]
            )
    return model


@pytest.fixture(scope="module")
def network():
    return small_network()


@pytest.fixture(scope="module")
def flatbuffers(network):
    """The network in every mode."""
    samples = photos(40, 1)
    return {mode: convert_model(network, mode, SPEC, samples) for mode in QUANTIZATION_MODES}


def scores_of(flatbuffer, pixels):
    runner = Runner(flatbuffer)
    inputs = runner.input
    return np.stack(
        [runner.run(to_input(p, SPEC, inputs.dtype, inputs.quantization)) for p in pixels]
    )


def keras_scores(network, pixels):
    return np.asarray(network((np.stack(pixels).astype(np.float32) - 128) / 128, training=False))


@pytest.mark.tf
@pytest.mark.parametrize(
    ("mode", "largest", "mean"),
    [
        ("float32", 1e-4, 1e-5),
        ("float16", 0.01, 0.002),
        ("dynamic", 0.04, 0.01),
        ("int8", 0.04, 0.01),
        ("int16x8", 0.04, 0.01),
    ],
)
def test_every_mode_answers_as_keras_does(network, flatbuffers, mode, largest, mean):
    pixels = photos(60, 2)
    expected = keras_scores(network, pixels)
    difference = np.abs(scores_of(flatbuffers[mode], pixels) - expected)
    assert difference.max() < largest
    assert difference.mean() < mean
    # What a zero point that is off by a quarter of the range would do is far beyond that.
    shifted = [np.clip(p.astype(int) + 64, 0, 255).astype(np.uint8) for p in pixels]
    broken = np.abs(keras_scores(network, shifted) - expected)
    assert broken.max() > 2 * largest
    assert broken.mean() > 2 * mean


@pytest.mark.tf
@pytest.mark.parametrize("mode", QUANTIZATION_MODES)
def test_inputs_and_outputs(flatbuffers, mode):
    runner = Runner(flatbuffers[mode])
    assert runner.input.dtype == ("uint8" if mode.startswith("int8") else "float32")
    assert runner.input.shape == (1, SIDE, SIDE, 3)
    assert runner.output.dtype == "float32"
    assert runner.output.shape == (1, 3)


@pytest.mark.tf
def test_eight_bit_input_is_exact(flatbuffers):
    assert Runner(flatbuffers["int8"]).input.quantization == QuantizationParameters(1 / 128, 128)


@pytest.mark.tf
def test_eight_bit_input_is_exact_for_images_without_black_and_white(network):
    grey = [np.full((SIDE, SIDE, 3), level, np.uint8) for level in (100, 130)]
    before = [image.copy() for image in grey]
    flatbuffer = convert_model(network, "int8", SPEC, grey)
    assert Runner(flatbuffer).input.quantization == QuantizationParameters(1 / 128, 128)
    assert all(map(np.array_equal, grey, before))  # the caller's images are not drawn on


@pytest.fixture(scope="module")
def small_int8(small_backbone):
    return convert_model(small_backbone.model, "int8", SPEC, photos(4, 1))


@pytest.mark.tf
def test_eight_bit_files_are_smaller(small_int8, small_backbone):
    assert len(small_int8) < 0.5 * len(small_backbone.content)


@pytest.mark.tf
@pytest.mark.parametrize("mode", QUANTIZATION_MODES)
def test_runtime_2_14_has_every_operator(flatbuffers, mode, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(flatbuffers[mode])
    version = minimum_runtime(read_model_file(path).operators)
    assert tuple(int(part) for part in version.split(".")) <= (2, 14, 0)


@pytest.mark.tf
def test_conversion_leaves_the_network_as_it_was(network, flatbuffers):
    untouched = small_network()
    for found, expected in zip(network.get_weights(), untouched.get_weights(), strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.tf
def test_the_same_network_gives_the_same_bytes(network, flatbuffers):
    assert convert_model(network, "int8", SPEC, photos(40, 1)) == flatbuffers["int8"]


@pytest.mark.tf
def test_wrong_arguments(network):
    with pytest.raises(ValueError, match=r"expected a mode of float32, .*got 'int4'"):
        convert_model(network, "int4", SPEC)
    for mode in ("int8", "int8_float_head", "int16x8"):
        with pytest.raises(ConversionError, match=f"expected representative images for {mode}"):
            convert_model(network, mode, SPEC)


@pytest.mark.tf
def test_a_network_that_cannot_be_converted():
    import keras
    import tensorflow as tf

    class Unknown(keras.layers.Layer):
        def call(self, inputs):
            return tf.raw_ops.Betainc(a=inputs, b=inputs, x=inputs)

    inputs = keras.Input((SIDE, SIDE, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(Unknown()(inputs))
    with pytest.raises(ConversionError, match="can convert to float32") as raised:
        convert_model(keras.Model(inputs, pooled), "float32", SPEC)
    assert "\n" not in str(raised.value)


# ---------------------------------------------------------------- bias correction


def demanding_network():
    """Channels that hardly vary: batch normalisation blows the rounding of their weights up."""
    import keras

    keras.utils.set_random_seed(5)
    random = np.random.default_rng(5)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.Conv2D(12, 3, padding="same", use_bias=False)(inputs)
    first = keras.layers.BatchNormalization()
    x = keras.layers.ReLU(6.0)(first(x))
    x = keras.layers.Conv2D(16, 1, use_bias=False)(x)
    second = keras.layers.BatchNormalization()
    outputs = keras.layers.GlobalAveragePooling2D()(second(x))
    model = keras.Model(inputs, outputs)
    model.layers[1].set_weights([random.normal(0, 0.02, (3, 3, 3, 12))])
    # The first channel is always 6, and the second layer's large weight for it makes the steps
    # coarse for all the others, which are about 3 and always positive.
    centre = np.full(12, 3.0)
    centre[0] = 6
    first.set_weights([np.full(12, 0.3), centre, np.zeros(12), np.full(12, 0.05)])
    kernel = random.normal(0, 0.004, (1, 1, 12, 16))
    kernel[0, 0, 0] = 1
    model.layers[4].set_weights([kernel])
    second.set_weights([np.ones(16), np.zeros(16), np.full(16, 6.0), np.full(16, 1e-4)])
    return model


def mean_error(model, mode):
    """How far the mean of each output is off."""
    pixels = photos(60, 2)
    found = scores_of(convert_model(model, mode, SPEC, photos(60, 1)), pixels)
    return np.abs((found - keras_scores(model, pixels)).mean(axis=0))


@pytest.mark.tf
@pytest.mark.parametrize("mode", ["int8", "int16x8"])
def test_corrected_biases_take_the_mean_error_out(monkeypatch, mode):
    import converters.tflite

    model = demanding_network()
    corrected = mean_error(model, mode)
    monkeypatch.setattr(converters.tflite, "corrected_biases", lambda quantized, *_: quantized)
    plain = mean_error(model, mode)
    assert plain.mean() > 0.2  # the network needs it
    assert corrected.mean() < 0.2 * plain.mean()


@pytest.mark.tf
@pytest.mark.parametrize("normalised", [True, False])
def test_several_filters_for_each_channel(normalised):
    """A depth multiplier, which MobileNets have not but networks of others may."""
    import keras

    keras.utils.set_random_seed(2)
    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=4)(inputs)
    x = keras.layers.BatchNormalization()(x) if normalised else x
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU(6.0)(x))
    model = keras.Model(inputs, x)
    assert mean_error(model, "int8").max() < 0.02


# ---------------------------------------------------------------- packaging


@pytest.mark.tf
def test_metadata_is_read_back(colour_flatbuffer, tmp_path):
    labels = ("玫瑰", "two words", "🌷")
    card = colour_card(
        labels=labels,
        preprocess=PreprocessSpec(SIDE, mean=(1.5, 2.5, 3.5), std=(50.0, 60.0, 70.0)),
        score_threshold=0.25,
        alpha=0.5,
    )
    path = tmp_path / "model.tflite"
    path.write_bytes(package(colour_flatbuffer, card))
    file = read_model_file(path)
    assert file.card == card
    assert file.labels == labels
    assert file.metadata.mean == (1.5, 2.5, 3.5)
    assert file.metadata.std == (50.0, 60.0, 70.0)
    assert file.metadata.labels_name == "labels.txt"
    assert file.metadata.score_threshold == 0.25
    assert file.size_bytes == path.stat().st_size


@pytest.mark.tf
def test_metadata_without_normalisation_and_threshold(colour_flatbuffer, tmp_path):
    path = tmp_path / "model.tflite"
    described = add_metadata(colour_flatbuffer, colour_card(preprocess=PreprocessSpec(SIDE)))
    path.write_bytes(append_files(described, {"labels.txt": b"a\nb\nc\n"}))
    file = read_model_file(path)
    assert file.card is None
    assert file.labels == ("a", "b", "c")
    assert (file.metadata.mean, file.metadata.std) == ((), ())
    assert file.metadata.score_threshold is None


@pytest.mark.tf
def test_metadata_says_mediapipe_what_it_needs(colour_flatbuffer):
    """Read by the schema of ai-edge-litert, another reader than the kit's."""
    from ai_edge_litert import schema_py_generated as schema

    twice = add_metadata(add_metadata(colour_flatbuffer, colour_card()), colour_card())
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(twice, 0))
    entries = [entry for entry in model.metadata if entry.name == b"TFLITE_METADATA"]
    assert len(entries) == 1  # the newer one replaces the older
    assert bytes(model.buffers[entries[0].buffer].data)[4:8] == b"M001"
    assert len(model.subgraphs) == 1
    before = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(colour_flatbuffer, 0))
    assert len(before.subgraphs[0].operators) == len(model.subgraphs[0].operators)


@pytest.mark.tf
def test_a_packaged_model_answers_as_the_bare_one(network, flatbuffers):
    pixels = photos(5, 3)
    for mode in ("float32", "int8"):
        packaged = package(flatbuffers[mode], colour_card(quantization=mode))
        assert np.array_equal(scores_of(packaged, pixels), scores_of(flatbuffers[mode], pixels))


@pytest.mark.tf
def test_packaging_is_deterministic(colour_flatbuffer):
    assert package(colour_flatbuffer, colour_card()) == package(colour_flatbuffer, colour_card())


def test_appended_files_are_stored_and_undated(tmp_path):
    flatbuffer = b"model" * 100
    content = append_files(flatbuffer, {"a.txt": b"x" * 1000, "b/ü.txt": "ü".encode()})
    assert content.startswith(flatbuffer)
    (tmp_path / "archive").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "archive") as archive:
        assert archive.namelist() == ["a.txt", "b/ü.txt"]
        assert archive.read("a.txt") == b"x" * 1000
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.tf
def test_packaging_costs_little(small_backbone, small_int8):
    for bare in (small_backbone.content, small_int8):
        packaged = package(bare, colour_card())
        assert 0 < len(packaged) - len(bare) <= max(0.03 * len(bare), 8192)


@pytest.mark.parametrize("content", [b"", b"no flatbuffer", b"\xff" * 500])
def test_metadata_into_what_is_no_model(content):
    with pytest.raises(ConversionError, match="expected a TensorFlow Lite flatbuffer"):
        add_metadata(content, colour_card())
