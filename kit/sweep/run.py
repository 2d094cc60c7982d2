"""`kit sweep`: every combination trained, converted, scored and timed; then compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit.data import Dataset, load_dataset, split_dataset
from kit.data.sources import check_outside
from kit.data.split import check_split, group_warnings, groups_of
from kit.device.benchmark import benchmark
from kit.errors import KitError, SpecError, TrainingError, WeightsError
from kit.export.finish import now
from kit.filenames import text_bytes
from kit.files import write_beside
from kit.model.spec import SCHEMA_VERSION
from kit.quiet import quiet_native
from kit.reporting import Reporter
from kit.runtime.machine import machine_kind
from kit.sweep.grid import Combination, combinations
from kit.sweep.plots import write_plots
from kit.sweep.processes import Executor, Processes
from kit.sweep.progress import (
    KEPT,
    TIMING,
    TRAINING,
    WAITING,
    Board,
    Quiet,
    Standing,
    SweepReporter,
)
from kit.sweep.report import render
from kit.sweep.results import (
    Findings,
    Row,
    Scored,
    Timed,
    judge,
    read_timing,
    results_csv,
    results_json,
    test_paths,
)
from kit.sweep.settings import SETTINGS_NAME, SweepSettings, check_same, sweep_toml
from kit.sweep.shared_bottlenecks import DECODED_PREFIX, SharedTask
from kit.sweep.work import TrainingTask, train_combination
from kit.training.weights import Weights, find_weights
from kit.workflows.options import SETTINGS_NAME as OPTIONS_NAME
from kit.workflows.run_folder import REPORT_NAME, RUN_NAME, read_run

CSV_NAME, JSON_NAME = "results.csv", "results.json"
_TIMINGS = "timings"
_LOCK = ".lock"


@dataclass(frozen=True)
class SweepResult:
    """What a sweep gave.

    Attributes:
        folder: with results.csv, results.json, report.html, the plots, and a run folder for each
            combination.
        rows: a file each, in the order of the grid.
        findings: fronts, comparisons, recommendations.
        machine: where latencies were measured.
    """

    folder: Path
    rows: tuple[Row, ...]
    findings: Findings
    machine: str

    @property
    def failures(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.error and not row.skipped)


def sweep(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    settings: SweepSettings | None = None,
    *,
    executor: Executor = Processes(),
    force: bool = False,
    cache: Path | None = None,
    reporter: SweepReporter | None = None,
) -> SweepResult:
    """Trains every combination of a grid on one split, scores and times its files, compares them.

    Each combination is a run of kit.workflows.train in `output`, in a process of its own; what
    fails is a row with an error. Called again with the same images and settings, it goes on where
    it was broken off: a run folder that is there is finished, and so is a timing. Then each file is
    timed by kit.device.benchmark, one at a time, when no training is under way.

    Args:
        images: a folder with a folder of images for each class.
        output: the sweep's folder; new, empty, or an earlier sweep's.
        settings: see SweepSettings.
        executor: where trainings are done, and how many at once. Each uses several cores already,
            and memory of its own.
        force: delete an earlier sweep in `output` first.
        cache: where bottlenecks are kept.
        reporter: progress.

    Raises:
        DataError: the images cannot be used.
        OutputExistsError: the output is among the images.
        ValueError: impossible settings.
        ImageError: the image to time with cannot be read.
        MissingDependencyError: the interpreter to time with is not installed.
        WeightsError: combinations have no weights; the message names them all.
        TrainingError: the folder holds something else, or another sweep is at work in it.
    """
    settings, reporter = settings or SweepSettings(), reporter or Quiet()
    root, folder = Path(images), Path(output)
    grid, left_out = combinations(settings.backbones, settings.alphas, settings.input_resolutions)
    for line in left_out:
        reporter.warn(f"left out: {line}")
    settings = replace(settings, timing=settings.timing.checked())
    check_outside(folder, root, settings.training.data)
    weights, missing = _weights(grid, settings, reporter)
    dataset = load_dataset(root, settings.training.data)
    for line in (*dataset.warnings, *group_warnings(dataset, settings.training.split)):
        reporter.warn(line)
    split_settings = settings.training.split
    check_split(dataset, split_dataset(dataset, split_settings), split_settings)
    with _held(folder, settings.facts(dataset), force):
        work = _Work(root, folder, settings, cache, dataset, weights, machine_kind())
        board, errors = _train_all(work, missing, executor, reporter)
        timings = _time_all(work, errors, board)
        rows, groups = _rows(work, grid, errors, missing, timings)
        findings = judge(rows, settings.limits, groups)
        result = SweepResult(folder, rows, findings, work.machine)
        _write(result, work, timings, groups is not None)
    return result


@dataclass(frozen=True)
class _Work:
    """What the steps of one call share."""

    images: Path
    folder: Path
    settings: SweepSettings
    cache: Path | None
    dataset: Dataset
    weights: Mapping[Combination, Weights]
    machine: str

    def modes(self, combination: Combination) -> tuple[str, ...]:
        """The quantisations that are asked for and that this network can be converted to."""
        refused = combination.choice.family.unconvertible
        wanted = dict.fromkeys(self.settings.training.quantize)
        return tuple(mode for mode in wanted if mode not in refused)

    def run(self, combination: Combination) -> Path:
        return self.folder / combination.name

    def is_finished(self, combination: Combination) -> bool:
        return (self.run(combination) / RUN_NAME).exists()  # complete or absent

    def file(self, combination: Combination, mode: str) -> Path:
        return self.run(combination) / f"model_{mode}.tflite"

    def timing(self, combination: Combination, mode: str) -> Path:
        return self.folder / _TIMINGS / f"{combination.name}_{mode}.json"


def _weights(
    grid: Sequence[Combination], settings: SweepSettings, reporter: Reporter
) -> tuple[dict[Combination, Weights], dict[Combination, str]]:
    """The weights of every combination, before anything starts, and why some have none."""
    found: dict[Combination, Weights] = {}
    missing: dict[Combination, str] = {}
    why = ""
    training = settings.training
    for combination in grid:
        try:
            with quiet_native:  # Keras, which downloads them, brings TensorFlow
                weights = find_weights(combination.choice, training.weights, training.fitting.seed)
        except WeightsError as error:
            missing[combination] = f"no weights {combination.choice.weights_names[0]}"
            why = why or str(error)
            continue
        found[combination] = weights
        pretrained_at = combination.choice.pretrained_resolution
        other_pixels = pretrained_at != combination.choice.input_resolution
        if weights.source > 0 or (training.weights == "imagenet" and other_pixels):
            reporter.warn(f"{combination.name}: from {weights.description}")
    if not missing:
        return found, {}
    names = ", ".join(combination.name for combination in missing)
    if not settings.skip_missing or not found:
        raise WeightsError(
            f"expected weights for every combination, {len(missing)} of {len(grid)} have none: "
            f"{names} ({why}): fetch them with kit weights pull, or leave these out "
            "(--skip-missing), or train from random values (--weights none)"
        )
    reporter.warn(f"left out because their weights are missing: {names}")
    return found, missing


def _train_all(
    work: _Work, missing: Mapping[Combination, str], executor: Executor, reporter: SweepReporter
) -> tuple[Board, dict[Combination, str]]:
    """Runs what has not been run; gives the board of all steps, and errors by combination."""
    settings, grid = work.settings, tuple(work.weights)
    pending = {one.name: one for one in grid if work.modes(one) and not work.is_finished(one)}
    steps: list[Standing] = []
    for combination in grid:
        if not (modes := work.modes(combination)):
            continue
        state = WAITING if combination.name in pending else KEPT
        steps.append(Standing(combination.name, TRAINING, _training_weight(combination), state))
        steps.append(Standing(_timing_name(combination), TIMING, float(len(modes))))
    board = Board(steps, executor.jobs, reporter)
    dataset = replace(work.dataset, root=work.dataset.root.absolute())
    shared = _shared(work, dataset, pending.values())
    tasks = {
        name: TrainingTask(
            dataset,
            work.run(combination).absolute(),
            replace(
                settings.training,
                backbone=combination.choice.name,
                alpha=combination.choice.alpha,
                input_resolution=combination.choice.input_resolution,
                quantize=work.modes(combination),
            ),
            work.weights[combination],
            work.cache,
            shared.get(name),
        )
        for name, combination in pending.items()
    }
    errors = dict(missing)
    # Last come those whose bottlenecks another one makes.
    served = {Combination(one).name for task in shared.values() for one, _ in task.backbones}
    later = served - shared.keys()
    for names in (tasks.keys() - later, later):
        some = {name: task for name, task in tasks.items() if name in names}
        with closing(executor.run(train_combination, some, board)) as ended:
            for name, error in ended:
                told = ""
                if not error:
                    try:
                        told = _accuracies(work.run(pending[name]))
                    except SpecError as lost:  # a shared folder that is another one elsewhere
                        error = str(lost)
                board.end(name, error, told)
                if error:
                    errors[pending[name]] = error
    return board, errors


def _shared(work: _Work, dataset: Dataset, pending: Iterable[Combination]) -> dict[str, SharedTask]:
    """By the first combination of each resolution at which several are to be trained."""
    by_side: dict[int, list[Combination]] = defaultdict(list)
    for combination in pending:
        if work.weights[combination].path is not None:  # else every layer learns from pixels
            by_side[combination.choice.input_resolution].append(combination)
    training = work.settings.training
    return {
        several[0].name: SharedTask(
            dataset,
            tuple((one.choice, work.weights[one]) for one in several),
            several[0].choice.preprocess(training.fit, training.resize),
            work.folder.absolute(),
            work.cache,
        )
        for several in by_side.values()
        if len(several) > 1
    }


def _accuracies(run: Path) -> str:
    metrics = read_run(run)["metrics"]
    return ", ".join(f"{mode} {found['accuracy']:.4f}" for mode, found in metrics.items())


def _training_weight(combination: Combination) -> float:
    """Part of a training takes as long at any resolution, the other part goes with the pixels."""
    return 1 + (combination.choice.input_resolution / 224) ** 2


def _timing_name(combination: Combination) -> str:
    return f"{combination.name}, latency"


def _time_all(
    work: _Work, errors: Mapping[Combination, str], board: Board
) -> dict[tuple[Combination, str], dict[str, Any] | str]:
    """By file the benchmark's record, or an error."""
    found: dict[tuple[Combination, str], dict[str, Any] | str] = {}
    timing = work.settings.timing
    asked = timing.to_json()
    for combination in work.weights:
        if not (modes := work.modes(combination)):
            continue
        step = _timing_name(combination)
        if combination in errors:
            board.drop(step, "not trained")
            continue
        board.begin(step)
        failed = ""
        for mode in modes:
            path, file = work.timing(combination, mode), work.file(combination, mode)
            try:
                kept = read_timing(path, work.machine, file.stat().st_size, asked)
                if kept is None:
                    board.say(step, mode)
                    measured = benchmark(
                        file,
                        image=timing.image or _photograph(work, combination),
                        most_threads=timing.threads,
                        runs=timing.runs,
                        interpreter=timing.interpreter,
                    )
                    kept = {"settings": asked, **_anonymous(measured.to_json())}
                    write_beside(path, json.dumps(kept, indent=1).encode(), force=True)
                found[combination, mode] = kept
            except (KitError, OSError, ValueError) as error:
                found[combination, mode] = failed = " ".join(str(error).split())
        board.end(step, failed)
    return found


