"""How a classifier is fitted, and the settings that a recipe stands for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from kit.choices import RECIPE_NAMES
from kit.training.augment import AUGMENTATIONS, Augmentation
from kit.training.defaults import DEFAULT_VARIANTS, FINE_TUNED_VARIANTS
from kit.training.fine_tune import FineTuneSettings
from kit.training.fitting import FitSettings
from kit.training.layers import MOST


@dataclass(frozen=True)
class LearnSettings:
    """How a classifier is fitted.

    Attributes:
        fitting: how the head (with random weights: the whole network) is trained.
        fine_tune: how the backbone's last layers are trained after it.
        augment: key of kit.training.augment.AUGMENTATIONS.
        variants: changed forms of each photograph whose bottlenecks the head sees besides the
            photograph itself. Fine-tuning changes photographs anew every epoch.
    """

    fitting: FitSettings = field(default_factory=FitSettings)
    fine_tune: FineTuneSettings = field(default_factory=FineTuneSettings)
    augment: str = "none"
    variants: int = DEFAULT_VARIANTS

    def __post_init__(self) -> None:
        if self.augment not in AUGMENTATIONS:
            raise ValueError(
                f"expected an augmentation of {', '.join(AUGMENTATIONS)}, got {self.augment!r}"
            )
        if self.variants < 0:
            raise ValueError(f"expected variants of at least 0, got {self.variants}")

    @property
    def augmentation(self) -> Augmentation:
        return AUGMENTATIONS[self.augment]


_QUICK = LearnSettings()
_BEST = LearnSettings(
    fitting=FitSettings(label_smoothing=0.1),
    fine_tune=FineTuneSettings(
        layers=MOST,
        fitting=FitSettings(
            epochs=None,
            learning_rate=None,
            batch_size=32,
            optimizer="sgd",
            schedule="cosine",
            label_smoothing=0.1,
        ),
        mixup=None,
        remember=None,
    ),
    augment="photo",
    variants=FINE_TUNED_VARIANTS,
)
RECIPES: Mapping[str, LearnSettings] = MappingProxyType(
    dict(zip(RECIPE_NAMES, (_QUICK, _BEST, _BEST), strict=True))
)
"""Settings by the name that `--recipe` takes: the head alone; every improvement there is; the same,
by teachers that are trained before (see kit.workflows.teachers)."""
