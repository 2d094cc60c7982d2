"""`kit convert`: turns a run, or a model that others made, into a packaged .tflite file."""

from __future__ import annotations

import os
import random
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from converters.network import of_keras
from converters.operators import check_runtime
from converters.sources.keras_files import load_keras_model
from converters.sources.read import check_exists, read_source
from converters.sources.source import SourceOptions
from converters.targets.table import TARGETS
from kit.data import PARTS, DataSettings, load_dataset
from kit.errors import ConversionError, DataError
from kit.evaluation.thresholds import Targets
from kit.export.exported import Exported, Gates
from kit.export.exporter import Exporter
from kit.export.finish import now, package_versions
from kit.export.modes import check_modes
from kit.export.representative import choose_photographs, read_representative
from kit.export.scoring_set import ScoringSet
from kit.export.screening_form import screening_form, screening_name
from kit.files import check_absent, write_beside
from kit.model.labels import read_labels
from kit.model.model_file import read_model_file
from kit.model.spec import ModelCard, PreprocessSpec
from kit.reporting import Reporter, Silent
from kit.runtime.teachable_machine import FIT, is_archive, unpack
from kit.workflows.run_folder import MODEL_NAME, RUN_NAME, read_run


@dataclass(frozen=True)
class ConvertSettings:
    """Everything that decides what a conversion gives, besides the source.

    Attributes:
        quantize: a mode, or `auto`.
        images: labelled photographs to score the file on. For a run: the folder of its own images,
            if they have moved. For another source: a folder with a folder for each label.
        representative_images: a folder of photographs for quantisation, labelled or not.
        labels: text file with one label on each line, in the order of the scores; not for a run.
        fit: how photographs are made square; None: `stretch`; not for a run.
        resize: the resize method; None: `bilinear`; not for a run.
        source: what you know about the source; not for a run.
        gates: what the file must reach.
        target_runtime: key of converters.operators.RUNTIMES that must run the file.
        score_threshold: for the card; None: none. Not for a run.
        intended_use: a sentence for the card; not for a run.
        target: key of converters.targets.table.TARGETS.
        screening: also write the screening form beside the file; for a source that is no run this
            needs `images` or `representative_images`.
    """

    quantize: str = "int8"
    images: Path | None = None
    representative_images: Path | None = None
    labels: Path | None = None
    fit: str | None = None
    resize: str | None = None
    source: SourceOptions = field(default_factory=SourceOptions)
    gates: Gates = field(default_factory=Gates)
    target_runtime: str | None = None
    score_threshold: float | None = None
    intended_use: str = ""
    target: str = "tflite"
    screening: bool = False

    def __post_init__(self) -> None:
        check_modes((self.quantize,))
        if self.target not in TARGETS:
            raise ValueError(f"expected a target of {', '.join(TARGETS)}, got {self.target!r}")
        if self.screening and self.target != "tflite":
            raise ValueError(f"expected --screening with --target tflite, got {self.target}")
        if self.target_runtime is not None:
            check_runtime((), self.target_runtime)
        if (self.source.mean is None) != (self.source.std is None):
            raise ValueError("expected mean and std together, got one of them")


def convert(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: ConvertSettings | None = None,
    *,
    force: bool = False,
    reporter: Reporter | None = None,
) -> Exported:
    """Converts a source, compares the file with it, scores the file and writes it as the target.

    Args:
        source: a run folder, a model that converters.sources.read reads, or a zip archive of one
            by Teachable Machine.
        output: the file to write, complete or absent; for the target `c`, its name without suffix.
        settings: see ConvertSettings.
        force: replace an existing output.
        reporter: progress.

    Raises:
        ConversionError: the source cannot be read or converted, or the file answers otherwise than
            its source.
        SpecError: the run folder is damaged, or of a newer kit.
        DataError: the images cannot be used.
        AccuracyError: a gate is not met; nothing is written.
        OutputExistsError: the output is in the way.
    """
    settings = settings or ConvertSettings()
    _check_room(settings.target, output, force)
    beside = screening_name(str(output))
    if settings.screening:
        check_absent(beside, force)
    exporter = open_source(source, settings, reporter)
    exported = _export(exporter, settings)
    if settings.screening:
        form = _screening_form(source, exporter, exported, settings, reporter)
        write_beside(beside, form.content, force)
    _write(exported.content, settings.target, output, force)
    return exported


def _screening_form(
    source: str | os.PathLike[str],
    exporter: Exporter,
    exported: Exported,
    settings: ConvertSettings,
    reporter: Reporter | None,
) -> Exported:
    known = exporter.known
    if not known and exporter.scoring_set is not None:
        known = _known(exporter.scoring_set)
    if not known:
        raise ConversionError(
            f"{source}: expected photographs of what the model knows, for a screening form, got "
            "none: --images or --representative-images FOLDER"
        )
    form = screening_form(
        exported,
        known["train"],
        known["validation"],
        known.get("test"),
        reporter,
    )
    if settings.target_runtime is not None:
        check_runtime(form.operators, settings.target_runtime, form.mode)
    return form


def translate(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    target: str,
    *,
    force: bool = False,
) -> tuple[Path, ...]:
    """Writes a packaged .tflite file as another target; returns the files. Raises as `convert`."""
    _check_room(target, output, force)
    card = read_model_file(model).card
    if card is None:
        raise ConversionError(
            f"{model}: expected a packaged model, got one without a card: kit package gives it one"
        )
    return _write(Path(model).read_bytes(), target, output, force)


def _check_room(target: str, output: str | os.PathLike[str], force: bool) -> None:
    for path in TARGETS[target].paths(Path(output)).values():
        check_absent(path, force)


