"""The `kit` command: what it prints, where, and with which exit code."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import typer
from drawing import draw_folder
from training_fixtures import CLASSES, SIDE
from typer.testing import CliRunner

from kit.cli.app import app
from kit.errors import DataError, KitError, WeightsError

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(autouse=True)
def no_debug(monkeypatch):
    monkeypatch.delenv("KIT_DEBUG", raising=False)


def kit(*arguments):
    """Runs a command in this process; what it printed is in stdout and stderr."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def process(*arguments, **environment):
    """Runs a command as a user does."""
    return subprocess.run(
        [sys.executable, "-c", "from kit.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        timeout=300,
        check=False,
    )


def one_line(result, code):
    """The message of a command that failed as it should."""
    assert result.exit_code == code
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("kit: ")
    assert "Traceback" not in result.stderr
    return lines[0]


def commands(group, prefix=()):
    for name, command in group.commands.items():
        yield (*prefix, name)
        if hasattr(command, "commands"):
            yield from commands(command, (*prefix, name))


EVERY_COMMAND = list(commands(typer.main.get_command(app)))


# ---------------------------------------------------------------- help


def test_the_commands_of_the_design_that_exist():
    assert {"train", "convert", "evaluate", "label", "info", "demo", "weights"} <= {
        path[0] for path in EVERY_COMMAND
    }


@pytest.mark.parametrize("path", EVERY_COMMAND, ids=" ".join)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_every_command_has_help(path, flag):
    result = kit(*path, flag)
    assert result.exit_code == 0
    assert "Usage:" in result.stdout
    command = typer.main.get_command(app)
    for name in path:
        command = command.commands[name]
    assert command.help  # a sentence on what it does
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{parameter.name} of {path} has no help"


def test_version():
    from kit import __version__

    result = kit("--version")
    assert (result.exit_code, result.stdout) == (0, f"kit {__version__}\n")


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from kit.cli.app import app\n"
        "try: app(['train', '--help'])\n"
        "except SystemExit as end: assert not end.code\n"
        "heavy = {'tensorflow', 'keras', 'sklearn', 'scipy', 'numpy', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert "Retrain" in done.stdout
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.tf
@pytest.mark.parametrize("command", ["info", "evaluate"])
def test_looking_at_a_file_imports_no_tensorflow(colour_file, tmp_path, command):
    images = draw_folder(tmp_path / "images", {"red": 2, "blue": 2})
    more = [str(images)] if command == "evaluate" else []
    code = (
        "import sys\n"
        "from kit.cli.app import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({'tensorflow', 'keras'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, command, str(colour_file), *more],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("train",),
        ("train", "images"),
        ("train", "images", "--output", "run", "--no-such-option"),
        ("train", "images", "--output", "run", "--quantize", "int4"),
        ("train", "images", "--output", "run", "--max-accuracy-drop", "2"),
        ("convert", "run"),
        ("evaluate", "model.tflite"),
        ("evaluate", "model.tflite", "images", "--part", "holdout"),
        ("review", "images", "--output", "out", "--link"),
        ("info",),
        ("no-such-command",),
    ],
)
def test_a_mistake_on_the_command_line(arguments):
    result = kit(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--epochs", 3, "--samples-per-image", 4), "expected --epochs or --samples-per-image"),
        (("--alpha", 0.3), "expected an alpha of 0.25, 0.5"),
        (("--backbone", "lenet"), "expected a backbone of mobilenet_v1"),
        (("--input-resolution", 8), "expected an input resolution of 32 to 1024"),
        (("--validation", 0.9), "expected shares for validation and test"),
        (("--group-regex", "("), "expected a regular expression"),
        (("--epochs", 0), "expected epochs of at least 1"),
        (("--batch-size", 0), "expected batch_size of at least 1"),
        (("--learning-rate", -1), "expected a learning_rate above 0"),
        (("--representative-images", 0), "expected at least 1 representative image"),
        (("--fine-tune", "some"), "expected all, most, none or a number of layers above 0"),
        (("--fine-tune", 0), "expected all, most, none or a number of layers above 0"),
        (("--fine-tune", -2), "expected all, most, none or a number of layers above 0"),
        (("--fine-tune-epochs", 0), "expected epochs of at least 1"),
        (("--fine-tune-epochs", 3, "--mixup", 0.2), "learn beside --fine-tune-epochs, --mixup,"),
        (("--recipe", "best", "--fine-tune", "none", "--remember", 3), "learn beside --remember,"),
        (("--variants", 3), "expected changes of the photographs beside --variants"),
        (("--fine-tune-learning-rate", 0), "expected a learning_rate above 0"),
        (("--label-smoothing", 1), "expected label_smoothing from 0 to below 1"),
        (("--dropout", 1), "expected dropout from 0 to below 1"),
        (("--variants", -1), "expected variants of at least 0"),
    ],
)
@pytest.mark.tf
def test_a_value_that_cannot_be(tmp_path, arguments, said):
    images = draw_folder(tmp_path / "images", {"red": 1, "blue": 1})
    line = one_line(kit("train", images, "--output", tmp_path / "run", *arguments), 2)
    assert said in line
    assert not (tmp_path / "run").exists()


