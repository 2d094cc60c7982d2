"""Keras files of others: what they answer, and that reading one runs no code from it."""

import base64
import json
import marshal
import pickle
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from drawing import coloured

from converters.sources.read import read_source
from converters.sources.source import SourceOptions
from kit.errors import ConversionError
from kit.runtime import Classifier
from kit.workflows.convert import ConvertSettings, convert

pytestmark = pytest.mark.tf

SIDE = 32
ONES = (127.5, 127.5, 127.5)
GIVEN = SourceOptions(mean=ONES, std=ONES)


@pytest.fixture(scope="module")
def pixels():
    random = np.random.default_rng(8)
    return [coloured(random.integers(0, 256, 3), random, SIDE) for _ in range(5)]


def spread(model):
    """Weights that make answers differ from image to image."""
    random = np.random.default_rng(1)
    model.set_weights(
        [
            weights * 2 if weights.ndim > 1 else weights + random.uniform(0.05, 0.3, weights.shape)
            for weights in model.get_weights()
        ]
    )
    return model


def plain(side=SIDE, width=3, activation="softmax", dtype="float32"):
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((side, side, 3), dtype=dtype)
    x = layers.Conv2D(6, 3, strides=2)(inputs)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    return spread(keras.Model(inputs, layers.Dense(width, activation=activation)(x)))


def teachable_machine():
    """The nesting of its exports: features of a MobileNetV2, then a head."""
    import keras

    keras.utils.set_random_seed(4)
    layers = keras.layers
    inputs = keras.Input((SIDE, SIDE, 3), name="input_1")
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False, name="Conv1")(inputs)
    first = layers.ReLU(6.0, name="Conv1_relu")(layers.BatchNormalization(name="bn_Conv1")(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(first)
    x = layers.Conv2D(8, 1, use_bias=False, name="project")(layers.BatchNormalization()(x))
    x = layers.ReLU(6.0, name="out_relu")(layers.Add(name="block_add")([first, x]))
    features = keras.Model(inputs, x, name="model1")
    body = keras.Sequential([features, layers.GlobalAveragePooling2D(name="pooled")])
    body.build((None, SIDE, SIDE, 3))
    head = keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(10, activation="relu", name="dense_Dense1"),
            layers.Dense(3, use_bias=False, activation="softmax", name="dense_Dense2"),
        ]
    )
    model = keras.Sequential([body, head])
    model.build((None, SIDE, SIDE, 3))
    return spread(model)


def as_keras_2_writes_it(value):
    """A configuration of Keras 3 as Keras 2.4 wrote the same model."""
    if isinstance(value, list):
        return [as_keras_2_writes_it(part) for part in value]
    if not isinstance(value, dict):
        return value
    if value.get("class_name") == "DTypePolicy":
        return "float32"
    if "inbound_nodes" in value:
        nodes = [[[*history, {}] for history in histories(node)] for node in value["inbound_nodes"]]
        value = {**value, "inbound_nodes": nodes}
    parts = {name: as_keras_2_writes_it(part) for name, part in value.items()}
    for name in ("module", "registered_name", "build_config"):
        parts.pop(name, None)
    if "batch_shape" in parts:
        parts["batch_input_shape"] = parts.pop("batch_shape")
    if value.get("class_name") == "DepthwiseConv2D":
        parts["config"]["groups"] = 1
    for name in ("input_layers", "output_layers"):
        if name in parts and not isinstance(parts[name][0], list):
            parts[name] = [parts[name]]
    return parts


def histories(value):
    """The keras_history of every tensor in a call's arguments, in their order."""
    if isinstance(value, dict):
        if "keras_history" in value:
            return [value["keras_history"]]
        return [found for part in value.values() for found in histories(part)]
    if isinstance(value, list):
        return [found for part in value for found in histories(part)]
    return []


