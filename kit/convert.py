"""`kit convert`: a run, or a model that others made, to a packaged .tflite file."""

from __future__ import annotations

import os
import random
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

from converters.frozen_graph import Options
from converters.keras_files import load_keras_model
from converters.label_files import read_label_file
from converters.network import of_keras
from converters.operators import check_runtime
from converters.sources import read_source
from converters.targets import TARGETS
from kit.data import scan_images
from kit.errors import ConversionError, DataError, ImageError, KitError
from kit.evaluation.evaluate import truth_of
from kit.export import (
    AUTO,
    Exported,
    Exporter,
    Gates,
    Trial,
    check_modes,
    now,
    package_versions,
)
from kit.files import check_absent, write_beside
from kit.model_file import read_model_file
from kit.preprocess import Pixels, fit_pixels, to_input
from kit.reporting import Reporter, Silent, tell_left_out
from kit.representative import IMAGES, read_representative, representative_paths
from kit.run_folder import MODEL_NAME, RUN_NAME, read_run
from kit.runtime.images import read_image
from kit.runtime.interpreter import Runner
from kit.runtime.label import image_paths
from kit.runtime.self_test import draw_pattern
from kit.spec import QUANTIZATION_MODES, ModelCard, PreprocessSpec

_FEW = 20  # fewer unseen photographs say little, so the seen ones are compared too
_COMPARED = 300
_WARM_UPS, _ROUNDS = 5, 40


@dataclass(frozen=True)
class ConvertSettings:
    """Everything that decides what a conversion gives, besides the source.

    Attributes:
        quantize: a mode, or `auto`.
        images: labelled photographs: of a run its own, if they have moved; of another source any,
            a folder for each label, to score the file on.
        representative_images: a folder of photographs for quantisation, labelled or not.
        labels: text file with a label a line, in the order of the scores; not for a run.
        fit: how photographs are made square; None: `stretch`; not for a run.
        resize: the filter; None: `bilinear`; not for a run.
        source: what the user says of the source; not for a run.
        gates: what the file must reach.
        target_runtime: key of converters.operators.RUNTIMES that must run the file.
        score_threshold: for the card; None: none. Not for a run.
        intended_use: a sentence for the card; not for a run.
        target: key of converters.targets.TARGETS.
    """

    quantize: str = "int8"
    images: Path | None = None
    representative_images: Path | None = None
    labels: Path | None = None
    fit: str | None = None
    resize: str | None = None
    source: Options = field(default_factory=Options)
    gates: Gates = field(default_factory=Gates)
    target_runtime: str | None = None
    score_threshold: float | None = None
    intended_use: str = ""
    target: str = "tflite"

    def __post_init__(self) -> None:
        check_modes((self.quantize,))
        if self.target not in TARGETS:
            raise ValueError(f"expected a target of {', '.join(TARGETS)}, got {self.target!r}")
        if self.target_runtime is not None:
            check_runtime((), self.target_runtime)
        if (self.source.mean is None) != (self.source.std is None):
            raise ValueError("expected mean and std together, got one of them")


@dataclass(frozen=True)
class Comparison:
    """A row of `compare`.

    Attributes:
        mode: quantisation.
        exported: the file and its figures; None where it cannot be made.
        latency_ratio: its time for one image to the float32 file's, on one thread of this machine.
        error: why it cannot be made; empty where it can.
    """

    mode: str
    exported: Exported | None
    latency_ratio: float | None
    error: str = ""

    def to_json(self) -> dict[str, Any]:
        if self.exported is None or self.latency_ratio is None:
            return {"quantization": self.mode, "error": self.error}
        return {
            "quantization": self.mode,
            "size_bytes": len(self.exported.content),
            "latency_ratio": round(self.latency_ratio, 3),
            **(self.exported.agreement.to_json() if self.exported.agreement else {}),
            **(self.exported.evaluation.accuracy.to_json() if self.exported.evaluation else {}),
        }


def convert(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: ConvertSettings | None = None,
    *,
    force: bool = False,
    reporter: Reporter | None = None,
) -> Exported:
    """A packaged file, compared with its source and scored, and written as the target.

    Args:
        source: a run folder, or what converters.sources reads.
        output: the file to write, complete or absent; of the target `c`, its name without suffix.
        settings: see ConvertSettings.
        force: replace an existing output.
        reporter: progress.

    Raises:
        ConversionError: the source cannot be read or converted, or the file does not answer as
            its source.
        SpecError: the run folder is damaged, or of a newer kit.
        DataError: the images cannot be used.
        AccuracyError: a gate is not met; nothing is written.
        OutputExistsError: the output is in the way.
    """
    settings = settings or ConvertSettings()
    target = TARGETS[settings.target]
    paths = target.paths(Path(output))
    for path in paths.values():
        check_absent(path, force)
    exported = export_source(source, settings, reporter)
    files = target.make(exported.content, Path(output).name)
    for suffix, path in paths.items():
        write_beside(path, files[suffix], force)
    return exported


