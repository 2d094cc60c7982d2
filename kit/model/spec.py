"""What travels inside a model file: PreprocessSpec and ModelCard, to JSON and back.

Standard library only, so that every other part, and any device, can read it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from types import NoneType
from typing import Any

from kit.errors import SpecError

SCHEMA_VERSION = 1
"""Version of run.json and sweep.json. A reader refuses a newer one: the kit needs an update."""
CARD_SCHEMA_VERSION = 2
"""Newest version of kit.json, the card; see SCHEMA_VERSION.

Version 2 has grey, rectangular and channels-first inputs and outputs that are no scores yet. A
card that has none of these says 1, so that older readers still take it.
"""

FITS = ("stretch", "crop", "pad")
LAYOUTS = ("NHWC", "NCHW")
OUTPUT_KINDS = ("scores", "logits", "probability", "logit", "independent_scores")
"""What a model's output is, and so how it becomes scores (kit.model.output)."""
RESIZE_METHODS = ("bilinear", "antialias")
MOST_THREADS = 256
"""That a hint may ask for: a damaged one must not start thousands."""
SCORES, UNFAMILIARITY, ACTIVATION_MAP = "scores", "unfamiliarity", "activation_map"
"""Outputs of a screening model by their tensors' names, in this order; plain files have scores."""
QUANTIZATION_MODES = ("float32", "float16", "dynamic", "int8", "int8_float_head", "int16x8")