@pytest.mark.tf
def test_missing_inputs_are_told_in_one_line(tmp_path, colour_file):
    gone = tmp_path / "gone"
    assert "gone: expected a folder" in one_line(
        kit("train", gone, "--output", tmp_path / "run"), 1
    )
    assert "run folder" in one_line(kit("convert", gone, "--output", tmp_path / "x.tflite"), 1)
    assert "gone: expected a readable .tflite" in one_line(kit("info", gone), 1)
    assert "gone: expected a readable .tflite" in one_line(kit("evaluate", gone, tmp_path), 1)
    assert "gone: expected a folder" in one_line(kit("evaluate", colour_file, gone), 1)


@pytest.mark.tf
@pytest.mark.parametrize("option", ["--mean", "--std"])
def test_numbers_that_are_none(colour_file, tmp_path, option):
    line = one_line(kit("evaluate", colour_file, tmp_path, option, "a,b"), 2)
    assert f"expected numbers with commas between them for {option}, got 'a,b'" in line


def test_debug_shows_where_it_happened(tmp_path, monkeypatch):
    monkeypatch.setenv("KIT_DEBUG", "1")
    result = kit("info", tmp_path / "gone")
    assert isinstance(result.exception, KitError)
    assert result.exit_code == 1


def test_errors_of_a_real_process(tmp_path):
    plain = process("info", tmp_path / "gone.tflite", KIT_DEBUG="")
    assert (plain.returncode, plain.stdout) == (1, "")
    assert len(plain.stderr.strip().splitlines()) == 1
    debug = process("info", tmp_path / "gone.tflite", KIT_DEBUG="1")
    assert debug.returncode == 1
    assert "Traceback" in debug.stderr
    assert "ModelFileError" in debug.stderr
    assert process("info", KIT_DEBUG="").returncode == 2


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "kit: interrupted; nothing was overwritten"),
        (DataError("expected this,\n  got that"), 1, "expected this, got that"),
        (ValueError("expected a number"), 2, "expected a number"),
        (OSError(28, "No space left on device", "/x/y"), 1, "/x/y: expected room on the disk"),
        (MemoryError(), 1, "expected enough memory"),
        (ModuleNotFoundError(name="scipy"), 1, "pip install 'mobilenet-kit[train]'"),
    ],
)
def test_what_goes_wrong_has_one_line_and_a_code(monkeypatch, error, code, said):
    import kit.workflows.describe

    def describe_model(path, **options):
        raise error

    monkeypatch.setattr(kit.workflows.describe, "describe_model", describe_model)
    assert said in one_line(kit_command("info", "model.tflite"), code)


