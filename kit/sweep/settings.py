"""What a sweep is asked for, and whether a folder holds the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kit.choices import INTERPRETERS, SWEEP_RECIPE_NAMES
from kit.data import Dataset, DataSettings, split_dataset
from kit.errors import ImageError, MissingDependencyError, SpecError, TrainingError
from kit.export.modes import AUTO
from kit.filenames import text_bytes
from kit.files import write_beside
from kit.model.spec import MOST_THREADS, SCHEMA_VERSION, load_json
from kit.runtime.images import read_image
from kit.runtime.interpreter import interpreter_name
from kit.sweep.judge import Limits
from kit.training.defaults import DEFAULT_BACKBONE
from kit.training.layers import NONE
from kit.workflows.options import options_of, toml, train_settings
from kit.workflows.train_settings import TrainSettings

SETTINGS_NAME = "sweep.json"
_MOST_RUNS = 10**6
_TRAINING_OPTIONS = (
    *(
        "labels_csv",
        "path_column",
        "label_column",
        "label_columns",
        "label_names",
        "group_column",
        "split_column",
        "label_regex",
        "corrections",
    ),
    *("validation", "test", "seed", "group_regex", "weights", "fit", "resize", "epochs"),
    "quantize",
)
"""Options of a training that `kit sweep` has too."""
_DIGESTS: Mapping[str, str] = MappingProxyType(
    {
        "images.fingerprint": "other images or labels (images.fingerprint)",
        "images.split": "other groups, parts or file names of the images (images.split)",
    }
)
"""Facts that tell nobody anything by their values."""


@dataclass(frozen=True)
class TimingSettings:
    """How each file is timed; see kit.device.benchmark.benchmark.

    Attributes:
        image: the file to label; None: the first photograph of the test part.
        threads: 1 to this are measured, and the fastest counts.
        runs: number of timed runs of each file.
        interpreter: one of kit.runtime.interpreter.INTERPRETERS; None: the one that labels here.
    """

    image: Path | None = None
    threads: int = 1
    runs: int = 50
    interpreter: str | None = None

    def __post_init__(self) -> None:
        for name, most in (("threads", MOST_THREADS), ("runs", _MOST_RUNS)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(f"expected 1 to {most} {name}, got {getattr(self, name)}")
        if self.interpreter not in (None, *INTERPRETERS):
            raise ValueError(
                f"expected an interpreter of {', '.join(INTERPRETERS)}, got {self.interpreter!r}"
            )

    def checked(self) -> TimingSettings:
        """These, with the interpreter's name, once it is sure that they can be followed.

        Raises:
            ImageError: the image cannot be read.
            MissingDependencyError: the interpreter is not installed.
        """
        if self.image is not None:
            try:
                read_image(self.image)
            except ImageError as error:
                raise ImageError(f"{self.image}: {error}") from error
        if self.interpreter is None:
            return replace(self, interpreter=interpreter_name())
        # Not imported: tflite_runtime does not go with TensorFlow in one process.
        if find_spec(self.interpreter) is None:
            raise MissingDependencyError(
                f"expected {self.interpreter} to time files with, found none: "
                f"pip install {self.interpreter.replace('_', '-')}"
            )
        return self

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold them; the image by the digest of its content, not by its name."""
        digest = None
        if self.image is not None:
            digest = hashlib.sha256(self.image.read_bytes()).hexdigest()
        return {**asdict(self), "image": digest}


