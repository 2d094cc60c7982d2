"""A network to packaged .tflite files that have been scored by the runtime that ships."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from converters.network import Network
from converters.operators import check_runtime, minimum_runtime
from converters.packaging import add_metadata
from converters.tflite import convert_network
from kit.data import Dataset
from kit.data.split import groups_of
from kit.errors import AccuracyError, ConversionError, DataError
from kit.evaluation.evaluate import score_files, truth_of
from kit.evaluation.metrics import Agreement, Evaluation, Scores, Truth
from kit.evaluation.thresholds import Operation, Targets, choose_operating_point
from kit.model.model_file import (
    CARD_NAME,
    LABELS_NAME,
    append_files,
    card_content,
    read_model_file,
)
from kit.model.preprocess import Pixels, to_input
from kit.model.spec import QUANTIZATION_MODES, ModelCard, OperatingPoint
from kit.reporting import Reporter, Silent, tell_left_out
from kit.runtime import Classifier
from kit.runtime.self_test import PATTERNS, draw_pattern, make_golden, self_test

AUTO = "auto"
AUTO_MODES = ("int8", "int8_float_head", "int16x8", "float16")
"""What `auto` tries, smallest and fastest first."""
AUTO_DROP = 0.01
"""Of accuracy that `auto` lets a file lose, unless told otherwise."""
SOURCE_TOLERANCE = 1e-4
"""Largest difference of a score between the source and its float32 file."""
_SOURCE_IMAGES = 16

GOLDEN_TOLERANCE = {
    "float32": 0.001,
    "float16": 0.02,
    "dynamic": 0.05,
    "int8": 0.03,
    "int8_float_head": 0.03,
    "int16x8": 0.01,
}
"""Difference of a score that a golden check lets pass, by quantisation, besides the kernels' own.

Another processor sums in another order and rounds elsewhere; a wrong preprocessing or a broken
kernel moves scores by far more.
"""


@dataclass(frozen=True)
class Trial:
    """Photographs on which the files of one network are compared.

    Attributes:
        name: `test` for the test part of a run, `images` for what the user gave.
        root: their folder.
        paths: relative to it.
        truth: int64, index of the label of each; None: they are not labelled.
        groups: of each (patients), for the intervals; None: each by itself.
    """

    name: str
    root: Path
    paths: tuple[str, ...]
    truth: Truth | None
    groups: tuple[str, ...] | None = None

    @classmethod
    def of_part(cls, dataset: Dataset, part: str, paths: Sequence[str], group_regex: str) -> Trial:
        """A part of a run's images, with their labels and groups."""
        groups = groups_of(dataset, paths, group_regex)
        return cls(part, dataset.root, tuple(paths), truth_of(dataset, paths), groups)


@dataclass(frozen=True)
class Exported:
    """One packaged file and what was measured on it.

    Attributes:
        mode: quantisation.
        content: the file.
        card: as it stands in the file.
        evaluation: on labelled photographs; None without.
        agreement: with the float32 file on photographs; None without.
        source_difference: largest of a score between the source and the float32 file.
        source_images: on how many images that was looked at, drawn patterns among them.
        operators: as kit.model.model_file.ModelFile has them.
        scores: on the photographs, float32 `[photographs, labels]`; None without.
    """

    mode: str
    content: bytes
    card: ModelCard
    evaluation: Evaluation | None
    agreement: Agreement | None
    source_difference: float = 0.0
    source_images: int = 0
    operators: tuple[tuple[int, str, int], ...] = ()
    scores: Scores | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Gates:
    """What a converted model must reach; else nothing is kept.

    Attributes:
        max_accuracy_drop: that a file's accuracy on the test part may lie below float32's, 0 to 1.
        assert_accuracy_at_least: on the test part, 0 to 1.
    """

    max_accuracy_drop: float | None = None
    assert_accuracy_at_least: float | None = None

    def check(self, exported: Mapping[str, Exported], modes: Sequence[str]) -> None:
        """Raises AccuracyError for the first file that fails, ValueError without accuracies."""
        if self == Gates():
            return
        reference = exported["float32"].evaluation
        if reference is None:
            raise ValueError(
                "expected labelled images to measure accuracy on, got none: give --images"
            )
        float32 = reference.accuracy
        for mode in modes:
            evaluation = exported[mode].evaluation
            assert evaluation is not None  # all files of one Exporter have the same photographs
            accuracy = evaluation.accuracy
            drop = float32.value - accuracy.value
            if self.max_accuracy_drop is not None and drop > self.max_accuracy_drop:
                raise AccuracyError(
                    f"expected {mode} to lose at most {self.max_accuracy_drop:.4f} of float32's "
                    f"accuracy, it lost {drop:.4f} ({accuracy} after {float32}); nothing was kept: "
                    "try int16x8 or float16, or more --representative-images"
                )
            least = self.assert_accuracy_at_least
            if least is not None and accuracy.value < least:
                raise AccuracyError(
                    f"expected an accuracy of at least {least:.4f}, {mode} has {accuracy}; "
                    "nothing was kept: add images, or take a larger backbone or resolution"
                )


