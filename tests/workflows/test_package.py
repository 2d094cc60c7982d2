"""`kit package`: other people's .tflite files get labels, metadata and a card, nothing else."""

import json
import zipfile

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from typer.testing import CliRunner

from converters.model_object import from_bytes
from converters.packaging import add_metadata, quantization_of
from kit.cli.app import app
from kit.errors import (
    ConversionError,
    InferenceError,
    KitError,
    ModelFileError,
    OutputExistsError,
)
from kit.model.model_file import append_files, read_model_file
from kit.model.spec import ModelCard, PreprocessSpec
from kit.runtime import Classifier
from kit.runtime.self_test import self_test
from kit.workflows.package import PackageSettings, package_model

NORMALISED = {"mean": (127.5,), "std": (127.5,)}


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("red\ngreen\nblue\n")
    return path


def buffers(path):
    """Everything that a model stores, but for metadata."""
    model = from_bytes(path.read_bytes())
    stored = [b"" if buffer.data is None else bytes(buffer.data) for buffer in model.buffers]
    return [content for content in stored if content[4:8] != b"M001"]


def operators(path):
    """Each operator with its tensors' names, types and quantisation."""
    model = from_bytes(path.read_bytes())
    graph = model.subgraphs[0]
    codes = [code.builtinCode for code in model.operatorCodes]

    def told(index):
        tensor = graph.tensors[index]
        scales = getattr(tensor.quantization, "scale", None)
        return tensor.name, tensor.type, None if scales is None else scales.tolist()

    return [
        (codes[op.opcodeIndex], [told(i) for i in (*op.inputs, *op.outputs) if i >= 0])
        for op in graph.operators
    ]


def check_packaged(source, output):
    """The weights are the source's to the byte, and the file passes its own test."""
    assert buffers(output) == buffers(source)
    assert operators(output) == operators(source)
    with Classifier.open(output) as classifier:
        checks = self_test(classifier)
        assert len(checks) == 3
        assert all(check.passed for check in checks)
    file = read_model_file(output)
    assert file.card is not None
    assert file.labels == file.card.labels
    assert (output.read_bytes()[4:8], zipfile.is_zipfile(output)) == (b"TFL3", True)
    return file


# ---------------------------------------------------------------- models of the repository


@pytest.mark.parametrize(
    ("name", "given", "mode"),
    [
        ("plain_float32.tflite", NORMALISED, "float32"),
        ("plain_int8.tflite", {}, "int8"),
        ("plain_uint8.tflite", {}, "int8"),
    ],
)
def test_a_plain_model(data, labels, tmp_path, name, given, mode):
    output = tmp_path / "deep" / "packaged.tflite"
    settings = PackageSettings(
        labels, **given, fit="crop", resize="antialias", score_threshold=0.25, intended_use="Tests."
    )
    card = package_model(data / name, output, settings)
    file = check_packaged(data / name, output)
    assert [path.name for path in output.parent.iterdir()] == ["packaged.tflite"]
    assert file.card == card
    assert (card.quantization, card.labels) == (mode, ("red", "green", "blue"))
    assert (card.preprocess.fit, card.preprocess.resize) == ("crop", "antialias")
    assert file.metadata.score_threshold == card.score_threshold == 0.25
    assert card.intended_use == "Tests."
    assert card.minimum_runtime
    pixels = np.random.default_rng(1).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    with (
        Classifier.open(data / name, labels=card.labels, **given) as bare,
        Classifier.open(output) as packaged,
    ):
        assert np.array_equal(bare.scores(pixels), packaged.scores(pixels))


def test_three_values_for_a_float_model(data, labels, tmp_path):
    settings = PackageSettings(labels, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    card = package_model(data / "plain_float32.tflite", tmp_path / "out.tflite", settings)
    assert (card.preprocess.mean, card.preprocess.std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    file = read_model_file(tmp_path / "out.tflite")
    assert (file.metadata.mean, file.metadata.std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))


@pytest.mark.parametrize(("given", "kept"), [(None, 0.375), (0.25, 0.25), (0.0, 0.0)])
def test_the_threshold_of_the_metadata(data, tmp_path, given, kept):
    described = ModelCard(
        backbone="theirs",
        alpha=None,
        weights="theirs",
        quantization="float32",
        preprocess=PreprocessSpec(16, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)),
        labels=("red", "green", "blue"),
        score_threshold=0.375,
    )
    flatbuffer = add_metadata((data / "plain_float32.tflite").read_bytes(), described)
    source = tmp_path / "theirs.tflite"
    source.write_bytes(append_files(flatbuffer, {"labels.txt": b"red\ngreen\nblue\n"}))
    settings = PackageSettings(score_threshold=given)
    card = package_model(source, tmp_path / "out.tflite", settings)
    check_packaged(source, tmp_path / "out.tflite")
    assert card.score_threshold == kept
    assert (card.preprocess.mean, card.labels) == (described.preprocess.mean, described.labels)