@dataclass(frozen=True)
class QuantizationParameters:
    """How a tensor's integers stand for real values: `real = (integer - zero_point) * scale`."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class PreprocessSpec:
    """From decoded RGB pixels to the model's input.

    docs/explanation/preprocessing.md has the arithmetic.

    Channel order is RGB and a photograph's orientation tag is applied, always. What the kit trains
    is square, in RGB and channels last; the last three fields are for models that others made.

    Attributes:
        input_resolution: side of the square input, in pixels; its height, if it is not square.
        fit: `stretch` to the input, `crop` the centre of its aspect, or `pad` with black.
        resize: `bilinear` (half-pixel centres, no antialiasing) or `antialias` (triangle filter).
        mean: one value for each channel, subtracted from pixels of 0 to 255; None with std for a
            model that takes pixels as they are.
        std: one value for each channel, which then divides; see mean.
        input_width: width of an input that is not square, in pixels; None: it is square.
        channels: 3 for RGB; 1 for grey, whose mean and std are three equal values.
        layout: `NHWC` (channels last) or `NCHW` (channels first).
    """

    input_resolution: int
    fit: str = "stretch"
    resize: str = "bilinear"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    input_width: int | None = None
    channels: int = 3
    layout: str = "NHWC"

    def __post_init__(self) -> None:
        for name, side in (("input_resolution", self.height), ("input_width", self.width)):
            if not 1 <= side <= 4096:
                raise SpecError(f"expected an {name} of 1 to 4096, got {side}")
        for name, value, valid in (
            ("fit", self.fit, FITS),
            ("resize", self.resize, RESIZE_METHODS),
            ("layout", self.layout, LAYOUTS),
        ):
            if value not in valid:
                raise SpecError(f"expected {name} to be one of {', '.join(valid)}, got {value!r}")
        if (self.mean is None) != (self.std is None):
            raise SpecError("expected mean and std together, got one of them")
        if self.std is not None and any(value == 0 for value in self.std):
            raise SpecError("expected a std without zeros: pixels are divided by it")
        if self.channels not in (1, 3):
            raise SpecError(f"expected 1 channel (grey) or 3 (RGB), got {self.channels}")
        if self.channels == 1 and not self.is_uniform():
            raise SpecError("expected one mean and std for a grey input, got several")

    @property
    def height(self) -> int:
        """Height of the input in pixels."""
        return self.input_resolution

    @property
    def width(self) -> int:
        """Width of the input in pixels."""
        return self.input_resolution if self.input_width is None else self.input_width

    @property
    def longer_side(self) -> int:
        """Of height and width; what an image must not be decoded smaller than."""
        return max(self.height, self.width)

    @property
    def size(self) -> str:
        """Height and width for people: `224` of a square one, else `160x224`."""
        return str(self.height) + ("" if self.is_square() else f"x{self.width}")

    @property
    def described(self) -> str:
        """The input for people, as in `224 pixels` or `160x224 pixels, grey, channels first`."""
        more = [] if self.channels == 3 else ["grey"]
        more += [] if self.layout == "NHWC" else ["channels first"]
        return ", ".join((f"{self.size} pixels", *more))

    def is_square(self) -> bool:
        return self.height == self.width

    def is_plain(self) -> bool:
        """Whether the input is as version 1 of the schema knows it: square, in RGB, NHWC."""
        return self.is_square() and self.channels == 3 and self.layout == "NHWC"

    def is_uniform(self) -> bool:
        """Whether all three channels are treated alike."""
        if self.mean is None or self.std is None:
            return True
        return len({*zip(self.mean, self.std, strict=True)}) == 1

    def to_json(self) -> dict[str, Any]:
        """Plain values; the fields of version 2 only where they say something."""
        data = {**asdict(self), "channel_order": "RGB", "orientation": "applied"}
        if self.is_plain():
            for name in ("input_width", "channels", "layout"):
                del data[name]
        return data

    @classmethod
    def from_json(cls, data: object) -> PreprocessSpec:
        """Raises SpecError where a field is missing or of a wrong type."""
        fields = _Fields("preprocess", data)
        for name, only in (("channel_order", "RGB"), ("orientation", "applied")):
            if fields.get(name, str, only) != only:
                raise SpecError(f"expected preprocess.{name} {only!r}: this kit knows no other")
        return cls(
            input_resolution=fields.get("input_resolution", int),
            fit=fields.get("fit", str),
            resize=fields.get("resize", str),
            mean=_triple("preprocess.mean", fields.get("mean", (list, NoneType))),
            std=_triple("preprocess.std", fields.get("std", (list, NoneType))),
            input_width=fields.get("input_width", (int, NoneType), None),
            channels=fields.get("channels", int, 3),
            layout=fields.get("layout", str, "NHWC"),
        )


@dataclass(frozen=True)
class GoldenCheck:
    """One drawn input whose scores are known; `kit-label --self-test` repeats it on the device.

    Attributes:
        pattern: which of the drawn patterns (kit.runtime.self_test).
        digest: SHA-256 of its pixels at the input resolution, uint8 `[height, width, 3]`; three
            equal channels of a grey input.
        scores: what the file answered when it was made.
        tolerance: largest difference of a score that another processor may show.
    """

    pattern: int
    digest: str
    scores: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class OperatingPoint:
    """From which score of one label an image is positive, and below which it is negative.

    With one target the two thresholds are one. With both targets they may lie apart, and between
    them an image is uncertain: to be looked at by somebody.

    Attributes:
        positive: the label.
        negative_below: scores below it are negative; 0 to 1.
        positive_from: scores from it on are positive; at least `negative_below`.
        target_sensitivity: sensitivity that `negative_below` was chosen for, 0 to 1; None: none.
        target_specificity: specificity that `positive_from` was chosen for, 0 to 1; None: none.
        confidence: probability with which new images reach the targets, 0 to below 1; 0: nothing is
            promised; None: not stated, as in files that earlier kits made.
        positives, negatives: how many cases (patients, or contents where these are independent) of
            each class it was chosen on; None: not stated.
    """

    positive: str
    negative_below: float
    positive_from: float
    target_sensitivity: float | None = None
    target_specificity: float | None = None
    confidence: float | None = None
    positives: int | None = None
    negatives: int | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.negative_below <= self.positive_from <= 1:
            raise SpecError(
                "expected 0 <= negative_below <= positive_from <= 1, "
                f"got {self.negative_below} and {self.positive_from}"
            )

    def answer(self, score: float) -> str:
        """`positive`, `negative` or `uncertain`."""
        if score >= self.positive_from:
            return "positive"
        return "negative" if score < self.negative_below else "uncertain"

    def to_json(self) -> dict[str, Any]:
        data = asdict(self)
        for name in ("confidence", "positives", "negatives"):
            if data[name] is None:
                del data[name]
        return data

    @classmethod
    def from_json(cls, data: object) -> OperatingPoint:
        """Raises SpecError where a field is missing or of a wrong type."""
        fields = _Fields("card.operating_point", data)
        low, high = fields.number("negative_below"), fields.number("positive_from")
        if low is None or high is None:
            raise SpecError("expected both thresholds of card.operating_point, one is missing")
        return cls(
            fields.get("positive", str),
            low,
            high,
            fields.number("target_sensitivity"),
            fields.number("target_specificity"),
            fields.number("confidence"),
            fields.get("positives", (int, NoneType), None),
            fields.get("negatives", (int, NoneType), None),
        )


@dataclass(frozen=True)
class Screening:
    """What the further outputs of a screening model mean.

    Attributes:
        unfamiliarity_threshold: above it an image is unknown; 0 up, where 1 is a typical training
            image. Chosen for 95 % of the validation part, or of the images of `kit calibrate`.
        activation_map: whether there is one; a network without global average pooling has none.
    """

    unfamiliarity_threshold: float
    activation_map: bool

    def is_unknown(self, unfamiliarity: float) -> bool:
        """Also where it is no number, as after an overflow."""
        return not unfamiliarity <= self.unfamiliarity_threshold

    @classmethod
    def from_json(cls, data: object) -> Screening:
        """Raises SpecError where a field is missing or of a wrong type."""
        fields = _Fields("card.screening", data)
        threshold = fields.number("unfamiliarity_threshold")
        if threshold is None or threshold < 0:
            raise SpecError(
                f"expected card.screening.unfamiliarity_threshold from 0 up, got {threshold}"
            )
        return cls(threshold, fields.get("activation_map", bool))


@dataclass(frozen=True)
class ThreadHint:
    """How many threads were fastest for one image, as `kit benchmark --write` measured it.

    Attributes:
        machine: kind of machine (kit.runtime.machine.machine_kind).
        interpreter: package that ran the model.
        num_threads: the best.
        latency_ms: median with them, from the file to the scores.
    """

    machine: str
    interpreter: str
    num_threads: int
    latency_ms: float

    def __post_init__(self) -> None:
        if not 1 <= self.num_threads <= MOST_THREADS:
            raise SpecError(
                f"expected a hint of 1 to {MOST_THREADS} threads, got {self.num_threads}"
            )


@dataclass(frozen=True)
class Hints:
    """What was learned of a file on machines that run it; no answer depends on it.

    Attributes:
        threads: one for each kind of machine and interpreter.
    """

    threads: tuple[ThreadHint, ...] = ()

    def num_threads(self, machine: str, interpreter: str) -> int | None:
        """The best number of threads there; None where it was not measured."""
        for hint in self.threads:
            if (hint.machine, hint.interpreter) == (machine, interpreter):
                return hint.num_threads
        return None

    def with_thread(self, new: ThreadHint) -> Hints:
        """These with one more, in place of an older one for the same machine and interpreter."""
        others = (
            hint
            for hint in self.threads
            if (hint.machine, hint.interpreter) != (new.machine, new.interpreter)
        )
        return Hints((*others, new))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: object) -> Hints:
        """Raises SpecError where a field is missing or of a wrong type."""
        fields = _Fields("card.hints", data)
        return cls(tuple(_thread_hint(item) for item in fields.get("threads", list, [])))


@dataclass(frozen=True)
class ModelCard:
    """All that is known of a packaged model. The input resolution stands in `preprocess` alone.

    Attributes:
        backbone: name in kit.training.backbones, or a free description of another network.
        alpha: width multiplier; None where the network has none.
        weights: what training started from.
        teachers: the classifiers that it learnt from, besides the labels.
        quantization: one of QUANTIZATION_MODES.
        preprocess: what turns a photograph into the input.
        labels: one for each score, in the order of the output.
        minimum_runtime: first TensorFlow Lite version that has all operators of the file.
        golden: inputs with known scores.
        temperature: what the logits were divided by (calibration of scores); None: not calibrated.
        score_threshold: below it an answer is better not given; None: not chosen.
        operating_point: how scores become positive, negative or uncertain; None: not chosen.
        dataset: fingerprint, counts and how it was split.
        metrics: measured on the file itself, each with its N and interval.
        intended_use: for whom and what; and for what not.
        versions: versions of the packages that made it.
        created: UTC, ISO 8601.
        hints: see Hints.
        screening: what the further outputs mean; None: the file has scores alone.
        output_kind: one of OUTPUT_KINDS; what the kit trains and converts gives `scores`.
        model_sha256: digest of all that stands before the appended archive, in hexadecimal; empty
            in files that earlier kits made.
        history: each time that thresholds were chosen anew where the model is used, the oldest
            first: `date`, `note`, `images` and the values `before`.
        reference: what the file said of the images that its thresholds are from, to tell later
            whether others still look like them (see kit.evaluation.monitoring); empty: not kept.
    """

    backbone: str
    alpha: float | None
    weights: str
    quantization: str
    preprocess: PreprocessSpec
    labels: tuple[str, ...]
    minimum_runtime: str = ""
    golden: tuple[GoldenCheck, ...] = ()
    temperature: float | None = None
    score_threshold: float | None = None
    operating_point: OperatingPoint | None = None
    dataset: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    intended_use: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    created: str = ""
    hints: Hints = Hints()
    screening: Screening | None = None
    output_kind: str = "scores"
    model_sha256: str = ""
    teachers: tuple[str, ...] = ()
    history: tuple[Mapping[str, Any], ...] = ()
    reference: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.output_kind not in OUTPUT_KINDS:
            raise SpecError(
                f"expected output_kind to be one of {', '.join(OUTPUT_KINDS)}, "
                f"got {self.output_kind!r}"
            )
        if self.quantization not in QUANTIZATION_MODES:
            raise SpecError(
                f"expected quantization to be one of {', '.join(QUANTIZATION_MODES)}, "
                f"got {self.quantization!r}"
            )
        check_labels(self.labels)
        point = self.operating_point
        if point is not None and point.positive not in self.labels:
            raise SpecError(
                f"expected an operating point of one of the labels, got {point.positive!r}"
            )
        for check in self.golden:
            if len(check.scores) != len(self.labels):
                raise SpecError(
                    f"expected {len(self.labels)} golden scores, one for each label, "
                    f"got {len(check.scores)}"
                )

    @property
    def version(self) -> str:
        """The day it was made, and how often thresholds were chosen anew: `2026-11-29.1`."""
        return f"{self.created[:10]}.{len(self.history)}"

    def is_plain(self) -> bool:
        """Whether version 1 of the schema can say all of it, as of all that the kit trains."""
        return self.preprocess.is_plain() and self.output_kind == "scores"

    def to_json(self) -> dict[str, Any]:
        data = {"schema_version": 1 if self.is_plain() else CARD_SCHEMA_VERSION, **asdict(self)}
        data["preprocess"] = self.preprocess.to_json()
        if self.operating_point is not None:
            data["operating_point"] = self.operating_point.to_json()
        if self.output_kind == "scores":
            del data["output_kind"]
        for name in ("teachers", "history", "reference"):
            if not data[name]:
                del data[name]
        return data

    @classmethod
    def from_json(cls, data: object) -> ModelCard:
        """Raises SpecError where a field is missing, of a wrong type, or of a newer schema."""
        fields = _Fields("card", data)
        check_schema_version("kit.json", fields.get("schema_version", int), CARD_SCHEMA_VERSION)
        point = fields.get("operating_point", (dict, NoneType), None)
        screening = fields.get("screening", (dict, NoneType), None)
        return cls(
            backbone=fields.get("backbone", str),
            alpha=fields.number("alpha"),
            weights=fields.get("weights", str),
            quantization=fields.get("quantization", str),
            preprocess=PreprocessSpec.from_json(fields.get("preprocess", dict)),
            labels=fields.texts("labels"),
            minimum_runtime=fields.get("minimum_runtime", str, ""),
            golden=tuple(_golden(item) for item in fields.get("golden", list, [])),
            temperature=fields.number("temperature"),
            score_threshold=fields.number("score_threshold"),
            operating_point=None if point is None else OperatingPoint.from_json(point),
            dataset=fields.get("dataset", dict, {}),
            metrics=fields.get("metrics", dict, {}),
            intended_use=fields.get("intended_use", str, ""),
            versions=fields.get("versions", dict, {}),
            created=fields.get("created", str, ""),
            hints=Hints.from_json(fields.get("hints", dict, {})),
            screening=None if screening is None else Screening.from_json(screening),
            output_kind=fields.get("output_kind", str, "scores"),
            model_sha256=fields.get("model_sha256", str, ""),
            teachers=fields.texts("teachers", []),
            history=fields.objects("history"),
            reference=fields.get("reference", dict, {}),
        )


def check_labels(labels: tuple[str, ...]) -> None:
    """Raises SpecError unless there are labels, each one line of text.

    Equal labels are let through: ImageNet's list has two "crane".
    """
    if not labels:
        raise SpecError("expected at least one label, got none")
    for label in labels:
        if not label.strip() or "\n" in label or "\r" in label:
            raise SpecError(f"expected every label to be one line of text, got {label!r}")


def check_schema_version(name: str, version: int, newest: int = SCHEMA_VERSION) -> None:
    """Raises SpecError for a file that a newer kit wrote."""
    if version > newest:
        raise SpecError(
            f"expected {name} of schema version {newest} or older, got {version}: "
            "update mobilenet-kit"
        )


def load_json(text: str | bytes, name: str) -> Any:
    """Parses JSON; raises SpecError with the name of the file where it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise SpecError(f"expected JSON in {name}, got something else: {error}") from error


