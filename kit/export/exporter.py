"""Turns a network into packaged .tflite files that the runtime has scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from converters.network import Network
from converters.operators import check_runtime
from converters.tflite import convert_network
from kit.errors import AccuracyError, ConversionError, DataError
from kit.evaluation.evaluate import answer_files, score_files, scores_of
from kit.evaluation.metrics import Agreement, Evaluation, Scores
from kit.evaluation.monitoring import reference_of
from kit.evaluation.thresholds import Operation, Targets, choose_operating_point
from kit.export.exported import Exported, Gates
from kit.export.finish import finish
from kit.export.modes import AUTO, AUTO_DROP, AUTO_MODES
from kit.export.scoring_set import ScoringSet
from kit.model.preprocess import Pixels, to_input
from kit.model.spec import ModelCard, OperatingPoint
from kit.reporting import Reporter, Silent, tell_left_out
from kit.runtime import Classifier
from kit.runtime.self_test import PATTERNS, draw_pattern

SOURCE_TOLERANCE = 1e-4
"""Largest difference of a score between the source and its float32 file."""
_SOURCE_IMAGES = 16


@dataclass
class _Measured:
    """What the runtime found out about one file while it was finished."""

    scores: Scores | None = None
    evaluation: Evaluation | None = None
    agreement: Agreement | None = None
    source_difference: float = 0.0
    source_images: int = 0


class Exporter:
    """Converts one network to any mode, packages the files and scores them.

    Each mode is made once, however often it is asked for.

    Args:
        network: from input to scores.
        card: all but quantisation, operators, metrics and golden checks.
        representative_dataset: pixels for quantisation, uint8 `[side, side, 3]`.
        scoring_set: the photographs to score the files on; None: there are none.
        target_runtime: key of converters.operators.RUNTIMES that must have all operators.
        reporter: is told of progress.
        targets: what the operating point must reach on `validation`; None: no operating point.
        validation: the photographs that the operating point is chosen on.
        known: photographs of what the network knows, by part, for a screening form; None: there
            are none.
        foreign: whether others made the network.

    Raises ConversionError where the labels do not fit the network.
    """

    def __init__(
        self,
        network: Network,
        card: ModelCard,
        representative_dataset: Sequence[Pixels],
        scoring_set: ScoringSet | None,
        target_runtime: str | None = None,
        reporter: Reporter | None = None,
        targets: Targets | None = None,
        validation: ScoringSet | None = None,
        known: Mapping[str, ScoringSet] | None = None,
        foreign: bool = False,
    ) -> None:
        if network.output_width != len(card.labels):
            raise ConversionError(
                f"expected {network.output_width} labels, one for each score, "
                f"got {len(card.labels)}: these labels belong to another model"
            )
        self._network = network
        self._foreign = foreign
        self._card = card
        self._representative = representative_dataset
        self._scoring_set = scoring_set
        self._target_runtime = target_runtime
        self._targets = targets
        self._validation = validation
        self.known = known or {}
        self._reporter = reporter or Silent()
        self._made: dict[str, Exported] = {}
        self._float32: bytes | None = None
        self._float32_scores: Scores | None = None

    @property
    def scoring_set(self) -> ScoringSet | None:
        """The images that are scored, without those that could not be read."""
        return self._scoring_set

    @property
    def labelled(self) -> bool:
        """Whether accuracies can be measured."""
        return self._scoring_set is not None and self._scoring_set.truth is not None

    def export_all(self, modes: Sequence[str], gates: Gates) -> dict[str, Exported]:
        """The packaged files of these modes, or the one that `auto` chooses, by mode.

        Raises AccuracyError where a file misses a gate; else as `export` and `choose`.
        """
        if AUTO in modes:
            modes = (self.choose(gates.max_accuracy_drop).mode,)
        files = {mode: self.export(mode) for mode in modes}
        gates.check({"float32": self.reference(), **files}, tuple(files))
        return files

    def export(self, mode: str) -> Exported:
        """The packaged file of a mode, scored.

        Raises:
            ConversionError: it cannot be made, answers otherwise than the source, fails its own
                golden check, or needs a newer runtime than the target.
            ModelFileError, InferenceError: the runtime refuses it.
            DataError: no image of the scoring set can be read.
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
                "or name a mode with --quantize"
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
            "none does; nothing was kept: use float32, or allow more with --max-accuracy-drop"
        )

    def _export(self, mode: str) -> None:
        self._reporter.say(f"converting to {mode}")
        spec = self._card.preprocess
        flatbuffer = convert_network(self._network, mode, spec, self._representative, self._float32)
        if mode == "float32":
            self._float32 = flatbuffer
        measured = _Measured()
        file = finish(
            flatbuffer,
            replace(self._card, quantization=mode),
            lambda classifier, card: self._measure(classifier, card, measured),
            foreign=self._foreign,
        )
        self._made[mode] = Exported(
            mode,
            file.content,
            file.card,
            measured.evaluation,
            measured.agreement,
            measured.source_difference,
            measured.source_images,
            file.operators,
            measured.scores,
        )

    def _measure(self, classifier: Classifier, card: ModelCard, measured: _Measured) -> ModelCard:
        """The card with what this file does; `measured` keeps the rest of it."""
        mode = card.quantization
        difference, count = self._compare_with_source(classifier, mode)
        measured.source_difference, measured.source_images = difference, count
        measured.scores = self._score(classifier, mode)
        point, operation, reference = self._operate(classifier, measured.scores)
        measured.evaluation, measured.agreement, figures = self._evaluate(measured.scores)
        conversion = {
            "largest_difference_to_source": round(difference, 9),
            "source_images": count,
        }
        metrics = {"conversion": conversion, **figures, **operation}
        return replace(card, metrics=metrics, operating_point=point, reference=reference)

    def _evaluate(
        self, scores: Scores | None
    ) -> tuple[Evaluation | None, Agreement | None, dict[str, Any]]:
        """Figures on the scoring set, and how they stand in the card."""
        scoring_set = self._scoring_set
        if scoring_set is None or scores is None:
            return None, None, {}
        if self._float32_scores is None:
            self._float32_scores = scores
        agreement = Agreement.of(scores, self._float32_scores)
        if scoring_set.truth is None:
            return None, agreement, {scoring_set.name: agreement.to_json()}
        evaluation = Evaluation.of(
            scores, scoring_set.truth, self._card.labels, scoring_set.paths, scoring_set.groups
        )
        figures = {**_test_metrics(evaluation), **agreement.to_json()}
        return evaluation, agreement, {scoring_set.name: figures}

    def _operate(
        self, classifier: Classifier, scores: Scores | None
    ) -> tuple[OperatingPoint | None, dict[str, Any], dict[str, Any]]:
        """The operating point, chosen on the file's validation scores, what it does, and what is
        kept of these scores.
        """
        targets, validation, scoring_set = self._targets, self._validation, self._scoring_set
        if targets is None or validation is None or scoring_set is None or scores is None:
            return None, {}, {}
        assert validation.truth is not None and scoring_set.truth is not None  # parts of a run
        answers, unreadable = answer_files(
            classifier, validation.root, validation.paths, self._reporter, "operating point"
        )
        if unreadable:
            raise _not_scored(validation.root, unreadable)
        chosen_on = scores_of(answers, classifier)
        label = self._card.labels.index(targets.positive)
        point = choose_operating_point(
            chosen_on[:, label],
            validation.truth == label,
            targets.positive,
            target_sensitivity=targets.sensitivity,
            target_specificity=targets.specificity,
            confidence=targets.confidence,
            groups=validation.cases,
        )
        figures = {
            part.name: Operation.of(
                point, found[:, label], truth == label, targets.prevalence, part.groups
            ).to_json()
            for part, found, truth in (
                (validation, chosen_on, validation.truth),
                (scoring_set, scores, scoring_set.truth),
            )
        }
        reference = reference_of(answers, self._card.labels, point)
        return point, {"operating_point": figures}, reference

    def _score(self, classifier: Classifier, mode: str) -> Scores | None:
        scoring_set = self._scoring_set
        if scoring_set is None:
            return None
        scores, unreadable = score_files(
            classifier, scoring_set.root, scoring_set.paths, self._reporter, f"scoring {mode}"
        )
        if unreadable:
            readable = scoring_set.without(unreadable)
            if not readable.paths or scoring_set.name == "test":
                raise _not_scored(scoring_set.root, unreadable)
            tell_left_out(tuple(unreadable.items()), self._reporter)
            self._scoring_set = readable
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
                f"expected the {mode} file to give its source's scores within "
                f"{SOURCE_TOLERANCE:g}, they differ by {difference:.6f}; nothing was kept: "
                "TensorFlow Lite computes an operator of this model differently"
            )
        return difference, len(images)


def _test_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """What of an evaluation goes into a card: counts and rates, no file names, no curves."""
    data = evaluation.to_json()
    for name in ("misclassified", "labels", "reliability"):
        data.pop(name, None)
    return data


def _not_scored(root: Path, unreadable: Mapping[str, str]) -> DataError:
    name, reason = next(iter(unreadable.items()))
    return DataError(f"{root / name}: expected an image to score: {reason}")