@pytest.mark.parametrize(
    ("name", "settings", "error", "said"),
    [
        (
            "red_green_blue_int8.tflite",
            {},
            ConversionError,
            "without a card, got one that is packaged",
        ),
        ("plain_float32.tflite", {}, ModelFileError, "how its float input is normalised"),
        ("plain_float32.tflite", {"mean": (1.0,)}, ModelFileError, "mean and std together"),
        ("plain_float32.tflite", {"labels": None, **NORMALISED}, ModelFileError, "expected labels"),
        ("plain_int8.tflite", {"labels": "missing.txt"}, KitError, "No such file"),
        ("three_inputs.tflite", {}, KitError, "one input and one output, got 3"),
        ("any_size.tflite", NORMALISED, ModelFileError, "expected an input of a fixed size"),
        ("nothing.tflite", {}, ModelFileError, "expected a readable"),
    ],
)
def test_what_cannot_be_packaged(data, labels, tmp_path, name, settings, error, said):
    settings = {"labels": labels, **settings}
    if isinstance(settings["labels"], str):
        settings["labels"] = tmp_path / settings["labels"]
    before = sorted(tmp_path.iterdir())
    with pytest.raises(error, match=said) as raised:
        package_model(data / name, tmp_path / "out.tflite", PackageSettings(**settings))
    assert str(raised.value).startswith((str(data / name), str(tmp_path / "missing.txt")))
    assert "\n" not in str(raised.value)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("red\ngreen\n", "expected 3 labels, one for each score, got 2"),
        ("red\n\nblue\n", "line 2 is blank"),
        ("red\nred\nblue\n", "'red' as the labels 1 and 2"),
    ],
)
def test_wrong_labels(data, labels, tmp_path, content, said):
    labels.write_text(content)
    with pytest.raises(KitError, match=said):
        package_model(data / "plain_int8.tflite", tmp_path / "out.tflite", PackageSettings(labels))
    assert not (tmp_path / "out.tflite").exists()