@pytest.fixture
def saved(tmp_path):
    def written(model, suffix=".keras"):
        path = tmp_path / f"model{suffix}"
        model.save(path)
        return path

    return written


def rewrite_h5(path, change):
    import h5py

    with h5py.File(path, "r+") as file:
        configuration = change(json.loads(file.attrs["model_config"]))
        file.attrs["model_config"] = json.dumps(configuration)
    return path


def rewrite_keras(path, change):
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    files["config.json"] = json.dumps(change(json.loads(files["config.json"]))).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def rewrite(path, change):
    return (rewrite_keras if path.suffix == ".keras" else rewrite_h5)(path, change)


def model_scores(model, pixels, mean=127.5, std=127.5):
    return np.asarray(model((np.stack(pixels).astype(np.float32) - mean) / std, training=False))


def source_scores(source, pixels):
    inputs = [(image - np.array(source.mean)) / np.array(source.std) for image in pixels]
    return source.network.scores(np.stack(inputs).astype(np.float32))


def refused(path, match, options=GIVEN):
    with pytest.raises(ConversionError, match=match) as raised:
        read_source(path, options)
    message = str(raised.value)
    assert message.startswith(f"{path}: expected ")
    assert "\n" not in message


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_saved_model_becomes_a_file_that_answers_alike(saved, tmp_path, pixels, suffix):
    model = plain()
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    settings = ConvertSettings("float32", labels=labels, source=GIVEN, score_threshold=0.25)
    convert(saved(model, suffix), tmp_path / "model.tflite", settings)
    expected = model_scores(model, pixels)
    assert np.ptp(expected, axis=0).max() > 0.05
    with Classifier.open(tmp_path / "model.tflite") as classifier:
        found = np.stack([classifier.scores(image) for image in pixels])
        assert classifier.labels == ("a", "b", "c")
        assert classifier.preprocess.mean == ONES
        assert classifier.file.card.score_threshold == 0.25
    assert np.abs(found - expected).max() < 1e-4


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A Teachable Machine export, and the model that it was made from."""
    model = teachable_machine()
    path = tmp_path_factory.mktemp("machine") / "keras_model.h5"
    model.save(path)
    return model, rewrite_h5(path, as_keras_2_writes_it)


def test_a_teachable_machine_export(machine, tmp_path, pixels):
    import keras

    model, path = machine
    with pytest.raises(Exception, match="groups"):  # else this file would show nothing
        keras.models.load_model(path, compile=False)
    before = path.read_bytes()
    labels = tmp_path / "labels.txt"
    labels.write_text("0 Cat\n1 Dog\n2 Two words\n")
    settings = ConvertSettings("float32", labels=labels, source=GIVEN)
    convert(path, tmp_path / "model.tflite", settings)
    assert path.read_bytes() == before
    expected = model_scores(model, pixels)
    assert np.ptp(expected, axis=0).max() > 0.05
    with Classifier.open(tmp_path / "model.tflite") as classifier:
        assert classifier.labels == ("Cat", "Dog", "Two words")
        found = np.stack([classifier.scores(image) for image in pixels])
    assert np.abs(found - expected).max() < 1e-4


def test_other_groups_than_one_are_not_dropped(machine, tmp_path):
    path = Path(shutil.copy(machine[1], tmp_path / "model.h5"))

    def change(value):
        text = json.dumps(value)
        assert text.count('"groups": 1') > 1
        return json.loads(text.replace('"groups": 1', '"groups": 2'))

    refused(rewrite_h5(path, change), "expected a model of Keras' own layers")


@pytest.mark.parametrize(
    ("dtype", "layer", "mean", "std"),
    [
        ("float32", {"scale": 1 / 127.5, "offset": -1.0}, 127.5, 127.5),
        ("float32", {"scale": 1 / 255}, 0, 255),
        ("float32", {"scale": 2.0, "offset": -1.0}, 127.5, 127.5),  # from 0 to 1
        ("uint8", {"scale": 1 / 127.5, "offset": -1.0}, 127.5, 127.5),
    ],
)
def test_normalisation_in_the_model_is_found(saved, pixels, layer, mean, std, dtype):
    import keras

    inputs = keras.Input((SIDE, SIDE, 3), dtype=dtype)
    inner = plain()
    model = keras.Model(inputs, inner(keras.layers.Rescaling(**layer)(inputs)))
    source = read_source(saved(model), SourceOptions())
    assert source.mean == pytest.approx((mean,) * 3)
    assert source.std == pytest.approx((std,) * 3, rel=1e-6)
    expected = model_scores(inner, pixels, mean, std)
    assert np.abs(source_scores(source, pixels) - expected).max() < 1e-4


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_random_layers_do_nothing(saved, suffix):
    """The image classification tutorial's, in front of what it trains."""
    import keras

    layers = keras.layers
    random_layers = (layers.RandomFlip("horizontal"), layers.RandomRotation(0.1))
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            *random_layers,
            layers.RandomZoom(0.1),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(5, activation="softmax"),
        ]
    )
    pixels = np.random.default_rng(2).integers(0, 256, (4, SIDE, SIDE, 3))
    source = read_source(saved(model, suffix), SourceOptions())
    assert (source.mean, source.std) == ((0, 0, 0), (255, 255, 255))
    expected = model_scores(model, pixels, 0, 1)
    assert np.ptp(expected, axis=0).max() > 0.01
    assert np.abs(source_scores(source, pixels) - expected).max() < 1e-5


