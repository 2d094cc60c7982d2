"""`kit package`: adds labels, normalisation and a card to a .tflite model that others made."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from converters.packaging import quantization_of
from converters.sources.label_files import read_label_file
from kit.errors import ConversionError, KitError
from kit.export.finish import finish, now, package_versions
from kit.files import check_absent, write_beside
from kit.model.model_file import read_model_file
from kit.model.spec import ModelCard
from kit.runtime import Classifier
from kit.runtime.interpreter import Runner


@dataclass(frozen=True)
class PackageSettings:
    """What the user says of the model; None: what the file itself says.

    Attributes:
        labels: text file with one label on each line, in the order of the scores.
        mean: subtracted from pixels in the range 0 to 255.
        std: divides what is left.
        fit: how photographs are made square.
        resize: the resize method; `bilinear` by default.
        score_threshold: scores below it should not be shown as answers.
        intended_use: a sentence for the card.
    """

    labels: Path | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    fit: str | None = None
    resize: str | None = None
    score_threshold: float | None = None
    intended_use: str = ""


def package_model(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: PackageSettings | None = None,
    *,
    force: bool = False,
) -> ModelCard:
    """Writes a copy of the model with metadata, labels and a card; the weights stay as they are.

    Args:
        model: a .tflite image classifier.
        output: the file to write; it is complete or absent.
        settings: see PackageSettings.
        force: replace an existing output.

    Returns:
        The card.

    Raises:
        ModelFileError: the model is damaged or no image classifier, or neither the file nor you say
            what its labels and normalisation are.
        ConversionError: the model is packaged already, the label file is wrong, or an operator
            is in no released runtime.
        InferenceError: the interpreter refuses it.
        OutputExistsError: the output is in the way.
    """
    settings = settings or PackageSettings()
    check_absent(output, force)
    file = read_model_file(model)
    if file.card is not None:
        raise ConversionError(
            f"{model}: expected a model without a card, but it is packaged already"
        )
    labels = None
    if settings.labels is not None:
        try:
            width = Runner(file.path).output_width
        except KitError as error:
            raise type(error)(f"{model}: {error}") from error
        labels = read_label_file(settings.labels, width)
    with Classifier.open(
        model, labels=labels, mean=settings.mean, std=settings.std, resize=settings.resize
    ) as classifier:
        labels, spec = classifier.labels, classifier.preprocess
        threshold = file.metadata.score_threshold if file.metadata else None
    flatbuffer = file.path.read_bytes()
    try:
        quantization = quantization_of(flatbuffer)
    except ConversionError as error:
        raise ConversionError(f"{model}: {error}") from error
    card = ModelCard(
        backbone=f"TensorFlow Lite model {file.path.name}",
        alpha=None,
        weights="those of the source",
        quantization=quantization,
        preprocess=spec if settings.fit is None else replace(spec, fit=settings.fit),
        labels=labels,
        score_threshold=(
            threshold if settings.score_threshold is None else settings.score_threshold
        ),
        intended_use=settings.intended_use,
        versions=package_versions(),
        created=now(),
    )
    finished = finish(flatbuffer, card)
    write_beside(output, finished.content, force)
    return finished.card