class _Fields:
    """Typed access to a JSON object, so that each wrong field has one clear message."""

    def __init__(self, where: str, data: object) -> None:
        if not isinstance(data, dict):
            raise SpecError(f"expected {where} to be a JSON object, got {type(data).__name__}")
        self._where, self._data = where, data

    def get(self, name: str, kind: type | tuple[type, ...], default: Any = ...) -> Any:
        value = self._data.get(name, default)
        if value is ...:
            raise SpecError(f"expected the field {self._where}.{name}, it is missing")
        kinds = kind if isinstance(kind, tuple) else (kind,)
        # bool is a kind of int in Python, not in JSON.
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            names = " or ".join("null" if k is NoneType else k.__name__ for k in kinds)
            raise SpecError(
                f"expected {self._where}.{name} to be {names}, got {type(value).__name__}"
            )
        return value

    def number(self, name: str) -> float | None:
        value = self.get(name, (int, float, NoneType), None)
        return None if value is None else _numbers(f"{self._where}.{name}", [value])[0]

    def texts(self, name: str, default: Any = ...) -> tuple[str, ...]:
        values = self.get(name, list, default)
        if not all(isinstance(value, str) for value in values):
            raise SpecError(f"expected {self._where}.{name} to be a list of text")
        return tuple(values)

    def objects(self, name: str) -> tuple[dict[str, Any], ...]:
        values = self.get(name, list, [])
        if not all(isinstance(value, dict) for value in values):
            raise SpecError(f"expected {self._where}.{name} to be a list of JSON objects")
        return tuple(values)


