"""`kit train`: from a folder of labelled photographs to a run folder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from converters.network import of_keras
from kit.data import PARTS, Dataset, LabelledImage, load_dataset, split_dataset
from kit.data.corrections import corrected_tests
from kit.data.scan import FEW_IMAGES
from kit.data.sources import check_outside
from kit.data.split import check_split, given_parts, group_warnings, moved_keys
from kit.errors import DataError, ImageError
from kit.evaluation.metrics import Evaluation
from kit.export.exported import Exported, summary
from kit.export.exporter import Exporter
from kit.export.finish import now, package_versions
from kit.export.representative import read_representative, representative_paths
from kit.export.scoring_set import ScoringSet
from kit.export.screening_form import check_enough, screening_form, screening_name
from kit.filenames import text_bytes
from kit.files import check_absent, check_spares, folder_beside
from kit.model.spec import ModelCard, PreprocessSpec
from kit.report import of_run, render
from kit.reporting import Reporter, Silent, tell_left_out
from kit.runtime.images import read_image
from kit.runtime.parallel import default_threads, ordered_map
from kit.training.backbones import BackboneChoice, choose
from kit.training.checkpoint import Checkpoint
from kit.training.fitting import Vectors
from kit.training.layers import NONE, layers_that_learn
from kit.training.learning import BackboneSource, Learned, learn
from kit.training.teachers import Teacher
from kit.training.weights import Weights, find_weights, load_backbone
from kit.workflows.options import SETTINGS_NAME, settings_toml
from kit.workflows.run_folder import MODEL_NAME, REPORT_NAME, model_name, write_run
from kit.workflows.teachers import (
    check_apart,
    fit_teachers,
    read_teachers,
    read_unlabelled,
)
from kit.workflows.train_settings import TrainSettings

__all__ = ["TrainResult", "TrainSettings", "train"]

_FINE_TUNE_WARNING = (
    "layers fine-tuned with --remember 0, all of whose change is kept, forget what they knew of "
    "other things, and the screening form takes more unknown images for known ones: measure it "
    "with kit evaluate --unknown-images"
)


@dataclass(frozen=True)
class TrainResult:
    """What a run gave.

    Attributes:
        run: the folder.
        files: the .tflite files, by mode.
        evaluations: figures of each file on the test part, by mode; always with float32.
        left_out: path and reason of every image that was not used.
        screening_files: the screening form of each, by mode; none unless asked for.
    """

    run: Path
    files: Mapping[str, Path]
    evaluations: Mapping[str, Evaluation]
    left_out: tuple[tuple[str, str], ...]
    screening_files: Mapping[str, Path]

    @property
    def report(self) -> Path:
        """The report to read."""
        return self.run / REPORT_NAME

    def to_json(self) -> dict[str, Any]:
        """The files, the first file's `accuracy` and `n`, and the accuracy of every file."""
        return {
            "run": str(self.run),
            "files": {mode: str(path) for mode, path in self.files.items()},
            "screening_files": {mode: str(path) for mode, path in self.screening_files.items()},
            **self.evaluations[next(iter(self.files))].accuracy.to_json(),
            "accuracies": {
                mode: evaluation.accuracy.to_json() for mode, evaluation in self.evaluations.items()
            },
        }


