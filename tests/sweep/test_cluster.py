"""A sweep on a Ray cluster of several nodes on this machine: the same results as without one."""

import csv
import hashlib
import json
import os
import signal

import pytest
from drawing import draw_folder
from training_fixtures import SIDE, Listener
from typer.testing import CliRunner

from kit.cli.app import app
from kit.data import DataSettings, SplitSettings
from kit.errors import MissingDependencyError, TrainingError
from kit.sweep import SweepSettings, TimingSettings, sweep
from kit.sweep.cluster import RayCluster, _scratch
from kit.sweep.progress import DONE
from kit.training.fitting import FitSettings
from kit.workflows.train import TrainSettings

pytest_plugins = ["training_fixtures"]


def test_without_ray_it_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mobilenet-kit\[ray\]'"):
        RayCluster("auto")
    result = CliRunner().invoke(app, ["sweep", "photos", "--output", "out", "--ray-shared"])
    assert (result.exit_code, result.stderr) == (
        2,
        "kit: expected --ray ADDRESS beside --ray-shared, got none\n",
    )


def test_scratch_folders_of_killed_processes_are_deleted(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    killed = tmp_path / "kit-ray-4194305-x"  # above the system's largest process number
    alive = tmp_path / f"kit-ray-{os.getpid()}-x"
    for folder in (killed, alive):
        folder.mkdir()
    with _scratch() as own:
        assert own.is_dir()
    assert sorted(tmp_path.iterdir()) == [alive]


class Watching(Listener):
    def progress(self, progress):
        self.last = progress


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The address of a head that works on nothing, with two nodes of a processor each, and what
    they compute in a folder of their own."""
    cluster_utils = pytest.importorskip("ray.cluster_utils")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIT_CACHE_DIR", str(tmp_path_factory.mktemp("nodes")))
        made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        for _ in range(2):
            made.add_node(num_cpus=1)
        made.wait_for_nodes()
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def asked(tmp_path_factory, small_backbone):
    """Images with a table of labels, one of them broken, and what is asked of a sweep on them."""
    base = tmp_path_factory.mktemp("asked")
    images = draw_folder(base / "images", {"red": 30, "blue": 30}, side=48, seed=2)
    (images / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no photograph")
    paths = sorted(path.relative_to(images) for path in images.rglob("*.*"))
    table = base / "table.csv"
    table.write_text("path,label\n" + "".join(f"{path},{path.parent}\n" for path in paths))
    mended = base / "mended.csv"
    digest = hashlib.sha256((images / paths[0]).read_bytes()).hexdigest()
    mended.write_text(f"digest,label\n{digest},exclude\n")
    training = TrainSettings(
        weights=str(small_backbone.weights.path),
        quantize=("int8", "float32"),
        data=DataSettings(labels_csv=table, corrections=mended),
        split=SplitSettings(0.2, 0.3, 1),
        fitting=FitSettings(epochs=3, batch_size=16),
        representative_images=10,
    )
    # Weights of any resolution fit: they are of convolutions.
    return images, SweepSettings(
        alphas=(0.25,),
        input_resolutions=(SIDE, 2 * SIDE),
        training=training,
        timing=TimingSettings(runs=2),
    )


@pytest.fixture(scope="module")
def local(asked, tmp_path_factory):
    """What was asked, done on one machine: its folder and its result."""
    base = tmp_path_factory.mktemp("local")
    images, settings = asked
    cache = base / "cache"
    return base / "out", sweep(images, base / "out", settings, cache=cache, reporter=Watching())


def table_of(folder):
    """Without what differs between two calls: milliseconds and memory."""
    with (folder / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    measured = ("_ms", "_memory_bytes", "on_latency_front")
    return [{k: v for k, v in line.items() if not k.endswith(measured)} for line in lines]


def record_of(run):
    """run.json without its dates."""
    record = json.loads((run / "run.json").read_text())
    del record["created"], record["card"]["created"]
    return record


@pytest.mark.slow
@pytest.mark.tf
@pytest.mark.parametrize("shared", [False, True])
def test_the_same_results_as_on_one_machine(cluster, asked, local, tmp_path, shared):
    (images, settings), (folder, alone) = asked, local
    watching = Watching()
    with RayCluster(cluster.address, shared_folders=shared) as executor:
        assert executor.jobs == 2
        found = sweep(images, tmp_path / "ray", settings, executor=executor, reporter=watching)
    assert not found.failures
    assert table_of(tmp_path / "ray") == table_of(folder)
    for row in alone.rows:
        mine, theirs = folder / row.file, tmp_path / "ray" / row.file
        assert record_of(theirs.parent) == record_of(mine.parent)
        assert theirs.stat().st_size == mine.stat().st_size
        settings_files = [path.parent / "settings.toml" for path in (mine, theirs)]
        assert settings_files[0].read_text() == settings_files[1].read_text()
        names = [sorted(p.name for p in run.iterdir()) for run in (mine.parent, theirs.parent)]
        assert names[0] == names[1]
    assert {one.state for one in watching.last.steps} == {DONE}
    assert any("broken.jpg" in line for line in watching.warned)  # told by a task, over there


class Interrupting(Watching):
    """Kills the process, or the whole node, that is at work, once."""

    def __init__(self, kill):
        super().__init__()
        self._kill = kill
        self.killed = None

    def progress(self, progress):
        super().progress(progress)
        if self.killed is None and any("epoch" in one.note for one in progress.steps):
            self.killed = self._kill()


@pytest.mark.slow
@pytest.mark.tf
@pytest.mark.parametrize("what", ["process", "node"])
def test_a_lost_worker_costs_nothing_but_time(cluster, asked, local, tmp_path, what):
    import psutil

    images, settings = asked
    third = cluster.add_node(num_cpus=1) if what == "node" else None

    def kill():
        if third is not None:
            cluster.remove_node(third, allow_graceful=False)
            return third
        for process in psutil.process_iter(["name", "cmdline"]):
            if "_work_there" in " ".join(process.info["cmdline"] or [process.info["name"]]):
                process.send_signal(signal.SIGKILL)
                return process
        return None

    watching = Interrupting(kill)
    with RayCluster(cluster.address) as executor:
        found = sweep(images, tmp_path / "ray", settings, executor=executor, reporter=watching)
    assert watching.killed is not None
    assert not found.failures
    assert table_of(tmp_path / "ray") == table_of(local[0])


def test_where_no_cluster_answers():
    pytest.importorskip("ray")
    with pytest.raises(TrainingError, match=r"expected a Ray cluster at 127\.0\.0\.1:1: "):
        RayCluster("127.0.0.1:1")