class Exporter:
    """Converts one network to any mode, packages and scores the files.

    Args:
        network: from input to scores.
        card: all but quantisation, operators, metrics and golden checks.
        representative_dataset: pixels for quantisation, uint8 `[side, side, 3]`.
        trial: the photographs to score.
        target_runtime: key of converters.operators.RUNTIMES that must have all operators.
        reporter: progress.
        targets: what the operating point must reach on `validation`; None: no operating point.
        validation: the photographs that it is chosen on.
        known: photographs of what the network knows, by part, for a screening form; None: there
            are none.
    """

    def __init__(
        self,
        network: Network,
        card: ModelCard,
        representative_dataset: Sequence[Pixels],
        trial: Trial | None,
        target_runtime: str | None = None,
        reporter: Reporter | None = None,
        targets: Targets | None = None,
        validation: Trial | None = None,
        known: Mapping[str, Trial] | None = None,
    ) -> None:
        if network.output_width != len(card.labels):
            raise ConversionError(
                f"expected {network.output_width} labels, one for each score, "
                f"got {len(card.labels)}: these labels belong to another model"
            )
        self._network = network
        self._card = card
        self._representative = representative_dataset
        self._trial = trial
        self._target_runtime = target_runtime
        self._targets = targets
        self._validation = validation
        self.known = known or {}
        self._reporter = reporter or Silent()
        self._made: dict[str, Exported] = {}
        self._float32: bytes | None = None
        self._float32_scores: Scores | None = None

    @property
    def trial(self) -> Trial | None:
        """The images that are scored, without those that could not be read."""
        return self._trial

    @property
    def labelled(self) -> bool:
        """Whether accuracies can be measured."""
        return self._trial is not None and self._trial.truth is not None

    def export(self, mode: str) -> Exported:
        """The packaged file of a mode, scored.

        Raises:
            ConversionError: it cannot be made, answers otherwise than the source, fails its own
                golden check, or needs a newer runtime than the target.
            ModelFileError, InferenceError: the runtime refuses it.
            DataError: no image of the trial can be read.
        """
        self.reference()
        if mode not in self._made:
            self._export(mode)
        if self._target_runtime is not None:
            check_runtime(self._made[mode].operators, self._target_runtime, mode)
        return self._made[mode]

    def reference(self) -> Exported:
        """The float32 file, which the others are compared with; raises as `export`."""
        if "float32" not in self._made:
            self._export("float32")
        return self._made["float32"]

    def choose(self, max_drop: float | None) -> Exported:
        """The first of AUTO_MODES that loses at most `max_drop` of float32's accuracy.

        Raises AccuracyError where none does, ValueError without labelled photographs.
        """
        if not self.labelled:
            raise ValueError(
                "expected labelled images to choose a quantisation by, got none: give --images, "
                "or a --quantize of your own"
            )
        max_drop = AUTO_DROP if max_drop is None else max_drop
        for mode in AUTO_MODES:
            try:
                exported = self.export(mode)
                Gates(max_accuracy_drop=max_drop).check(
                    {mode: exported, "float32": self.reference()}, (mode,)
                )
            except (AccuracyError, ConversionError) as error:
                self._reporter.say(f"auto: not {mode}: {error}")
                continue
            self._reporter.say(f"auto: {mode}, which loses at most {max_drop:g} of accuracy")
            return exported
        raise AccuracyError(
            f"expected one of {', '.join(AUTO_MODES)} to lose at most {max_drop:g} of accuracy, "
            "none does; nothing was kept: take float32, or allow more with --max-accuracy-drop"
        )

    def _export(self, mode: str) -> None:
        self._reporter.say(f"converting to {mode}")
        spec = self._card.preprocess
        flatbuffer = convert_network(self._network, mode, spec, self._representative, self._float32)
        if mode == "float32":
            self._float32 = flatbuffer
        card = replace(self._card, quantization=mode)
        with tempfile.TemporaryDirectory(prefix="kit-") as folder:
            path = Path(folder, f"{mode}.tflite")
            card, operators = describe(path, flatbuffer, card)
            with Classifier.open(path) as classifier:
                difference, count = self._compare_with_source(classifier, mode)
                scores = self._score(classifier, mode)
                point, operation = self._operate(classifier, scores)
            evaluation, agreement, figures = self._measure(scores)
            conversion = {
                "largest_difference_to_source": round(difference, 9),
                "source_images": count,
            }
            metrics = {"conversion": conversion, **figures, **operation}
            card = replace(card, metrics=metrics, operating_point=point)
            content = package(path, flatbuffer, card)
        self._made[mode] = Exported(
            mode, content, card, evaluation, agreement, difference, count, operators, scores
        )

    def _measure(
        self, scores: Scores | None
    ) -> tuple[Evaluation | None, Agreement | None, dict[str, Any]]:
        """Figures on the trial, and how they stand in the card."""
        trial = self._trial
        if trial is None or scores is None:
            return None, None, {}
        if self._float32_scores is None:
            self._float32_scores = scores
        agreement = Agreement.of(scores, self._float32_scores)
        if trial.truth is None:
            return None, agreement, {trial.name: agreement.to_json()}
        evaluation = Evaluation.of(
            scores, trial.truth, self._card.labels, trial.paths, trial.groups
        )
        figures = {**test_metrics(evaluation), **agreement.to_json()}
        return evaluation, agreement, {trial.name: figures}

    def _operate(
        self, classifier: Classifier, scores: Scores | None
    ) -> tuple[OperatingPoint | None, dict[str, Any]]:
        """Chosen on the file's own validation scores; what it does there and on the trial."""
        targets, validation, trial = self._targets, self._validation, self._trial
        if targets is None or validation is None or trial is None or scores is None:
            return None, {}
        assert validation.truth is not None and trial.truth is not None  # parts of a run
        chosen_on, unreadable = score_files(
            classifier, validation.root, validation.paths, self._reporter, "operating point"
        )
        if unreadable:
            raise _not_scored(validation.root, unreadable)
        label = self._card.labels.index(targets.positive)
        point = choose_operating_point(
            chosen_on[:, label],
            validation.truth == label,
            targets.positive,
            target_sensitivity=targets.sensitivity,
            target_specificity=targets.specificity,
        )
        figures = {
            part.name: Operation.of(
                point, found[:, label], truth == label, targets.prevalence, part.groups
            ).to_json()
            for part, found, truth in (
                (validation, chosen_on, validation.truth),
                (trial, scores, trial.truth),
            )
        }
        return point, {"operating_point": figures}

    def _score(self, classifier: Classifier, mode: str) -> Scores | None:
        if self._trial is None:
            return None
        scores, unreadable = score_files(
            classifier, self._trial.root, self._trial.paths, self._reporter, f"scoring {mode}"
        )
        if unreadable:
            kept = [index for index, p in enumerate(self._trial.paths) if p not in unreadable]
            if not kept or self._trial.name == "test":
                raise _not_scored(self._trial.root, unreadable)
            tell_left_out(tuple(unreadable.items()), self._reporter)
            truth = None if self._trial.truth is None else self._trial.truth[kept]
            paths = tuple(self._trial.paths[index] for index in kept)
            groups = self._trial.groups and tuple(self._trial.groups[index] for index in kept)
            self._trial = replace(self._trial, paths=paths, truth=truth, groups=groups)
        return scores

    def _compare_with_source(self, classifier: Classifier, mode: str) -> tuple[float, int]:
        """Largest difference of a score, and on how many images; for float32's file, once."""
        made = self._made.get("float32")
        if made is not None:
            return made.source_difference, made.source_images
        spec = self._card.preprocess
        images = [draw_pattern(index) for index in range(PATTERNS)]
        images += list(self._representative[:_SOURCE_IMAGES])
        theirs = self._network.scores(np.stack([to_input(pixels, spec) for pixels in images]))
        ours = np.stack([classifier.scores(pixels) for pixels in images])
        difference = float(np.abs(theirs - ours).max())
        if not difference <= SOURCE_TOLERANCE:
            raise ConversionError(
                f"expected the {mode} file to answer as its source within {SOURCE_TOLERANCE:g}, "
                f"scores differ by {difference:.6f}; nothing was kept: TensorFlow Lite converts "
                "an operator of this model otherwise"
            )
        return difference, len(images)