@dataclass(frozen=True)
class _Surveyed:
    """What can be told before anything is computed.

    Attributes:
        choice: the backbone.
        weights: what it starts from.
        dataset: the images, which were not decoded yet.
        split: the part of each image, by path.
        teachers: see kit.training.learning.learn.
        unlabelled: see kit.training.learning.learn.
        warnings: what to know of the data before quoting figures.
    """

    choice: BackboneChoice
    weights: Weights
    dataset: Dataset
    split: Mapping[str, str]
    teachers: tuple[Teacher, ...]
    unlabelled: tuple[LabelledImage, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Prepared:
    """What is settled before anything is learnt.

    Attributes:
        source: the backbone, with its weights and its PreprocessSpec.
        dataset: the images that can be read.
        split: the part of each image, by path.
        features: bottlenecks by digest; none where training starts from random values.
        teachers: see kit.training.learning.learn.
        unlabelled: see kit.training.learning.learn.
        warnings: what to know of the data before quoting figures.
    """

    source: BackboneSource
    dataset: Dataset
    split: Mapping[str, str]
    features: Mapping[str, Vectors]
    teachers: tuple[Teacher, ...]
    unlabelled: tuple[LabelledImage, ...]
    warnings: tuple[str, ...]

    @property
    def parts(self) -> dict[str, list[str]]:
        """The paths of each part."""
        return {part: [path for path, of in self.split.items() if of == part] for part in PARTS}

    @property
    def learnt_from(self) -> frozenset[str]:
        """Digests of all images that decide on the weights, through teachers too."""
        own = {one.digest for one in self.dataset.images if self.split[one.path] != "test"}
        further = {image.digest for image in self.unlabelled}
        return frozenset.union(
            frozenset(own | further), *(teacher.learnt_from for teacher in self.teachers)
        )


@dataclass(frozen=True)
class _Files:
    """What a trained network was exported to.

    Attributes:
        plain: the files that were asked for, by mode.
        reference: the float32 file, asked for or not.
        screening: the screening form of each plain file, by mode; none unless asked for.
        representative: the images that quantisation looked at, by path.
        test: the photographs that the files were scored on.
    """

    plain: Mapping[str, Exported]
    reference: Exported
    screening: Mapping[str, Exported]
    representative: Sequence[str]
    test: ScoringSet

    @property
    def measured(self) -> dict[str, Exported]:
        """Every plain file with figures, the float32 file first."""
        return {"float32": self.reference, **self.plain}

    @property
    def by_name(self) -> dict[str, Exported]:
        """The files of the run folder, by name."""
        return {
            **{model_name(mode): file for mode, file in self.plain.items()},
            **{screening_name(model_name(mode)): file for mode, file in self.screening.items()},
        }


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
        resume: go on with fine-tuning where a run of the same images and settings was interrupted.
            Each epoch is kept in a folder beside the output, with the suffix `.checkpoint`. The
            runs of teachers that are fitted before stay in one with the suffix `.teachers`.
        cache: where bottlenecks are kept.
        weights: the weights that the settings ask for, if they have been found already.
        reporter: is told of progress.

    Raises:
        DataError: the images cannot be used, or a teacher has other labels or knows test images.
        SpecError: a teacher's run is incomplete, or not of this kit.
        WeightsError: the weights are not to be had.
        AccuracyError: a gate is not met; nothing is written.
        OutputExistsError: the output is in the way.
        ConversionError, InferenceError, TrainingError: as they say.
    """
    settings, reporter = settings or TrainSettings(), reporter or Silent()
    check_absent(output, force)
    unlabelled = () if settings.unlabelled is None else (settings.unlabelled,)
    check_spares(output, images, *settings.teachers, *unlabelled, *settings.data.tables)
    check_outside(output, images, settings.data)
    if settings.own_teachers:
        _survey(images, settings, weights, Silent())  # told before teachers learn for long
        settings = fit_teachers(
            *(train, images, output, settings),
            force=force,
            resume=resume,
            cache=cache,
            reporter=reporter,
        )
    surveyed = _survey(images, settings, weights, reporter)
    prepared = _prepare(surveyed, settings, cache, reporter)
    checkpoint = _checkpoint(output, prepared, settings, resume, reporter)
    with folder_beside(output, force) as run:
        learned = learn(
            prepared.source,
            prepared.dataset,
            prepared.parts,
            prepared.features,
            settings.learning,
            teachers=prepared.teachers,
            unlabelled=prepared.unlabelled,
            checkpoint=checkpoint,
            logs=run / "logs",
            reporter=reporter,
        )
        learned.model.save(run / MODEL_NAME)
        files = _export(prepared, learned, settings, reporter)
        warnings = prepared.warnings
        if files.screening and learned.fine_tuned and not learned.remembers:
            reporter.warn(_FINE_TUNE_WARNING)
            warnings = (*warnings, _FINE_TUNE_WARNING)
        record = write_run(
            run,
            settings.to_json(),
            prepared.dataset,
            prepared.split,
            prepared.learnt_from,
            learned,
            files.measured,
            files.representative,
        )
        toml = settings_toml(settings, random=prepared.source.weights.path is None)
        (run / SETTINGS_NAME).write_bytes(text_bytes(toml))
        for name, file in files.by_name.items():
            (run / name).write_bytes(file.content)
        first = next(iter(files.plain.values())).evaluation
        assert first is not None  # the test part is labelled
        (run / "misclassified.csv").write_bytes(text_bytes(first.misclassified_csv()))
        report = render(of_run(record, prepared.dataset, files.by_name, files.test, warnings))
        (run / REPORT_NAME).write_bytes(text_bytes(report))
    checkpoint.discard()
    for mode, file in files.measured.items():
        reporter.say(summary(file, "" if mode in files.plain else " (not written)"))
    return TrainResult(
        run=Path(output),
        files={mode: Path(output, model_name(mode)) for mode in files.plain},
        evaluations={
            mode: file.evaluation
            for mode, file in files.measured.items()
            if file.evaluation is not None
        },
        left_out=prepared.dataset.left_out,
        screening_files={
            mode: Path(output, screening_name(model_name(mode))) for mode in files.screening
        },
    )


def _survey(
    images: str | os.PathLike[str],
    settings: TrainSettings,
    weights: Weights | None,
    reporter: Reporter,
) -> _Surveyed:
    """Finds the images, the weights and the teachers, and splits; raises as `train`."""
    choice = choose(settings.backbone, settings.alpha, settings.input_resolution)
    _check_convertible(choice, settings.quantize)
    dataset = load_dataset(images, settings.data)
    if settings.targets is not None and settings.targets.positive not in dataset.labels:
        raise DataError(
            f"expected --positive to be one of {', '.join(dataset.labels)}, "
            f"got {settings.targets.positive!r}"
        )
    warnings = (*dataset.warnings, *group_warnings(dataset, settings.split))
    for line in warnings:
        reporter.warn(line)
    split = split_dataset(dataset, settings.split)
    check_split(dataset, split, settings.split)
    if (flattered := corrected_tests(dataset, split)) is not None:
        reporter.warn(flattered)
        warnings = (*warnings, flattered)
    teachers = read_teachers(settings.teachers, dataset.labels)
    check_apart(teachers, dataset, split, settings.split.group_regex)
    unlabelled = read_unlabelled(settings, dataset, split, reporter)
    if settings.screening:
        parts = list(split.values())
        check_enough(parts.count("train"), parts.count("validation"))
    _check_targets(dataset, split, settings)
    reporter.say(f"{len(dataset.images)} images of {len(dataset.labels)} classes in {dataset.root}")
    if weights is None:
        weights = find_weights(choice, settings.weights, settings.fitting.seed)
    reporter.say(f"{choice}, from {weights.description}")
    return _Surveyed(choice, weights, dataset, split, teachers, unlabelled, warnings)


def _prepare(
    surveyed: _Surveyed, settings: TrainSettings, cache: Path | None, reporter: Reporter
) -> _Prepared:
    """Reads the images and extracts bottlenecks; raises as `train`."""
    choice, weights, dataset = surveyed.choice, surveyed.weights, surveyed.dataset
    teachers, unlabelled = surveyed.teachers, surveyed.unlabelled
    spec = choice.preprocess(settings.fit, settings.resize)
    source = BackboneSource(load_backbone(choice, weights), choice, weights, spec, cache)
    if settings.fine_tune.layers != NONE and weights.path is None:
        reporter.warn(
            "every layer learns from random values, by --epochs and --learning-rate: --fine-tune, "
            "its epochs and its learning rate are not used"
        )
    elif settings.fine_tune.layers != NONE:
        layers_that_learn(source.backbone, settings.fine_tune.layers)  # told before any work
    features: Mapping[str, Vectors] = {}
    for teacher in teachers:
        reporter.say(f"learns from {teacher.description}")
    if weights.path is None:
        unreadable = _unreadable(dataset.root, dataset.images, spec, reporter)
    else:
        features, unreadable = source.bottlenecks(dataset, reporter)
    dataset = dataset.without(unreadable)
    tell_left_out(dataset.left_out, reporter)
    split = split_dataset(dataset, settings.split)
    check_split(dataset, split, settings.split)
    if any(surveyed.split[path] != part for path, part in split.items()):
        check_apart(teachers, dataset, split, settings.split.group_regex)
        if unlabelled:
            reporter.say(
                "images moved to another part, since others cannot be read: looks again which "
                "photographs without a label may be learnt from"
            )
            unlabelled = read_unlabelled(settings, dataset, split, reporter)
    _check_targets(dataset, split, settings)
    reporter.say(_counts(dataset, split))
    if unlabelled:
        reasons = _unreadable(dataset.root, unlabelled, spec, reporter)
        tell_left_out(list(reasons.items()), reporter)
        unlabelled = tuple(image for image in unlabelled if image.path not in reasons)
        if not unlabelled:
            raise DataError(f"{settings.unlabelled}: expected photographs, none could be read")
        reporter.say(f"{len(unlabelled)} photographs without a label are learnt from too")
    if min(dataset.counts()) < FEW_IMAGES:
        reporter.warn(
            "figures of so few test images mean little: kit cross-validate scores every image"
        )
    prepared = _Prepared(source, dataset, split, features, teachers, unlabelled, surveyed.warnings)
    if settings.screening:
        parts = prepared.parts
        check_enough(len(parts["train"]), len(parts["validation"]))
    return prepared


def _check_targets(dataset: Dataset, split: Mapping[str, str], settings: TrainSettings) -> None:
    """Raises DataError where the validation part has too few images for what is to be promised."""
    if settings.targets is not None:
        validation = _scoring_set(dataset, split, "validation", settings)
        assert validation.truth is not None  # the images are labelled
        settings.targets.check_enough(
            validation.truth == dataset.labels.index(settings.targets.positive), validation.cases
        )


def _check_convertible(choice: BackboneChoice, modes: Sequence[str]) -> None:
    if refused := [mode for mode in modes if mode in choice.family.unconvertible]:
        raise ValueError(
            f"expected a quantisation that {choice.name} can be converted to, got "
            f"{', '.join(refused)}, for which TensorFlow Lite lacks an operator: choose another"
        )


def _checkpoint(
    output: str | os.PathLike[str],
    prepared: _Prepared,
    settings: TrainSettings,
    resume: bool,
    reporter: Reporter,
) -> Checkpoint:
    """The epochs kept beside the output; raises TrainingError where they are of other settings."""
    source = prepared.source
    checkpoint = Checkpoint(
        Path(f"{Path(output)}.checkpoint"),
        {
            "backbone": (source.choice.name, source.choice.alpha),
            "dataset": prepared.dataset.fingerprint,
            "split": prepared.split,
            "weights": source.weights.digest,
            "preprocess": source.spec.to_json(),
            "learning": asdict(settings.learning),
            # What the settings leave to the backbone is another in another version of the kit.
            "fine_tuning": asdict(source.choice.fine_tuning),
            "teachers": [teacher.digest for teacher in prepared.teachers],
            "unlabelled": [image.digest for image in prepared.unlabelled],
        },
        resume=resume,
    )
    if resume and not checkpoint.history:
        reporter.say("there is no epoch to go on from: training starts from the beginning")
    elif not resume and checkpoint.exists:
        reporter.warn(
            f"{checkpoint.folder} holds an interrupted training, which the first epoch of this one "
            "replaces: --resume would go on with it"
        )
    return checkpoint


def _export(
    prepared: _Prepared, learned: Learned, settings: TrainSettings, reporter: Reporter
) -> _Files:
    """Converts, packages and scores the network; raises AccuracyError where a gate is not met."""
    dataset, parts, spec = prepared.dataset, prepared.parts, prepared.source.spec
    representative = representative_paths(
        dataset, parts["train"], settings.representative_images, settings.split.seed
    )
    sets = {part: _scoring_set(dataset, prepared.split, part, settings) for part in parts}
    exporter = Exporter(
        of_keras(learned.model, spec.input_resolution),
        _card(prepared, learned, settings),
        read_representative(dataset.root, representative, spec),
        sets["test"],
        reporter=reporter,
        targets=settings.targets,
        validation=sets["validation"],
    )
    plain = exporter.export_all(settings.quantize, settings.gates)
    screening = {}
    if settings.screening:
        for mode, file in plain.items():
            screening[mode] = screening_form(
                file,
                sets["train"],
                sets["validation"],
                sets["test"],
                reporter,
            )
    return _Files(plain, exporter.reference(), screening, representative, sets["test"])


def _scoring_set(
    dataset: Dataset, split: Mapping[str, str], part: str, settings: TrainSettings
) -> ScoringSet:
    paths = [path for path, of in split.items() if of == part]
    return ScoringSet.of_part(dataset, part, paths, settings.split.group_regex)


def _card(prepared: _Prepared, learned: Learned, settings: TrainSettings) -> ModelCard:
    source, dataset = prepared.source, prepared.dataset
    # The head alone, which ships where fine-tuning did not help, learnt from labels only.
    taught = learned.fine_tuned or source.weights.path is None
    moved = moved_keys(dataset, prepared.split, settings.split)
    return ModelCard(
        backbone=source.choice.name,
        alpha=source.choice.alpha,
        weights=source.weights.description,
        teachers=tuple(teacher.description for teacher in prepared.teachers if taught),
        temperature=learned.temperature,
        quantization="float32",
        preprocess=source.spec,
        labels=dataset.labels,
        dataset={
            "fingerprint": dataset.fingerprint,
            "images": {part: len(paths) for part, paths in prepared.parts.items()},
            **({"unlabelled": len(prepared.unlabelled)} if prepared.unlabelled else {}),
            **asdict(settings.split),
            **({"moved": moved} if moved else {}),
            "group_column": settings.data.group_column,
            "split_column": settings.data.split_column,
            "given_parts": given_parts(dataset),
        },
        intended_use=settings.intended_use,
        versions=package_versions(),
        created=now(),
    )


def _unreadable(
    root: Path, images: Sequence[LabelledImage], spec: PreprocessSpec, reporter: Reporter
) -> dict[str, str]:
    """The reason for each image that cannot be read, by path."""

    def work(image: LabelledImage) -> str | None:
        try:
            read_image(root / image.path, spec.input_resolution)
        except ImageError as error:
            return str(error)
        return None

    results = ordered_map(work, images, default_threads())
    tracked = reporter.track(results, len(images), "reading")
    pairs = zip(images, tracked, strict=True)
    return {image.path: reason for image, reason in pairs if reason is not None}


def _counts(dataset: Dataset, split: Mapping[str, str]) -> str:
    lines = []
    for label, name in enumerate(dataset.labels):
        parts = [split[image.path] for image in dataset.images if image.label == label]
        counts = ", ".join(f"{parts.count(part)} {part}" for part in PARTS)
        lines.append(f"  {name}: {counts}")
    return "\n".join(["images of each class and part:", *lines])
