"""A trained model to a packaged .tflite file that has been scored by the runtime that ships."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from converters.operators import minimum_runtime
from converters.packaging import add_metadata, append_files
from converters.tflite import convert_model
from kit.data import Dataset
from kit.errors import DataError
from kit.evaluation.evaluate import score_images, truth_of
from kit.evaluation.metrics import Agreement, Evaluation, Scores
from kit.model_file import CARD_NAME, LABELS_NAME, read_model_file
from kit.preprocess import Pixels
from kit.reporting import Reporter, Silent
from kit.runtime import Classifier
from kit.runtime.self_test import make_golden
from kit.spec import ModelCard

if TYPE_CHECKING:
    import keras

GOLDEN_TOLERANCE = {
    "float32": 0.001,
    "float16": 0.02,
    "dynamic": 0.05,
    "int8": 0.03,
    "int16x8": 0.01,
}
"""Difference of a score that a golden check lets pass, by quantisation, besides the kernels' own.

Another processor sums in another order and rounds elsewhere; a wrong preprocessing or a broken
kernel moves scores by far more.
"""


@dataclass(frozen=True)
class Exported:
    """One packaged file and what was measured on it.

    Attributes:
        mode: quantisation.
        content: the file.
        card: as it stands in the file.
        evaluation: on the test part.
        agreement: with the float32 file on the same images.
    """

    mode: str
    content: bytes
    card: ModelCard
    evaluation: Evaluation
    agreement: Agreement


def export_modes(
    model: keras.Model,
    modes: Sequence[str],
    card: ModelCard,
    representative_dataset: Sequence[Pixels],
    dataset: Dataset,
    test_paths: Sequence[str],
    reporter: Reporter | None = None,
) -> dict[str, Exported]:
    """Converts, packages and scores; float32 always, as what the others are compared with.

    Args:
        model: from input to scores.
        modes: quantisation modes.
        card: all but quantisation, operators, metrics and golden checks.
        representative_dataset: pixels for quantisation, uint8 `[side, side, 3]`.
        dataset: the images.
        test_paths: those to score.
        reporter: progress.

    Returns:
        By mode, `float32` first.

    Raises:
        ConversionError, ModelFileError, InferenceError: a file cannot be made, or does not run.
    """
    reporter = reporter or Silent()
    exported: dict[str, Exported] = {}
    float_scores: Scores | None = None
    truth = truth_of(dataset, test_paths)
    for mode in dict.fromkeys(("float32", *modes)):
        reporter.say(f"converting to {mode}")
        flatbuffer = convert_model(model, mode, card.preprocess, representative_dataset)
        with tempfile.TemporaryDirectory(prefix="kit-") as folder:
            path = Path(folder, f"{mode}.tflite")
            this = replace(card, quantization=mode)
            described = add_metadata(flatbuffer, this)
            _write(path, described, this)
            this = replace(this, minimum_runtime=minimum_runtime(read_model_file(path).operators))
            with Classifier.open(path) as classifier:
                golden = make_golden(classifier, GOLDEN_TOLERANCE[mode])
                scores, unreadable = score_images(
                    classifier, dataset, test_paths, reporter, f"scoring {mode}"
                )
            if unreadable:
                name, reason = next(iter(unreadable.items()))
                raise DataError(f"{dataset.root / name}: expected a test image: {reason}")
            float_scores = scores if float_scores is None else float_scores
            evaluation = Evaluation.of(scores, truth, card.labels, test_paths)
            agreement = Agreement.of(scores, float_scores)
            metrics = {**test_metrics(evaluation), **agreement.to_json()}
            this = replace(this, golden=golden, metrics={"test": metrics})
            _write(path, described, this)
            exported[mode] = Exported(mode, path.read_bytes(), this, evaluation, agreement)
    return exported


def test_metrics(evaluation: Evaluation) -> dict[str, Any]:
    """What of an evaluation goes into a card: counts and rates, no file names."""
    data = evaluation.to_json()
    del data["misclassified"], data["labels"]
    return data


def _write(path: Path, flatbuffer: bytes, card: ModelCard) -> None:
    import json

    labels = "".join(f"{label}\n" for label in card.labels)
    data = json.dumps(card.to_json(), ensure_ascii=False, separators=(",", ":"))
    path.write_bytes(
        append_files(flatbuffer, {LABELS_NAME: labels.encode(), CARD_NAME: data.encode()})
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