def _photograph(work: _Work, combination: Combination) -> Path:
    """The first of the test part."""
    return work.dataset.root / test_paths(read_run(work.run(combination)))[0]


def _anonymous(record: dict[str, Any]) -> dict[str, Any]:
    """Without names of files: a photograph's may be a patient's."""
    image = {name: value for name, value in record["image"].items() if name != "path"}
    return {**{name: value for name, value in record.items() if name != "model"}, "image": image}


def _rows(
    work: _Work,
    grid: Sequence[Combination],
    errors: Mapping[Combination, str],
    missing: Mapping[Combination, str],
    timings: Mapping[tuple[Combination, str], dict[str, Any] | str],
) -> tuple[tuple[Row, ...], tuple[str, ...] | None]:
    """A row for each file of the grid, and the group of each test image."""
    rows: list[Row] = []
    known = {image.path for image in work.dataset.images}
    errors, records = dict(errors), {}
    for combination in grid:
        if combination in errors or not work.modes(combination):
            continue
        try:
            record = read_run(work.run(combination))
        except SpecError as damaged:
            errors[combination] = str(damaged)
            continue
        if record["split"].keys() <= known:
            records[combination] = record
        else:
            errors[combination] = (
                "expected a run on the images that are there, some of its own are not: delete "
                f"{work.run(combination)}, and the sweep trains it again"
            )
    same = _of_one_split(records)
    groups: tuple[str, ...] | None = None
    if same:
        regex = work.settings.training.split.group_regex
        groups = groups_of(work.dataset, test_paths(next(iter(same.values()))), regex)
    for combination in grid:
        scored, error = same.get(combination), errors.get(combination, "")
        if combination in records and scored is None:
            error = (
                "expected the same split as the other combinations', its images were others: "
                f"delete {work.run(combination)}, and the sweep trains it again"
            )
        for mode in dict.fromkeys(work.settings.training.quantize):
            timing = timings.get((combination, mode))
            if mode not in work.modes(combination):
                wrong = f"TensorFlow Lite lacks an operator for {mode} of this backbone"
                wrong = missing.get(combination, wrong)
                rows.append(Row(combination, mode, None, None, None, wrong, skipped=True))
            elif scored is None:
                skipped = combination in missing
                rows.append(Row(combination, mode, None, None, None, error, skipped))
            else:
                rows.append(_row(work, combination, mode, scored, timing))
    return tuple(replace(row, error=_unplaced(row.error, work.images)) for row in rows), groups