def test_without_a_word_on_normalisation(saved):
    with pytest.raises(ConversionError, match="does not say: give --mean and --std"):
        read_source(saved(plain()), SourceOptions())


def test_one_sigmoid_and_logits(saved, pixels):
    model = plain(width=1, activation="sigmoid")
    second = model_scores(model, pixels)
    found = source_scores(read_source(saved(model), GIVEN), pixels)
    assert np.abs(found - np.concatenate([1 - second, second], axis=1)).max() < 1e-4
    logits = plain(activation=None)
    raw = np.exp(model_scores(logits, pixels))
    found = source_scores(read_source(saved(logits), GIVEN), pixels)
    assert np.abs(found - raw / raw.sum(axis=1, keepdims=True)).max() < 1e-4


def test_a_size_that_is_left_open(saved, pixels):
    path = saved(model := plain(side=None))
    refused(path, "the model leaves it open: give --input-resolution")
    source = read_source(path, SourceOptions(ONES, ONES, input_resolution=SIDE))
    assert np.abs(source_scores(source, pixels) - model_scores(model, pixels)).max() < 1e-4
    refused(path, "a model that takes an image of 1 pixels: ", SourceOptions(ONES, ONES, 1))


# ---------------------------------------------------------------- models that do not fit


def test_models_that_are_no_image_classifiers(saved):
    import keras

    layers = keras.layers

    def classifier(*shape):
        inputs = keras.Input(shape)
        x = layers.Flatten()(inputs) if None not in shape else layers.GlobalMaxPooling2D()(inputs)
        return keras.Model(inputs, layers.Dense(3, activation="softmax")(x))

    for shape in ((4,), (SIDE, SIDE, 4), (3, SIDE, SIDE)):
        refused(saved(classifier(*shape)), r"expected an input \[batch, side, side, 3\], got ")
    half = classifier(None, SIDE, 3)
    assert read_source(saved(half), GIVEN).input_resolution == SIDE
    inputs = keras.Input((SIDE, SIDE, 3))
    x = layers.GlobalAveragePooling2D()(inputs)
    both = keras.Model(inputs, [layers.Dense(3)(x), layers.Dense(2)(x)])
    refused(saved(both), "expected a model with one input and one output, got 1 and 2")
    unbuilt = keras.Sequential([layers.GlobalAveragePooling2D(), layers.Dense(3)])
    refused(saved(unbuilt), "never built: start it with an Input layer")
    with pytest.raises(ConversionError, match=r"expected scores .* or logits .*got Relu"):
        read_source(saved(plain(activation="relu")), GIVEN)
    with pytest.raises(ConversionError, match="resolution, 32, got --input-resolution 64"):
        read_source(saved(plain()), SourceOptions(ONES, ONES, 64))