@dataclass(frozen=True)
class SweepSettings:
    """Everything that decides what a sweep gives, besides the images.

    Attributes:
        backbones: keys of kit.training.backbones.BACKBONES.
        alphas: width multipliers; none: each backbone's default.
        input_resolutions: in pixels; none: each backbone's default.
        training: how each combination is trained and what it is quantised to; its own backbone,
            alpha and input resolution are not looked at.
        timing: how each file is timed; with others only that is done again.
        limits: limits for the recommended model; other limits need no other sweep.
        skip_missing: leave out combinations without weights, instead of refusing to start.
    """

    backbones: tuple[str, ...] = (DEFAULT_BACKBONE,)
    alphas: tuple[float, ...] = ()
    input_resolutions: tuple[int, ...] = ()
    training: TrainSettings = field(default_factory=TrainSettings)
    timing: TimingSettings = field(default_factory=TimingSettings)
    limits: Limits = field(default_factory=Limits)
    skip_missing: bool = False

    def __post_init__(self) -> None:
        if not self.backbones:
            raise ValueError("expected at least one backbone, got none")
        if AUTO in self.training.quantize:
            raise ValueError(
                f"expected quantisation modes to compare, got {AUTO}: it chooses one for each "
                "combination by itself"
            )

    def facts(self, dataset: Dataset) -> dict[str, Any]:
        """What must be the same for results to stand in one table; the grid may grow."""
        training = self.training.to_json()
        for name in ("backbone", "alpha", "input_resolution"):
            del training[name]
        split = split_dataset(dataset, self.training.split)
        groups = sorted((image.path, image.group) for image in dataset.images)
        digest = hashlib.sha256(json.dumps([split, groups], sort_keys=True).encode()).hexdigest()
        facts = {
            "images": {"fingerprint": dataset.fingerprint, "split": digest},
            "training": training,
        }
        return dict(json.loads(json.dumps(facts, default=str)))


def sweep_toml(settings: SweepSettings) -> str:
    """`settings.toml` of a sweep, which `kit sweep --config` reads.

    Training settings that no option of a sweep can give are named in a comment.
    """
    training, tuning = settings.training, settings.training.fine_tune
    every = options_of(replace(training, backbone=settings.backbones[0], alpha=None))
    options = {name: every[name] for name in _TRAINING_OPTIONS if name in every}
    given = {**options, "fine_tune_epochs": tuning.fitting.epochs}
    recipes = {name: _comparable(train_settings(name, **given)) for name in SWEEP_RECIPE_NAMES}
    wanted = _comparable(training)
    recipe = next((name for name in recipes if recipes[name] == wanted), None)
    remarks = []
    if recipe is None:
        recipe = SWEEP_RECIPE_NAMES[tuning.layers != NONE]
        remarks = ["Some settings of the training are not among the options of kit sweep."]
    timing, limits = asdict(settings.timing), asdict(settings.limits)
    if settings.timing.image is not None:
        timing["image"] = str(Path(settings.timing.image).resolve())
    whole = {
        "backbone": list(settings.backbones),
        "alpha": list(settings.alphas),
        "input_resolution": list(settings.input_resolutions),
        "recipe": recipe,
        **given,
        "skip_missing": settings.skip_missing,
        **timing,
        **limits,
    }
    told = {name: value for name, value in whole.items() if value is not None and value != []}
    return toml(told, "sweep IMAGES --output FOLDER", remarks)


def _comparable(training: TrainSettings) -> TrainSettings:
    """Without what a sweep decides by itself, and with paths made absolute."""
    data = DataSettings.from_json(training.data.to_json())
    return replace(
        training,
        weights=options_of(training)["weights"],
        backbone=DEFAULT_BACKBONE,
        alpha=None,
        input_resolution=None,
        data=data,
    )


def check_same(folder: Path, facts: dict[str, Any]) -> None:
    """Keeps the facts in a new folder; raises TrainingError where it holds another sweep's."""
    path = folder / SETTINGS_NAME
    if not path.exists():
        if (strangers := sorted(one.name for one in folder.iterdir() if one.name[0] != ".")) != []:
            raise TrainingError(
                f"{folder}: expected a sweep's folder or an empty one, it holds "
                f"{strangers[0]}: choose another"
            )
        record = {"schema_version": SCHEMA_VERSION, **facts}
        write_beside(
            path, text_bytes(json.dumps(record, ensure_ascii=False, indent=1)), force=False
        )
        return
    try:
        earlier = load_json(path.read_bytes(), str(path))
    except (OSError, SpecError) as error:
        raise TrainingError(
            f"{path}: expected the settings of a sweep ({error}): give --force, or delete {folder}"
        ) from error
    there, here = dict(_flat(earlier)), dict(_flat({"schema_version": SCHEMA_VERSION, **facts}))
    differing = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    if differing:
        shown = ", ".join(
            _DIGESTS.get(name, f"{name} {there.get(name)!r} then and {here.get(name)!r} now")
            for name in differing[:3]
        )
        raise TrainingError(
            f"{folder}: expected the images and settings of the sweep that is there, got {shown}: "
            "give the same, or another --output, or --force to start anew"
        )


def _flat(data: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict) and data:
        for name, value in data.items():
            yield from _flat(value, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, data