def _numbers(where: str, values: list[Any]) -> tuple[float, ...]:
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        raise SpecError(f"expected {where} to be a list of numbers, got {values!r:.80}")
    try:
        numbers = tuple(float(value) for value in values)
    except OverflowError:  # an integer of hundreds of digits
        numbers = (float("inf"),)
    if not all(isfinite(number) for number in numbers):
        raise SpecError(f"expected finite numbers in {where}, got {values!r:.80}")
    return numbers


def _triple(where: str, values: list[Any] | None) -> tuple[float, float, float] | None:
    if values is None:
        return None
    numbers = _numbers(where, values)
    if len(numbers) != 3:
        raise SpecError(f"expected {where} to have 3 numbers, got {len(numbers)}")
    return (numbers[0], numbers[1], numbers[2])


def _golden(data: object) -> GoldenCheck:
    fields = _Fields("card.golden", data)
    return GoldenCheck(
        pattern=fields.get("pattern", int),
        digest=fields.get("digest", str),
        scores=_numbers("card.golden.scores", fields.get("scores", list)),
        tolerance=_numbers("card.golden.tolerance", [fields.get("tolerance", (int, float))])[0],
    )


def _thread_hint(data: object) -> ThreadHint:
    where = "card.hints.threads"
    fields = _Fields(where, data)
    return ThreadHint(
        machine=fields.get("machine", str),
        interpreter=fields.get("interpreter", str),
        num_threads=fields.get("num_threads", int),
        latency_ms=_numbers(f"{where}.latency_ms", [fields.get("latency_ms", (int, float))])[0],
    )
