"""The trainings of a sweep as tasks of a Ray cluster that is there.

Photographs and weights go through Ray's object store, and a run folder comes back through it, so
that the machines share nothing but the network; or all machines have the same folders, and nothing
is sent. A task whose machine or process is lost is started again elsewhere.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import socket
import tempfile
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import kit
from kit.data import Dataset, DataSettings
from kit.errors import ImageError, MissingDependencyError, TrainingError, one_line
from kit.filenames import text_bytes
from kit.files import folder_beside, write_beside
from kit.reporting import Reporter
from kit.runtime.paths import check_regular
from kit.sweep.processes import Relay, Watcher, error_of
from kit.sweep.work import TrainingTask
from kit.workflows.options import SETTINGS_NAME, settings_toml
from kit.workflows.run_folder import RUN_NAME, run_json

_RETRIES = 3  # of a task whose machine or process is lost
_POLL = 0.5  # seconds
_PATIENCE = 10.0  # seconds
_CHUNK = 64 << 20  # bytes of photographs in one object
_PREFIX = "kit-ray-"

_Files = dict[str, bytes]


@dataclass(frozen=True)
class _Parcel:
    """What a task needs of the driver's disk, in the object store.

    Attributes:
        photographs: references to files by their paths in the folder of photographs.
        weights: the file's content; None for random values.
        tables: contents of those that say what the photographs are, by the names of DataSettings.
    """

    photographs: tuple[Any, ...]
    weights: Any
    tables: Mapping[str, bytes]


class RayCluster:
    """A kit.sweep.processes.Executor on a Ray cluster; a context that connects and disconnects.

    Args:
        address: as `ray.init` takes it: `auto`, `HOST:PORT`, `ray://HOST:PORT`.
        jobs: trainings at once; None: as many as there are machines with a processor to give.
        shared_folders: photographs, output and weights are at the same paths on all machines;
            False: they are sent.

    Raises:
        MissingDependencyError: Ray is not installed.
        TrainingError: no cluster answers.
    """

    def __init__(
        self, address: str, jobs: int | None = None, *, shared_folders: bool = False
    ) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingDependencyError(
                "expected Ray for --ray, found none: pip install 'mobilenet-kit[ray]'"
            ) from error
        if jobs is not None and jobs < 1:
            raise ValueError(f"expected at least 1 job, got {jobs}")
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            raise TrainingError(
                f"expected a Ray cluster at {address}: {one_line(error)}: start one with "
                "ray start --head, or give its address"
            ) from error
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        self.jobs = jobs or max(1, sum(map(_has_processor, nodes)))
        self._shared_folders = shared_folders

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        import ray

        ray.shutdown()

    def run(
        self,
        work: Callable[[Any, Reporter], None],
        tasks: Mapping[str, TrainingTask],
        watcher: Watcher,
    ) -> Generator[tuple[str, str], None, None]:
        """As kit.sweep.processes.Executor says."""
        import ray

        remote = ray.remote(num_cpus=1, max_retries=_RETRIES, max_calls=1)(_work_there)
        remote = remote.options(scheduling_strategy="SPREAD")
        # It outlives the loss of its machine; some lines may not.
        actor: Any = ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)(_Lines)
        lines = actor.remote()
        waiting = deque(tasks.items())
        running: dict[Any, str] = {}
        store = _Store()
        try:
            while waiting or running:
                while waiting and len(running) < self.jobs:
                    name, task = waiting.popleft()
                    parcel = None if self._shared_folders else store.parcel(task)
                    sent = (work, name, task, parcel, lines, kit.__version__)
                    running[remote.remote(*sent)] = name
                    watcher.begin(name)
                ended, _ = ray.wait(list(running), timeout=_POLL)
                for name, kind, text in _taken(lines):
                    (watcher.warn if kind == "warn" else watcher.say)(name, text)
                for one in ended:
                    name = running.pop(one)
                    yield name, _received(one, tasks[name])
        finally:
            for one in running:
                ray.cancel(one, force=True)


def _knock(address: str) -> None:
    """Raises OSError where nobody listens: Ray itself would go on trying for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), _PATIENCE).close()


def _has_processor(node: Mapping[str, Any]) -> bool:
    return bool(node["Alive"] and node["Resources"].get("CPU", 0) >= 1)


class _Store:
    """Puts into the object store what tasks need, once each."""

    def __init__(self) -> None:
        self._photographs: tuple[Any, ...] | None = None  # the same of all tasks
        self._weights: dict[Path, Any] = {}

    def parcel(self, task: TrainingTask) -> _Parcel:
        import ray

        if self._photographs is None:
            self._photographs = tuple(ray.put(files) for files in _chunks(task.dataset))
        path = task.weights.path
        if path is not None and path not in self._weights:
            self._weights[path] = ray.put(path.read_bytes())
        tables = _tables(task.settings.data)
        return _Parcel(
            self._photographs,
            None if path is None else self._weights[path],
            {name: table.read_bytes() for name, table in tables.items()},
        )