def translate(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    target: str,
    *,
    force: bool = False,
) -> tuple[Path, ...]:
    """Writes a packaged .tflite file as another target; the files. Raises as `convert`."""
    paths = TARGETS[target].paths(Path(output))
    for path in paths.values():
        check_absent(path, force)
    card = read_model_file(model).card
    if card is None:
        raise ConversionError(f"{model}: expected a packaged model: kit package makes it one")
    files = TARGETS[target].make(Path(model).read_bytes(), Path(output).name)
    for suffix, path in paths.items():
        write_beside(path, files[suffix], force)
    return tuple(paths.values())


def export_source(
    source: str | os.PathLike[str],
    settings: ConvertSettings,
    reporter: Reporter | None = None,
) -> Exported:
    """`convert` without writing the file."""
    exporter = open_source(source, settings, reporter)
    if settings.quantize == AUTO:
        exported = exporter.choose(settings.gates.max_accuracy_drop)
    else:
        exported = exporter.export(settings.quantize)
    both = {"float32": exporter.reference(), exported.mode: exported}
    settings.gates.check(both, (exported.mode,))
    return exported


def compare(
    source: str | os.PathLike[str],
    settings: ConvertSettings | None = None,
    reporter: Reporter | None = None,
) -> tuple[Comparison, ...]:
    """Every quantisation of a source side by side; raises as `convert`, but for single modes."""
    exporter = open_source(source, settings or ConvertSettings(), reporter)
    made: dict[str, Exported | KitError] = {}
    for mode in QUANTIZATION_MODES:
        try:
            made[mode] = exporter.export(mode)
        except ConversionError as error:
            made[mode] = error
    if all(isinstance(result, KitError) for result in made.values()):
        raise next(result for result in made.values() if isinstance(result, KitError))
    files = {mode: item for mode, item in made.items() if isinstance(item, Exported)}
    ratios = latency_ratios([item.content for item in files.values()], files["float32"].card)
    by_mode = dict(zip(files, ratios, strict=True))
    return tuple(
        Comparison(mode, item, by_mode[mode])
        if isinstance(item, Exported)
        else Comparison(mode, None, None, str(item))
        for mode, item in made.items()
    )


def latency_ratios(files: Sequence[bytes], card: ModelCard) -> list[float]:
    """Time for one image of each file to the first one's: medians, in turns, on one thread."""
    runners = [Runner(content) for content in files]
    pixels = draw_pattern(0)
    inputs = [
        to_input(pixels, card.preprocess, runner.input.dtype, runner.input.quantization)
        for runner in runners
    ]
    times: list[list[float]] = [[] for _ in runners]
    for turn in range(_WARM_UPS + _ROUNDS):
        for runner, tensor, measured in zip(runners, inputs, times, strict=True):
            start = perf_counter()
            runner.run(tensor)
            if turn >= _WARM_UPS:
                measured.append(perf_counter() - start)
    medians = [statistics.median(measured) for measured in times]
    return [median / medians[0] for median in medians]


def open_source(
    source: str | os.PathLike[str],
    settings: ConvertSettings,
    reporter: Reporter | None = None,
) -> Exporter:
    """An Exporter for a run or for a model that others made; raises as `convert`."""
    reporter = reporter or Silent()
    if Path(source, RUN_NAME).is_file():
        return _open_run(Path(source), settings, reporter)
    return _open_model(Path(source), settings, reporter)


def _open_run(run: Path, settings: ConvertSettings, reporter: Reporter) -> Exporter:
    default = ConvertSettings()
    for name in ("labels", "fit", "resize", "source", "score_threshold", "intended_use"):
        if getattr(settings, name) != getattr(default, name):
            what = "what describes the source" if name == "source" else name
            raise ValueError(f"{run}: its record says this already: leave out {what}")
    record = read_run(run)
    card = ModelCard.from_json(record["card"])
    dataset = scan_images(settings.images or record["images"]).only(record["split"], card.labels)
    if dataset.fingerprint != card.dataset.get("fingerprint"):
        raise DataError(
            f"{dataset.root}: expected the images that the run was trained on, some have changed: "
            "name their folder with --images, or train again"
        )
    model = load_keras_model(run / MODEL_NAME)
    test = tuple(path for path, part in record["split"].items() if part == "test")
    if settings.representative_images is None:
        representative = read_representative(
            dataset.root, record["representative_dataset"], card.preprocess
        )
    else:
        representative, _ = _unlabelled(settings.representative_images, card.preprocess, reporter)
    return Exporter(
        of_keras(model, card.preprocess.input_resolution),
        card,
        representative,
        Trial("test", dataset.root, test, truth_of(dataset, test)),
        settings.target_runtime,
        reporter,
    )