@pytest.mark.parametrize(
    ("command", "options", "what", "said"),
    [
        ("train", (), "kit.workflows.train.train", "fine-tuning goes on with --resume"),
        ("sweep", (), "kit.sweep.sweep", "; the same command goes on with the sweep"),
        ("sweep", ("--force",), "kit.sweep.sweep", "without --force goes on with the sweep"),
    ],
)
def test_an_interruption_says_how_it_goes_on(monkeypatch, tmp_path, command, options, what, said):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(what, interrupted)
    given = (command, tmp_path, "--output", tmp_path / "out", *options)
    line = one_line(kit_command(*given), 130)
    assert line.startswith("kit: interrupted; ") and line.endswith(said)


kit_command = kit  # where a test imports the package of that name


# ---------------------------------------------------------------- info and evaluate


@pytest.mark.tf
def test_info(colour_file, finished_run):
    result = kit("info", colour_file)
    assert result.exit_code == 0
    assert "3: blue, green, red" in result.stdout
    assert "FULLY_CONNECTED v" in result.stdout
    result = kit("info", finished_run.folder / "model_int8.tflite")
    assert f"uint8 [1, {SIDE}, {SIDE}, 3], scale 0.0078125, zero point 128" in result.stdout
    assert "on the test part" in result.stdout


@pytest.mark.tf
def test_info_as_json(finished_run):
    path = finished_run.folder / "model_int8.tflite"
    result = kit("info", path, "--format", "json")
    data = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert data["size_bytes"] == path.stat().st_size
    assert data["labels"] == list(CLASSES)
    assert data["input"]["quantization"] == {"scale": 1 / 128, "zero_point": 128}
    assert data["card"]["quantization"] == "int8"
    assert {"name", "version"} == set(data["operators"][0])


@pytest.fixture
def images(tmp_path):
    """Five of each colour; one red is none, and one green lies among the blues."""
    folder = draw_folder(tmp_path / "images", {"blue": 5, "green": 5, "red": 5})
    (folder / "green" / "000.png").rename(folder / "blue" / "green.png")
    (folder / "red" / "000.png").write_bytes(b"no image")
    return folder


@pytest.mark.tf
def test_evaluate(colour_file, images):
    result = kit("evaluate", colour_file, images)
    assert result.exit_code == 0
    assert result.stdout.startswith("accuracy 0.9286 (")  # 13 of 14
    assert "N=14)" in result.stdout
    # Its channels are about 40, 200 and 50: softmax(4 * (x - 128) / 128) of green is 0.984.
    assert "blue/green.png: green 0.98" in result.stdout
    assert "left out red/000.png" in result.stderr
    assert "left out" not in result.stdout


@pytest.mark.tf
def test_evaluate_as_json_and_the_wrong_answers_as_a_table(colour_file, images, tmp_path):
    table = tmp_path / "wrong.csv"
    arguments = ("evaluate", colour_file, images, "--format", "json", "--misclassified", table)
    result = kit(*arguments)
    data = json.loads(result.stdout)
    assert (data["n"], data["correct"]) == (14, 13)
    assert data["accuracy"] == pytest.approx(13 / 14, abs=1e-6)
    assert list(data["left_out"]) == ["red/000.png"]
    assert table.read_text("utf-8").splitlines()[1].startswith("blue/green.png,blue,green,")
    assert "wrong.csv: expected an output that does not exist" in one_line(kit(*arguments), 1)
    assert kit(*arguments, "--force").exit_code == 0


@pytest.mark.tf
def test_evaluate_a_part(finished_run):
    path = finished_run.folder / "model_int8.tflite"
    result = kit("evaluate", path, finished_run.images, "--part", "test", "--format", "json")
    assert json.loads(result.stdout)["n"] == finished_run.record["metrics"]["int8"]["n"]
    assert "trained on" not in result.stderr


# ---------------------------------------------------------------- train and convert


