"""`kit train`: from a folder of labelled photographs to a run folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from converters.network import of_keras
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
from kit.errors import DataError, ImageError
from kit.evaluation.metrics import Evaluation
from kit.evaluation.thresholds import Targets
from kit.export.exporter import (
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
from kit.export.representative import IMAGES, read_representative, representative_paths
from kit.export.screening_form import check_enough, screening_form, screening_name
from kit.files import check_absent, folder_beside
from kit.model.spec import (
    SCHEMA_VERSION,
    ModelCard,
    PreprocessSpec,
)
from kit.report import of_run, render
from kit.reporting import Reporter, Silent, tell_left_out
from kit.runtime.images import read_image
from kit.runtime.parallel import default_threads, ordered_map
from kit.training.backbones import choose
from kit.training.checkpoint import Checkpoint
from kit.training.defaults import DEFAULT_ALPHA, DEFAULT_BACKBONE, DEFAULT_VARIANTS
from kit.training.fine_tune import NONE, FineTuneSettings, layers_that_learn
from kit.training.fitting import FitSettings, Vectors
from kit.training.learning import Learned, LearnSettings, Source, learn
from kit.training.weights import Weights, find_weights, load_backbone
from kit.workflows.run_folder import MODEL_NAME, REPORT_NAME, RUN_NAME

_FORGETS = (
    "fine-tuned layers forget what they knew of other things, and the screening form takes more "
    "unknown images for known ones than without --fine-tune: measure it with "
    "kit evaluate --unknown-images"
)


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides what a run gives, besides the images.

    Attributes:
        backbone: key of kit.training.backbones.BACKBONES.
        alpha: width multiplier; None: the backbone's default.
        input_resolution: in pixels; None: the backbone's default.
        weights: see kit.training.weights.find_weights.
        quantize: modes to write a file for.
        fit: how photographs are made square.
        resize: the filter.
        data: where labels, groups and given parts come from.
        split: shares, seed and groups.
        fitting, fine_tune, augment, variants: see kit.training.learning.LearnSettings.
        representative_images: that quantisation looks at, from the train part.
        gates: what the files must reach.
        targets: what the operating point must reach; None: none is chosen.
        intended_use: a sentence for the card.
        gallery: whether the report may show photographs and file names; None: unless there is
            DICOM, whose pictures and names are patients'.
        screening: write the screening form of each file too.
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
    fine_tune: FineTuneSettings = field(default_factory=FineTuneSettings)
    augment: str = "none"
    variants: int = DEFAULT_VARIANTS
    representative_images: int = IMAGES
    gates: Gates = field(default_factory=Gates)
    targets: Targets | None = None
    intended_use: str = ""
    gallery: bool | None = None
    screening: bool = False

    @property
    def learning(self) -> LearnSettings:
        """How the classifier is fitted."""
        return LearnSettings(self.fitting, self.fine_tune, self.augment, self.variants)

    def __post_init__(self) -> None:
        check_modes(self.quantize)
        _ = self.learning  # which checks its own
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
        screening_files: the screening form of each, by mode; none unless asked for.
    """

    run: Path
    files: Mapping[str, Path]
    evaluations: Mapping[str, Evaluation]
    left_out: tuple[tuple[str, str], ...]
    screening_files: Mapping[str, Path]