def _open_model(path: Path, settings: ConvertSettings, reporter: Reporter) -> Exporter:
    if settings.labels is None:
        beside = (path if path.is_dir() else path.parent) / "labels.txt"
        hint = f" (is it {beside}?)" if path.exists() and beside.is_file() else ""
        if path.exists():
            raise ConversionError(
                f"{path}: expected labels for its scores, got none: --labels FILE{hint}"
            )
    source = read_source(path, settings.source)
    for line in source.remarks:
        reporter.say(f"{source.kind}: {line}")
    assert settings.labels is not None
    labels = read_label_file(settings.labels, source.network.output_width)
    spec = PreprocessSpec(
        input_resolution=source.input_resolution,
        fit=settings.fit or "stretch",
        resize=settings.resize or "bilinear",
        mean=source.mean,
        std=source.std,
    )
    card = ModelCard(
        backbone=f"{source.kind} {path.name}",
        alpha=None,
        weights="those of the source",
        quantization="float32",
        preprocess=spec,
        labels=labels,
        score_threshold=settings.score_threshold,
        intended_use=settings.intended_use,
        versions=package_versions(),
        created=now(),
    )
    representative, trial = _photographs(settings, spec, labels, reporter)
    return Exporter(source.network, card, representative, trial, settings.target_runtime, reporter)


def _photographs(
    settings: ConvertSettings, spec: PreprocessSpec, labels: tuple[str, ...], reporter: Reporter
) -> tuple[list[Pixels], Trial | None]:
    """What quantisation looks at, and what the files are compared on: other photographs."""
    representative: list[Pixels] | None = None
    trial = None
    if settings.representative_images is not None:
        representative, trial = _unlabelled(settings.representative_images, spec, reporter)
    if settings.images is None:
        return representative or [], trial
    dataset = scan_images(settings.images, labels=labels)
    for line in dataset.warnings:
        reporter.warn(line)
    paths = [image.path for image in dataset.images]
    if representative is None:
        if len(paths) <= 2 * _FEW:
            raise DataError(
                f"{settings.images}: expected more than {2 * _FEW} images, to quantise by some and "
                f"score on others, got {len(paths)}: add images, or --representative-images FOLDER"
            )
        count = min(IMAGES, len(paths) // 2)
        chosen = representative_paths(dataset, paths, count, seed=0)
        representative, unreadable = _read(
            settings.images, [settings.images / path for path in chosen], spec
        )
        tell_left_out(unreadable, reporter)
        paths = [path for path in paths if path not in set(chosen)]
    trial = Trial("images", dataset.root, tuple(paths), truth_of(dataset, paths))
    return representative, trial


def _unlabelled(
    folder: Path, spec: PreprocessSpec, reporter: Reporter
) -> tuple[list[Pixels], Trial]:
    """A seeded choice of a folder's images to quantise by, and others to compare on."""
    if not folder.is_dir():
        raise DataError(f"{folder}: expected a folder of representative images, it is none")
    paths = [Path(path) for path in image_paths([str(folder)], sys.stdin)]
    random.Random(0).shuffle(paths)
    pixels, unreadable = _read(folder, paths[:IMAGES], spec)
    tell_left_out(unreadable, reporter)
    if not pixels:
        raise DataError(f"{folder}: expected representative images, found none that can be read")
    others = paths[IMAGES : IMAGES + _COMPARED]
    seen = len(others) < _FEW
    if seen:
        reporter.say("compared on the representative images themselves: there are few others")
    left_out = {path for path, _ in unreadable}
    compared = [str(path.relative_to(folder)) for path in (paths[:IMAGES] if seen else others)]
    kept = tuple(path for path in compared if path not in left_out)
    return pixels, Trial("images", folder, kept, None, seen)


def _read(
    root: Path, paths: Sequence[Path], spec: PreprocessSpec
) -> tuple[list[Pixels], list[tuple[str, str]]]:
    pixels: list[Pixels] = []
    unreadable: list[tuple[str, str]] = []
    for path in paths:
        try:
            pixels.append(fit_pixels(read_image(path, spec.input_resolution), spec))
        except ImageError as error:
            unreadable.append((str(path.relative_to(root)), str(error)))
    return pixels, unreadable
