"""`convert` of a run: another file of it, complete or absent."""

import json
import shutil

import pytest
from training_fixtures import draw_folder

from kit.errors import (
    AccuracyError,
    ConversionError,
    DataError,
    KitError,
    OutputExistsError,
    SpecError,
)
from kit.evaluation import evaluate_model
from kit.export.exported import Gates
from kit.model.model_file import read_model_file
from kit.runtime import Classifier
from kit.workflows.convert import ConvertSettings, convert
from kit.workflows.run_folder import read_run

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def convert_run(run, output, mode, images=None, gates=None):
    return convert(run, output, ConvertSettings(mode, images, gates=gates or Gates()))


@pytest.fixture
def moved(finished_run, tmp_path):
    """A copy of run and images that a test may change."""
    shutil.copytree(finished_run.folder, tmp_path / "run")
    shutil.copytree(finished_run.images, tmp_path / "photos")
    return tmp_path


def rewrite(run, **changes):
    record = json.loads((run / "run.json").read_text("utf-8")) | changes
    (run / "run.json").write_text(json.dumps(record), "utf-8")


def test_convert_run_gives_a_file_scored_on_the_test_part(finished_run, tmp_path):
    output = tmp_path / "deep" / "model.tflite"
    made = convert_run(finished_run.folder, output, "dynamic", images=finished_run.images)
    file = read_model_file(output)
    assert output.read_bytes() == made.content
    assert names(output.parent) == ["model.tflite"]
    assert file.card.quantization == "dynamic"
    assert len(file.card.golden) == 3
    split = list(finished_run.record["split"].values())
    assert file.card.metrics["test"]["n"] == made.evaluation.accuracy.n == split.count("test")
    with pytest.raises(OutputExistsError):
        convert_run(finished_run.folder, output, "dynamic")


@pytest.mark.slow
def test_convert_run_repeats_the_file_of_training(finished_run, tmp_path):
    convert_run(finished_run.folder, tmp_path / "model.tflite", "int8")
    with Classifier.open(tmp_path / "model.tflite") as new:
        found = evaluate_model(new, finished_run.images, part="test").evaluation
    first = finished_run.result.evaluations["int8"]
    assert found.confusion == first.confusion
    assert found.mean_score_of_hits == pytest.approx(first.mean_score_of_hits, abs=1e-3)


def test_convert_run_finds_moved_images_by_option(moved):
    rewrite(moved / "run", images=str(moved / "gone"))
    with pytest.raises(DataError, match="no such folder: name theirs with --images"):
        convert_run(moved / "run", moved / "out.tflite", "float32")
    rewrite(moved / "run", images=str(moved / "photos"))
    (moved / "photos" / "red" / "000.png").unlink()
    with pytest.raises(DataError, match=r"1 are missing, such as red/000\.png: .*--images"):
        convert_run(moved / "run", moved / "out.tflite", "float32")
    assert not (moved / "out.tflite").exists()


@pytest.mark.slow
def test_convert_run_with_the_option(moved, finished_run):
    rewrite(moved / "run", images=str(moved / "gone"))
    made = convert_run(moved / "run", moved / "out.tflite", "float32", images=moved / "photos")
    assert made.evaluation == finished_run.result.evaluations["float32"]


def test_convert_run_after_a_class_was_added(moved, finished_run):
    """The scores' columns are the run's labels, whatever folders there are today."""
    draw_folder(moved / "photos", {"amber": 25}, seed=50)
    try:
        made = convert_run(moved / "run", moved / "out.tflite", "float32", images=moved / "photos")
    except DataError as error:
        assert "amber" in str(error)
    else:
        expected = finished_run.result.evaluations["float32"]
        assert made.evaluation.confusion == expected.confusion


def test_convert_run_with_a_test_image_that_broke(moved, finished_run):
    record = finished_run.record
    path = next(path for path, part in record["split"].items() if part == "test")
    (moved / "photos" / path).write_bytes(b"no image any more")
    with pytest.raises(KitError) as raised:
        convert_run(moved / "run", moved / "out.tflite", "float32", images=moved / "photos")
    # Seen before any conversion: the fingerprint differs.
    assert "--images" in str(raised.value)


@pytest.mark.slow
def test_convert_run_with_a_gate(finished_run, tmp_path):
    gates = Gates(assert_accuracy_at_least=1.0)
    with pytest.raises(AccuracyError):
        convert_run(finished_run.folder, tmp_path / "out.tflite", "float32", gates=gates)
    assert names(tmp_path) == []


def test_a_run_without_its_model(moved):
    (moved / "run" / "model.keras").write_bytes(b"no model")
    with pytest.raises(ConversionError, match=r"model\.keras: expected a Keras 3 file"):
        convert_run(moved / "run", moved / "out.tflite", "float32", images=moved / "photos")


def test_a_run_of_a_newer_kit(moved):
    rewrite(moved / "run", schema_version=2)
    with pytest.raises(SpecError, match="1 or older, got 2: update mobilenet-kit"):
        read_run(moved / "run")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "expected JSON"),
        ("[]", "expected the record of a run"),
        ('{"schema_version": 1}', "expected the record of a run"),
    ],
)
def test_a_damaged_record(tmp_path, content, said):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(SpecError, match=said):
        read_run(tmp_path)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(SpecError, match="expected a run folder that kit train wrote"):
        read_run(tmp_path)