@pytest.mark.slow
@pytest.mark.tf
def test_train_from_random_values(tmp_path):
    images = draw_folder(tmp_path / "图片", {"blue": 20, "红色": 20})
    run = tmp_path / "run"
    arguments = ("train", images, "--output", run, "--weights", "none", "--alpha", 0.25)
    arguments += ("--input-resolution", SIDE, "--epochs", 1, "--batch-size", 16)
    arguments += ("--validation", 0.25, "--test", 0.25, "--quantize", "float32")
    arguments += ("--format", "json")
    result = kit(*arguments)
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["run"] == str(run)
    assert data["files"] == {"float32": str(run / "model_float32.tflite")}
    assert data["accuracy"] == data["accuracies"]["float32"]["accuracy"]
    record = json.loads((run / "run.json").read_text("utf-8"))
    assert data["n"] == record["metrics"]["float32"]["n"]
    assert record["card"]["labels"] == ["blue", "红色"]
    assert "epoch   1: train accuracy" in result.stderr
    assert "expected an output that does not exist" in one_line(kit(*arguments), 1)


@pytest.fixture
def trained(monkeypatch):
    """What the command asks `train` for; nothing is trained."""
    import kit.workflows.train

    asked = {}

    def train(images, output, settings, **arguments):
        asked.update(images=images, output=output, settings=settings, **arguments)
        return kit.workflows.train.TrainResult(
            output,
            {mode: output / f"model_{mode}.tflite" for mode in settings.quantize},
            {},
            (),
            {},
        )

    monkeypatch.setattr(kit.workflows.train, "train", train)
    return asked


@pytest.mark.tf
def test_every_option_reaches_the_training(trained):
    result = kit_command(
        *("train", "photos", "--output", "run", "--backbone", "mobilenet_v2", "--alpha", 0.35),
        *("--input-resolution", 96, "--weights", "none", "--samples-per-image", 7),
        *("--quantize", "int8", "--quantize", "float16", "--quantize", "int8"),
        *("--learning-rate", 0.5, "--batch-size", 9, "--no-class-weights", "--seed", 3),
        *("--validation", 0.2, "--test", 0.3, "--group-regex", "p", "--fit", "pad"),
        *("--resize", "antialias", "--representative-images", 5, "--max-accuracy-drop", 0.1),
        *("--assert-accuracy-at-least", 0.6, "--intended-use", "tests", "--no-gallery", "--force"),
    )
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        str(Path("run", "model_int8.tflite")),
        str(Path("run", "model_float16.tflite")),
    ]
    settings = trained["settings"]
    assert trained["force"] is True
    assert (trained["images"], trained["output"]) == (Path("photos"), Path("run"))
    assert (settings.backbone, settings.alpha, settings.input_resolution) == (
        "mobilenet_v2",
        0.35,
        96,
    )
    assert settings.weights == "none"
    assert settings.quantize == ("int8", "float16")
    assert (settings.fit, settings.resize) == ("pad", "antialias")
    fitting, split, gates = settings.fitting, settings.split, settings.gates
    assert (fitting.epochs, fitting.learning_rate, fitting.batch_size) == (7, 0.5, 9)
    assert (fitting.class_weights, fitting.seed) == (False, 3)
    assert (split.validation, split.test, split.seed, split.group_regex) == (0.2, 0.3, 3, "p")
    assert (gates.max_accuracy_drop, gates.assert_accuracy_at_least) == (0.1, 0.6)
    assert (settings.representative_images, settings.intended_use) == (5, "tests")
    assert settings.gallery is False


@pytest.mark.tf
def test_defaults_of_train(trained):
    assert kit_command("train", "photos", "--output", "run").exit_code == 0
    settings = trained["settings"]
    assert (settings.backbone, settings.alpha) == ("mobilenet_v1", 0.5)
    assert settings.quantize == ("int8",)
    assert settings.weights == "imagenet"
    assert trained["force"] is False
    assert settings.fitting.class_weights is True
    assert settings.gallery is None


