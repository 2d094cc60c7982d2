"""On how many pixels layers learn: fewer than the network has in use, and fewer still at first."""

from __future__ import annotations

from dataclasses import dataclass, replace

from kit.model.spec import PreprocessSpec
from kit.training.augment import Augmentation
from kit.training.fitting import FitSettings
from kit.training.photographs import Photographs

_STRIDE = 32  # of every backbone: input pixels for one place of its last map
_LEAST_SIDE = 128
"""In pixels: MobileNet v2 0.35 for 128 was right less often after it learnt at 96 throughout."""
_LEAST_SIDE_AT_FIRST = 96
_WORTH = 0.75  # of the pixels, at most: every photograph is decoded once more for it


def training_spec(spec: PreprocessSpec, augmentation: Augmentation) -> PreprocessSpec:
    """How changed photographs become the input of layers that learn, and of their teachers.

    A crop is magnified to the input. Into an input that is as much smaller on average it goes at
    the size that things have in use (Touvron et al. 2019, "Fixing the train-test resolution
    discrepancy"); an epoch takes half as long, too. Networks for few pixels need them all, but not
    at first (see `stages`).
    """
    return _smaller(spec, augmentation, _LEAST_SIDE)


@dataclass(frozen=True)
class Stage:
    """Epochs that read photographs at one size.

    Attributes:
        epochs: which of the training's epochs.
        photographs: what is learnt from.
    """

    epochs: range
    photographs: Photographs


def stages(
    photographs: Photographs, settings: FitSettings, *, taught: bool = False, done: int = 0
) -> tuple[Stage, ...]:
    """Splits a training in two: the first half of its epochs reads fewer pixels, in less time.

    (M. Tan and Q. Le, "EfficientNetV2: Smaller models and faster training", ICML 2021, section 4.)

    Args:
        photographs: what the second half reads, at its size.
        settings: the fit's, with epochs. Where training may end early it is all one stage, since
            nobody knows where its half is.
        taught: whether teachers answer. It is all one stage then, too: a student told unknown
            images less well after two, in which its teachers saw fewer pixels at first as well.
        done: epochs that need not be repeated.

    Returns:
        One or two stages; of what is done, none.
    """
    assert settings.epochs is not None
    at_first = _smaller(photographs.spec, photographs.augmentation, _LEAST_SIDE_AT_FIRST)
    pixels = (at_first.input_resolution / photographs.spec.input_resolution) ** 2
    whole = taught or settings.may_end_early or pixels > _WORTH
    half = 0 if whole else settings.epochs // 2
    first = Stage(range(done, half), replace(photographs, spec=at_first))
    last = Stage(range(max(done, half), settings.epochs), photographs)
    return (first, last) if first.epochs else (last,)


def _smaller(spec: PreprocessSpec, augmentation: Augmentation, least: int) -> PreprocessSpec:
    """As much smaller as crops are on average, in whole strides, but not below `least` pixels."""
    side = spec.input_resolution
    if augmentation.smallest_crop < 1:
        side = min(side, max(_STRIDE * round(side * augmentation.mean_crop_side / _STRIDE), least))
    return replace(spec, input_resolution=side)