def test_a_truncated_model(data, labels, tmp_path):
    whole = (data / "plain_int8.tflite").read_bytes()
    for length in (0, 10, 40, len(whole) // 2, len(whole) - 40):
        (tmp_path / "cut.tflite").write_bytes(whole[:length])
        with pytest.raises(KitError, match=r"cut\.tflite: expected "):
            package_model(tmp_path / "cut.tflite", tmp_path / "out.tflite", PackageSettings(labels))
    assert not (tmp_path / "out.tflite").exists()


def test_an_output_in_the_way(data, labels, tmp_path):
    output = tmp_path / "out.tflite"
    output.write_bytes(b"precious")
    with pytest.raises(OutputExistsError):
        package_model(data / "plain_int8.tflite", output, PackageSettings(labels))
    assert output.read_bytes() == b"precious"
    package_model(data / "plain_int8.tflite", output, PackageSettings(labels), force=True)
    check_packaged(data / "plain_int8.tflite", output)


def test_the_command(data, labels, tmp_path):
    output = tmp_path / "out.tflite"
    arguments = ["package", data / "plain_float32.tflite", "--output", output, "--labels", labels]
    arguments += ["--mean", "127.5", "--std", "127.5,127.5,127.5", "--score-threshold", "0.5"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith(f"{output}: float32, 3 labels, 3 golden checks passed; ")
    assert read_model_file(output).card.score_threshold == 0.5
    again = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert (again.exit_code, again.stdout) == (1, "")
    assert again.stderr.startswith(f"kit: {output}: expected an output that does not exist yet")
    arguments += ["--force", "--format", "json", "--fit", "pad", "--resize", "antialias"]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    told = json.loads(result.stdout)
    assert told["size_bytes"] == output.stat().st_size
    assert told["quantization"] == "float32"
    assert (told["preprocess"]["fit"], told["preprocess"]["resize"]) == ("pad", "antialias")
    wrong = CliRunner().invoke(app, [str(part) for part in [*arguments, "--mean", "1,2"]])
    assert wrong.exit_code == 2
    assert wrong.stderr.count("\n") == 1


# ---------------------------------------------------------------- quantisation, by the tensors


def model_of(*layers):
    """A flatbuffer with dense layers of these tensor types: (input, weights)."""
    from converters.model_object import to_bytes

    model = schema.ModelT()
    model.version, model.buffers = 3, [schema.BufferT(), schema.BufferT()]
    model.buffers[1].data = np.zeros(16, np.uint8)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    model.operatorCodes = [code]
    graph = schema.SubGraphT()
    graph.tensors, graph.operators = [], []
    for types in layers:
        operator = schema.OperatorT()
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.builtinOptions = schema.FullyConnectedOptionsT()
        operator.inputs, operator.outputs = [], []
        for position, kind in enumerate(types):
            tensor = schema.TensorT()
            tensor.name, tensor.shape, tensor.type, tensor.buffer = b"t", [1, 4], kind, position
            operator.inputs.append(len(graph.tensors))
            graph.tensors.append(tensor)
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [0], [0]
    model.subgraphs = [graph]
    return to_bytes(model)


F32, F16, U8, I16, I8 = 0, 1, 3, 7, 9


@pytest.mark.parametrize(
    ("layers", "mode"),
    [
        ([(F32, F32), (F32, F32)], "float32"),
        ([(F32, F32), (F32, F16)], "float16"),
        ([(F32, I8), (F32, I8)], "dynamic"),
        ([(F32, U8)], "dynamic"),
        ([(F32, I8), (F32, F32)], "dynamic"),
        ([(I8, I8), (I8, I8)], "int8"),
        ([(U8, U8)], "int8"),
        ([(I16, I8)], "int16x8"),
        ([(I8, I8), (F32, F32)], "int8_float_head"),
        ([(F32, F32), (I8, I8)], None),
        ([(I8, I8), (I16, I8)], None),
        ([(I16, I16)], None),
        ([], None),
    ],
)
def test_quantisation_by_the_layers(layers, mode):
    flatbuffer = model_of(*layers)
    if mode is None:
        with pytest.raises(ConversionError, match="expected layers"):
            quantization_of(flatbuffer)
    else:
        assert quantization_of(flatbuffer) == mode


# ---------------------------------------------------------------- models of others


@pytest.fixture(scope="module")
def models(shared):
    return shared / "models"


def test_a_float_model_needs_no_flags_afterwards(models, tmp_path):
    """tflite-support's: cheeseburger, id 934, 0.988, as with the file that has metadata."""
    source = models / "tflite-support" / "mobilenet_v1_0.25_224_1_default_1.tflite"
    settings = PackageSettings(models / "coral" / "imagenet_labels.txt", **NORMALISED)
    package_model(source, tmp_path / "out.tflite", settings)
    file = check_packaged(source, tmp_path / "out.tflite")
    assert file.metadata.mean == file.metadata.std == (127.5, 127.5, 127.5)
    with Classifier.open(tmp_path / "out.tflite", top_k=1) as classifier:
        (best,) = classifier.classify(models / "tflite-support" / "burger.jpg").categories
    assert (best.index, best.label) == (934, "cheeseburger")
    assert best.score == pytest.approx(0.988, abs=0.002)


def test_a_model_with_metadata_keeps_what_it_says(models, tmp_path):
    source = models / "tflite-support" / "mobilenet_v1_0.25_224_1_metadata_1.tflite"
    before = read_model_file(source)
    package_model(source, tmp_path / "out.tflite")
    file = check_packaged(source, tmp_path / "out.tflite")
    assert file.labels == before.labels
    assert file.card.preprocess.mean == (127.5,) * 3
    assert file.card.score_threshold == before.metadata.score_threshold
    with Classifier.open(tmp_path / "out.tflite", top_k=1) as classifier:
        (best,) = classifier.classify(models / "tflite-support" / "burger.jpg").categories
    assert best.label == "cheeseburger"


def test_a_quantised_model_of_coral(models, tmp_path):
    source = models / "coral" / "mobilenet_v1_0.25_128_quant.tflite"
    package_model(source, tmp_path / "out.tflite")
    file = check_packaged(source, tmp_path / "out.tflite")
    assert file.card.quantization == "int8"
    assert (file.card.preprocess.mean, len(file.labels)) == (None, 1001)
    with Classifier.open(tmp_path / "out.tflite", top_k=3) as classifier:
        best = classifier.classify(models / "coral" / "cat.bmp").categories
    assert {c.index: c.score for c in best}[283] == pytest.approx(0.32, abs=0.02)


def test_the_automl_labeler_keeps_its_labels(models, tmp_path):
    source = models / "tflite-support" / "automl_labeler_model.tflite"
    package_model(source, tmp_path / "out.tflite", PackageSettings(score_threshold=0.5))
    file = check_packaged(source, tmp_path / "out.tflite")
    assert file.labels == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    assert file.metadata.score_threshold == 0.5
    with pytest.raises(ConversionError, match="without a card, got one that is packaged already"):
        package_model(tmp_path / "out.tflite", tmp_path / "again.tflite")


def test_models_that_cannot_be_packaged(models, tmp_path):
    settings = PackageSettings(models / "coral" / "imagenet_labels.txt")
    for name, error, said in (
        ("keras_lstm_mnist_ptq.tflite", ModelFileError, r"got an input of \[1, 28, 28\]"),
        ("model_invoking_error.tflite", InferenceError, "it has a custom one"),
        ("cat.bmp", ModelFileError, "got another kind of file"),
    ):
        with pytest.raises(error, match=said) as raised:
            package_model(models / "coral" / name, tmp_path / "out.tflite", settings)
        assert str(raised.value).startswith(f"{models / 'coral' / name}: expected ")
    assert not list(tmp_path.iterdir())
