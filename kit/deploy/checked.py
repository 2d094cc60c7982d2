"""What a model must be to be brought to a device."""

from __future__ import annotations

import os

from kit.errors import ModelFileError
from kit.model.model_file import ModelFile, read_model_file
from kit.runtime.classifier import Classifier
from kit.runtime.self_test import self_test


def checked_model(model: str | os.PathLike[str]) -> ModelFile:
    """A .tflite file that has a card, runs, and gives the scores that its card promises.

    Raises:
        ModelFileError: it is none of this.
        InferenceError: the interpreter refuses it.
    """
    file = read_model_file(model)
    if file.card is None:
        raise ModelFileError(
            f"{file.path}: expected a model with a card, this file has none: "
            "make it with kit train, kit convert or kit package"
        )
    with Classifier.open(file.path) as classifier:
        if file.card.golden and not all(check.passed for check in self_test(classifier)):
            raise ModelFileError(
                f"{file.path}: expected the scores that its card promises, got others: "
                "make the file again"
            )
    return file
