"""--config, and the settings.toml that a run keeps."""

import tomllib

import pytest
from drawing import draw_folder
from training_fixtures import SIDE
from typer.testing import CliRunner

from kit.cli.app import app

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.usefixtures("own_cache")


def kit(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def asked(monkeypatch):
    """What the commands ask their workflows for; nothing is done."""
    found = {}

    def train(images, output, settings, **arguments):
        found.update(images=images, output=output, settings=settings, **arguments)
        raise ValueError("asked")

    def cross_validate(images, settings, folds, repeats, **arguments):
        found.update(settings=settings, folds=folds, repeats=repeats)
        raise ValueError("asked")

    monkeypatch.setattr("kit.workflows.train.train", train)
    monkeypatch.setattr("kit.workflows.cross_validate.cross_validate", cross_validate)
    return found


@pytest.fixture
def config(tmp_path):
    def written(text):
        path = tmp_path / "config.toml"
        path.write_text(text, "utf-8")
        return path

    return written


WHOLE = """
output = "run"
alpha = 0.25
input-resolution = 128
quantize = ["int8", "float32"]
recipe = "best"
class-weights = false
screening = true
fine-tune = 3
l2 = 1
"""


@pytest.mark.tf
def test_a_file_gives_options(asked, config):
    result = kit("train", "photos", "--config", config(WHOLE))
    assert "asked" in result.stderr
    settings = asked["settings"]
    assert str(asked["output"]) == "run"
    assert (settings.alpha, settings.input_resolution) == (0.25, 128)
    assert settings.quantize == ("int8", "float32")
    assert settings.augment == "photo"  # of the recipe
    assert settings.fitting.class_weights is False
    assert settings.screening is True
    assert settings.fine_tune.layers == 3
    assert settings.fitting.l2 == 1.0


@pytest.mark.tf
def test_the_command_line_comes_before_the_file(asked, config):
    path = config(WHOLE)
    kit(
        *("train", "photos", f"--config={path}", "--alpha", 0.5, "--quantize", "dynamic"),
        *("--class-weights", "--output", "other"),
    )
    settings = asked["settings"]
    assert (settings.alpha, settings.input_resolution) == (0.5, 128)
    assert settings.quantize == ("dynamic",)
    assert settings.fitting.class_weights is True
    assert str(asked["output"]) == "other"


@pytest.mark.tf
def test_what_a_file_says_of_what_the_command_line_turns_off_is_not_used(asked, config):
    path = config('recipe = "best"\nmixup = 0.2\nvariants = 3\nepochs = 5')
    given = ("--fine-tune", "none", "--augment", "none", "--samples-per-image", 7)
    assert "asked" in kit("train", "photos", "--output", "run", "--config", path, *given).stderr
    assert asked["settings"].fine_tune.layers == "none"
    assert asked["settings"].fitting.epochs == 7


@pytest.mark.tf
def test_cross_validate_takes_a_file(asked, config):
    kit("cross-validate", "photos", "--config", config("folds = 3\nrepeats = 2\nseed = 4"))
    assert (asked["folds"], asked["repeats"], asked["settings"].split.seed) == (3, 2, 4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "aplha = 0.25",
            "expected the name of an option of train, got 'aplha': did you mean alpha?",
        ),
        ("alpha = ", "expected a TOML file with options"),
        ("alpha = [1, 2]", "expected one value for alpha, got a list"),
        ("[alpha]\nx = 1", "expected one value for alpha, got a table"),
        ("screening = 'yes'", "expected true or false for screening, got 'yes'"),
        ("alpha = 'wide'", "Invalid value for '--alpha'"),
        ("fit = 'squeeze'", "squeeze"),
        ("config = 'other.toml'", "got 'config'"),
    ],
)
def test_mistakes_in_a_file(config, text, said):
    result = kit("train", "photos", "--output", "run", "--config", config(text))
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


def test_a_file_that_is_not_there(tmp_path):
    result = kit("train", "photos", "--output", "run", "--config", tmp_path / "none.toml")
    assert result.exit_code == 2
    assert "none.toml: expected a TOML file with options: No such file" in result.stderr


@pytest.mark.tf
def test_underscores_are_taken_for_dashes(asked, config):
    kit("train", "photos", "--output", "run", "--config", config("input_resolution = 96"))
    assert asked["settings"].input_resolution == 96


@pytest.mark.tf
@pytest.mark.slow
def test_a_run_is_repeated_by_its_settings(small_backbone, tmp_path):
    from kit.model.model_file import read_model_file

    images = draw_folder(tmp_path / "images", {"red": 40, "blue": 40})
    first = kit(
        *("train", images, "--output", tmp_path / "one", "--alpha", 0.25, "--seed", 3),
        *("--input-resolution", SIDE, "--weights", small_backbone.weights.path, "--l2", 0.05),
        *("--quantize", "int8", "--epochs", 4),
    )
    assert first.exit_code == 0, first.stderr
    settings = tmp_path / "one" / "settings.toml"
    told = tomllib.loads(settings.read_text("utf-8"))
    assert (told["alpha"], told["l2"], told["epochs"], told["seed"]) == (0.25, 0.05, 4, 3)
    second = kit("train", images, "--config", settings, "--output", tmp_path / "two")
    assert second.exit_code == 0, second.stderr
    one, two = (tmp_path / name / "model_int8.tflite" for name in ("one", "two"))
    cards = [read_model_file(path).card for path in (one, two)]
    assert cards[0].golden == cards[1].golden
    assert cards[0].metrics == cards[1].metrics
    assert (tmp_path / "two" / "settings.toml").read_text() == settings.read_text()