def _of_one_split(
    records: Mapping[Combination, Mapping[str, Any]],
) -> dict[Combination, Mapping[str, Any]]:
    """The runs of the split that most of them have; of several such, the latest run's."""
    by_split: dict[str, dict[Combination, Mapping[str, Any]]] = defaultdict(dict)
    for combination, record in records.items():
        by_split[json.dumps(record["split"], sort_keys=True)][combination] = record

    def weight(some: Mapping[Combination, Mapping[str, Any]]) -> tuple[int, str]:
        return len(some), max(str(record.get("created")) for record in some.values())

    return max(by_split.values(), key=weight, default={})


def _unplaced(text: str, images: Path) -> str:
    """Without the absolute path of the folder of images: results are passed on."""
    folder = images.resolve()
    for path in dict.fromkeys((str(images.absolute()), str(folder))):
        text = re.sub(re.escape(path) + r"(?![\w-])", lambda _: folder.name, text)
    return text


def _row(
    work: _Work,
    combination: Combination,
    mode: str,
    record: Mapping[str, Any],
    timing: dict[str, Any] | str | None,
) -> Row:
    file = work.file(combination, mode).relative_to(work.folder)
    try:
        scored = Scored.of_run(record, mode)
    except SpecError as error:
        return Row(combination, mode, None, None, None, f"{combination.name}: {error}")
    weights = work.weights[combination]
    row = Row(combination, mode, file, scored, None)
    row = replace(row, weights=weights.description, substitute=weights.source > 0)
    if not isinstance(timing, dict):
        return replace(row, error=timing or "not timed")
    return replace(row, timed=Timed.of_benchmark(timing))


