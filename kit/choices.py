"""Names that an option can take, for modules whose meaning of them is heavy to import.

The command line shows them in its help, which has to answer at once. Each name's meaning stands in
the module named beside it, which takes its names from here.
"""

AUGMENTATION_NAMES = ("none", "photo", "xray", "any-direction")
"""See kit.training.augment."""

CONFIDENCE = 0.95
"""With which targets of an operating point are promised; see kit.evaluation.promises."""

INTERPRETERS = ("ai_edge_litert", "tflite_runtime")
"""Packages with an interpreter, in the order in which they are preferred; see kit.runtime."""

PARTS = ("train", "validation", "test")
"""Parts of a split; see kit.data."""

RECIPE_NAMES = ("quick", "best", "max")
"""See kit.training.recipes."""

SWEEP_RECIPE_NAMES = RECIPE_NAMES[:2]
"""Those that compare networks: with `max`, a sweep would fit the same teachers for each."""

TARGET_NAMES = ("tflite", "c", "onnx")
"""See converters.targets."""

WEB_LANGUAGES = ("en", "fr", "es")
"""Languages of the page; see kit.deploy.web and web/src/texts.ts."""
