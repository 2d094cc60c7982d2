"""Names of files that are no text, through every command that writes them down."""

import csv
import io
import json
import os

import pytest
from drawing import draw_folder
from typer.testing import CliRunner

from kit.cli.app import app
from kit.device.command import main
from kit.evaluation import evaluate_model
from kit.runtime import Classifier
from kit.training.fitting import FitSettings
from kit.workflows.run_folder import read_run
from kit.workflows.train import TrainSettings, train

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf

ODD = tuple(
    os.fsdecode(name) for name in (b"caf\xe9.png", b"caf\xe8.png", b'a\nb, "c".png', b"\x1b[1m.png")
)
SHOWN = ("caf\\udce9.png", "caf\\udce8.png")


@pytest.fixture(scope="module")
def run(tmp_path_factory, small_backbone):
    folder = tmp_path_factory.mktemp("odd")
    images = folder / "images"
    draw_folder(images, {"blue": 12, "red": 12}, seed=5)
    # The labels of these are wrong, so that every list of mistakes has their names.
    for name, path in zip(ODD, sorted((images / "blue").iterdir()), strict=False):
        path.rename(images / "red" / name)
    settings = TrainSettings(
        backbone="mobilenet_v1",
        alpha=0.25,
        input_resolution=small_backbone.choice.input_resolution,
        weights=str(small_backbone.weights.path),
        fitting=FitSettings(epochs=3),
        quantize=("float32",),
    )
    train(images, folder / "run", settings, cache=folder / "cache")
    return images, folder / "run"


def invoke(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_run_names_every_file(run):
    images, folder = run
    split = read_run(folder)["split"]
    assert {f"red/{name}" for name in ODD} <= {*split}
    assert all((images / path).is_file() for path in split)
    for name in ("report.html", "settings.toml", "misclassified.csv", "run.json"):
        (folder / name).read_bytes().decode("utf-8")


def test_evaluate(run, tmp_path):
    images, folder = run
    with Classifier.open(folder / "model_float32.tflite") as classifier:
        found = evaluate_model(classifier, images)
    assert {f"red/{name}" for name in ODD} <= {*found.paths}
    wrong, report = tmp_path / "wrong.csv", tmp_path / "report.html"
    model = folder / "model_float32.tflite"
    out = invoke("evaluate", model, images, "--misclassified", wrong, "--report", report,
                 "--format", "json")  # fmt: skip
    mistaken = [mistake.image for mistake in found.evaluation.misclassified]
    assert [row["image"] for row in json.loads(out)["misclassified"]] == mistaken
    rows = list(csv.DictReader(io.StringIO(wrong.read_text("utf-8"), newline="")))
    assert len({row["image"] for row in rows}) == len(mistaken)
    report.read_bytes().decode("utf-8")


@pytest.mark.parametrize("style", ["text", "json", "csv"])
def test_label(run, capsys, style):
    images, folder = run
    arguments = ["label", folder / "model_float32.tflite", images / "red", "--format", style]
    out = invoke(*arguments)
    assert main([str(part) for part in arguments[1:]]) == 0
    assert capsys.readouterr().out == out
    names = sorted(str(path) for path in (images / "red").iterdir())
    if style == "json":
        assert sorted(json.loads(line)["image"] for line in out.splitlines()) == names
    elif style == "csv":
        rows = csv.DictReader(io.StringIO(out, newline=""))
        assert len({row["image"] for row in rows}) == len(names)
    else:
        assert len(out.splitlines()) == len(names)
        assert "a\\nb" in out and "\x1b" not in out
    if style != "json":
        assert all(name in out for name in SHOWN)


@pytest.mark.slow
def test_sweep(run, tmp_path, small_backbone, own_cache):
    images, _ = run
    out = tmp_path / "sweep"
    invoke(
        *("sweep", images, "--output", out, "--alpha", "0.25", "--epochs", "3", "--runs", "2"),
        *("--input-resolution", small_backbone.choice.input_resolution, "--quantize", "float32"),
        *("--weights", small_backbone.weights.path),
    )
    for path in out.rglob("*.json"):
        json.loads(path.read_bytes())
