"""Drawn inputs with known scores: does this device compute what the model's maker computed?"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from kit.errors import ModelFileError
from kit.model.output import to_scores
from kit.model.preprocess import Pixels, fit_pixels, to_input
from kit.model.spec import GoldenCheck, PreprocessSpec
from kit.runtime.classifier import Classifier

PATTERNS = 3
_HEIGHT, _WIDTH = 181, 240  # neither square nor a usual resolution, so that resizing is tested too


@dataclass(frozen=True)
class CheckResult:
    """How one golden check went.

    Attributes:
        pattern: which drawn input.
        same_pixels: whether preprocessing gave the very pixels.
        difference: largest difference of a score.
        tolerance: what is allowed.
    """

    pattern: int
    same_pixels: bool
    difference: float
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.same_pixels and self.difference <= self.tolerance


def draw_pattern(index: int) -> Pixels:
    """A coloured pattern from integer arithmetic alone, the same in every language.

    Args:
        index: 0 to PATTERNS - 1.

    Returns:
        uint8 `[181, 240, 3]`, RGB.
    """
    rows = np.arange(_HEIGHT)[:, None, None]
    columns = np.arange(_WIDTH)[None, :, None]
    channels = np.arange(3)[None, None, :]
    block = 14 * (index + 1)
    value = rows // block * 59 + columns // block * 37 + channels * 83 + rows * columns // 64
    return np.asarray(value % 256, np.uint8)


def pattern_digest(index: int, spec: PreprocessSpec) -> str:
    """SHA-256 of a pattern's pixels at the input resolution."""
    return hashlib.sha256(fit_pixels(draw_pattern(index), spec).tobytes()).hexdigest()


def make_golden(classifier: Classifier, tolerance: float) -> tuple[GoldenCheck, ...]:
    """What the file answers here and now, to be stored in its card.

    The same integer model gives other scores with other kernels, and a drawn pattern, which is
    like no photograph, brings that out. So it is run with both kinds that are here, XNNPACK's and
    the plain ones, and twice their difference is allowed on top.

    Args:
        classifier: the packaged file, golden checks apart.
        tolerance: difference of a score that is allowed where both kinds agree.
    """
    spec = classifier.preprocess
    plain = classifier.new_runner(plain_kernels=True)
    checks = []
    for index in range(PATTERNS):
        pixels = draw_pattern(index)
        scores = classifier.scores(pixels)
        tensor = to_input(pixels, spec, plain.input.dtype, plain.input.quantization)
        others = to_scores(plain.run(tensor), classifier.output_kind)
        checks.append(
            GoldenCheck(
                pattern=index,
                digest=pattern_digest(index, spec),
                scores=tuple(round(float(score), 6) for score in scores),
                tolerance=round(tolerance + 2 * float(np.abs(scores - others).max()), 6),
            )
        )
    return tuple(checks)


def self_test(classifier: Classifier) -> tuple[CheckResult, ...]:
    """Repeats the golden checks of a file's card.

    Raises ModelFileError where the file has none.
    """
    card = classifier.file.card
    if card is None or not card.golden:
        raise ModelFileError(
            f"{classifier.file.path}: expected a card with golden checks, it has none: "
            "only files that the kit packaged can be self-tested"
        )
    results = []
    for check in card.golden:
        if not 0 <= check.pattern < PATTERNS:
            raise ModelFileError(f"expected a pattern below {PATTERNS}, got {check.pattern}")
        scores = classifier.scores(draw_pattern(check.pattern))
        results.append(
            CheckResult(
                pattern=check.pattern,
                same_pixels=pattern_digest(check.pattern, classifier.preprocess) == check.digest,
                difference=float(np.abs(scores - np.array(check.scores)).max()),
                tolerance=check.tolerance,
            )
        )
    return tuple(results)