def learning_of(trained, *arguments):
    """How a command would have a classifier fitted."""
    result = kit_command("train", "photos", "--output", "run", *arguments)
    assert result.exit_code == 0, result.stderr
    return trained["settings"].learning


@pytest.mark.tf
@pytest.mark.parametrize("recipe", ["quick", "best"])
def test_a_recipe_is_what_it_says(trained, recipe):
    from kit.training.recipes import RECIPES

    assert learning_of(trained, "--recipe", recipe) == RECIPES[recipe]


@pytest.mark.tf
def test_a_head_that_is_fine_tuned_later_sees_fewer_changed_forms(trained):
    assert learning_of(trained, "--augment", "photo").variants == 8
    assert learning_of(trained, "--augment", "photo", "--fine-tune", 5).variants == 2


@pytest.mark.tf
def test_the_quick_recipe_is_the_default(trained):
    assert learning_of(trained) == learning_of(trained, "--recipe", "quick")


@pytest.mark.tf
def test_the_best_recipe_is_flags_that_can_be_given(trained):
    """As the manual has it; epochs and mixup are the backbone's, and when it ends the recipe's."""
    given = learning_of(
        *(trained, "--augment", "photo", "--label-smoothing", 0.1, "--fine-tune", "most")
    )
    best = learning_of(trained, "--recipe", "best")
    assert (best.fine_tune.fitting.epochs, best.fine_tune.mixup) == (None, None)
    own = replace(given.fine_tune.fitting, epochs=None, patience=best.fine_tune.fitting.patience)
    own_too = {"mixup": None, "remember": None}
    assert replace(given, fine_tune=replace(given.fine_tune, fitting=own, **own_too)) == best


@pytest.mark.tf
@pytest.mark.parametrize(
    ("arguments", "found", "expected"),
    [
        (("--augment", "xray"), lambda it: it.augment, "xray"),
        (("--augment", "none"), lambda it: it.augment, "none"),
        (("--variants", 3), lambda it: it.variants, 3),
        (("--fine-tune", "none"), lambda it: it.variants, 8),
        (("--fine-tune", "none"), lambda it: it.fine_tune.layers, "none"),
        (("--fine-tune", "all"), lambda it: it.fine_tune.layers, "all"),
        (("--fine-tune", 7), lambda it: it.fine_tune.layers, 7),
        (("--fine-tune-epochs", 3), lambda it: it.fine_tune.fitting.epochs, 3),
        (("--fine-tune-learning-rate", 0.5), lambda it: it.fine_tune.fitting.learning_rate, 0.5),
        (("--mixup", 0.4), lambda it: it.fine_tune.mixup, 0.4),
        (("--remember", 3), lambda it: it.fine_tune.remember, 3.0),
        (("--screening", "--remember", 0), lambda it: it.fine_tune.remember, 0.0),
        (
            ("--label-smoothing", 0),
            lambda it: (it.fitting.label_smoothing, it.fine_tune.fitting.label_smoothing),
            (0, 0),
        ),
        (
            ("--fine-tune-label-smoothing", 0.3, "--label-smoothing", 0),
            lambda it: (it.fitting.label_smoothing, it.fine_tune.fitting.label_smoothing),
            (0, 0.3),
        ),
        (
            ("--dropout", 0.25),
            lambda it: (it.fitting.dropout, it.fine_tune.fitting.dropout),
            (0.25, 0.25),
        ),
        (("--epochs", 5), lambda it: it.fitting.epochs, 5),
        (("--learning-rate", 0.5), lambda it: it.fitting.learning_rate, 0.5),
        (("--l2", 0.5), lambda it: (it.fitting.l2, it.fine_tune.fitting.l2), (0.5, 0.5)),
        (("--seed", 4), lambda it: (it.fitting.seed, it.fine_tune.fitting.seed), (4, 4)),
        (
            ("--no-class-weights",),
            lambda it: (it.fitting.class_weights, it.fine_tune.fitting.class_weights),
            (False, False),
        ),
    ],
)
def test_flags_go_before_the_recipe(trained, arguments, found, expected):
    recipe = learning_of(trained, "--recipe", "best")
    assert found(recipe) != expected  # or this would show nothing
    assert found(learning_of(trained, "--recipe", "best", *arguments)) == expected
    assert found(learning_of(trained, *arguments, "--recipe", "best")) == expected


