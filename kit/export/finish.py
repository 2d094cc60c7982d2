"""The last step of every packaged file: metadata, labels, card, golden checks."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from converters.operators import minimum_runtime
from converters.packaging import add_metadata
from kit.errors import ConversionError
from kit.model.model_file import (
    CARD_NAME,
    LABELS_NAME,
    append_files,
    card_content,
    digest_of,
    read_model_file,
)
from kit.model.spec import ModelCard
from kit.runtime import Classifier
from kit.runtime.probe import check_survives
from kit.runtime.self_test import make_golden, self_test

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
class Finished:
    """A packaged file.

    Attributes:
        content: the whole file.
        card: the card as it stands in the file.
        operators: as kit.model.model_file.ModelFile has them.
    """

    content: bytes
    card: ModelCard
    operators: tuple[tuple[int, str, int], ...]


def finish(
    flatbuffer: bytes,
    card: ModelCard,
    measure: Callable[[Classifier, ModelCard], ModelCard] = lambda classifier, card: card,
    foreign: bool = False,
) -> Finished:
    """Packages a converted model and checks the finished file.

    Args:
        flatbuffer: the converted model.
        card: all but what only the file can tell: operators and golden checks.
        measure: completes the card with what the runtime measures on the packaged model.
        foreign: whether others made the model: a process of its own runs it first.

    Raises:
        ConversionError: an operator is in no released runtime, or the finished file fails its own
            golden checks.
        ModelFileError, InferenceError: the runtime refuses the model.
    """
    with tempfile.TemporaryDirectory(prefix="kit-") as folder:
        path = Path(folder, f"{card.quantization}.tflite")
        _write(path, flatbuffer, card)
        operators = read_model_file(path).operators
        if foreign:
            check_survives(path)
        card = replace(card, minimum_runtime=minimum_runtime(operators, card.quantization))
        with Classifier.open(path, appearance=True) as classifier:
            golden = make_golden(classifier, GOLDEN_TOLERANCE[card.quantization])
            card = measure(classifier, replace(card, golden=golden))
        card = _write(path, flatbuffer, card)
        with Classifier.open(path) as classifier:
            failed = [check.pattern for check in self_test(classifier) if not check.passed]
        content = path.read_bytes()
    if failed:
        raise ConversionError(
            f"expected the finished file to pass its golden checks, it fails {failed}; nothing "
            "was kept: the runtime does not give the same answer twice"
        )
    return Finished(content, card, operators)


def _write(path: Path, flatbuffer: bytes, card: ModelCard) -> ModelCard:
    """Writes the packaged file; returns the card as it stands there."""
    labels = "".join(f"{label}\n" for label in card.labels)
    model = add_metadata(flatbuffer, card)
    card = replace(card, model_sha256=digest_of(model))
    appended = {LABELS_NAME: labels.encode(), CARD_NAME: card_content(card.to_json())}
    path.write_bytes(append_files(model, appended))
    return card


def package_versions() -> dict[str, str]:
    """Versions of the packages that a model is made with."""
    found = {"python": platform.python_version()}
    for name in ("mobilenet-kit", "tensorflow", "keras", "numpy", "pillow", "ai-edge-litert"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """The time in UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
