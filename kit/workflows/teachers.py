"""Teachers of a training: runs that are read, and those that `--recipe max` fits beforehand."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from converters.sources.keras_files import load_keras_model
from kit.data import (
    Dataset,
    DataSettings,
    LabelledImage,
    load_dataset,
    scan_unlabelled,
    split_dataset,
)
from kit.data.scan import listed
from kit.data.split import group_keys, named_groups
from kit.errors import DataError, OutputExistsError, SpecError, WeightsError
from kit.export.exported import Gates
from kit.model.spec import ModelCard
from kit.reporting import Reporter, tell_left_out
from kit.training.backbones import BackboneChoice, build, choose
from kit.training.layers import layers_that_learn
from kit.training.teachers import BOTTLENECKS, Teacher
from kit.training.weights import find_weights, sources_of
from kit.workflows.run_folder import MODEL_NAME, RUN_NAME, read_run
from kit.workflows.train_settings import TrainSettings


@dataclass(frozen=True)
class _Planned:
    """A network that `--recipe max` fits as a teacher.

    Attributes:
        backbone, alpha, input_resolution: as in TrainSettings.
        milliseconds: for a photograph and an epoch, on two cores of an AMD EPYC.
    """

    backbone: str
    alpha: float
    input_resolution: int
    milliseconds: float

    @property
    def choice(self) -> BackboneChoice:
        return choose(self.backbone, self.alpha, self.input_resolution)

    @property
    def folder(self) -> str:
        """The name of its run, in the folder of the teachers."""
        return f"{self.backbone}-{self.alpha:g}-{self.input_resolution}"


# Of two families, since the mean of unlike networks is right more often than that of like ones.
_PLANNED = (
    _Planned("mobilenet_v2", 0.35, 224, milliseconds=7),
    _Planned("mobilenet_v1", 0.5, 224, milliseconds=7),
)


def read_teachers(runs: Sequence[str], labels: Sequence[str]) -> tuple[Teacher, ...]:
    """The classifiers of run folders, for a student with these labels.

    Raises:
        SpecError: a run is incomplete, damaged, of a newer kit, or of one so old that it does not
            say what it learnt from.
        DataError: a run has other labels; their order does not matter.
        ConversionError: its network cannot be read.
    """
    return tuple(_read_teacher(Path(run), labels) for run in runs)


def _read_teacher(run: Path, labels: Sequence[str]) -> Teacher:
    record = read_run(run)
    card = ModelCard.from_json(record["card"])
    if sorted(card.labels) != sorted(labels):
        raise DataError(
            f"{run}: expected a teacher with the labels {listed(labels)}, "
            f"got one with {listed(card.labels)}"
        )
    learnt_from = record.get("learnt_from")
    if not isinstance(learnt_from, list):
        raise SpecError(
            f"{run}: expected a run that says which photographs it learnt from, got one of an "
            "earlier kit: train it again"
        )
    path = run / MODEL_NAME
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise SpecError(
            f"{run}: expected a complete run as a teacher, {MODEL_NAME} cannot be read "
            f"({error.strerror}): train it again"
        ) from error
    choice = choose(card.backbone, card.alpha, card.preprocess.input_resolution)
    return Teacher(
        description=f"{choice} ({card.created[:10]}, {MODEL_NAME} {digest[:12]})",
        digest=digest,
        model=load_keras_model(path),
        spec=card.preprocess,
        columns=tuple(card.labels.index(label) for label in labels),
        learnt_from=frozenset(learnt_from),
    )


def check_apart(
    teachers: Iterable[Teacher],
    dataset: Dataset,
    split: Mapping[str, str],
    group_regex: str,
) -> None:
    """Looks whether teachers know what a student is scored on: images, or others of their groups.

    Args:
        teachers: the teachers.
        dataset: the student's images.
        split: the part of each, by path.
        group_regex: see kit.data.SplitSettings.

    Raises DataError where a teacher learnt from what is in the test part.
    """
    keys = group_keys(dataset, group_regex)
    for teacher in teachers:
        known = {keys[one.path] for one in dataset.images if one.digest in teacher.learnt_from}
        if seen := sum(part == "test" and keys[path] in known for path, part in split.items()):
            raise DataError(
                f"expected a teacher that has not seen this run's test images, got "
                f"{teacher.description}, which learnt from {seen} of them or of their groups: "
                "train it with the same --test, --validation and --seed"
            )


def read_unlabelled(
    settings: TrainSettings, dataset: Dataset, split: Mapping[str, str], reporter: Reporter
) -> tuple[LabelledImage, ...]:
    """The photographs of a folder that a student may learn from without labels.

    What the data set holds itself is left out, and what belongs to a group of its test or
    validation part, as far as a DICOM file or the settings' pattern says so. Their paths are whole,
    and their labels -1.

    Raises DataError as kit.data.scan_unlabelled, and where nothing remains.
    """
    folder, regex = settings.unlabelled, settings.split.group_regex
    if folder is None:
        return ()
    found = scan_unlabelled(Path(folder).resolve())
    own = {image.digest: split[image.path] for image in dataset.images}
    groups, theirs = named_groups(dataset, regex), named_groups(found, regex)
    apart = {group for path, group in groups.items() if split[path] != "train"}
    kept, held_out, labelled, unsaid = [], 0, 0, 0
    for image in found.images:
        if own.get(image.digest, "train") != "train" or theirs.get(image.path) in apart:
            held_out += 1
        elif image.digest in own:
            labelled += 1
        else:
            kept.append(replace(image, path=str(found.root / image.path)))
            # A table names groups in its own way, and no photograph without a label is in it.
            unsaid += image.path not in theirs or settings.data.group_column is not None
    tell_left_out(found.left_out, reporter)
    for line in found.warnings:
        reporter.warn(line)
    for count, what in (
        (held_out, "in the test or validation part, or of one of its groups"),
        (labelled, "among the labelled ones that are learnt from"),
    ):
        if count:
            reporter.warn(f"left out {count} of the photographs in {folder}: they are {what}")
    if not kept:
        raise DataError(
            f"{folder}: expected photographs beside the labelled ones, none of "
            f"{len(found.images)} remains"
        )
    if groups and unsaid:
        reporter.warn(
            f"{unsaid} of the photographs in {folder} have no known group: take those of patients "
            "in the test and validation parts out yourself"
        )
    return tuple(kept)


def fit_teachers(
    train: Callable[..., Any],
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: TrainSettings,
    *,
    force: bool,
    resume: bool,
    cache: Path | None,
    reporter: Reporter,
) -> TrainSettings:
    """Fits the teachers of `--recipe max`, each as a run of its own in a folder beside the output.

    Args:
        train: kit.workflows.train.train.
        images, output, settings, force, resume, cache, reporter: as it takes them.

    Returns:
        The student's settings, which name the teachers' runs.

    Raises:
        OutputExistsError: a teacher is there.
        ValueError: a teacher or the student has fewer layers than should learn, or the weights are
            one file.
        WeightsError: a teacher's pretrained weights are not to be had. In all of these cases
            nothing has been done.
        KitError: as `train`.
    """
    folder = Path(f"{Path(output)}.teachers")
    student = choose(settings.backbone, settings.alpha, settings.input_resolution)
    choices = (student, *(one.choice for one in _PLANNED))
    files = [one for one in sources_of(settings.weights) if Path(one).is_file()]
    if files and len({(choice.name, choice.alpha) for choice in choices}) > 1:
        raise ValueError(
            f"expected weights of several networks with --recipe max, got the file {files[0]}: "
            "give a folder of weights, or imagenet"
        )
    layers = settings.fine_tune.layers
    if isinstance(layers, int):
        for choice in choices:
            layers_that_learn(build(choice, None), layers)
    dataset = load_dataset(images, settings.data)
    split = split_dataset(dataset, settings.split)
    learning = sum(part == "train" for part in split.values())
    present = [folder / one.folder for one in _PLANNED if (folder / one.folder).exists()]
    if present and not (resume or force):
        raise OutputExistsError(
            f"{present[0]}: this teacher has been trained already: --resume goes on with it, "
            "--force trains it anew"
        )
    reporter.say(f"the teachers are trained first, each as a run of its own in {folder}:")
    for one in _PLANNED:
        try:
            weights = find_weights(one.choice, settings.weights, settings.fitting.seed)
            if weights.path is None:
                raise WeightsError("expected pretrained weights, got random values")
        except WeightsError as error:
            raise WeightsError(f"--recipe max trains {one.choice} as a teacher: {error}") from error
        epochs = settings.fine_tune.of(one.choice.fine_tuning).fitting.epochs or 0
        minutes = max(1, round(learning * epochs * one.milliseconds / 60_000))
        reporter.say(f"  {one.choice}, about {minutes} minutes on two cores")
    for one in _PLANNED:
        run, own = folder / one.folder, _of_teacher(settings, one)
        if resume and run.exists() and _is_of(run, own, dataset, force):
            reporter.say(f"{run} is complete")
            continue
        train(images, run, own, force=force, resume=resume, cache=cache, reporter=reporter)
    reporter.say("now the student")
    return replace(
        settings, own_teachers=False, teachers=tuple(str(folder / one.folder) for one in _PLANNED)
    )


def _of_teacher(settings: TrainSettings, planned: _Planned) -> TrainSettings:
    return replace(
        settings,
        backbone=planned.backbone,
        alpha=planned.alpha,
        input_resolution=planned.input_resolution,
        own_teachers=False,
        unlabelled=None,
        # What it remembers of other things costs it accuracy, and its student remembers by itself.
        # Nobody teaches it, so its labels are smoothed like those of its head.
        fine_tune=replace(
            settings.fine_tune,
            remember=0.0,
            interpolate=None,
            tolerance=0.0,
            bottlenecks=BOTTLENECKS,
            fitting=replace(
                settings.fine_tune.fitting, label_smoothing=settings.fitting.label_smoothing
            ),
        ),
        quantize=("int8",),
        representative_images=TrainSettings.representative_images,
        gates=Gates(),
        targets=None,
        intended_use="",
        gallery=None,
        screening=False,
    )


def _is_of(run: Path, settings: TrainSettings, dataset: Dataset, force: bool) -> bool:
    """Whether a run is what these settings give on these images; if not and not `force`, raises."""
    record = read_run(run)
    wanted = json.loads(json.dumps(settings.to_json()))
    known = dict(record.get("settings", {}))
    # A run of an earlier kit lacks what its data settings could not say.
    known["data"] = DataSettings.from_json(known.get("data", {})).to_json()
    readable = dataset.without(record.get("left_out", {}))
    if known != wanted or (
        record["card"].get("dataset", {}).get("fingerprint") != readable.fingerprint
    ):
        if force:
            return False
        raise SpecError(
            f"{run}: expected a teacher of these images and settings, got another in {RUN_NAME}: "
            "give the same again, or --force to train it anew"
        )
    return True