def _write(
    model: bytes, target: str, output: str | os.PathLike[str], force: bool
) -> tuple[Path, ...]:
    """A packaged model as the target's files."""
    files = TARGETS[target].make(model, Path(output).name)
    paths = TARGETS[target].paths(Path(output))
    for suffix, path in paths.items():
        write_beside(path, files[suffix], force)
    return tuple(paths.values())


def export_source(
    source: str | os.PathLike[str],
    settings: ConvertSettings,
    reporter: Reporter | None = None,
) -> Exported:
    """`convert` without writing the file."""
    return _export(open_source(source, settings, reporter), settings)


def _export(exporter: Exporter, settings: ConvertSettings) -> Exported:
    (exported,) = exporter.export_all((settings.quantize,), settings.gates).values()
    return exported


def open_source(
    source: str | os.PathLike[str],
    settings: ConvertSettings,
    reporter: Reporter | None = None,
) -> Exporter:
    """An Exporter for a run or for a model that others made; raises as `convert`."""
    reporter = reporter or Silent()
    path = check_exists(source)
    if (path / RUN_NAME).is_file():
        return _open_run(path, settings, reporter)
    if is_archive(path):
        with tempfile.TemporaryDirectory(prefix="kit-") as folder:
            export = unpack(path, folder, (".h5", ".keras"))
            labels, fit = settings.labels or export.labels, settings.fit or FIT
            return _open_model(export.model, replace(settings, labels=labels, fit=fit), reporter)
    return _open_model(path, settings, reporter)


def _open_run(run: Path, settings: ConvertSettings, reporter: Reporter) -> Exporter:
    default = ConvertSettings()
    for name in ("labels", "fit", "resize", "source", "score_threshold", "intended_use"):
        if getattr(settings, name) != getattr(default, name):
            flag = f"--{name.replace('_', '-')}"
            what = "option that describes a source" if name == "source" else flag
            raise ValueError(
                f"{run}: expected no {what} for a run, which has a card of its own, got one: leave "
                "it out"
            )
    record = read_run(run)
    card = ModelCard.from_json(record["card"])
    data = DataSettings.from_json(record["settings"].get("data", {}))
    images = settings.images or record["images"]
    if not Path(images).is_dir():
        raise DataError(
            f"{images}: expected the images that the run was trained on, there is no such folder: "
            "name theirs with --images"
        )
    dataset = load_dataset(images, data)
    dataset = dataset.only(record["split"], card.labels)
    if dataset.fingerprint != card.dataset.get("fingerprint"):
        raise DataError(
            f"{dataset.root}: expected the images that the run was trained on, some have changed: "
            "name their folder with --images, or train again"
        )
    model = load_keras_model(run / MODEL_NAME)
    regex = card.dataset.get("group_regex", "")
    parts = {}
    for part in PARTS:
        paths = [path for path, of in record["split"].items() if of == part]
        parts[part] = ScoringSet.of_part(dataset, part, paths, regex)
    targets = record["settings"].get("targets")
    if settings.representative_images is None:
        representative = read_representative(
            dataset.root, record["representative_dataset"], card.preprocess
        )
    else:
        representative, _ = choose_photographs(
            None, settings.representative_images, card.preprocess, card.labels, reporter
        )
    return Exporter(
        of_keras(model, card.preprocess.input_resolution),
        card,
        representative,
        parts["test"],
        settings.target_runtime,
        reporter,
        # A run of an earlier kit was promised nothing.
        targets=None if targets is None else Targets(**{"confidence": 0.0, **targets}),
        validation=parts["validation"],
        known=parts,
    )


def _open_model(path: Path, settings: ConvertSettings, reporter: Reporter) -> Exporter:
    if settings.labels is None:
        beside = (path if path.is_dir() else path.parent) / "labels.txt"
        hint = f" (is it {beside}?)" if beside.is_file() else ""
        raise ConversionError(
            f"{path}: expected a label for each of its scores, got none: --labels FILE{hint}"
        )
    source = read_source(path, settings.source)
    for line in source.remarks:
        reporter.say(f"{source.kind}: {line}")
    labels = read_labels(settings.labels)
    if len(labels) != source.network.output_width:
        raise ConversionError(
            f"{settings.labels}: expected {source.network.output_width} labels, one for each "
            f"score, got {len(labels)}: these labels belong to another model"
        )
    spec = PreprocessSpec(
        input_resolution=source.input_resolution,
        fit=settings.fit or "stretch",
        resize=settings.resize or "bilinear",
        mean=source.mean,
        std=source.std,
        input_width=source.input_width,
        channels=source.channels,
    )
    card = ModelCard(
        backbone=f"{source.kind} {path.name}",
        alpha=None,
        weights="those of the source",
        quantization="float32",
        preprocess=spec,
        labels=labels,
        output_kind=source.network.output_kind,
        score_threshold=settings.score_threshold,
        intended_use=settings.intended_use,
        versions=package_versions(),
        created=now(),
    )
    representative, scoring_set = choose_photographs(
        settings.images, settings.representative_images, spec, labels, reporter
    )
    if scoring_set is not None and card.output_kind == "independent_scores":
        reporter.warn("of a multi-label model no accuracy is measured: its best label says nothing")
        scoring_set = None
    return Exporter(
        source.network,
        card,
        representative,
        scoring_set,
        settings.target_runtime,
        reporter,
        foreign=True,
    )


def _known(photographs: ScoringSet) -> dict[str, ScoringSet]:
    """A random four fifths to fit on, and a fifth to choose a threshold on."""
    paths = list(photographs.paths)
    random.Random(0).shuffle(paths)
    fifth = len(paths) // 5
    return {
        "train": replace(photographs, name="train", paths=tuple(paths[fifth:]), truth=None),
        "validation": replace(
            photographs, name="validation", paths=tuple(paths[:fifth]), truth=None
        ),
    }