# ---------------------------------------------------------------- code in files


def lambda_layer(marker):
    """A Lambda layer as Keras serialises it: its code creates a file when it is called."""
    code = compile(f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]", "<code>", "eval")
    function = next(part for part in code.co_consts if hasattr(part, "co_code"))
    encoded = base64.b64encode(marshal.dumps(function)).decode()
    return {
        "class_name": "Lambda",
        "name": "hidden",
        "config": {
            "name": "hidden",
            "function": {
                "class_name": "__lambda__",
                "config": {"code": encoded, "defaults": None, "closure": None},
            },
            "arguments": {},
        },
    }


def sequential():
    import keras

    layers = keras.layers
    return spread(
        keras.Sequential(
            [
                keras.Input((SIDE, SIDE, 3)),
                layers.Conv2D(4, 3),
                layers.GlobalAveragePooling2D(),
                layers.Dense(3, activation="softmax"),
            ]
        )
    )


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("deep", [True, False])
def test_a_lambda_layer_runs_only_if_that_is_asked_for(saved, tmp_path, suffix, deep):
    marker = tmp_path / "marker"

    def change(configuration):
        layer = {"module": "keras.layers", "registered_name": None, **lambda_layer(marker)}
        if deep:
            inner = {"class_name": "Sequential", "config": {"name": "inner", "layers": [layer]}}
            layer = {"module": "keras", "registered_name": None, **inner}
        configuration["config"]["layers"].insert(2, layer)
        return configuration

    path = rewrite(saved(sequential(), suffix), change)
    refused(path, "got a Lambda layer 'hidden': --unsafe runs it")
    assert not marker.exists()
    read_source(path, SourceOptions(ONES, ONES, unsafe=True))
    assert marker.exists()  # the file is as bad as it is meant to be


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_module_that_a_file_names_is_not_imported(saved, tmp_path, monkeypatch, suffix):
    marker = tmp_path / "marker"
    (tmp_path / "their_module.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def change(configuration):
        layer = configuration["config"]["layers"][-1]
        layer["module"], layer["registered_name"] = "their_module", "Theirs>Dense"
        return configuration

    path = rewrite(saved(sequential(), suffix), change)
    refused(path, "got a custom object, their_module.Dense: save the model without it, or export")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("os", "system"),
        ("kerasevil.layers", "Dense"),
        ("keras.layers", "TFSMLayer"),
        ("keras.utils", "get_file"),
        ("keras.layers", "NoSuchLayer"),
        (7, "Dense"),
    ],
)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_other_objects_than_layers_are_refused(saved, suffix, module, name):
    def change(configuration):
        layer = configuration["config"]["layers"][1]
        layer["module"], layer["class_name"] = module, name
        return configuration

    refused(rewrite(saved(sequential(), suffix), change), "custom object|own layers|code of its")


