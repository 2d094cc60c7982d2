"""What a file does not say because others made it: found in its graph, or given by the user."""

from __future__ import annotations

from kit.errors import ModelFileError
from kit.model.endings import Ending
from kit.model.model_file import ModelFile
from kit.model.output import fits_width, score_count
from kit.model.spec import OUTPUT_KINDS, PreprocessSpec
from kit.runtime.interpreter import Runner

_KINDS = {  # by how a graph ends, of one number and of several
    "softmax": ("", "scores"),
    "sigmoid": ("probability", "independent_scores"),
    "linear": ("logit", "logits"),
    "unknown": ("probability", "scores"),
}
_SAID = {
    "probability": "its one output, a sigmoid's, becomes the scores of two labels",
    "logit": "its one output, a logit of {}, becomes the scores of two labels",
    "logits": "its output, of {}, is logits: a softmax is applied to it",
    "independent_scores": "each label has a sigmoid of its own, so several may be right at once, "
    "and the scores do not sum to 1: it is a multi-label model",
}


def output_kind_of(
    file: ModelFile, given: str | None, runner: Runner
) -> tuple[str, tuple[str, ...]]:
    """What the output is, and what to say of it."""
    if file.card is not None:
        return file.card.output_kind, ()
    if given is not None:
        if given not in OUTPUT_KINDS:
            raise ValueError(f"expected an output kind of {', '.join(OUTPUT_KINDS)}, got {given!r}")
        if not fits_width(runner.output_width, given):
            raise ModelFileError(
                f"expected an output kind for {runner.output_width} numbers, got {given}"
            )
        return given, ()
    ending = file.endings.get(runner.output_index, Ending("unknown", "no operator"))
    kind = _KINDS[ending.kind][runner.output_width > 1]
    if not kind:
        raise ModelFileError(
            "expected scores of several labels, got a softmax of one number, which is always 1: "
            "end the model in a sigmoid, or in two outputs"
        )
    if ending.kind == "unknown":
        return kind, (
            f"its output ends in {ending.operator}, so it can't be told whether it is scores or "
            "logits: taken as scores; --output-kind says otherwise",
        )
    said = _SAID.get(kind)
    return kind, () if said is None else (said.format(ending.operator),)


def labels_of(labels: tuple[str, ...] | None, runner: Runner, kind: str) -> tuple[str, ...]:
    count = score_count(runner.output_width, kind)
    if labels is None:
        raise ModelFileError(
            f"expected labels for its {count} scores, the file has none: "
            "give a label file (--labels FILE)"
        )
    if len(labels) != count:
        raise ModelFileError(
            f"expected {count} labels, one for each score, got {len(labels)}: "
            "these labels belong to another model"
        )
    return labels


def preprocess_of(
    file: ModelFile,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    resize: str | None,
    fit: str | None,
    runner: Runner,
) -> PreprocessSpec:
    image = runner.image
    if file.card is not None:
        spec = file.card.preprocess
        if (spec.channels, spec.layout) != (image.channels, image.layout):
            raise ModelFileError(
                f"expected {spec.channels} channels as {spec.layout}, as its card says, got "
                f"{image.channels} as {image.layout}: package the model again"
            )
        return spec
    if mean is None and std is None and file.metadata is not None and runner.input.dtype != "uint8":
        # A uint8 input takes pixels as they are, as in MediaPipe: its scale does the rest.
        mean, std = file.metadata.mean or None, file.metadata.std or None
        if any(values is not None and len(values) not in (1, 3) for values in (mean, std)):
            raise ModelFileError(
                "expected a mean and a std for all channels or three in its metadata, "
                f"got {len(mean or ())} and {len(std or ())}"
            )
    if (mean is None) != (std is None):
        raise ModelFileError("expected mean and std together, got one of them")
    if mean is None and runner.input.dtype == "float32":
        raise ModelFileError(
            "expected to be told how its float input is normalised: give mean and std "
            "(--mean 127.5 --std 127.5 for most MobileNets, --mean 0 --std 255 for some others)"
        )
    return PreprocessSpec(
        input_resolution=image.height,
        fit=fit or "stretch",
        resize=resize or "bilinear",
        mean=_per_channel(mean),
        std=_per_channel(std),
        input_width=None if image.width == image.height else image.width,
        channels=image.channels,
        layout=image.layout,
    )


def _per_channel(values: tuple[float, ...] | None) -> tuple[float, float, float] | None:
    if values is None:
        return None
    if len(values) == 1:
        return (float(values[0]),) * 3
    if len(values) == 3:
        return (float(values[0]), float(values[1]), float(values[2]))
    raise ValueError(f"expected one value for all channels or three, got {len(values)}")
