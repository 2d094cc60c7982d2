"""Defaults of `kit train` and `kit weights pull`, in a module that help can import quickly."""

from __future__ import annotations

DEFAULT_BACKBONE, DEFAULT_ALPHA = "mobilenet_v1", 0.5

EPOCHS = 75
"""Most passes of the head over the training images."""
LEARNING_RATE = 0.003
BATCH_SIZE = 64
L2 = 0.01
FINE_TUNE_EPOCHS = 12
"""Passes of fine-tuning, unless a recipe takes the backbone's own."""
DEFAULT_VARIANTS = 8
"""Changed forms of each photograph that the head is fitted on."""
FINE_TUNED_VARIANTS = 2
"""The same where layers are fine-tuned then: more took time, and brought the network nothing."""


def default_alpha(backbone: str, alpha: float | None) -> float | None:
    """The width multiplier that is meant where none is given; None: the backbone's own."""
    return DEFAULT_ALPHA if alpha is None and backbone == DEFAULT_BACKBONE else alpha
