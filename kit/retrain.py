"""`kit train`: from a folder of labelled photographs to a run folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from converters.network import of_keras
from converters.tflite import convert_model
from kit.data import (
    PARTS,
    Dataset,
    DataSettings,
    LabelledImage,
    SplitSettings,
    load_dataset,
    split_dataset,
)
from kit.data.split import check_split, group_warnings
from kit.defaults import DEFAULT_ALPHA, DEFAULT_BACKBONE
from kit.errors import DataError, ImageError
from kit.evaluation.calibration import fit_temperature, logits_of, scaled_head
from kit.evaluation.evaluate import truth_of
from kit.evaluation.metrics import Evaluation
from kit.evaluation.thresholds import Targets
from kit.export import (
    AUTO,
    Exported,
    Exporter,
    Gates,
    Trial,
    check_modes,
    now,
    package_versions,
    summary,
)
from kit.files import check_absent, folder_beside
from kit.preprocess import Pixels, fit_pixels
from kit.reporting import Reporter, Silent, tell_left_out
from kit.representative import IMAGES, read_representative, representative_paths
from kit.run_folder import MODEL_NAME, RUN_NAME
from kit.runtime.images import read_image
from kit.runtime.parallel import default_threads, ordered_map
from kit.spec import (
    SCHEMA_VERSION,
    ModelCard,
    PreprocessSpec,
)
from kit.training.backbones import choose, taking_pixels
from kit.training.bottlenecks import extract_bottlenecks
from kit.training.fitting import FitSettings
from kit.training.head import train_head
from kit.training.weights import Weights, find_weights, load_backbone
from kit.training.whole import train_whole

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides what a run gives, besides the images.

    Attributes:
        backbone: key of kit.training.backbones.BACKBONES.
        alpha: width multiplier; None: the backbone's default.
        input_resolution: in pixels; None: the backbone's default.
        weights: `imagenet`, `none`, or an h5 file.
        quantize: modes to write a file for.
        fit: how photographs are made square.
        resize: the filter.
        data: where labels, groups and given parts come from.
        split: shares, seed and groups.
        fitting: how the head (with random weights: the whole network) is trained.
        representative_images: that quantisation looks at, from the train part.
        gates: what the files must reach.
        targets: what the operating point must reach; None: none is chosen.
        intended_use: a sentence for the card.
    """

    backbone: str = DEFAULT_BACKBONE
    alpha: float | None = DEFAULT_ALPHA
    input_resolution: int | None = None
    weights: str = "imagenet"
    quantize: tuple[str, ...] = ("int8",)
    fit: str = "stretch"
    resize: str = "bilinear"
    data: DataSettings = field(default_factory=DataSettings)
    split: SplitSettings = field(default_factory=SplitSettings)
    fitting: FitSettings = field(default_factory=FitSettings)
    representative_images: int = IMAGES
    gates: Gates = field(default_factory=Gates)
    targets: Targets | None = None
    intended_use: str = ""

    def __post_init__(self) -> None:
        check_modes(self.quantize)
        if self.representative_images < 1:
            raise ValueError(
                f"expected at least 1 representative image, got {self.representative_images}"
            )


@dataclass(frozen=True)
class TrainResult:
    """What a run gave.

    Attributes:
        run: the folder.
        files: the .tflite files, by mode.
        evaluations: of each file, on the test part, by mode; float32 too, written or not.
        left_out: path and reason of every image that was not used.
    """

    run: Path
    files: Mapping[str, Path]
    evaluations: Mapping[str, Evaluation]
    left_out: tuple[tuple[str, str], ...]


