"""What is trained, and pulled, where nothing is said; by itself, so that help stays quick."""

DEFAULT_BACKBONE, DEFAULT_ALPHA = "mobilenet_v1", 0.5

DEFAULT_VARIANTS = 8
"""Changed forms of each photograph that the head is fitted on."""