@pytest.mark.tf
def test_resume_reaches_the_training(trained):
    learning_of(trained)
    assert trained["resume"] is False
    learning_of(trained, "--resume")
    assert trained["resume"] is True


@pytest.fixture
def fine_tuning(small_backbone, tmp_path):
    """A command that fine-tunes on drawn images: `fine_tuning(*more)` runs it."""
    images = draw_folder(tmp_path / "images", {"blue": 20, "green": 20, "red": 14}, seed=6)

    def run(*more):
        return kit(
            *("train", images, "--output", tmp_path / "run", "--alpha", 0.25),
            *("--input-resolution", SIDE, "--weights", small_backbone.weights.path),
            *("--epochs", 3, "--batch-size", 16, "--validation", 0.25, "--test", 0.25),
            *("--quantize", "float32", "--augment", "photo", "--variants", 1),
            *("--fine-tune", 2, "--fine-tune-epochs", 2, *more),
        )

    return run


@pytest.mark.slow
@pytest.mark.tf
def test_train_with_fine_tuning(fine_tuning, tmp_path):
    import keras

    from kit.model.preprocess import fit_pixels, to_input
    from kit.runtime import Classifier
    from kit.runtime.images import read_image

    result = fine_tuning("--label-smoothing", 0.1, "--dropout", 0.2, "--format", "json")
    assert result.exit_code == 0, result.stderr
    assert "fine-tuning the last 2 of 27 layers" in result.stderr
    run = tmp_path / "run"
    assert not (tmp_path / "run.checkpoint").exists()
    record = json.loads((run / "run.json").read_text("utf-8"))
    settings = record["settings"]
    assert (settings["augment"], settings["variants"]) == ("photo", 1)
    tuning = settings["fine_tune"]
    assert (tuning["layers"], tuning["fitting"]["epochs"]) == (2, 2)
    for fitting in (settings["fitting"], tuning["fitting"]):
        assert (fitting["label_smoothing"], fitting["dropout"]) == (0.1, 0.2)
    phases = [epoch.get("phase") for epoch in record["history"]]
    assert phases == [None] * 3 + ["fine-tuning"] * 2
    model = keras.models.load_model(run / "model.keras", compile=False)
    with Classifier.open(run / "model_float32.tflite") as classifier:
        answers = []
        for path in sorted((tmp_path / "images").rglob("*.png"))[::6]:
            pixels = fit_pixels(read_image(path), classifier.preprocess)
            expected = np.asarray(model(to_input(pixels, classifier.preprocess)[None]))[0]
            found = classifier.scores(path)
            assert np.abs(found - expected).max() < 1e-4
            answers.append(found)
    assert np.ptp(answers, axis=0).max() > 0.05  # it does tell them apart


