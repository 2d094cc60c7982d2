"""From labelled photographs and a backbone to a fitted classifier.

Backbones and their weights, cached bottlenecks, the head, fine-tuning, augmentation and
checkpoints. The package stands on kit.data, kit.evaluation and converters, and knows nothing of
packaged files.
"""

from typing import TYPE_CHECKING

from kit.lazy import exports

if TYPE_CHECKING:
    from kit.training.backbones import BACKBONES as BACKBONES
    from kit.training.backbones import choose as choose
    from kit.training.fine_tune import FineTuneSettings as FineTuneSettings
    from kit.training.fitting import FitSettings as FitSettings
    from kit.training.recipes import RECIPES as RECIPES
    from kit.training.recipes import LearnSettings as LearnSettings
    from kit.training.weights import find_weights as find_weights
    from kit.training.weights import pull_weights as pull_weights

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "BACKBONES": "kit.training.backbones",
        "FineTuneSettings": "kit.training.fine_tune",
        "FitSettings": "kit.training.fitting",
        "LearnSettings": "kit.training.recipes",
        "RECIPES": "kit.training.recipes",
        "choose": "kit.training.backbones",
        "find_weights": "kit.training.weights",
        "pull_weights": "kit.training.weights",
    },
)
