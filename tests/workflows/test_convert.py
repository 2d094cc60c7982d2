"""`convert`, `compare` and `translate`: what is checked before a file is kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
from drawing import draw_folder
from training_fixtures import SIDE, Listener, colour_network, package
from typer.testing import CliRunner

from converters import convert_model
from converters.sources.source import SourceOptions
from kit.errors import AccuracyError, ConversionError, DataError, OutputExistsError
from kit.export.exported import Gates, summary, verification
from kit.export.modes import AUTO_MODES
from kit.model.model_file import read_model_file
from kit.model.spec import QUANTIZATION_MODES, PreprocessSpec
from kit.runtime import Classifier
from kit.runtime.self_test import self_test
from kit.workflows.compare import compare
from kit.workflows.convert import ConvertSettings, convert, translate

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf

# Pixels are divided by 255, which the network does not say itself.
UNIT = SourceOptions(mean=(0.0, 0.0, 0.0), std=(255.0, 255.0, 255.0))
IMAGES_A_CLASS = 30


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A Keras file that answers the strongest channel, with its labels and photographs."""
    folder = tmp_path_factory.mktemp("source")
    colour_network().save(folder / "model.keras")
    (folder / "labels.txt").write_text("blue\ngreen\nred\n")
    classes = dict.fromkeys(("blue", "green", "red"), IMAGES_A_CLASS)
    draw_folder(folder / "images", classes, seed=4)
    return folder


@pytest.fixture
def settings(source):
    return ConvertSettings(labels=source / "labels.txt", images=source / "images", source=UNIT)


def float32_file(model):
    return convert_model(model, "float32", PreprocessSpec(SIDE))


@pytest.fixture
def breaking(monkeypatch):
    """`breaking(modes)`: files of these modes answer the label after the right one."""
    import kit.export.exporter

    def broken(*modes):
        def convert_network(network, mode, *rest):
            return next_labels if mode in modes else original(network, mode, *rest)

        original = kit.export.exporter.convert_network
        next_labels = float32_file(colour_network(("green", "red", "blue")))
        monkeypatch.setattr(kit.export.exporter, "convert_network", convert_network)

    return broken


def test_a_labelled_folder_is_enough(source, settings, tmp_path):
    """Quantisation looks at some of its images, the file is scored on the others."""
    output = tmp_path / "deep" / "model.tflite"
    made = convert(source / "model.keras", output, settings)
    total = 3 * IMAGES_A_CLASS
    assert made.evaluation.accuracy.n == total - total // 2
    assert made.evaluation.accuracy.value == 1
    assert made.agreement.n == made.evaluation.accuracy.n
    assert made.source_images == 3 + 16  # drawn patterns and photographs
    assert made.source_difference < 1e-4
    file = read_model_file(output)
    assert file.card == made.card
    assert file.card.quantization == "int8"
    assert file.card.preprocess.std == (255.0, 255.0, 255.0)
    assert file.card.metrics["images"]["n"] == made.evaluation.accuracy.n
    assert file.card.metrics["conversion"]["source_images"] == 19
    with Classifier.open(output) as classifier:
        assert all(check.passed for check in self_test(classifier))
        answer = classifier.classify(source / "images" / "red" / "000.png")
        assert answer.categories[0].label == "red"
    assert f"(N={made.agreement.n})" in summary(made)
    assert "3 golden checks passed" in verification(made)
    with pytest.raises(OutputExistsError):
        convert(source / "model.keras", output, settings)


@pytest.mark.parametrize("mode", QUANTIZATION_MODES)
def test_unlabelled_photographs_are_compared_on(source, settings, tmp_path, mode):
    settings = replace(
        settings, quantize=mode, images=None, representative_images=source / "images"
    )
    listener = Listener()
    made = convert(source / "model.keras", tmp_path / "x.tflite", settings, reporter=listener)
    assert made.evaluation is None
    assert made.agreement.top_1 == 1
    assert made.agreement.n == 3 * IMAGES_A_CLASS  # below 100: there are no others
    assert "compared on the representative images themselves" in " ".join(listener.said)
    assert "accuracy" not in summary(made)