def test_a_class_that_this_process_has_registered_is_refused(saved):
    import keras

    @keras.saving.register_keras_serializable("Theirs")
    class Doubled(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    inputs = keras.Input((SIDE, SIDE, 3))
    x = keras.layers.GlobalAveragePooling2D()(Doubled()(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(x))
    refused(saved(model), "got a custom object, .*Doubled")


def test_arithmetic_of_keras_2_is_refused_with_a_way_out(machine, tmp_path):
    path = tmp_path / "model.h5"
    shutil.copy(machine[1], path)

    def change(configuration):
        text = json.dumps(configuration)
        return json.loads(text.replace('"class_name": "Add"', '"class_name": "TFOpLambda"'))

    rewrite_h5(path, change)
    for unsafe in (True, False):
        match = "got a TFOpLambda of Keras 2, 'block_add': export a SavedModel there"
        refused(path, match, SourceOptions(ONES, ONES, unsafe=unsafe))


def test_a_keras_file_of_keras_2_is_refused_with_a_way_out(saved):
    def change(configuration):
        return {**configuration, "module": "keras.src.engine.functional"}

    refused(rewrite(saved(plain()), change), "got one of Keras 2: save it there as .h5, or export")


# ---------------------------------------------------------------- of Keras 2


def keras_2_pixels():
    """What files/make_keras_2.py recorded the answers to."""
    steps = np.arange(3 * SIDE * SIDE * 3) ** 2 * 31 % 257 % 256
    return steps.reshape(3, SIDE, SIDE, 3) // np.array([1, 2, 4]).reshape(3, 1, 1, 1)


@pytest.fixture
def keras_2_scores(data):
    """What Keras 2 itself answers: `keras_2_scores(name)`."""

    def recorded(name):
        answers = np.array(json.loads((data / "keras_2.json").read_text())[name])
        if name == "keras_2_operations":  # the others return logits
            return answers
        exponentials = np.exp(answers - answers.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)

    return recorded


PLAIN = SourceOptions((0, 0, 0), (1, 1, 1))
KERAS_2 = [
    ("keras_2_transfer.h5", (127.5,) * 3, (127.5,) * 3),
    ("keras_2_transfer.keras", (127.5,) * 3, (127.5,) * 3),
    ("keras_2_operations.h5", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)),
]


@pytest.mark.parametrize(("name", "mean", "std"), KERAS_2)
def test_functions_between_layers_of_keras_2(data, keras_2_scores, name, mean, std):
    import keras

    with pytest.raises(Exception, match=r"engine\.functional|TFOpLambda|SlicingOpLambda"):
        keras.models.load_model(data / name, compile=False)  # else this would show nothing
    before = (data / name).read_bytes()
    expected = keras_2_scores(Path(name).stem)
    assert np.ptp(expected, axis=0).max() > 0.03
    found = read_source(data / name, SourceOptions())
    assert (found.mean, found.std) == (pytest.approx(mean), pytest.approx(std))
    for source in (found, read_source(data / name, PLAIN)):
        assert np.abs(source_scores(source, keras_2_pixels()) - expected).max() < 1e-5
    assert (data / name).read_bytes() == before


def test_reversed_channels_stay_in_the_network(data, keras_2_scores, tmp_path):
    path = data / "keras_2_reversed.h5"
    # What is subtracted behind the reversal tells that plain pixels go in.
    found = read_source(path, SourceOptions())
    assert (found.mean, found.std) == ((0,) * 3, (1,) * 3)
    expected = keras_2_scores("keras_2_reversed")
    assert np.ptp(expected, axis=0).max() > 0.03
    source = read_source(path, PLAIN)
    assert np.abs(source_scores(source, keras_2_pixels()) - expected).max() < 1e-5
    mirrored = source_scores(source, keras_2_pixels()[..., ::-1])
    assert np.abs(mirrored - expected).max() > 1e-3
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\nd\ne\n")
    settings = ConvertSettings("float32", labels=labels, source=PLAIN)
    convert(path, tmp_path / "model.tflite", settings)
    with Classifier.open(tmp_path / "model.tflite") as classifier:
        pixels = keras_2_pixels().astype(np.uint8)
        scores = np.stack([classifier.scores(image) for image in pixels])
    assert np.abs(scores - expected).max() < 1e-5


@pytest.mark.parametrize("function", ["math.exp", "io.read_file", "py_function", "keras", 7, None])
def test_other_functions_of_keras_2_are_refused(data, tmp_path, function):
    path = Path(shutil.copy(data / "keras_2_operations.h5", tmp_path / "model.h5"))

    def change(configuration):
        text = json.dumps(configuration)
        assert '"function": "nn.relu6"' in text
        return json.loads(
            text.replace('"function": "nn.relu6"', f'"function": {json.dumps(function)}')
        )

    match = re.escape(
        f"got a TFOpLambda of Keras 2, 'tf.nn.relu6' ({function}): export a SavedModel"
    )
    refused(rewrite_h5(path, change), match)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{"start": 2, "stop": 28, "step": null}', '["some_layer", 0, 0]'),
        ('{"start": 2, "stop": 28, "step": null}', '{"start": 2.5, "stop": 28, "step": null}'),
        ('{"start": 2, "stop": 28, "step": null}', '{"start": 2}'),
        ('{"start": 2, "stop": 28, "step": null}', "null"),
        ('"bias": [', '"no_such_argument": ['),
        ('"data_format": "NHWC"', '"data_format": "other"'),
        ('"inbound_nodes": [["tf.nn.relu6", 0, 0, {', '"inbound_nodes": [["gone", 0, 0, {'),
    ],
)
def test_damaged_functions_of_keras_2(data, tmp_path, old, new):
    path = Path(shutil.copy(data / "keras_2_operations.h5", tmp_path / "model.h5"))

    def change(configuration):
        text = json.dumps(configuration)
        assert old in text
        return json.loads(text.replace(old, new))

    refused(rewrite_h5(path, change), "expected a model of Keras' own|expected layers that Keras 3")


