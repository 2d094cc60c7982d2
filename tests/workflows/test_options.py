"""Settings by the names of options, and back."""

import tomllib
from dataclasses import replace

import pytest

from kit.sweep import SweepSettings
from kit.sweep.settings import sweep_toml
from kit.training.backbones import choose
from kit.training.fitting import FitSettings
from kit.training.recipes import RECIPES
from kit.training.teachers import BOTTLENECKS
from kit.workflows import teachers as teachers_module
from kit.workflows.options import _PLACES, options_of, settings_toml, train_settings
from kit.workflows.train_settings import TrainSettings

pytestmark = pytest.mark.tf


def learned(settings):
    """What decides the training, with what the backbone decides in the place of None."""
    choice = choose(settings.backbone, settings.alpha, settings.input_resolution)
    tuning = settings.fine_tune.of(choice.fine_tuning)
    return replace(
        settings,
        alpha=choice.alpha,
        input_resolution=choice.input_resolution,
        fine_tune=tuning if tuning.layers != "none" else None,
    )


GIVEN = [
    {},
    {"recipe": "best"},
    {"recipe": "best", "backbone": "mobilenet_v2", "alpha": 0.35, "l2": 0.02, "seed": 7},
    {"recipe": "best", "remember": 0, "screening": True},
    {
        "fine_tune": 5,
        "remember": 3.5,
        "mixup": 0.2,
        "epochs": 3,
        "class_weights": False,
        "gallery": False,
    },
    {"recipe": "best", "fine_tune": "none", "augment": "xray", "quantize": ("int8", "float16")},
    {
        **{"positive": "ill", "target_sensitivity": 0.9, "prevalence": 0.1, "validation": 0.2},
        **{"max_accuracy_drop": 0.01, "screening": True, "label_regex": "_([01])"},
    },
]


@pytest.mark.parametrize("given", GIVEN)
def test_options_give_the_settings_that_they_were_made_of(given):
    settings = train_settings(**given)
    assert learned(train_settings(**options_of(settings))) == learned(settings)


@pytest.mark.parametrize("screening", [False, True])
def test_a_student_learns_its_teachers_bottlenecks(screening):
    for recipe in ("best", "max"):
        assert train_settings(recipe, screening=screening).fine_tune.bottlenecks == BOTTLENECKS


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"recipe": "best"}, 10),
        ({"recipe": "best", "screening": True}, 10),
        ({"recipe": "max"}, 10 / 3),
        ({"recipe": "max", "screening": True}, 10),
        ({"recipe": "max", "remember": 3}, 3),
        ({"recipe": "max", "screening": True, "remember": 3}, 3),
        ({"recipe": "max", "screening": True, "backbone": "mobilenet_v2", "alpha": 0.35}, 0),
    ],
)
def test_beside_teachers_remembering_counts_in_full_where_unknown_images_are_told(given, expected):
    settings = train_settings(**given)
    own = choose(settings.backbone, settings.alpha, settings.input_resolution).fine_tuning
    remember = settings.fine_tune.of(own, settings.own_teachers).remember
    assert remember == pytest.approx(expected)
    assert f"remember = {remember}" in settings_toml(settings)


def test_a_teacher_of_one_s_own_is_the_same_for_every_student():
    for planned in teachers_module._PLANNED:
        plain, screening = (
            teachers_module._of_teacher(train_settings("max", screening=one), planned)
            for one in (False, True)
        )
        assert plain == screening
        # Nor does what concerns the student's files alone, so that --resume keeps the teachers.
        changed = {"representative_images": 300, "intended_use": "this", "gallery": False}
        student = train_settings("max", **changed)
        assert teachers_module._of_teacher(student, planned) == plain


@pytest.mark.parametrize("given", GIVEN)
def test_a_file_of_settings_names_nothing_that_it_cannot_say(given):
    text = settings_toml(train_settings(**given))
    assert "No option gives" not in text
    read = {name.replace("-", "_"): value for name, value in tomllib.loads(text).items()}
    assert learned(train_settings(**read)) == learned(train_settings(**given))


def test_what_no_option_gives_is_told():
    settings = TrainSettings(fitting=FitSettings(patience=30))
    assert "# No option gives fitting.patience: 30" in settings_toml(settings)