def _write(
    result: SweepResult,
    work: _Work,
    timings: Mapping[tuple[Combination, str], dict[str, Any] | str],
    grouped: bool,
) -> None:
    image = next((one["image"] for one in timings.values() if isinstance(one, dict)), None)
    facts = {
        "schema_version": SCHEMA_VERSION,
        "created": now(),
        "images": len(work.dataset.images),
        "fingerprint": work.dataset.fingerprint,
        "machine": work.machine,
        "timed_image": image,
        "groups": grouped,
    }
    files = {
        OPTIONS_NAME: text_bytes(sweep_toml(work.settings)),
        CSV_NAME: text_bytes(results_csv(result.rows, result.findings)),
        JSON_NAME: text_bytes(results_json(result.rows, result.findings, facts)),
        **write_plots(result.rows, result.findings),
        REPORT_NAME: text_bytes(
            render(result.rows, result.findings, facts, work.dataset.root.resolve().name)
        ),
    }
    for name, content in files.items():
        write_beside(result.folder / name, content, force=True)


@contextmanager
def _held(folder: Path, facts: dict[str, Any], force: bool) -> Iterator[None]:
    """The folder, of this sweep and no other's; what a killed one left half done is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    # SQLite's lock is the one that every system frees when its process ends, however it ends.
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(closing(sqlite3.connect(folder / _LOCK, timeout=0)))
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise TrainingError(
                f"{folder}: expected a folder that can be written, with no other sweep at work in "
                f"it ({error}): wait for that one, or choose another --output"
            ) from error
        if force and (folder / SETTINGS_NAME).exists():
            for path in folder.iterdir():
                if path.name.startswith(_LOCK):
                    continue
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        check_same(folder, facts)
        _clean(folder)
        try:
            yield
        finally:
            _clean(folder)


def _clean(folder: Path) -> None:
    """Deletes what trainings that were killed left half done, decoded photographs above all."""
    for path in folder.glob(".*"):
        if path.name.startswith(DECODED_PREFIX) or ".partial-" in path.name:
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