def test_a_file_cannot_choose_a_function_itself(saved):
    def change(configuration):
        named = {"name": "odd", "function": "io.read_file", "constants": {}, "tensors": [""]}
        layer = {"class_name": "TensorFlowFunction", "config": named}
        configuration["config"]["layers"].insert(1, layer)
        return configuration

    path = rewrite(saved(sequential(), ".h5"), change)
    refused(path, "own layers: .*Exception encountered: 'io.read_file'")


@pytest.mark.parametrize(
    "configuration",
    [
        *("[]", "3", "null", "{}", '{"class_name": "Sequential"}', '{"class_name": "Functional"}'),
        '{"class_name": "Functional", "config": {"input_layers": 3, "layers": [4]}}',
        '{"class_name": "TFOpLambda"}',
        '{"class_name": "Functional", "config": {"input_layers": [], "output_layers": 5, "layers": '
        '[{"class_name": "Sequential", "config": {"layers": {}}, "inbound_nodes": 7}]}}',
    ],
)
def test_damaged_configurations_of_keras_2(data, tmp_path, configuration):
    path = Path(shutil.copy(data / "keras_2_transfer.keras", tmp_path / "model.keras"))
    refused(rewrite_keras(path, lambda _: json.loads(configuration)), "expected ")


def test_code_in_a_keras_file_of_keras_2_is_refused(data, tmp_path):
    path = Path(shutil.copy(data / "keras_2_transfer.keras", tmp_path / "model.keras"))

    def change(layer):
        def changed(configuration):
            configuration["config"]["layers"].insert(2, layer)
            return configuration

        return changed

    theirs = {"module": "their_module", "class_name": "Dense", "config": {}}
    rewrite_keras(path, change(theirs))
    refused(path, "got a custom object, their_module.Dense")
    shutil.copy(data / "keras_2_transfer.keras", path)
    rewrite_keras(path, change({"module": "keras.layers", **lambda_layer(tmp_path / "marker")}))
    refused(path, "got a Lambda layer 'hidden': --unsafe runs it")
    assert not (tmp_path / "marker").exists()


# ---------------------------------------------------------------- damaged and other files


