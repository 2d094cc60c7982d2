"""`kit package`: adds labels, normalisation and a card to a .tflite model that others made."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from converters.packaging import quantization_of
from converters.plain_form import in_plain_form
from kit.errors import ConversionError, InferenceError
from kit.export.finish import finish, now, package_versions
from kit.files import check_absent, write_beside
from kit.model.labels import read_labels
from kit.model.model_file import read_model_file
from kit.model.spec import ModelCard
from kit.reporting import Reporter, Silent
from kit.runtime import Classifier
from kit.runtime.probe import check_survives
from kit.runtime.teachable_machine import is_archive


@dataclass(frozen=True)
class PackageSettings:
    """What the user says of the model; None: what the file itself says.

    Attributes:
        labels: a label file, see kit.model.labels.
        mean: subtracted from pixels in the range 0 to 255.
        std: divides what is left.
        fit: how photographs get the input's aspect.
        resize: the resize method; `bilinear` by default.
        input_resolution: side of the input in pixels, for a model that leaves it open.
        output_tensor: name of the output with the scores, for a model with several.
        output_kind: one of kit.model.spec.OUTPUT_KINDS; None: as the graph ends.
        score_threshold: scores below it should not be shown as answers.
        intended_use: a sentence for the card.
    """

    labels: Path | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    fit: str | None = None
    resize: str | None = None
    input_resolution: int | None = None
    output_tensor: str | None = None
    output_kind: str | None = None
    score_threshold: float | None = None
    intended_use: str = ""


def package_model(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: PackageSettings | None = None,
    *,
    force: bool = False,
    reporter: Reporter | None = None,
) -> ModelCard:
    """Writes a copy of the model with metadata, labels and a card; the weights stay as they are.

    The copy has the shapes of one image, and no output besides the scores.

    Args:
        model: a .tflite image classifier, or a zip archive of one by Teachable Machine.
        output: the file to write; it is complete or absent.
        settings: see PackageSettings.
        force: replace an existing output.
        reporter: is told what was found in the model.

    Returns:
        The card.

    Raises:
        ModelFileError: the model is damaged or no image classifier, or neither the file nor you say
            what its labels and normalisation are.
        ConversionError: the model is packaged already, or an operator is in no released runtime.
        InferenceError: the interpreter refuses it, or the model ends the process that runs it.
        OutputExistsError: the output is in the way.
    """
    settings, reporter = settings or PackageSettings(), reporter or Silent()
    check_absent(output, force)
    if not is_archive(model):
        _check_model(model, settings)
    known = asdict(settings)
    known["labels"] = None if settings.labels is None else read_labels(settings.labels)
    threshold = known.pop("score_threshold")
    del known["intended_use"]
    with Classifier.open(model, **known) as classifier:
        for remark in classifier.remarks:
            reporter.warn(f"{model}: {remark}")
        file = classifier.file
        content = file.path.read_bytes()
        flatbuffer = in_plain_form(content, classifier.new_runner(plain_kernels=True))
        try:
            quantization = quantization_of(flatbuffer)
        except ConversionError as error:
            raise ConversionError(f"{model}: {error}") from error
        if threshold is None and file.metadata is not None:
            threshold = file.metadata.score_threshold
        card = ModelCard(
            backbone=f"TensorFlow Lite model {Path(model).name}",
            alpha=None,
            weights="those of the source",
            quantization=quantization,
            preprocess=classifier.preprocess,
            labels=classifier.labels,
            output_kind=classifier.output_kind,
            score_threshold=threshold,
            intended_use=settings.intended_use,
            versions=package_versions(),
            created=now(),
        )
    finished = finish(flatbuffer, card)
    write_beside(output, finished.content, force)
    return finished.card


def _check_model(model: str | os.PathLike[str], settings: PackageSettings) -> None:
    if read_model_file(model).card is not None:
        raise ConversionError(
            f"{model}: expected a model without a card, got one that is packaged already: use it "
            "as it is"
        )
    side = settings.input_resolution
    try:
        check_survives(model, None if side is None else (side, side), settings.output_tensor)
    except InferenceError as error:
        raise InferenceError(f"{model}: {error}") from error
