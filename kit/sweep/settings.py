"""What a sweep is asked for, and whether a folder holds the same one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kit.data import Dataset
from kit.defaults import DEFAULT_BACKBONE
from kit.errors import SpecError, TrainingError
from kit.export import AUTO
from kit.files import write_beside
from kit.retrain import TrainSettings
from kit.spec import SCHEMA_VERSION, load_json
from kit.sweep.judge import Limits

SETTINGS_NAME = "sweep.json"


@dataclass(frozen=True)
class TimingSettings:
    """How each file is timed; see kit.runtime.benchmark.benchmark.

    Attributes:
        image: the file to label; None: the first photograph of the test part.
        threads: 1 to this are measured, and the fastest counts.
        runs: that count, of each file.
        interpreter: one of kit.runtime.interpreter.INTERPRETERS; None: the one that labels here.
    """

    image: Path | None = None
    threads: int = 1
    runs: int = 50
    interpreter: str | None = None

    def __post_init__(self) -> None:
        for name in ("threads", "runs"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")

    def to_json(self) -> dict[str, Any]:
        """Of the image its content, not its name."""
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
        timing: how each file is timed.
        limits: of the model that is looked for; other ones need no other sweep.
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
        training = {**asdict(self.training), "data": self.training.data.to_json()}
        for name in ("backbone", "alpha", "input_resolution"):
            del training[name]
        facts = {
            "images": {"fingerprint": dataset.fingerprint},
            "training": training,
            "timing": self.timing.to_json(),
        }
        return dict(json.loads(json.dumps(facts, default=str)))


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
        write_beside(path, json.dumps(record, ensure_ascii=False, indent=1).encode(), force=False)
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
            f"{name} {there.get(name)!r} then and {here.get(name)!r} now" for name in differing[:3]
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