def test_other_photographs_than_quantisation_saw(source, settings, tmp_path):
    draw_folder(tmp_path / "many", {"blue": 70, "red": 70}, seed=8)
    (tmp_path / "many" / "notes.jpg").write_text("no image")
    settings = replace(settings, images=None, representative_images=tmp_path / "many")
    listener = Listener()
    made = convert(source / "model.keras", tmp_path / "x.tflite", settings, reporter=listener)
    left_out = [line for line in listener.warned if "notes.jpg" in line]
    assert len(left_out) == 1
    assert made.agreement.n in (40, 41)  # notes.jpg is one of 141 files
    assert not any("themselves" in line for line in listener.said)


def test_without_photographs(source, settings, tmp_path):
    settings = replace(settings, images=None)
    with pytest.raises(ConversionError, match="expected representative images for int8, got none"):
        convert(source / "model.keras", tmp_path / "x.tflite", settings)
    made = convert(
        source / "model.keras", tmp_path / "x.tflite", replace(settings, quantize="float32")
    )
    assert made.agreement is None
    assert made.source_images == 3
    assert "no photographs were given" in verification(made)


@pytest.mark.parametrize("wanted", [{"gates": Gates(0.01)}, {"quantize": "auto"}])
def test_accuracy_cannot_be_asked_for_without_labelled_images(source, settings, tmp_path, wanted):
    settings = replace(settings, images=None, representative_images=source / "images", **wanted)
    with pytest.raises(ValueError, match=r"expected labelled images .*--images"):
        convert(source / "model.keras", tmp_path / "x.tflite", settings)
    assert list(tmp_path.iterdir()) == []


def test_too_few_images_to_quantise_by_and_score_on(source, settings, tmp_path):
    draw_folder(tmp_path / "few", {"blue": 10, "red": 10}, seed=8)
    with pytest.raises(DataError, match=r"more than 40 images, .* got 20"):
        convert(
            source / "model.keras",
            tmp_path / "x.tflite",
            replace(settings, images=tmp_path / "few"),
        )


# ---------------------------------------------------------------- refusals


def test_a_file_that_answers_otherwise_than_its_source(source, settings, tmp_path, breaking):
    breaking("float32")
    with pytest.raises(ConversionError, match="float32 file to give its source's scores within"):
        convert(source / "model.keras", tmp_path / "x.tflite", settings)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_fails_its_golden_checks(source, settings, tmp_path, monkeypatch):
    import kit.export.exporter

    def wrong(classifier, tolerance):
        return tuple(
            replace(check, scores=tuple(1 - score for score in check.scores))
            for check in original(classifier, tolerance)
        )

    original = kit.export.finish.make_golden
    monkeypatch.setattr(kit.export.finish, "make_golden", wrong)
    with pytest.raises(ConversionError, match=r"pass its golden checks, it fails \[0, 1, 2\]"):
        convert(source / "model.keras", tmp_path / "x.tflite", settings)
    assert list(tmp_path.iterdir()) == []


def test_a_gate(source, settings, tmp_path, breaking):
    breaking("int8")
    with pytest.raises(AccuracyError, match="int8 to lose at most"):
        convert(source / "model.keras", tmp_path / "x.tflite", replace(settings, gates=Gates(0.01)))
    assert list(tmp_path.iterdir()) == []


def test_a_runtime_that_cannot_run_it(source, settings, tmp_path):
    settings = replace(settings, quantize="int16x8", target_runtime="2.3")
    with pytest.raises(ConversionError, match=r"operators that 2\.3 has, got the int16x8 kernels"):
        convert(source / "model.keras", tmp_path / "x.tflite", settings)
    assert list(tmp_path.iterdir()) == []
    made = convert(
        source / "model.keras", tmp_path / "x.tflite", replace(settings, target_runtime="2.4")
    )
    assert made.card.minimum_runtime == "2.4.0"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"target_runtime": "1.0"}, r"expected a target runtime of 2\.3, .*got '1\.0'"),
        ({"quantize": "int4"}, "expected quantisation modes of"),
        ({"target": "java"}, "expected a target of tflite, c, onnx, got 'java'"),
        ({"source": SourceOptions(mean=(0.0, 0.0, 0.0))}, "expected mean and std together"),
    ],
)
def test_impossible_settings(wrong, said):
    with pytest.raises(ValueError, match=said):
        ConvertSettings(**wrong)