def train(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: TrainSettings | None = None,
    *,
    force: bool = False,
    cache: Path | None = None,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Retrains a backbone on labelled photographs, converts it and scores the files.

    Args:
        images: a folder with a folder of images for each class.
        output: the run folder to write; complete or absent.
        settings: see TrainSettings.
        force: replace an existing run folder, once the new one is complete.
        cache: where bottlenecks are kept.
        reporter: progress.

    Raises:
        DataError: the images cannot be used.
        WeightsError: the weights are not to be had.
        AccuracyError: a gate is not met; nothing is written.
        OutputExistsError: the output is in the way.
        ConversionError, InferenceError, TrainingError: as they say.
    """
    settings = settings or TrainSettings()
    reporter = reporter or Silent()
    check_absent(output, force)
    choice = choose(settings.backbone, settings.alpha, settings.input_resolution)
    if refused := [mode for mode in settings.quantize if mode in choice.family.unconvertible]:
        raise ValueError(
            f"expected a quantisation that {choice.name} can be converted to, got "
            f"{', '.join(refused)}: TensorFlow Lite lacks an operator for it"
        )
    spec = choice.preprocess(settings.fit, settings.resize)
    dataset = load_dataset(images, settings.data)
    if settings.targets is not None and settings.targets.positive not in dataset.labels:
        raise DataError(
            f"expected --positive to be one of {', '.join(dataset.labels)}, "
            f"got {settings.targets.positive!r}"
        )
    for line in (*dataset.warnings, *group_warnings(dataset, settings.split)):
        reporter.warn(line)
    check_split(dataset, split_dataset(dataset, settings.split), settings.split)
    reporter.say(f"{len(dataset.images)} images of {len(dataset.labels)} classes in {dataset.root}")
    weights = find_weights(choice, settings.weights, settings.fitting.seed)
    reporter.say(
        f"{choice.name}{'' if choice.alpha is None else f' alpha {choice.alpha:g}'} at "
        f"{choice.input_resolution} pixels, from {weights.description}"
    )
    backbone = load_backbone(choice, weights)
    features: Mapping[str, Any]
    if weights.path is None:
        features, unreadable = _read_all(dataset, spec, reporter)
    else:
        features, unreadable = extract_bottlenecks(
            dataset,
            choice,
            weights,
            spec,
            lambda: convert_model(taking_pixels(backbone, spec), "float32", spec),
            cache=cache,
            reporter=reporter,
        )
    dataset = dataset.without(unreadable)
    tell_left_out(dataset.left_out, reporter)
    split = split_dataset(dataset, settings.split)
    check_split(dataset, split, settings.split)
    parts = {part: [path for path in split if split[path] == part] for part in PARTS}
    reporter.say(_counts(dataset, split))
    fit_on = _examples(dataset, parts["train"], features)
    select_on = _examples(dataset, parts["validation"], features)
    classes = len(dataset.labels)
    temperature: float | None = None
    with folder_beside(output, force) as run:
        if weights.path is None:
            model, history = train_whole(
                backbone,
                fit_on,
                select_on,
                classes,
                spec,
                settings.fitting,
                logs=run / "logs",
                reporter=reporter,
            )
        else:
            head, history = train_head(
                fit_on,
                select_on,
                classes,
                settings.fitting,
                logs=run / "logs",
                reporter=reporter,
            )
            temperature = fit_temperature(
                logits_of(np.asarray(head(select_on[0]), np.float32)), select_on[1]
            )
            reporter.say(f"temperature {temperature:.3f}, from {len(select_on[1])} images")
            model = _joined(backbone, scaled_head(head, temperature))
        model.save(run / MODEL_NAME)
        representative = representative_paths(
            dataset, parts["train"], settings.representative_images, settings.split.seed
        )
        card = _card(choice.name, choice.alpha, weights, spec, dataset, split, settings)
        card = replace(card, temperature=temperature)
        regex = settings.split.group_regex
        trials = {part: Trial.of_part(dataset, part, parts[part], regex) for part in parts}
        exporter = Exporter(
            of_keras(model, spec.input_resolution),
            card,
            read_representative(dataset.root, representative, spec),
            trials["test"],
            reporter=reporter,
            targets=settings.targets,
            validation=trials["validation"],
        )
        modes = settings.quantize
        if modes == (AUTO,):
            modes = (exporter.choose(settings.gates.max_accuracy_drop).mode,)
        exported = {mode: exporter.export(mode) for mode in dict.fromkeys(("float32", *modes))}
        settings.gates.check(exported, modes)
        _write_run(run, settings, modes, dataset, split, representative, history, exported)
    for mode in exported:
        reporter.say(summary(exported[mode], "" if mode in modes else " (not written)"))
    return TrainResult(
        run=Path(output),
        files={mode: Path(output, _file_name(mode)) for mode in modes},
        evaluations={
            mode: item.evaluation for mode, item in exported.items() if item.evaluation is not None
        },
        left_out=dataset.left_out,
    )


def _read_all(
    dataset: Dataset, spec: PreprocessSpec, reporter: Reporter
) -> tuple[dict[str, Pixels], dict[str, str]]:
    """Pixels of every image by digest, all in memory; the reason for each unreadable one by path.

    Training from random values needs them every epoch, and there are no bottlenecks to keep.
    """

    def work(image: LabelledImage) -> Pixels | str:
        try:
            pixels = read_image(dataset.root / image.path, spec.input_resolution)
        except ImageError as error:
            return str(error)
        return fit_pixels(pixels, spec)

    pixels: dict[str, Pixels] = {}
    unreadable: dict[str, str] = {}
    results = ordered_map(work, dataset.images, default_threads())
    tracked = reporter.track(results, len(dataset.images), "reading")
    for image, result in zip(dataset.images, tracked, strict=True):
        if isinstance(result, str):
            unreadable[image.path] = result
        else:
            pixels[image.digest] = result
    return pixels, unreadable


def _examples(dataset: Dataset, paths: Sequence[str], vectors: Mapping[str, Any]) -> Any:
    digests = {image.path: image.digest for image in dataset.images}
    return np.stack([vectors[digests[path]] for path in paths]), truth_of(dataset, paths)


def _joined(backbone: keras.Model, head: keras.Model) -> keras.Model:
    """Backbone and head as one flat model."""
    import keras

    scores = head.layers[-1](backbone.output)
    return keras.Model(backbone.input, scores, name="classifier")


def _counts(dataset: Dataset, split: Mapping[str, str]) -> str:
    lines = []
    for label, name in enumerate(dataset.labels):
        parts = [split[image.path] for image in dataset.images if image.label == label]
        counts = ", ".join(f"{parts.count(part)} {part}" for part in PARTS)
        lines.append(f"  {name}: {counts}")
    return "\n".join(["images of each class and part:", *lines])


def _card(
    name: str,
    alpha: float | None,
    weights: Weights,
    spec: PreprocessSpec,
    dataset: Dataset,
    split: Mapping[str, str],
    settings: TrainSettings,
) -> ModelCard:
    parts = list(split.values())
    return ModelCard(
        backbone=name,
        alpha=alpha,
        weights=weights.description,
        quantization="float32",
        preprocess=spec,
        labels=dataset.labels,
        dataset={
            "fingerprint": dataset.fingerprint,
            "images": {part: parts.count(part) for part in PARTS},
            **asdict(settings.split),
            "group_column": settings.data.group_column,
            "split_column": settings.data.split_column,
        },
        intended_use=settings.intended_use,
        versions=package_versions(),
        created=now(),
    )


def _file_name(mode: str) -> str:
    return f"model_{mode}.tflite"


def _write_run(
    run: Path,
    settings: TrainSettings,
    modes: Sequence[str],
    dataset: Dataset,
    split: Mapping[str, str],
    representative: Sequence[str],
    history: Sequence[Mapping[str, float]],
    exported: Mapping[str, Exported],
) -> None:
    card = exported["float32"].card.to_json()
    for name in ("golden", "metrics", "quantization"):
        card.pop(name)
    for mode in modes:
        (run / _file_name(mode)).write_bytes(exported[mode].content)
    first = exported[modes[0]].evaluation
    assert first is not None  # the test part is labelled
    (run / "labels.txt").write_text("".join(f"{label}\n" for label in dataset.labels), "utf-8")
    (run / "misclassified.csv").write_text(first.misclassified_csv(), "utf-8")
    record = {
        "schema_version": SCHEMA_VERSION,
        "created": card["created"],
        "images": str(dataset.root.resolve()),
        "settings": {**asdict(settings), "data": settings.data.to_json()},
        "card": {**card, "quantization": "float32"},
        "metrics": {
            mode: {"size_bytes": len(item.content), **item.card.metrics["test"]}
            for mode, item in exported.items()
        },
        "history": list(history),
        "left_out": dict(dataset.left_out),
        "representative_dataset": list(representative),
        "split": dict(split),
    }
    (run / RUN_NAME).write_text(json.dumps(record, ensure_ascii=False, indent=1), "utf-8")
