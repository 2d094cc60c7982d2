"""The screening form of a finished file: it also tells unknown images, and has a heat map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from converters.extra_outputs import (
    feature_probe,
    has_activation_map,
    label_weights,
    with_screening_outputs,
)
from converters.familiarity import LEAST_IMAGES, Familiarity
from kit.errors import ConversionError, DataError, ImageError
from kit.evaluation.metrics import Accuracy
from kit.evaluation.monitoring import reference_of
from kit.evaluation.unknown import accepting_threshold, strangeness
from kit.export.exported import Exported
from kit.export.finish import finish
from kit.export.heat_maps import run_pixels
from kit.export.scoring_set import ScoringSet
from kit.model.preprocess import Pixels, fit_pixels
from kit.model.spec import UNFAMILIARITY, PreprocessSpec, Screening
from kit.reporting import Reporter, Silent
from kit.runtime.appearance import appearance_of
from kit.runtime.classifier import Answer
from kit.runtime.images import read_image
from kit.runtime.interpreter import Runner, RunnerPool
from kit.runtime.parallel import default_threads, ordered_map
from kit.runtime.self_test import PATTERNS, draw_pattern

Found = TypeVar("Found")

_GROWTH = 0.125  # of the file by its further constants; operators and the card come on top
_BYTES_A_FEATURE, _BYTES_A_MAP_WEIGHT = 8, 2  # scale and offset; the heat map
_COMPARING = ("scores", "logits")  # output kinds of one softmax over all labels
_LEAST_VALIDATION = 20  # with fewer a threshold that accepts 95 % accepts them all


def screening_name(name: str) -> str:
    """The name of the screening form that belongs to a plain file of this name."""
    path = Path(name)
    return str(path.with_name(f"{path.stem}_screening{path.suffix}"))


def check_enough(train: int, validation: int) -> None:
    """Raises DataError where there are too few images for a screening form."""
    if train < LEAST_IMAGES or validation < _LEAST_VALIDATION:
        raise DataError(
            f"expected at least {LEAST_IMAGES} images to tell unknown ones by and "
            f"{_LEAST_VALIDATION} to choose the threshold on, got {train} and {validation}: "
            "add images, or leave out --screening"
        )


def screening_form(
    exported: Exported,
    train: ScoringSet,
    validation: ScoringSet,
    test: ScoringSet | None = None,
    reporter: Reporter | None = None,
) -> Exported:
    """Adds the further outputs of a screening model to a finished plain file.

    The scores stay those of the plain file, to the last bit.

    Args:
        exported: the plain file.
        train: the images that the model was trained on, which are familiar.
        validation: other images, that the threshold is chosen on.
        test: other images again, to count how many the threshold accepts.
        reporter: is told of progress.

    Raises:
        ConversionError: the network's last layer sees no feature vector, or the file fails its
            own checks.
        DataError: there are too few images, or one cannot be read.
    """
    reporter = reporter or Silent()
    plain, spec = exported.content, exported.card.preprocess
    check_enough(len(train.paths), len(validation.paths))
    reporter.say(f"screening form of {exported.mode}")
    features = np.stack(
        _over_images(feature_probe(plain), train, spec, lambda _, row, __: row, reporter)
    )
    width, labels = features.shape[1], len(exported.card.labels)
    room = _GROWTH * len(plain) - width * (_BYTES_A_FEATURE + _BYTES_A_MAP_WEIGHT * labels)
    known = Familiarity.of(features, room, _evidence_weights(exported))
    flatbuffer = with_screening_outputs(plain, known)
    figures, threshold, reference = {}, 0.0, dict(exported.card.reference)
    for part in (validation, *([test] if test is not None else ())):
        answers = _over_images(flatbuffer, part, spec, partial(_answer, spec), reporter)
        unfamiliarity = strangeness(answers)[1]
        if part is validation:
            threshold = accepting_threshold(unfamiliarity)
            if exported.card.output_kind == "scores":
                labels_of, point = exported.card.labels, exported.card.operating_point
                reference = reference_of(answers, labels_of, point, threshold)
        accepted = Accuracy.of_answers(unfamiliarity <= threshold, part.groups)
        figures[part.name] = accepted.to_json("accepted")
    _check_scores(plain, flatbuffer, spec)
    card = replace(
        exported.card,
        screening=Screening(threshold, has_activation_map(plain)),
        metrics={**exported.card.metrics, "unknown": figures},
        reference=reference,
    )
    file = finish(flatbuffer, card)
    return replace(exported, content=file.content, card=file.card, operators=file.operators)


def _evidence_weights(exported: Exported) -> npt.NDArray[np.float64] | None:
    """What finds evidence for a label: None where a familiar image may have little for any.

    So it may where each label has an answer of its own, or the one number of two labels is mostly
    bias. Where there is no heat map, the weights would make the file larger.
    """
    compares = exported.card.output_kind in _COMPARING
    plain = exported.content
    return label_weights(plain) if compares and has_activation_map(plain) else None


def _over_images(
    content: bytes,
    photographs: ScoringSet,
    spec: PreprocessSpec,
    read: Callable[[Runner, npt.NDArray[np.float32], Pixels], Found],
    reporter: Reporter,
) -> list[Found]:
    """What `read` makes of the model, its output and the photograph, for each image."""
    runners = RunnerPool(lambda: Runner(content))

    def work(path: str) -> Found:
        try:
            pixels = read_image(photographs.root / path, spec.longer_side)
        except ImageError as error:
            raise DataError(f"{photographs.root / path}: {error}") from error
        with runners.borrowed() as runner:
            return read(runner, run_pixels(runner, pixels, spec), pixels)

    results = ordered_map(work, photographs.paths, default_threads())
    return [*reporter.track(results, len(photographs.paths), f"features of {photographs.name}")]


def _answer(
    spec: PreprocessSpec, runner: Runner, scores: npt.NDArray[np.float32], pixels: Pixels
) -> Answer:
    unfamiliarity = float(runner.further(UNFAMILIARITY).item())
    return Answer(scores, unfamiliarity, appearance_of(fit_pixels(pixels, spec)))


def _check_scores(plain: bytes, screening: bytes, spec: PreprocessSpec) -> None:
    runners = Runner(plain), Runner(screening)
    for index in range(PATTERNS):
        one, other = (run_pixels(runner, draw_pattern(index), spec) for runner in runners)
        if not np.array_equal(one, other):
            raise ConversionError(
                "expected the screening form to have the plain file's scores, it differs by "
                f"{float(np.abs(one - other).max()):g}; nothing was kept"
            )