def test_a_run_says_for_itself_what_it_is(finished_run, tmp_path, settings):
    for name in ("labels", "source"):
        with pytest.raises(ValueError, match="for a run, which has a card of its own, got one"):
            convert(
                finished_run.folder,
                tmp_path / "x.tflite",
                ConvertSettings(**{name: getattr(settings, name)}),
            )


# ---------------------------------------------------------------- auto and compare


def test_auto_takes_the_first_that_is_good_enough(source, settings, tmp_path, breaking):
    listener = Listener()
    settings = replace(settings, quantize="auto")
    made = convert(source / "model.keras", tmp_path / "a.tflite", settings, reporter=listener)
    assert made.mode == AUTO_MODES[0] == "int8"
    breaking("int8", "int8_float_head")
    made = convert(source / "model.keras", tmp_path / "b.tflite", settings, reporter=listener)
    assert made.mode == "int16x8"
    assert read_model_file(tmp_path / "b.tflite").card.quantization == "int16x8"
    why = [line for line in listener.said if line.startswith("auto:")]
    assert [line.split(":")[1].strip() for line in why[1:3]] == ["not int8", "not int8_float_head"]
    assert "int8 to lose at most 0.0100 of float32's accuracy, it lost" in why[1]


def test_auto_passes_over_what_the_runtime_lacks(source, settings, tmp_path, breaking):
    breaking("int8", "int8_float_head")
    settings = replace(settings, quantize="auto", target_runtime="2.3")
    made = convert(source / "model.keras", tmp_path / "x.tflite", settings)
    assert made.mode == "float16"


def test_auto_finds_none(source, settings, tmp_path, breaking):
    breaking(*AUTO_MODES)
    settings = replace(settings, quantize="auto")
    with pytest.raises(AccuracyError, match="none does; nothing was kept: use float32"):
        convert(source / "model.keras", tmp_path / "x.tflite", settings)
    assert list(tmp_path.iterdir()) == []


def test_compare(source, settings, monkeypatch):
    import kit.export.exporter

    def without_float16(network, mode, *rest):
        if mode == "float16":
            raise ConversionError("expected something else")
        return original(network, mode, *rest)

    original = kit.export.exporter.convert_network
    monkeypatch.setattr(kit.export.exporter, "convert_network", without_float16)
    rows = {row.mode: row for row in compare(source / "model.keras", settings)}
    assert list(rows) == list(QUANTIZATION_MODES)
    assert rows["float16"].to_json() == {
        "quantization": "float16",
        "error": "expected something else",
    }
    assert rows["float32"].latency_ratio == 1
    for mode in ("float32", "dynamic", "int8", "int8_float_head", "int16x8"):
        row = rows[mode].to_json()
        assert row["accuracy"] == 1 and row["n"] == 45
        assert row["size_bytes"] == len(rows[mode].exported.content)
        assert row["latency_ratio"] > 0


# ---------------------------------------------------------------- other targets