def describe(
    path: Path, flatbuffer: bytes, card: ModelCard
) -> tuple[ModelCard, tuple[tuple[int, str, int], ...]]:
    """Writes the file, and completes the card with what only the file can tell.

    Returns the card and the file's operators.
    """
    _write(path, add_metadata(flatbuffer, card), card)
    operators = read_model_file(path).operators
    card = replace(card, minimum_runtime=minimum_runtime(operators, card.quantization))
    with Classifier.open(path) as classifier:
        golden = make_golden(classifier, GOLDEN_TOLERANCE[card.quantization])
    return replace(card, golden=golden), operators


def package(path: Path, flatbuffer: bytes, card: ModelCard) -> bytes:
    """Writes the finished file and repeats its golden checks on it; returns its content.

    Raises ConversionError where a check fails.
    """
    _write(path, add_metadata(flatbuffer, card), card)
    with Classifier.open(path) as classifier:
        failed = [check.pattern for check in self_test(classifier) if not check.passed]
    if failed:
        raise ConversionError(
            f"expected the finished file to pass its golden checks, it fails {failed}; nothing "
            "was kept: the runtime does not give the same answer twice"
        )
    return path.read_bytes()


def check_modes(modes: Sequence[str]) -> None:
    """Raises ValueError for an unknown quantisation mode, or none, or more beside `auto`."""
    known = (*QUANTIZATION_MODES, AUTO)
    if unknown := [mode for mode in modes if mode not in known]:
        raise ValueError(
            f"expected quantisation modes of {', '.join(known)}, got {', '.join(unknown)}"
        )
    if not modes:
        raise ValueError("expected at least one quantisation mode, got none")
    if AUTO in modes and len(modes) > 1:
        raise ValueError("expected auto alone, got other quantisation modes beside it")