@pytest.mark.slow
@pytest.mark.tf
def test_resume_after_a_crash(fine_tuning, tmp_path, monkeypatch):
    from kit.training.checkpoint import Checkpoint

    class Crash(BaseException):
        """Nothing catches it."""

    save = Checkpoint.save

    def crashing(self, model, best, history):
        if len(history) == 2:
            raise Crash
        save(self, model, best, history)

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "save", crashing)
        with pytest.raises(Crash):
            fine_tuning()
    kept = tmp_path / "run.checkpoint"
    assert sorted(path.name for path in tmp_path.glob("*run*")) == [kept.name]
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    line = fine_tuning("--resume", "--fine-tune-learning-rate", 0.02)
    assert line.exit_code == 1
    assert line.stdout == ""
    message = line.stderr.strip().splitlines()[-1]
    assert message.startswith(f"kit: {kept}: expected the checkpoint of this run, got one of other")
    assert "Traceback" not in line.stderr
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before
    result = fine_tuning("--resume")
    assert result.exit_code == 0, result.stderr
    assert "continues after epoch 1" in result.stderr
    assert "fine-tuning   2: train accuracy" in result.stderr
    assert "fine-tuning   1: train accuracy" not in result.stderr
    assert sorted(path.name for path in tmp_path.glob("*run*")) == ["run"]
    record = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert [epoch.get("phase") for epoch in record["history"]].count("fine-tuning") == 2


@pytest.mark.tf
def test_more_layers_than_the_network_has_are_told_in_one_line(fine_tuning, tmp_path):
    result = fine_tuning("--fine-tune", 28)
    assert (result.exit_code, result.stdout) == (2, "")
    message = result.stderr.strip().splitlines()[-1]
    assert message.startswith("kit: expected at most 27 layers, which ")
    assert not (tmp_path / "run").exists()


@pytest.mark.tf
def test_convert(finished_run, tmp_path):
    output = tmp_path / "model.tflite"
    arguments = ("convert", finished_run.folder, "--output", output, "--quantize", "float32")
    result = kit(*arguments, "--format", "json")
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["output"] == str(output)
    assert data["size_bytes"] == output.stat().st_size
    assert data["n"] == finished_run.record["metrics"]["float32"]["n"]
    assert "model.tflite: expected an output" in one_line(kit(*arguments), 1)


@pytest.mark.tf
@pytest.mark.slow
def test_convert_in_words(finished_run, tmp_path):
    output = tmp_path / "model.tflite"
    result = kit("convert", finished_run.folder, "--output", output, "--quantize", "float16")
    assert result.exit_code == 0, result.stderr
    figures, checks = result.stdout.splitlines()
    assert figures.startswith("float16: ")
    assert "golden checks passed" in checks


# ---------------------------------------------------------------- weights and demo


@pytest.mark.tf
def test_pull(tmp_path, monkeypatch):
    import keras

    def get_file(fname=None, origin=None, **options):
        path = tmp_path / "downloaded"
        path.write_bytes(origin.encode())
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    folder = tmp_path / "weights"
    result = kit("weights", "pull", folder, "--input-resolution", 128)
    assert result.stdout == f"{folder / 'mobilenet_5_0_128_tf_no_top.h5'}: fetched\n"
    result = kit("weights", "pull", folder, "--every")
    assert result.stdout.count(": fetched\n") == 15
    assert result.stdout.count(": there\n") == 1
    assert len(list(folder.iterdir())) == 16


@pytest.mark.tf
def test_pull_without_a_network(tmp_path, monkeypatch):
    import kit.training.weights

    def failing(choice):
        raise WeightsError("expected ImageNet weights")

    monkeypatch.setattr(kit.training.weights, "_download", failing)
    line = one_line(kit_command("weights", "pull", tmp_path / "weights"), 1)
    assert "expected ImageNet weights" in line


@pytest.mark.tf
@pytest.mark.slow
def test_demo(shared, tmp_path, monkeypatch):
    monkeypatch.setenv("KIT_WEIGHTS_DIR", str(shared / "weights"))
    result = kit("demo", "--output", tmp_path / "demo")
    assert result.exit_code == 0, result.stderr
    for name in ("images", "new", "images.png", "run"):
        assert (tmp_path / "demo" / name).exists()
    found = re.search(r"^int8 on \d+ new drawings: accuracy (\d\.\d+)", result.stdout, re.MULTILINE)
    assert float(found[1]) > 0.6  # far above chance among the demo's classes
    assert "expected an output that does not" in one_line(
        kit("demo", "--output", tmp_path / "demo"), 1
    )