def test_c_source_of_a_conversion_and_of_a_packaged_file(source, settings, tmp_path):
    convert(source / "model.keras", tmp_path / "one", replace(settings, target="c"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.c", "one.h"]
    convert(source / "model.keras", tmp_path / "file.tflite", settings)
    paths = translate(tmp_path / "file.tflite", tmp_path / "two", "c")
    assert [path.name for path in paths] == ["two.h", "two.c"]
    assert '"green"' in (tmp_path / "two.c").read_text()
    with pytest.raises(OutputExistsError, match=r"two\.h"):
        translate(tmp_path / "file.tflite", tmp_path / "two", "c")


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_onnx(source, settings, tmp_path, mode):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    settings = replace(settings, quantize=mode, target="onnx")
    made = convert(source / "model.keras", tmp_path / "model.onnx", settings)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    image = session.get_inputs()[0]
    pixels = np.zeros((1, SIDE, SIDE, 3), np.uint8 if mode == "int8" else np.float32)
    pixels[..., 1] = 255 if mode == "int8" else 1
    scores = session.run(None, {image.name: pixels})[0][0]
    assert made.card.labels[int(scores.argmax())] == "green"
    properties = session.get_modelmeta().custom_metadata_map
    assert json.loads(properties["kit.json"])["quantization"] == mode
    assert properties["labels.txt"].split("\n") == ["blue", "green", "red"]


def test_onnx_runtime_must_agree(source, settings, tmp_path):
    pytest.importorskip("tf2onnx")
    from converters.targets.onnx_model import onnx_model

    made = convert(source / "model.keras", tmp_path / "x.tflite", settings)
    scores = tuple(1 - score for score in made.card.golden[0].scores)
    wrong = replace(
        made.card, golden=(replace(made.card.golden[0], scores=scores),), model_sha256=""
    )
    with pytest.raises(ConversionError, match="ONNX Runtime to answer as"):
        onnx_model(package(float32_file(colour_network()), replace(wrong, quantization="float32")))


# ---------------------------------------------------------------- the command line


def kit(*arguments):
    from kit.cli.app import app

    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def flags(source):
    return ("--labels", source / "labels.txt", "--mean", "0", "--std", "255")


def test_convert_from_the_command_line(source, tmp_path):
    output = tmp_path / "model.tflite"
    given = (source / "model.keras", *flags(source), "--images", source / "images")
    done = kit("convert", *given, "--output", output, "--score-threshold", "0.4")
    assert done.exit_code == 0, done.output
    first, second = done.stdout.strip().splitlines()
    assert first.startswith("int8: ") and "accuracy 1.0000 (" in first
    assert second.startswith("checked: the float32 file against its source")
    assert read_model_file(output).card.score_threshold == 0.4
    done = kit("convert", *given, "--output", output, "--format", "json", "--force")
    facts = json.loads(done.stdout)
    assert facts["accuracy"] == 1 and facts["n"] == 45
    assert facts["quantization"] == "int8" and facts["size_bytes"] == output.stat().st_size
    assert facts["conversion"]["source_images"] == 19


def test_compare_from_the_command_line(source):
    given = (source / "model.keras", *flags(source), "--images", source / "images", "--compare")
    done = kit("convert", *given)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:7]] == list(QUANTIZATION_MODES)
    assert "(N=45)" not in lines[1] and "N=45)" in lines[1]
    done = kit("convert", *given, "--format", "json")
    assert [row["quantization"] for row in json.loads(done.stdout)["modes"]] == list(
        QUANTIZATION_MODES
    )


@pytest.mark.parametrize("both", [(), ("--output", "x.tflite", "--compare")])
def test_output_or_compare(source, both):
    done = kit("convert", source / "model.keras", *flags(source), *both)
    assert done.exit_code == 2
    got = "both" if both else "neither"
    assert f"expected --output FILE or --compare, which writes no file, got {got}" in done.stderr


@pytest.mark.parametrize(
    "ignored",
    [
        ("--quantize", "int8"),
        ("--assert-accuracy-at-least", "0.9"),
        ("--max-accuracy-drop", "0.1"),
        ("--target-runtime", "2.14"),
        ("--images", "."),
        ("--labels", "labels.txt"),
        ("--mean", "0", "--std", "1"),
        ("--score-threshold", "0.4"),
        ("--format", "text"),
        ("--unsafe",),
    ],
)
def test_what_a_packaged_file_cannot_be_asked_for(data, tmp_path, ignored):
    output, file = tmp_path / "model", data / "red_green_blue_float32.tflite"
    done = kit("convert", file, "--target", "c", "--output", output, *ignored)
    assert done.exit_code == 2
    assert f"expected no {ignored[0]} for a .tflite file, which --target c takes" in done.stderr
    assert not list(tmp_path.iterdir())
    done = kit("convert", file, "--target", "c", "--output", output, "--force")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    "ignored",
    [
        ("--quantize", "int8"),
        ("--target", "onnx"),
        ("--assert-accuracy-at-least", "0.9"),
        ("--max-accuracy-drop", "0.1"),
        ("--screening",),
        ("--force",),
    ],
)
def test_what_a_comparison_cannot_be_asked_for(ignored):
    done = kit("convert", "run", "--compare", *ignored)
    assert done.exit_code == 2
    assert f"expected {ignored[0]} with --output FILE, got --compare" in done.stderr


def test_a_missing_label_file_is_hinted_at(source, tmp_path):
    done = kit("convert", source / "model.keras", "--output", tmp_path / "x.tflite")
    assert done.exit_code == 1
    last = done.stderr.strip().splitlines()[-1]
    assert "expected a label for each of its scores, got none: --labels FILE (is it " in last
    assert last.count("labels.txt") == 1