def summary(exported: Exported, remark: str = "") -> str:
    """One line on a file: size, accuracy with its interval, agreement with float32."""
    parts = [f"{exported.mode}{remark}: {len(exported.content) / 1e3:.0f} kB"]
    if exported.evaluation is not None:
        parts.append(f"accuracy {exported.evaluation.accuracy}")
    if exported.agreement is not None:
        parts.append(
            f"same answer as float32 {exported.agreement.top_1:.4f} (N={exported.agreement.n}), "
            f"largest score difference {exported.agreement.largest_difference:.4f}"
        )
    return ", ".join(parts) + f"; runs from TensorFlow Lite {exported.card.minimum_runtime}"


def verification(exported: Exported) -> str:
    """What was compared on how many images, besides what `summary` says."""
    against = "" if exported.agreement else "; no photographs were given to compare answers on"
    return (
        "checked: the float32 file against its source, largest score difference "
        f"{exported.source_difference:.1e} (N={exported.source_images}); "
        f"{len(exported.card.golden)} golden checks passed on the finished file{against}"
    )


def test_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """What of an evaluation goes into a card: counts and rates, no file names, no curves."""
    data = evaluation.to_json()
    for name in ("misclassified", "labels", "reliability"):
        data.pop(name, None)
    return data


def _write(path: Path, flatbuffer: bytes, card: ModelCard) -> None:
    labels = "".join(f"{label}\n" for label in card.labels)
    path.write_bytes(
        append_files(
            flatbuffer,
            {LABELS_NAME: labels.encode(), CARD_NAME: card_content(card.to_json())},
        )
    )


def package_versions() -> dict[str, str]:
    """Of the packages that make a model."""
    found = {"python": platform.python_version()}
    for name in ("mobilenet-kit", "tensorflow", "keras", "numpy", "pillow", "ai-edge-litert"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _not_scored(root: Path, unreadable: Mapping[str, str]) -> DataError:
    name, reason = next(iter(unreadable.items()))
    return DataError(f"{root / name}: expected an image to score: {reason}")
