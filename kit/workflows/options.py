"""Settings by the names of the command line's options, and back.

`kit train` and a notebook build their TrainSettings here: a recipe first, then what is given beside
it. A run keeps its settings under the same names in `settings.toml`, and `--config` reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from kit.choices import RECIPE_NAMES
from kit.evaluation.thresholds import Targets
from kit.filenames import text_bytes
from kit.training.backbones import choose
from kit.training.defaults import (
    DEFAULT_BACKBONE,
    DEFAULT_VARIANTS,
    FINE_TUNED_VARIANTS,
    default_alpha,
)
from kit.training.fine_tune import SCREENING_TOLERANCE
from kit.training.layers import NONE
from kit.training.recipes import RECIPES
from kit.training.weights import sources_of
from kit.workflows.train_settings import TrainSettings

SETTINGS_NAME = "settings.toml"

# Where each option's value stands in TrainSettings; several places get the same value.
_PLACES: dict[str, tuple[str, ...]] = {
    "backbone": ("backbone",),
    "alpha": ("alpha",),
    "input_resolution": ("input_resolution",),
    "weights": ("weights",),
    "labels_csv": ("data.labels_csv",),
    "path_column": ("data.path_column",),
    "label_column": ("data.label_column",),
    "label_columns": ("data.label_columns",),
    "label_names": ("data.label_names",),
    "group_column": ("data.group_column",),
    "split_column": ("data.split_column",),
    "label_regex": ("data.label_regex",),
    "corrections": ("data.corrections",),
    "fit": ("fit",),
    "resize": ("resize",),
    "validation": ("split.validation",),
    "test": ("split.test",),
    "seed": ("split.seed", "fitting.seed", "fine_tune.fitting.seed"),
    "group_regex": ("split.group_regex",),
    "epochs": ("fitting.epochs",),
    "learning_rate": ("fitting.learning_rate",),
    "batch_size": ("fitting.batch_size",),
    "l2": ("fitting.l2", "fine_tune.fitting.l2"),
    "class_weights": ("fitting.class_weights", "fine_tune.fitting.class_weights"),
    "label_smoothing": ("fitting.label_smoothing", "fine_tune.fitting.label_smoothing"),
    "dropout": ("fitting.dropout", "fine_tune.fitting.dropout"),
    "augment": ("augment",),
    "variants": ("variants",),
    "fine_tune": ("fine_tune.layers",),
    "fine_tune_epochs": ("fine_tune.fitting.epochs",),
    "fine_tune_learning_rate": ("fine_tune.fitting.learning_rate",),
    # After --label-smoothing, which sets both.
    "fine_tune_label_smoothing": ("fine_tune.fitting.label_smoothing",),
    "mixup": ("fine_tune.mixup",),
    "remember": ("fine_tune.remember",),
    "interpolate": ("fine_tune.interpolate",),
    "teacher": ("teachers",),
    "unlabelled": ("unlabelled",),
    "quantize": ("quantize",),
    "representative_images": ("representative_images",),
    "max_accuracy_drop": ("gates.max_accuracy_drop",),
    "assert_accuracy_at_least": ("gates.assert_accuracy_at_least",),
    "intended_use": ("intended_use",),
    "gallery": ("gallery",),
    "screening": ("screening",),
}
_OF_TUNING = ("mixup", "remember", "interpolate")
_PATHS = ("labels_csv", "corrections", "teacher", "unlabelled")
_TARGETS = {
    "positive": "positive",
    "target_sensitivity": "sensitivity",
    "target_specificity": "specificity",
    "prevalence": "prevalence",
    "confidence": "confidence",
}


def train_settings(recipe: str = RECIPE_NAMES[0], **options: Any) -> TrainSettings:
    """The settings that a recipe and options give, as `kit train` understands them.

    Args:
        recipe: a key of kit.training.recipes.RECIPES.
        options: by the names of `kit train`'s options, with underscores; None: not given. What is
            given comes before the recipe: `train_settings("best", l2=0.02)`.

    Raises ValueError for an unknown name or a value out of range.
    """
    if recipe not in RECIPES:
        raise ValueError(f"expected a recipe of {', '.join(RECIPES)}, got {recipe!r}")
    if unknown := [name for name in options if name not in (*_PLACES, *_TARGETS)]:
        raise ValueError(f"expected the name of an option of kit train, got {', '.join(unknown)}")
    given = {name: value for name, value in options.items() if value is not None}
    learning = RECIPES[recipe]
    backbone = given.setdefault("backbone", DEFAULT_BACKBONE)
    tuning = learning.fine_tune
    if given.get("screening"):
        # Unknown images are to be told: the backbone's own weight, and more of the way back.
        tuning = replace(tuning, remember=None, tolerance=SCREENING_TOLERANCE)
    settings = TrainSettings(
        backbone=backbone,
        alpha=default_alpha(backbone, given.pop("alpha", None)),
        fitting=learning.fitting,
        fine_tune=tuning,
        augment=learning.augment,
        targets=targets({name: given.pop(name, None) for name in _TARGETS}),
    )
    alone = given.get("fine_tune", tuning.layers) == NONE
    given.setdefault("variants", DEFAULT_VARIANTS if alone else FINE_TUNED_VARIANTS)
    own_teachers = recipe == RECIPE_NAMES[-1] and "teacher" not in given
    changes: dict[str, Any] = {"own_teachers": own_teachers}
    if (own_teachers or given.get("teacher")) and "label_smoothing" not in given:
        # Their answers are no single labels, and what is spread over all classes hides that.
        given.setdefault("fine_tune_label_smoothing", 0.0)
    for name in (name for name in _PLACES if name in given):
        value = given[name]
        for place in _PLACES[name]:
            *outer, last = place.split(".")
            inner = changes
            for step in outer:
                inner = inner.setdefault(step, {})
            inner[last] = tuple(value) if isinstance(value, list | tuple) else value
    changed: TrainSettings = _changed(settings, changes)
    return changed


def _changed(settings: Any, changes: Mapping[str, Any]) -> Any:
    """A copy of a dataclass with other values; all at once, since they are checked together."""
    return replace(
        settings,
        **{
            name: _changed(getattr(settings, name), value) if isinstance(value, dict) else value
            for name, value in changes.items()
        },
    )


def targets(given: Mapping[str, Any]) -> Targets | None:
    """What an operating point has to reach, by the names of options; None: nothing is asked for.

    Raises ValueError for a target without a positive label, or out of range.
    """
    if given["positive"] is not None:
        told = {field: given[name] for name, field in _TARGETS.items()}
        return Targets(**{field: value for field, value in told.items() if value is not None})
    if any(value is not None for value in given.values()):
        raise ValueError("expected --positive LABEL beside a target or a prevalence, got none")
    return None


def options_of(settings: TrainSettings) -> dict[str, Any]:
    """The options that give these settings, with every default spelt out.

    What a backbone decides by itself (its width, resolution, epochs, rate, mixup) is among them, so
    that they give the same training where a later kit has other defaults. Fine-tuning's options are
    left out where nothing is fine-tuned.
    """
    tuned = settings.fine_tune.layers != NONE
    resolved = _resolved(settings)
    options: dict[str, Any] = {}
    for name, places in _PLACES.items():
        value: Any = resolved
        for step in places[0].split("."):
            value = getattr(value, step)
        if name in _PATHS and value:
            value = _resolved_paths(value)
        elif name == "weights":
            value = _absolute(value)
        elif isinstance(value, tuple):
            value = list(value)
        if name == "fine_tune_label_smoothing" and value == options["label_smoothing"]:
            continue  # it follows, also where somebody gives another one beside the file
        if value not in (None, []) and (tuned or not is_of_tuning(name)):
            options[name] = value
    if settings.targets is not None:
        for name, field in _TARGETS.items():
            if (value := getattr(settings.targets, field)) is not None:
                options[name] = value
    return options


def is_of_tuning(name: str) -> bool:
    """Whether an option says how layers of the backbone learn."""
    return name.startswith("fine_tune_") or name in _OF_TUNING


def _resolved_paths(value: Any) -> str | list[str]:
    """A path, or several, from the root on."""
    several = isinstance(value, tuple)
    paths = [str(Path(path).resolve()) for path in (value if several else (value,))]
    return paths if several else paths[0]


def _absolute(weights: str) -> str:
    """The sources of weights, those that are files or folders by their whole paths."""
    sources = sources_of(weights)
    return ",".join(str(Path(one).resolve()) if Path(one).exists() else one for one in sources)


def _resolved(settings: TrainSettings) -> TrainSettings:
    """With what the backbone decides in the place of None."""
    choice = choose(settings.backbone, settings.alpha, settings.input_resolution)
    tuning = settings.fine_tune
    if settings.weights == "none":  # every layer learns then, and mixes nothing unless told to
        tuning = replace(tuning, mixup=tuning.mixup or 0.0, remember=tuning.remember or 0.0)
    else:
        tuning = tuning.of(choice.fine_tuning, bool(settings.teachers) or settings.own_teachers)
    return replace(
        settings,
        alpha=choice.alpha,
        input_resolution=choice.input_resolution,
        fine_tune=tuning,
    )


def settings_toml(settings: TrainSettings, *, random: bool = False) -> str:
    """`settings.toml` of a run, which `kit train --config` reads.

    Settings that no option can give, as a notebook may have them, are named in a comment.

    Args:
        settings: those of the run.
        random: whether no source of weights had any, so that it started from random values. The
            file says so then, and repeats what was done, whatever the sources have by then.
    """
    settings = replace(settings, weights="none") if random else settings
    return toml(
        options_of(settings),
        "train IMAGES --output RUN",
        [f"No option gives {name}: {value}" for name, value in _inexpressible(settings)],
    )


def toml(options: Mapping[str, Any], command: str, remarks: Sequence[str] = ()) -> str:
    """Options as a file that `kit COMMAND --config` reads, with remarks as comments before them."""
    import tomli_w

    from kit import __version__

    comments = [
        f"Written by mobilenet-kit {__version__}, with every default spelt out. To repeat it:",
        f"kit {command} --config {SETTINGS_NAME}",
        *remarks,
    ]
    named = {}
    for name, value in options.items():
        # A path may hold bytes that are no text, which TOML cannot say.
        if isinstance(value, str) and text_bytes(value).decode() != value:
            comments.append(f"No file like this can give {name}: {value}")
        else:
            named[name.replace("_", "-")] = value
    return "\n".join([*(f"# {line}" for line in comments), tomli_w.dumps(named)])


def _inexpressible(settings: TrainSettings) -> list[tuple[str, Any]]:
    """Name and value of each setting that its own options would give another value."""
    there = dict(_flat(_resolved(settings)))
    here = dict(_flat(_resolved(train_settings(**options_of(settings)))))
    decided = {
        "data.labels_csv",
        "data.corrections",
        "weights",
        "teachers",
        "unlabelled",
    }  # made absolute
    if settings.fine_tune.layers == NONE:
        decided |= {name for name in there if name.startswith("fine_tune.")}
    return [
        (name, value)
        for name, value in there.items()
        if name not in decided and here.get(name) != value
    ]


def _flat(settings: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for field in fields(settings):
        value = getattr(settings, field.name)
        if is_dataclass(value) and field.name != "targets":
            found += _flat(value, f"{prefix}{field.name}.")
        else:
            plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
            found.append((f"{prefix}{field.name}", plain))
    return found
