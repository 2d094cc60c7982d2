"""Models that others made, of every form: labelled as their own graphs say, with no card."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from kit.device.benchmark import benchmark
from kit.device.command import main
from kit.errors import ModelFileError
from kit.model.cost import count_file
from kit.model.model_file import read_model_file
from kit.model.spec import PreprocessSpec
from kit.runtime import Classifier
from kit.workflows.package import PackageSettings, package_model

tf = pytest.importorskip("tensorflow", reason="needs the extra train")

HEIGHT, WIDTH = 12, 20
LABELS = ("a", "b", "c")
WEIGHTS = np.random.default_rng(3).normal(0, 0.02, (3, 3)).astype(np.float32)
PIXELS = np.random.default_rng(5).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)


def logits(image, width=3):
    """Means of the channels, through a dense layer."""
    image = tf.nn.conv2d(image, np.eye(image.shape[-1], dtype=np.float32)[None, None], 1, "SAME")
    means = tf.reduce_mean(image, [1, 2])
    return tf.matmul(means, WEIGHTS[: image.shape[-1], :width]) + 0.125


def expected_logits(width=3):
    means = PIXELS.astype(np.float64).mean(axis=(0, 1))
    return means @ WEIGHTS[:, :width] + 0.125


def softmax(values):
    powers = np.exp(values - np.max(values))
    return powers / powers.sum()


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def converted(function, shape=(1, HEIGHT, WIDTH, 3)):
    signature = tf.TensorSpec(shape, tf.float32, name="image")
    made = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(function).get_concrete_function(signature)]
    )
    return made.convert()


@pytest.fixture
def write(tmp_path):
    def written(content, name="model.tflite"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return written


AS_THEY_ARE = {"mean": (0.0,), "std": (1.0,)}


def scores_of(path, labels=LABELS, **options):
    with Classifier.open(path, labels=labels, **AS_THEY_ARE, **options) as classifier:
        return classifier.scores(PIXELS), classifier


def packaged(path, tmp_path, labels=LABELS, **options):
    """`kit package`: the scores of the packaged file, and its card."""
    names = tmp_path / "labels.txt"
    names.write_text("".join(f"{label}\n" for label in labels))
    output = tmp_path / "packaged.tflite"
    card = package_model(path, output, PackageSettings(names, **AS_THEY_ARE, **options), force=True)
    with Classifier.open(output) as classifier:
        assert read_model_file(output).card == card
        return classifier.scores(PIXELS), card


ENDINGS = {
    "softmax": (lambda x: tf.nn.softmax(logits(x)), softmax(expected_logits()), "scores", ""),
    "spelt out": (
        lambda x: (tf.exp(logits(x))) / tf.reduce_sum(tf.exp(logits(x)), axis=-1, keepdims=True),
        softmax(expected_logits()),
        "scores",
        "",
    ),
    "logits": (logits, softmax(expected_logits()), "logits", "is logits: a softmax is applied"),
    "reshaped logits": (
        lambda x: tf.reshape(logits(x), [1, 1, 1, 3]),
        softmax(expected_logits()),
        "logits",
        "is logits",
    ),
    "log softmax": (
        lambda x: tf.nn.log_softmax(logits(x)),
        softmax(expected_logits()),
        "logits",
        "of LOG_SOFTMAX, is logits",
    ),
    "sigmoids": (
        lambda x: tf.nn.sigmoid(logits(x)),
        sigmoid(expected_logits()),
        "independent_scores",
        "a sigmoid of its own",
    ),
    "one sigmoid": (
        lambda x: tf.nn.sigmoid(logits(x, 1)),
        [1 - sigmoid(expected_logits(1)[0]), sigmoid(expected_logits(1)[0])],
        "probability",
        "becomes the scores of two labels",
    ),
    "one logit": (
        lambda x: logits(x, 1),
        [1 - sigmoid(expected_logits(1)[0]), sigmoid(expected_logits(1)[0])],
        "logit",
        "becomes the scores of two labels",
    ),
    "unknown": (
        lambda x: tf.nn.relu(logits(x)) / 100,
        np.maximum(expected_logits(), 0) / 100,
        None,
        "",
    ),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_how_the_graph_ends(write, tmp_path, name):
    function, expected, kind, said = ENDINGS[name]
    path = write(converted(function))
    labels = ("no", "yes") if len(expected) == 2 else LABELS
    scores, classifier = scores_of(path, labels)
    if kind is not None:
        assert classifier.output_kind == kind
        assert np.abs(scores - expected).max() < 1e-5
        assert said in " ".join(classifier.remarks)
        assert bool(said) == bool(classifier.remarks)
    again, card = packaged(path, tmp_path, labels)
    assert np.array_equal(again, scores)
    assert card.output_kind == classifier.output_kind


def test_what_cannot_be_told_is_said(write):
    path = write(converted(lambda x: tf.nn.relu(logits(x))))
    scores, classifier = scores_of(path)
    (remark,) = classifier.remarks
    assert "can't be told whether it is scores or logits: taken as scores" in remark
    assert np.abs(scores - np.maximum(expected_logits(), 0)).max() < 1e-5
    scores, classifier = scores_of(path, output_kind="logits")
    assert np.abs(scores - softmax(np.maximum(expected_logits(), 0))).max() < 1e-5
    assert classifier.remarks == ()


def test_a_softmax_of_one_number(write):
    with pytest.raises(ModelFileError, match="a softmax of one number, which is always 1"):
        scores_of(write(converted(lambda x: tf.nn.softmax(logits(x, 1)))), ("no", "yes"))


def test_labels_for_one_output(write):
    path = write(converted(lambda x: tf.nn.sigmoid(logits(x, 1))))
    with pytest.raises(ModelFileError, match="expected 2 labels, one for each score, got 3"):
        scores_of(path)
    with pytest.raises(ModelFileError, match="expected an output kind for 1 numbers, got logits"):
        scores_of(path, ("no", "yes"), output_kind="logits")


def test_a_rectangle(write, tmp_path):
    path = write(converted(lambda x: tf.nn.softmax(logits(x))))
    _, classifier = scores_of(path)
    spec = PreprocessSpec(HEIGHT, mean=(0.0,) * 3, std=(1.0,) * 3, input_width=WIDTH)
    assert classifier.preprocess == spec
    _, card = packaged(path, tmp_path)
    assert card.preprocess == spec


def test_grey(write, tmp_path):
    path = write(converted(lambda x: tf.nn.softmax(logits(x)), (1, HEIGHT, WIDTH, 1)))
    scores, classifier = scores_of(path)
    grey = np.asarray(Image.fromarray(PIXELS).convert("L"), np.float64).mean()
    assert np.abs(scores - softmax(grey * WEIGHTS[0] + 0.125)).max() < 1e-5
    assert classifier.preprocess.channels == 1
    again, card = packaged(path, tmp_path)
    assert np.array_equal(again, scores)
    assert card.preprocess.channels == 1


def channels_first(image):
    return tf.nn.softmax(tf.matmul(tf.reduce_mean(image, [2, 3]), WEIGHTS) + 0.125)


@pytest.mark.parametrize("shape", [(1, 3, HEIGHT, WIDTH), (1, 3, None, None)])
def test_channels_first(write, tmp_path, shape):
    options = {} if shape[2] else {"input_resolution": HEIGHT}
    path = write(converted(channels_first, shape))
    scores, classifier = scores_of(path, **options)
    assert classifier.preprocess.layout == "NCHW"
    again, card = packaged(path, tmp_path, **options)
    assert np.array_equal(again, scores)
    if shape[2]:
        assert np.abs(scores - softmax(expected_logits())).max() < 1e-5
    assert (card.preprocess.height, card.preprocess.layout) == (HEIGHT, "NCHW")


def test_a_batch_of_8(write, tmp_path):
    path = write(converted(lambda x: tf.nn.softmax(logits(x)), (8, HEIGHT, WIDTH, 3)))
    scores, _ = scores_of(path)
    assert np.abs(scores - softmax(expected_logits())).max() < 1e-5
    again, _ = packaged(path, tmp_path)
    assert np.array_equal(again, scores)


def test_a_batch_of_8_that_the_graph_insists_on(write, tmp_path):
    def function(image):
        rows = tf.reshape(tf.nn.softmax(logits(image)), [8, 3])
        return rows * tf.constant(np.linspace(1, 1.5, 8, dtype=np.float32)[:, None])

    path = write(converted(function, (8, HEIGHT, WIDTH, 3)))
    scores, _ = scores_of(path, output_kind="scores")
    assert np.abs(scores - softmax(expected_logits())).max() < 1e-5
    files = []
    for number in range(3):
        files.append(tmp_path / f"{number}.png")
        Image.fromarray(np.roll(PIXELS, number, axis=2)).save(files[-1])
    with Classifier.open(path, labels=LABELS, **AS_THEY_ARE, output_kind="scores") as classifier:
        many = list(classifier.scores_of_files(files))
        assert np.array_equal(many[0], scores)
        assert not np.allclose(many[1], scores)


def test_an_open_size(write, tmp_path, data):
    path = write(converted(lambda x: tf.nn.softmax(logits(x)), (1, None, None, 3)))
    with pytest.raises(ModelFileError, match="left open: give --input-resolution"):
        scores_of(path)
    scores, classifier = scores_of(path, input_resolution=16)
    assert classifier.preprocess.input_resolution == 16
    again, card = packaged(path, tmp_path, input_resolution=16)
    assert np.array_equal(again, scores)
    assert card.preprocess.input_resolution == 16
    # The packaged file leaves nothing open, so that any runtime takes it.
    interpreter = tf.lite.Interpreter(str(tmp_path / "packaged.tflite"))
    assert interpreter.get_input_details()[0]["shape_signature"].tolist() == [1, 16, 16, 3]
    with pytest.raises(ModelFileError, match="own input resolution, 16, got --input-resolution 8"):
        scores_of(data / "plain_float32.tflite", input_resolution=8)


def test_an_embedding_beside_the_scores(write, tmp_path):
    def function(image):
        means = tf.reduce_mean(image, [1, 2], name="embedding")
        return {"embedding": means * 2, "scores": tf.nn.softmax(logits(image))}

    path = write(converted(function))
    with pytest.raises(ModelFileError, match=r"expected one output, got 2: .*--output-tensor"):
        scores_of(path)
    details = tf.lite.Interpreter(str(path)).get_output_details()
    (name,) = (
        detail["name"]
        for number, detail in enumerate(details)
        if read_model_file(path).endings[detail["index"]].kind == "softmax"
    )
    scores, _ = scores_of(path, output_tensor=name)
    assert np.abs(scores - softmax(expected_logits())).max() < 1e-5
    with pytest.raises(ModelFileError, match=r"expected --output-tensor to be one of .*got 'x'"):
        scores_of(path, output_tensor="x")
    again, _ = packaged(path, tmp_path, output_tensor=name)
    assert np.array_equal(again, scores)
    assert len(tf.lite.Interpreter(str(tmp_path / "packaged.tflite")).get_output_details()) == 1


def test_an_output_by_its_name_in_the_signature(tmp_path):
    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, HEIGHT, WIDTH, 3], tf.float32)])
        def serve(self, image):
            means = tf.reduce_mean(image, [1, 2])
            return {"embedding": means * 2, "probabilities": tf.nn.softmax(logits(image))}

    module = Module()
    tf.saved_model.save(module, str(tmp_path / "saved"), signatures=module.serve)
    made = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "saved")).convert()
    path = tmp_path / "model.tflite"
    path.write_bytes(made)
    with pytest.raises(ModelFileError, match=r"got 2: .*probabilities \[1, 3\].*--output-tensor"):
        scores_of(path)
    scores, _ = scores_of(path, output_tensor="probabilities")
    assert np.abs(scores - softmax(expected_logits())).max() < 1e-5
    again, _ = packaged(path, tmp_path, output_tensor="probabilities")
    assert np.array_equal(again, scores)


def test_the_command_says_what_was_found(write, tmp_path, capsys):
    path = write(converted(logits))
    photo = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(photo)
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps({"c": 2, "a": 0, "b": 1}))
    options = ["--labels", str(labels), "--mean", "0", "--std", "1", "--format", "json"]
    assert main([str(path), str(photo), *options]) == 0
    out, err = capsys.readouterr()
    found = {c["label"]: c["score"] for c in json.loads(out)["categories"]}
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert err == (
        f"warning: {path}: its output, of FULLY_CONNECTED, is logits: a softmax is applied to it\n"
    )


def test_other_targets_of_what_is_packaged(write, tmp_path):
    """ONNX Runtime has to repeat the golden checks; the C sources describe scores alone."""
    from kit.errors import ConversionError
    from kit.workflows.convert import translate

    packaged(write(converted(logits)), tmp_path)
    with pytest.raises(ConversionError, match="expected a square input in RGB, channels last, and"):
        translate(tmp_path / "packaged.tflite", tmp_path / "model", "c")
    pytest.importorskip("tf2onnx", reason="needs the extra onnx")
    assert translate(tmp_path / "packaged.tflite", tmp_path / "model.onnx", "onnx")


# ---------------------------------------------------------------- Teachable Machine


def archive(model, labels="0 Class 1\n1 Class 2\n2 My cat\n", name="model_unquant.tflite"):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        made.writestr(f"converted_tflite/{name}", model)
        made.writestr("converted_tflite/labels.txt", labels)
    return content.getvalue()


def test_a_teachable_machine_archive(write, tmp_path):
    """Its labels are numbered, it crops, and it gives float models -1 to 1."""
    side = 12
    model = converted(lambda x: tf.nn.softmax(100 * logits(x)), (1, side, side, 3))
    path = write(archive(model), "converted_tflite.zip")
    with Classifier.open(path) as classifier:
        assert classifier.labels == ("Class 1", "Class 2", "My cat")
        assert classifier.preprocess == PreprocessSpec(
            side, "crop", mean=(127.5,) * 3, std=(127.5,) * 3
        )
        scores = classifier.scores(PIXELS)
        seen = PIXELS[:, 4:16].astype(np.float64).mean(axis=(0, 1)) / 127.5 - 1
        assert np.abs(scores - softmax(100 * (seen @ WEIGHTS + 0.125))).max() < 1e-4
    output = tmp_path / "out.tflite"
    card = package_model(path, output)
    assert card.labels == ("Class 1", "Class 2", "My cat")
    with Classifier.open(output) as classifier:
        assert np.array_equal(classifier.scores(PIXELS), scores)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (archive(b"x", name="model.json"), "expected an export of Teachable Machine"),
        (archive(b"x" * 100), "got another kind of file"),
        (archive(b"x")[:-30], "expected a sound zip archive"),
    ],
)
def test_archives_that_are_none(write, content, said):
    with pytest.raises(ModelFileError, match=said) as raised:
        Classifier.open(write(content, "model.zip"))
    assert "\n" not in str(raised.value)


# ---------------------------------------------------------------- kit evaluate


@pytest.fixture
def photographs(tmp_path):
    for number, label in enumerate(LABELS):
        for copy in range(3):
            path = tmp_path / "photographs" / label / f"{copy}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.roll(PIXELS, 3 * number + copy, axis=1)).save(path)
    return tmp_path / "photographs"


def evaluate(*arguments):
    from typer.testing import CliRunner

    from kit.cli.app import app

    given = [str(part) for part in arguments]
    return CliRunner().invoke(app, ["evaluate", *given, "--mean", "0", "--std", "1"])


def test_evaluate_by_the_softmax_of_logits(write, tmp_path, photographs):
    path = write(converted(logits))
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    result = evaluate(path, photographs, "--labels", labels, "--format", "json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["n"] == 9
    # The columns are only moved, so every image has the same means and the same scores.
    scores = softmax(expected_logits())
    assert found["log_loss"] == pytest.approx(-np.log(scores).mean(), abs=1e-4)
    assert "is logits: a softmax is applied" in result.stderr


@pytest.fixture
def reported(tmp_path, photographs):
    """Evaluates a model with a report, which has a picture and a heat map of each wrong answer."""

    def run(path, *options):
        page = tmp_path / "report.html"
        labels = tmp_path / "labels.txt"
        labels.write_text("a\nb\nc\n")
        done = evaluate(path, photographs, "--labels", labels, "--report", page, *options)
        assert done.exit_code == 0, done.output
        assert page.read_text("utf-8").count("<img") == 2 * 6  # one label of three is right

    return run


def test_a_report_on_a_teachable_machine_archive(write, reported):
    model = converted(lambda x: tf.nn.softmax(logits(x)))
    reported(write(archive(model), "converted_tflite.zip"))


def test_a_report_on_a_model_that_leaves_its_size_open(data, reported):
    reported(data / "any_size.tflite", "--input-resolution", 32)


def test_a_report_on_a_model_with_several_outputs(write, reported):
    def function(image):
        means = tf.reduce_mean(image, [1, 2], name="embedding")
        return {"embedding": means * 2, "scores": tf.nn.softmax(logits(image))}

    path = write(converted(function))
    endings = read_model_file(path).endings
    (name,) = (
        output["name"]
        for output in tf.lite.Interpreter(str(path)).get_output_details()
        if endings[output["index"]].kind == "softmax"
    )
    reported(path, "--output-tensor", name)


def test_a_benchmark_of_a_teachable_machine_archive(write):
    path = write(archive(converted(logits, (1, 12, 12, 3))), "converted_tflite.zip")
    found = benchmark(path, most_threads=1, runs=1, warm_ups=0)
    with Classifier.open(path) as classifier:
        assert found.cost == count_file(classifier.file.path)


def test_a_multi_label_model_is_not_evaluated_by_its_best_label(write, tmp_path, photographs):
    path = write(converted(lambda x: tf.nn.sigmoid(logits(x))))
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    result = evaluate(path, photographs, "--labels", labels)
    assert result.exit_code == 1
    assert "got a multi-label model" in result.stderr and "Traceback" not in result.output


def test_a_model_that_ends_the_process_is_a_sentence(write, tmp_path, monkeypatch):
    from kit.errors import InferenceError
    from kit.runtime import probe

    path = write(converted(logits))
    (tmp_path / "sitecustomize.py").write_text(
        "import os, kit.runtime.interpreter as i\ni._interpreter = lambda *given: os.abort()\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InferenceError, match=r"it ends the process \(SIGABRT\): the file is"):
        probe.check_survives(path)
    names = tmp_path / "labels.txt"
    names.write_text("a\nb\nc\n")
    with pytest.raises(InferenceError, match="ends the process"):
        package_model(path, tmp_path / "out.tflite", PackageSettings(names, **AS_THEY_ARE))
    assert not (tmp_path / "out.tflite").exists()