def test_damaged_h5_files(saved, tmp_path):
    whole = saved(plain(), ".h5").read_bytes()
    archive = saved(plain()).read_bytes()
    path = tmp_path / "other.h5"
    for content, match in (
        (b"", "expected a Keras model in HDF5, got another kind of file, or an empty one"),
        (b"weights of a text file\n", "expected a Keras model in HDF5, got another kind of file"),
        (archive, "got a zip archive: unpack it first, or name it .keras"),
        (pickle.dumps({"weights": [1.0]}), "got a pickle, which could run any code"),
        (whole[: len(whole) // 2], "expected a sound HDF5 file"),
        (whole[:4000], "expected a sound HDF5 file"),
        (whole[:12], "expected a sound HDF5 file"),
    ):
        path.write_bytes(content)
        refused(path, match)


def test_weights_alone(tmp_path):
    path = tmp_path / "model.weights.h5"
    plain().save_weights(path)
    refused(path, "expected a whole model, got weights alone: save it with model.save")


@pytest.mark.parametrize(
    "configuration",
    [
        "",
        "no JSON",
        "[]",
        "3",
        "null",
        "{}",
        '{"class_name": "DepthwiseConv2D", "config": null}',
        '{"class_name": "DepthwiseConv2D"}',
        '{"class_name": 4}',
        '{"class_name": "Sequential"}',
        "[" * 100_000,
    ],
)
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_damaged_configurations(saved, suffix, configuration):
    import h5py

    path = saved(plain(), suffix)
    if suffix == ".h5":
        with h5py.File(path, "r+") as file:
            del file.attrs["model_config"]
            file.attrs["model_config"] = configuration[:60_000]
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", configuration)
    refused(path, "expected ")


def test_a_configuration_that_is_no_text(saved):
    import h5py

    path = saved(plain(), ".h5")
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = np.arange(3)
    refused(path, "expected JSON in its model_config")


def test_damaged_keras_files(saved, tmp_path):
    whole = saved(plain()).read_bytes()
    path = tmp_path / "other.keras"
    for content in (b"", b"some text\n", whole[: len(whole) // 2], b"PK\x03\x04"):
        path.write_bytes(content)
        refused(path, "expected a Keras 3 file, a zip archive with config.json: ")
    path.write_bytes(whole)
    rewrite_keras(path, lambda configuration: configuration)
    with zipfile.ZipFile(path) as archive:
        configuration = archive.read("config.json")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", configuration)
    refused(path, "expected a model of Keras' own layers")  # the weights are missing


# ---------------------------------------------------------------- inputs that are no RGB square


@pytest.mark.parametrize("shape", [(20, 28, 3), (24, 24, 1), (20, 28, 1)])
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_grey_and_rectangular_inputs(shape, mode, tmp_path):
    import keras
    from PIL import Image

    keras.utils.set_random_seed(6)
    layers = keras.layers
    inputs = keras.Input(shape)
    x = layers.Conv2D(6, 3, activation="relu")(layers.Rescaling(1 / 255)(inputs))
    outputs = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(x))
    model = spread(keras.Model(inputs, outputs))
    model.save(tmp_path / "model.keras")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    random = np.random.default_rng(2)
    for number in range(24):
        pixels = coloured(random.integers(0, 256, 3), random, 28)[: shape[0], : shape[1]]
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"images/{number}.png")
    settings = ConvertSettings(
        mode, labels=tmp_path / "labels.txt", representative_images=tmp_path / "images"
    )
    made = convert(tmp_path / "model.keras", tmp_path / "model.tflite", settings)
    spec = made.card.preprocess
    assert (spec.height, spec.width, spec.channels) == shape
    with Classifier.open(tmp_path / "model.tflite") as classifier:
        for path in sorted((tmp_path / "images").iterdir())[:5]:
            image = Image.open(path)
            levels = np.asarray(image.convert("L") if shape[2] == 1 else image, np.float32)
            expected = np.asarray(model(levels.reshape(1, *shape), training=False))[0]
            allowed = 1e-4 if mode == "float32" else 0.05
            assert np.abs(classifier.scores(path) - expected).max() < allowed