def _tables(data: DataSettings) -> dict[str, Path]:
    """The tables that say what the photographs are, by the names of DataSettings."""
    named = {name: getattr(data, name) for name in ("labels_csv", "corrections")}
    return {name: path for name, path in named.items() if path is not None}


def _chunks(dataset: Dataset) -> Iterator[_Files]:
    """Photographs, those left out too: the other side leaves them out for the same reasons."""
    files: _Files = {}
    size = 0
    paths = [image.path for image in dataset.images] + [path for path, _ in dataset.left_out]
    for path in dict.fromkeys(paths):
        try:
            check_regular(dataset.root / path)
            files[path] = (dataset.root / path).read_bytes()
        except (OSError, ImageError):
            continue  # a folder, a pipe, or what nobody may read
        size += len(files[path])
        if size >= _CHUNK:
            yield files
            files, size = {}, 0
    yield files


class _Lines:
    """An actor that keeps what the tasks tell until the driver takes it."""

    def __init__(self) -> None:
        self._lines: list[tuple[str, str, str]] = []

    def add(self, name: str, kind: str, text: str) -> None:
        self._lines.append((name, kind, text))

    def take(self) -> list[tuple[str, str, str]]:
        taken, self._lines = self._lines, []
        return taken


@dataclass(frozen=True)
class _Sender:
    """The end of a kit.sweep.processes.Relay that is an actor."""

    name: str
    lines: Any

    def send(self, message: tuple[str, str]) -> None:
        self.lines.add.remote(self.name, *message)


def _taken(lines: Any) -> list[tuple[str, str, str]]:
    import ray

    try:
        return list(ray.get(lines.take.remote(), timeout=10 * _POLL))
    except ray.exceptions.RayError:  # it is starting again: they are not what matters
        return []


def _work_there(
    work: Callable[[Any, Reporter], None],
    name: str,
    task: TrainingTask,
    parcel: _Parcel | None,
    lines: Any,
    version: str,
) -> tuple[str, _Files]:
    """On a machine of the cluster; gives an error, empty for a success, and the run's files."""
    if version != kit.__version__:
        found = f"{kit.__version__} on a machine of the cluster"
        return f"expected mobilenet-kit {version}, found {found}: install the same", {}
    relay = Relay(_Sender(name, lines))
    if parcel is None:
        if not task.images.is_dir():
            where = f"{task.images}: expected this folder on every machine of the cluster"
            return f"{where}: share it, or leave out --ray-shared", {}
        return error_of(work, task, relay), {}
    with _scratch() as folder:
        local = _unpacked(task, parcel, folder)
        error = error_of(work, local, relay)
        if error:
            return error.replace(str(local.images), str(task.images)), {}
        return "", _packed(local, task)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder of this process; those of processes that were killed are deleted first."""
    root = Path(tempfile.gettempdir())
    for path in root.glob(f"{_PREFIX}*"):
        found = re.match(rf"{_PREFIX}(\d+)-", path.name)
        if found and not _is_alive(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"{_PREFIX}{os.getpid()}-") as name:
        yield Path(name)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # someone else's
    return True


def _unpacked(task: TrainingTask, parcel: _Parcel, folder: Path) -> TrainingTask:
    """The task on this machine's disk. The bottlenecks go to this machine's own cache."""
    import ray

    images = folder / "images" / task.images.name
    images.mkdir(parents=True)
    for reference in parcel.photographs:
        _write(ray.get(reference), images)
    weights, settings = task.weights, task.settings
    if weights.path is not None:
        path = folder / "weights" / weights.path.name
        write_beside(path, ray.get(parcel.weights), force=False)
        weights = replace(weights, path=path)
    tables: dict[str, Any] = {}
    for name, table in _tables(settings.data).items():
        tables[name] = folder / name / table.name
        write_beside(tables[name], parcel.tables[name], force=False)
    settings = replace(settings, data=replace(settings.data, **tables))
    dataset = replace(task.dataset, root=images)
    return TrainingTask(dataset, folder / "run", settings, weights, cache=None)


def _packed(local: TrainingTask, task: TrainingTask) -> _Files:
    """The run folder's files; where it speaks of this machine's disk, the driver's."""
    files = {
        path.relative_to(local.output).as_posix(): path.read_bytes()
        for path in sorted(local.output.rglob("*"))
        if path.is_file()
    }
    record = json.loads(files[RUN_NAME])
    record["images"] = str(task.images.resolve())
    record["settings"]["data"] = task.settings.data.to_json()
    files[RUN_NAME] = run_json(record)
    toml = settings_toml(task.settings, random=task.weights.path is None)
    files[SETTINGS_NAME] = text_bytes(toml)
    return files


def _received(reference: Any, task: TrainingTask) -> str:
    """Puts the run folder into its place; gives an error, empty for a success."""
    import ray

    try:
        error, files = ray.get(reference)
    except ray.exceptions.RayError as lost:
        return f"the cluster lost this training: {one_line(lost)}"
    if files:
        with folder_beside(task.output, force=False) as folder:
            _write(files, folder)
    return str(error)


def _write(files: _Files, folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