def test_from_random_values_nothing_is_mixed_unless_asked_for():
    settings = train_settings("best", weights="none")
    assert settings.fine_tune.mixup is None
    assert options_of(settings)["mixup"] == 0.0


def test_paths_are_told_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.h5").write_bytes(b"")
    settings = train_settings(weights="imagenet,own.h5", labels_csv="table.csv")
    told = tomllib.loads(settings_toml(settings))
    assert told["weights"] == f"imagenet,{tmp_path / 'own.h5'}"
    assert told["labels-csv"] == str(tmp_path / "table.csv")
    assert "No option gives" not in settings_toml(settings)
    assert "# Some settings" not in sweep_toml(SweepSettings(training=settings))


def test_what_is_given_comes_before_the_recipe():
    settings = train_settings("best", l2=0.5, augment="none")
    assert settings.augment == "none"
    assert settings.fitting.l2 == settings.fine_tune.fitting.l2 == 0.5
    assert settings.fitting.label_smoothing == RECIPES["best"].fitting.label_smoothing


def smoothing_of(*recipe, **options):
    settings = train_settings(*recipe, **options)
    return settings.fitting.label_smoothing, settings.fine_tune.fitting.label_smoothing


def test_teachers_answers_are_not_smoothed_unless_it_is_asked_for():
    assert smoothing_of("best") == (0.1, 0.1)
    for taught in (["max"], ["best", ["run"]]):
        options = {"teacher": taught[1]} if taught[1:] else {}
        assert smoothing_of(taught[0], **options) == (0.1, 0)
        assert smoothing_of(taught[0], **options, label_smoothing=0.2) == (0.2, 0.2)
        assert smoothing_of(taught[0], **options, fine_tune_label_smoothing=0.3) == (0.1, 0.3)
    told = tomllib.loads(settings_toml(train_settings("best", teacher=["run"])))
    assert (told["label-smoothing"], told["fine-tune-label-smoothing"]) == (0.1, 0)
    # A run's file says nothing of what follows, so that --label-smoothing beside it reaches both.
    assert "fine-tune-label-smoothing" not in settings_toml(train_settings("best"))


def test_a_teacher_of_one_s_own_learns_from_smoothed_labels():
    student = train_settings("max", alpha=0.25)
    for planned in teachers_module._PLANNED:
        own = teachers_module._of_teacher(student, planned)
        assert own.fine_tune.fitting.label_smoothing == own.fitting.label_smoothing == 0.1


def test_the_default_is_the_default_of_the_settings():
    assert train_settings() == TrainSettings()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"recipe": "better"}, "expected a recipe of quick, best, max, got 'better'"),
        ({"learning": 3}, "expected the name of an option of kit train, got learning"),
        ({"prevalence": 0.5}, "expected --positive LABEL beside a target"),
        ({"alpha": 0.3, "epochs": 0}, "expected epochs of at least 1"),
    ],
)
def test_what_cannot_be(given, said):
    with pytest.raises(ValueError, match=said):
        train_settings(**given)


def test_every_option_of_train_has_its_place():
    import typer

    from kit.cli.app import app

    command = typer.main.get_command(app).commands["train"]
    of_the_call = {"images", "output", "resume", "format", "force", "config", "recipe", "help"}
    targets = {"positive", "target_sensitivity", "target_specificity", "prevalence", "confidence"}
    names = {parameter.name for parameter in command.params}
    assert names - of_the_call - targets - {"samples_per_image"} == set(_PLACES)


def test_a_sweep_of_a_recipe_is_told_by_its_name():
    training = train_settings("best", epochs=3, fine_tune_epochs=2, quantize=("int8", "float32"))
    settings = SweepSettings(training=training, alphas=(0.25, 0.5), input_resolutions=(128,))
    told = tomllib.loads(sweep_toml(settings))
    assert (told["recipe"], told["epochs"], told["fine-tune-epochs"]) == ("best", 3, 2)
    assert (told["alpha"], told["input-resolution"]) == ([0.25, 0.5], [128])
    assert told["quantize"] == ["int8", "float32"]


def test_a_sweep_whose_training_no_option_gives_says_so():
    settings = SweepSettings(training=train_settings(l2=3.0))
    assert "# Some settings of the training are not among" in sweep_toml(settings)
    assert "# Some settings" not in sweep_toml(SweepSettings())
