"""Fixtures of all tests."""

from __future__ import annotations

import os
import shutil
import signal
import zipfile
from pathlib import Path

import numpy as np
import pytest
from places import FILES, TESTS

# With pytest -n each worker keeps to a core of its own, and so do the programs that it starts: a
# small network on two threads that wait for one another's core is many times slower than on one.
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

# The heaviest files, the longest first, so that no worker has one to itself in the end.
HEAVY = (
    *("sweep/test_cluster.py", "export/test_other_runtimes.py", "android/test_android.py"),
    *("training/test_fine_tune.py", "workflows/test_train.py", "workflows/test_teachers.py"),
    *("export/test_unknown.py", "runtime/test_fuzz.py", "sweep/test_sweep.py"),
    *("model/test_cost.py", "training/test_learning.py", "web/test_web.py"),
    *("cli/test_cli.py", "test_examples.py"),
)


def pytest_collection_modifyitems(items):
    place = {TESTS / name: number for number, name in enumerate(HEAVY)}
    items.sort(key=lambda item: place.get(item.path, len(HEAVY)))


# A shell that runs tests in the background ignores Ctrl-C, and so would the programs they start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def data():
    """Files that are committed beside the tests; files/make_models.py made the models."""
    return FILES


@pytest.fixture(scope="session")
def shared():
    """Material of other people, which is not in the repository."""
    folder = os.environ.get("KIT_TEST_DATA")
    if not folder:
        pytest.skip("KIT_TEST_DATA is not set: it names the folder with other people's material")
    return Path(folder)


@pytest.fixture(scope="session")
def flowers_cache(tmp_path_factory):
    """Where bottlenecks of other people's flowers are kept: one folder for all workers."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if worker else base) / "flowers-cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def repackage(tmp_path):
    """Copies a packaged model with other appended files: `repackage(name, {file: bytes or None})`.

    None leaves a file out; files that are not named stay as they are.
    """

    def made(name, changes, output="model.tflite"):
        source, path = FILES / name, tmp_path / output
        with zipfile.ZipFile(source) as archive:
            files = {info.filename: archive.read(info) for info in archive.infolist()}
            start = min(info.header_offset for info in archive.infolist())
        path.write_bytes(source.read_bytes()[:start])
        with zipfile.ZipFile(path, "a") as archive:
            for entry, content in {**files, **changes}.items():
                if content is not None:
                    archive.writestr(entry, content)
        return path

    return made


@pytest.fixture
def photos(tmp_path):
    """A folder with a red, a green and a blue picture."""
    from PIL import Image

    folder = tmp_path / "photos"
    folder.mkdir()
    for index, name in enumerate(("red", "green", "blue")):
        pixels = np.zeros((24, 32, 3), np.uint8)
        pixels[..., index] = 255
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def model(tmp_path):
    """A packaged model of its own for a test: the int8 one."""
    return Path(shutil.copy(FILES / "red_green_blue_int8.tflite", tmp_path / "int8.tflite"))
