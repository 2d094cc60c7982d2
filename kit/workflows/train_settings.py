"""Everything that decides what a training run gives, besides the images."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from kit.data import DataSettings, SplitSettings
from kit.evaluation.thresholds import Targets
from kit.export.exported import Gates
from kit.export.modes import check_modes
from kit.export.representative import IMAGES
from kit.training.defaults import DEFAULT_ALPHA, DEFAULT_BACKBONE, DEFAULT_VARIANTS
from kit.training.fine_tune import FineTuneSettings
from kit.training.fitting import FitSettings
from kit.training.layers import NONE
from kit.training.recipes import LearnSettings


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides what a run gives, besides the images.

    Attributes:
        backbone: a key of kit.training.backbones.BACKBONES.
        alpha: width multiplier; None: the backbone's default.
        input_resolution: side of the input in pixels; None: the backbone's default.
        weights: see kit.training.weights.find_weights.
        quantize: the quantisation modes to write a file for, or `auto` alone.
        fit: how photographs are made square.
        resize: the resize method.
        data: where labels, groups and given parts come from.
        split: the shares of the parts, the seed and the groups.
        fitting, fine_tune, augment, variants: see kit.training.recipes.LearnSettings.
        teachers: run folders of the classifiers that the backbone's layers learn from, besides the
            labels (see kit.training.teachers).
        unlabelled: a folder of photographs that are learnt from the teachers alone.
        own_teachers: whether teachers are fitted first, and kept beside the run.
        representative_images: number of images of the train part that quantisation looks at.
        gates: what the files must reach to be kept.
        targets: what the operating point must reach; None: no operating point is chosen.
        intended_use: a sentence for the card.
        gallery: whether the report may show photographs and file names; None: yes, unless there
            are DICOM files, whose pictures and names are those of patients.
        screening: also write the screening form of each file.
    """

    backbone: str = DEFAULT_BACKBONE
    alpha: float | None = DEFAULT_ALPHA
    input_resolution: int | None = None
    weights: str = "imagenet"
    quantize: tuple[str, ...] = ("int8",)
    fit: str = "stretch"
    resize: str = "bilinear"
    data: DataSettings = field(default_factory=DataSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    fitting: FitSettings = field(default_factory=FitSettings)
    fine_tune: FineTuneSettings = field(default_factory=FineTuneSettings)
    augment: str = "none"
    variants: int = DEFAULT_VARIANTS
    teachers: tuple[str, ...] = ()
    unlabelled: str | None = None
    own_teachers: bool = False
    representative_images: int = IMAGES
    gates: Gates = field(default_factory=Gates)
    targets: Targets | None = None
    intended_use: str = ""
    gallery: bool | None = None
    screening: bool = False

    @property
    def learning(self) -> LearnSettings:
        """The settings of learning alone."""
        return LearnSettings(self.fitting, self.fine_tune, self.augment, self.variants)

    def to_json(self) -> dict[str, Any]:
        """As a record keeps them, with the table's path made absolute."""
        return asdict(self) | {"data": self.data.to_json()}

    def __post_init__(self) -> None:
        check_modes(self.quantize)
        _ = self.learning  # which checks its own
        taught = bool(self.teachers) or self.own_teachers
        if taught and self.fine_tune.layers == NONE and self.weights != "none":
            raise ValueError(
                "expected layers of the backbone that learn from a teacher, got the head alone: "
                "give --recipe best or max, or --fine-tune LAYERS"
            )
        if self.unlabelled is not None and not taught:
            raise ValueError(
                "expected a teacher that says what is on the photographs of --unlabelled, got "
                "none: give --teacher RUN or --recipe max"
            )
        if self.own_teachers and self.weights == "none":
            raise ValueError("expected pretrained weights with --recipe max, got --weights none")
        if self.representative_images < 1:
            raise ValueError(
                f"expected at least 1 representative image, got {self.representative_images}"
            )
