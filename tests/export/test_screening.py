"""Temperature and operating point: from training into the file, and out of it on the device."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from drawing import draw_folder
from training_fixtures import SIDE, colour_card, package
from typer.testing import CliRunner

from kit.data import SplitSettings
from kit.errors import DataError, SpecError
from kit.evaluation import Operation, Targets, evaluate_model
from kit.model.model_file import read_model_file
from kit.model.spec import ModelCard, OperatingPoint
from kit.runtime import Classifier
from kit.training.fitting import FitSettings
from kit.workflows.convert import ConvertSettings, convert
from kit.workflows.train import TrainSettings, train

pytest_plugins = ["training_fixtures"]

POINT = OperatingPoint("red", 0.25, 0.75, 0.9, 0.9)


def kit(*arguments):
    from kit.cli.app import app

    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# ---------------------------------------------------------------- the card


def test_an_operating_point_to_json_and_back():
    card = replace(colour_card(), operating_point=POINT)
    assert ModelCard.from_json(json.loads(json.dumps(card.to_json()))) == card
    plain = json.loads(json.dumps(colour_card().to_json()))
    assert ModelCard.from_json(plain).operating_point is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"negative_below": None}, "expected both thresholds"),
        ({"positive_from": 0.1}, "negative_below <= positive_from"),
        ({"positive": "mauve"}, "an operating point of one of the labels, got 'mauve'"),
        ({"positive": 3}, "card.operating_point.positive to be str"),
    ],
)
def test_a_wrong_operating_point(changes, said):
    card = replace(colour_card(), operating_point=POINT)
    data = json.loads(json.dumps(card.to_json()))
    data["operating_point"] |= changes
    with pytest.raises(SpecError, match=said):
        ModelCard.from_json(data)


# ---------------------------------------------------------------- the runtime


@pytest.fixture
def file(colour_flatbuffer, tmp_path):
    """Answers the strongest channel; red has an operating point."""
    path = tmp_path / "model.tflite"
    path.write_bytes(package(colour_flatbuffer, replace(colour_card(), operating_point=POINT)))
    return path


@pytest.mark.tf
@pytest.mark.parametrize(
    ("colour", "answer"),
    [((255, 0, 0), "positive"), ((0, 255, 0), "negative"), ((150, 150, 140), "uncertain")],
)
def test_the_runtime_answers(file, colour, answer):
    pixels = np.full((20, 20, 3), colour, np.uint8)
    with Classifier.open(file) as classifier:
        found = classifier.classify(pixels)
        red = classifier.scores(pixels)[classifier.labels.index("red")]
    assert found.answer == answer
    assert POINT.answer(float(red)) == answer  # the middle one is indeed between


@pytest.mark.tf
def test_the_answer_is_printed(file, colour_file, tmp_path, capsys):
    from kit.device.command import main

    image = draw_folder(tmp_path / "images", {"red": 1}) / "red" / "000.png"
    assert main([str(file), str(image)]) == 0
    assert ".png: positive: red " in capsys.readouterr().out
    assert main([str(file), str(image), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == "positive"
    assert main([str(colour_file), str(image), "--format", "json"]) == 0
    assert "answer" not in json.loads(capsys.readouterr().out)


# ---------------------------------------------------------------- training


@pytest.fixture(scope="module")
def screened(small_backbone, tmp_path_factory):
    """A run with an operating point, its images and what it was trained with."""
    base = tmp_path_factory.mktemp("screened")
    images = draw_folder(base / "images", {"blue": 60, "red": 60}, seed=6)
    for path in sorted((images / "blue").iterdir()):
        shutil.copy2(path, path.with_name(f"again-{path.name}"))
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=SIDE,
        weights=str(small_backbone.weights.path),
        split=SplitSettings(0.3, 0.3),
        fitting=FitSettings(epochs=6, learning_rate=0.01, batch_size=16),
        targets=Targets("red", 0.9, 0.9, prevalence=0.2, confidence=0.5),
    )
    result = train(images, base / "run", settings, cache=base / "cache")
    return base, result


def figures_of(result, name):
    """What the operating point does on the validation part, as the card says."""
    card = read_model_file(result.files["int8"]).card
    return card.metrics["operating_point"]["validation"][name]


@pytest.mark.tf
def test_training_chooses_an_operating_point(screened):
    base, result = screened
    card = read_model_file(result.files["int8"]).card
    point = card.operating_point
    assert (point.positive, point.target_sensitivity, point.confidence) == ("red", 0.9, 0.5)
    assert point.positives == figures_of(result, "sensitivity")["n"]
    # What is promised counts each content once, and there are two copies of each blue image.
    assert 2 * point.negatives == figures_of(result, "specificity")["n"]
    figures = card.metrics["operating_point"]
    assert figures["validation"]["sensitivity"]["value"] >= 0.9
    assert figures["validation"]["specificity"]["value"] >= 0.9
    with Classifier.open(result.files["int8"]) as classifier:
        found = evaluate_model(classifier, base / "images", part="test", prevalence=0.2)
    assert found.operation.to_json() == figures["test"]
    index = found.evaluation.labels.index("red")
    again = Operation.of(point, found.scores[:, index], found.truth == index, 0.2)
    assert again == found.operation
    assert [row.threshold for row in found.table("red")] == [step / 10 for step in range(1, 10)]
    with pytest.raises(ValueError, match="expected --positive of blue, red, got 'mauve'"):
        found.table("mauve")


@pytest.mark.tf
def test_the_temperature_is_in_the_weights(screened):
    """A softmax of the stored logits times T is what the head gave before."""
    from keras import models

    _, result = screened
    card = read_model_file(result.files["int8"]).card
    assert card.temperature > 0 and card.temperature != 1
    model = models.load_model(result.run / "model.keras", compile=False)
    pixels = np.full((1, SIDE, SIDE, 3), 0.5, np.float32)
    with Classifier.open(result.files["int8"]) as classifier:
        ours = classifier.scores(np.full((SIDE, SIDE, 3), 192, np.uint8))
    assert np.abs(np.asarray(model(pixels))[0] - ours).max() < 0.05


@pytest.mark.tf
def test_a_converted_run_has_an_operating_point_of_its_own(screened, tmp_path):
    base, result = screened
    made = convert(result.run, tmp_path / "x.tflite", ConvertSettings("float16"))
    assert made.card.operating_point.positive == "red"
    assert set(made.card.metrics["operating_point"]) == {"validation", "test"}
    done = kit("evaluate", tmp_path / "x.tflite", base / "images", "--positive", "red")
    assert "operating point: red from " in done.stdout
    assert "thresholds of red (95 % intervals" in done.stdout
    done = kit(
        *("evaluate", tmp_path / "x.tflite", base / "images", "--positive", "red"),
        *("--format", "json", "--prevalence", "0.05"),
    )
    facts = json.loads(done.stdout)
    assert len(facts["thresholds"]) == 9
    assert facts["operating_point"]["prevalence"] == 0.05


@pytest.mark.tf
def test_impossible_targets(tmp_path):
    with pytest.raises(ValueError, match="expected a target sensitivity or a target specificity"):
        Targets("red")
    for wrong in ({"sensitivity": 0.0}, {"specificity": 90}, {"sensitivity": 0.9, "prevalence": 7}):
        with pytest.raises(ValueError, match=r"expected a .*(0|90|7)"):
            Targets("red", **wrong)
    images = draw_folder(tmp_path / "images", {"blue": 40, "red": 40}, seed=6)
    with pytest.raises(DataError, match="expected --positive to be one of blue, red, got 'mauve'"):
        train(images, tmp_path / "run", TrainSettings(targets=Targets("mauve", 0.9)))
    done = kit("train", images, "--output", tmp_path / "run", "--target-sensitivity", "0.9")
    assert done.exit_code == 2
    assert "expected --positive LABEL beside a target" in done.stderr


@pytest.mark.tf
def test_a_promise_that_cannot_be_given_is_told_before_training(tmp_path):
    images = draw_folder(tmp_path / "images", {"blue": 40, "red": 40}, seed=6)
    done = kit(
        *("train", images, "--output", tmp_path / "run", "--weights", "none"),
        *("--positive", "red", "--target-sensitivity", "0.9"),
    )
    assert done.exit_code == 1
    assert "at least 29 positive images in the validation part to promise a" in done.stderr
    assert "epoch" not in done.stderr
    assert not (tmp_path / "run").exists()
    # Nor do many copies promise what few images cannot.
    for path in sorted((images / "red").iterdir()):
        for number in range(9):
            shutil.copy2(path, path.with_name(f"{number}-{path.name}"))
    with pytest.raises(DataError, match=r"at least 29 independent positives in the validation"):
        train(images, tmp_path / "run", TrainSettings(weights="none", targets=Targets("red", 0.9)))


@pytest.mark.tf
def test_the_promise_is_shown(screened):
    base, result = screened
    promise = "promises a sensitivity of 0.9 and a specificity of 0.9 with 50% confidence, on "
    model = result.files["int8"]
    assert promise in kit("info", model).stdout
    assert promise in kit("evaluate", model, base / "images", "--positive", "red").stdout
    report = " ".join(result.report.read_text("utf-8").split())
    assert "reach this with a probability of" in report


@pytest.mark.slow
@pytest.mark.tf
def test_cross_validate_from_the_command_line(screened, small_backbone, monkeypatch, tmp_path):
    """Of what is told only: heads of one epoch, and what they answer, the second time as well."""
    from kit.workflows import cross_validate as workflow

    asked, found, real = [], [], workflow.cross_validate

    def quick(images, settings, *rest, reporter):
        asked.append((images, settings, rest))
        if not found:
            short = replace(settings, fitting=replace(settings.fitting, epochs=1))
            found.append(real(images, short, *rest, reporter=reporter))
        return found[0]

    monkeypatch.setattr(workflow, "cross_validate", quick)
    base, _ = screened
    monkeypatch.setenv("KIT_CACHE_DIR", str(tmp_path))
    given = (
        *("cross-validate", base / "images", "--folds", 3, "--alpha", 0.25),
        *("--input-resolution", SIDE, "--weights", small_backbone.weights.path),
    )
    done = kit(*given)
    assert done.exit_code == 0, done.output
    assert "3 heads, 3 folds" in done.stdout
    assert "red: AUC " in done.stdout
    facts = json.loads(kit(*given, "--format", "json").stdout)
    assert facts["n"] == 180 and facts["folds"] == 3 and len(facts["heads"]) == 3
    assert asked[0] == asked[1]
