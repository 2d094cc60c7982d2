"""A packaged file with what was measured on it, and what it must reach to be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kit.errors import AccuracyError
from kit.evaluation.metrics import Agreement, Evaluation, Scores
from kit.model.spec import ModelCard


@dataclass(frozen=True)
class Exported:
    """One packaged file and what was measured on it.

    Attributes:
        mode: the quantisation mode.
        content: the whole file.
        card: the card as it stands in the file.
        evaluation: figures on labelled photographs; None without them.
        agreement: agreement with the float32 file on photographs; None without them.
        source_difference: largest difference of a score between the source and the float32 file.
        source_images: number of images that it was measured on, drawn patterns among them.
        operators: as kit.model.model_file.ModelFile has them.
        scores: scores of the photographs, float32 `[photographs, labels]`; None without them.
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

    def to_json(self) -> dict[str, Any]:
        """Size and metrics; the figures on photographs once more beside them."""
        metrics = self.card.metrics
        return {
            "quantization": self.mode,
            "size_bytes": len(self.content),
            **metrics,
            **metrics.get("test", {}),
            **metrics.get("images", {}),
        }


@dataclass(frozen=True)
class Gates:
    """What a converted model must reach; otherwise nothing is kept.

    Attributes:
        max_accuracy_drop: how far a file's accuracy on the test part may lie below float32's,
            0 to 1; None: any distance.
        assert_accuracy_at_least: the lowest accuracy on the test part, 0 to 1; None: any.
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
            # Of counts, since 0.95 - 0.94 is more than 0.01.
            drop = (float32.correct - accuracy.correct) / float32.n
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
                    "nothing was kept: add images, or choose a larger backbone or resolution"
                )


def summary(exported: Exported, remark: str = "") -> str:
    """One line on a file: its size, its accuracy with the interval, its agreement with float32."""
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
    """One line on what was compared, and on how many images."""
    against = "" if exported.agreement else "; no photographs were given to compare answers on"
    return (
        "checked: the float32 file against its source, largest score difference "
        f"{exported.source_difference:.1e} (N={exported.source_images}); "
        f"{len(exported.card.golden)} golden checks passed on the finished file{against}"
    )
