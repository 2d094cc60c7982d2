"""What is trained, and pulled, where nothing is said; by itself, so that help stays quick."""

DEFAULT_BACKBONE, DEFAULT_ALPHA = "mobilenet_v1", 0.5