def train(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: TrainSettings | None = None,
    *,
    force: bool = False,
    resume: bool = False,
    cache: Path | None = None,
    weights: Weights | None = None,
    reporter: Reporter | None = None,
) -> TrainResult:
    """Retrains a backbone on labelled photographs, converts it and scores the files.

    Args:
        images: a folder with a folder of images for each class.
        output: the run folder to write; complete or absent.
        settings: see TrainSettings.
        force: replace an existing run folder, once the new one is complete.
        resume: go on with fine-tuning where a run of the same images and settings was broken off.
            Each epoch is kept in a folder beside the output, with the suffix `.checkpoint`.
        cache: where bottlenecks are kept.
        weights: those that the settings ask for, where they have been found before.
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
    warnings = (*dataset.warnings, *group_warnings(dataset, settings.split))
    for line in warnings:
        reporter.warn(line)
    check_split(dataset, split_dataset(dataset, settings.split), settings.split)
    reporter.say(f"{len(dataset.images)} images of {len(dataset.labels)} classes in {dataset.root}")
    if weights is None:
        weights = find_weights(choice, settings.weights, settings.fitting.seed)
    reporter.say(f"{choice}, from {weights.description}")
    source = Source(load_backbone(choice, weights), choice, weights, spec, cache)
    if settings.fine_tune.layers != NONE and weights.path is None:
        reporter.warn(
            "from random values every layer learns, by --epochs and --learning-rate: --fine-tune "
            "and its epochs and rate are not used"
        )
    elif settings.fine_tune.layers != NONE:
        layers_that_learn(source.backbone, settings.fine_tune.layers)  # told before any work
    features: Mapping[str, Vectors] = {}
    if weights.path is None:
        unreadable = _unreadable(dataset, spec, reporter)
    else:
        features, unreadable = source.bottlenecks(dataset, reporter)
    dataset = dataset.without(unreadable)
    tell_left_out(dataset.left_out, reporter)
    split = split_dataset(dataset, settings.split)
    check_split(dataset, split, settings.split)
    parts = {part: [path for path in split if split[path] == part] for part in PARTS}
    reporter.say(_counts(dataset, split))
    if settings.screening:
        check_enough(len(parts["train"]), len(parts["validation"]))
    checkpoint = Checkpoint(
        Path(f"{Path(output)}.checkpoint"),
        {
            "backbone": (choice.name, choice.alpha),
            "dataset": dataset.fingerprint,
            "split": split,
            "weights": weights.digest,
            "preprocess": spec.to_json(),
            "learning": asdict(settings.learning),
        },
        resume=resume,
    )
    if resume and not checkpoint.history:
        reporter.say("no epoch to go on from: training starts anew")
    elif not resume and checkpoint.exists:
        reporter.warn(
            f"{checkpoint.folder} holds a training that was broken off, which the first epoch of "
            "this one replaces: --resume would go on there"
        )
    with folder_beside(output, force) as run:
        learned = learn(
            source,
            dataset,
            parts,
            features,
            settings.learning,
            checkpoint=checkpoint,
            logs=run / "logs",
            reporter=reporter,
        )
        learned.model.save(run / MODEL_NAME)
        representative = representative_paths(
            dataset, parts["train"], settings.representative_images, settings.split.seed
        )
        card = _card(choice.name, choice.alpha, weights, spec, dataset, split, settings)
        card = replace(card, temperature=learned.temperature)
        regex = settings.split.group_regex
        trials = {part: Trial.of_part(dataset, part, parts[part], regex) for part in parts}
        exporter = Exporter(
            of_keras(learned.model, spec.input_resolution),
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
        record = _write_run(run, settings, modes, dataset, split, representative, learned, exported)
        files = {_file_name(mode): exported[mode] for mode in modes}
        screened = modes if settings.screening else ()
        for mode in screened:
            form = screening_form(
                exported[mode], trials["train"], trials["validation"], trials["test"], reporter
            )
            name = screening_name(_file_name(mode))
            (run / name).write_bytes(form.content)
            files[name] = form
        if screened and learned.fine_tuned:
            reporter.warn(_FORGETS)
            warnings = (*warnings, _FORGETS)
        report = render(of_run(record, dataset, files, trials["test"], warnings))
        (run / REPORT_NAME).write_text(report, "utf-8")
    checkpoint.discard()
    for mode in exported:
        reporter.say(summary(exported[mode], "" if mode in modes else " (not written)"))
    reporter.say(f"report: {Path(output, REPORT_NAME)}")
    return TrainResult(
        run=Path(output),
        files={mode: Path(output, _file_name(mode)) for mode in modes},
        evaluations={
            mode: item.evaluation for mode, item in exported.items() if item.evaluation is not None
        },
        left_out=dataset.left_out,
        screening_files={mode: Path(output, screening_name(_file_name(mode))) for mode in screened},
    )


def _unreadable(dataset: Dataset, spec: PreprocessSpec, reporter: Reporter) -> dict[str, str]:
    """The reason for each image that cannot be read, by path."""

    def work(image: LabelledImage) -> str | None:
        try:
            read_image(dataset.root / image.path, spec.input_resolution)
        except ImageError as error:
            return str(error)
        return None

    results = ordered_map(work, dataset.images, default_threads())
    tracked = reporter.track(results, len(dataset.images), "reading")
    pairs = zip(dataset.images, tracked, strict=True)
    return {image.path: reason for image, reason in pairs if reason is not None}


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
    learned: Learned,
    exported: Mapping[str, Exported],
) -> dict[str, Any]:
    """Writes all but the report; returns the record as run.json has it."""
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
        "history": list(learned.history),
        "fine_tuned": learned.fine_tuned,
        # With `split`: which images each file answers rightly, to compare files by.
        "misclassified": {
            mode: {wrong.image: wrong.predicted for wrong in item.evaluation.misclassified}
            for mode, item in exported.items()
            if item.evaluation is not None
        },
        "left_out": dict(dataset.left_out),
        "representative_dataset": list(representative),
        "split": dict(split),
    }
    (run / RUN_NAME).write_text(json.dumps(record, ensure_ascii=False, indent=1), "utf-8")
    return record
