"""`kit-label --output` and `--watch`: images that are there, and images that arrive."""

import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kit.device import results
from kit.device.command import main
from kit.device.results import ResultsFile
from kit.device.watch import LOOK_SECONDS, watch
from kit.errors import KitError
from kit.model.model_file import read_model_file
from kit.runtime import Classifier


class StoppedError(Exception):
    """What ends a watch in a test."""


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def names_of(path):
    return [Path(row["image"]).name for row in rows_of(path)]


@pytest.fixture
def watched(tmp_path, model):
    """Watches a folder: `watched(step, step, ...)`, each step called between two looks."""
    folder, output = tmp_path / "in", tmp_path / "results.csv"
    folder.mkdir(exist_ok=True)

    def run(*steps, patience=30.0, after=2, say=lambda line: None):
        now = [1000.0]
        left = [*steps, *[lambda: None] * after]

        def sleep(seconds):
            assert seconds >= LOOK_SECONDS
            now[0] += seconds
            if not left:
                raise StoppedError
            left.pop(0)()

        with (
            Classifier.open(model) as classifier,
            ResultsFile(output, read_model_file(model)) as results,
            pytest.raises(StoppedError),
        ):
            watch(
                classifier,
                folder,
                results,
                patience=patience,
                say=say,
                sleep=sleep,
                clock=lambda: now[0],
            )
        return rows_of(output)

    run.folder, run.output = folder, output
    return run


def test_images_are_labelled_as_they_arrive(watched, photos):
    folder = watched.folder
    (folder / "deeper").mkdir()

    def arrive(colour, where):
        return lambda: shutil.copy(photos / f"{colour}.png", folder / where)

    shutil.copy(photos / "red.png", folder / "0.png")  # was there before
    rows = watched(arrive("green", "1.png"), arrive("blue", "deeper/2.png"))
    assert [(Path(row["image"]).name, row["label"]) for row in rows] == [
        ("0.png", "red"),
        ("1.png", "green"),
        ("2.png", "blue"),
    ]
    assert all(Path(row["image"]).is_absolute() for row in rows)
    assert sorted(p.name for p in folder.rglob("*.png")) == ["0.png", "1.png", "2.png"]
    # The next run finds nothing new; a photograph under an old name is a new one.
    assert watched() == rows
    again = watched(arrive("blue", "0.png"))
    assert again[:3] == rows and [row["label"] for row in again[3:]] == ["blue"]


def test_a_file_waits_until_it_is_whole(watched, photos):
    content = (photos / "red.png").read_bytes()
    path, counts = watched.folder / "slow.png", []

    def grow(length):
        def step():
            counts.append(len(rows_of(watched.output)))
            path.write_bytes(content[:length])

        return step

    steps = [grow(length) for length in range(0, len(content), 9)]
    rows = watched(*steps, grow(len(content)))
    assert set(counts) == {0}
    assert [(row["label"], row["error"]) for row in rows] == [("red", "")]


def test_a_copy_that_stalls_waits_longer(watched, photos):
    content = (photos / "red.png").read_bytes()
    path = watched.folder / "stalls.png"
    stall = [lambda: None] * 5  # unchanged, and does not decode
    rows = watched(
        lambda: path.write_bytes(content[:40]), *stall, lambda: path.write_bytes(content)
    )
    assert [(row["label"], row["error"]) for row in rows] == [("red", "")]


def test_a_file_that_stays_broken_gets_one_row_until_it_changes(watched, photos):
    path = watched.folder / "broken.png"
    path.write_bytes((photos / "red.png").read_bytes()[:40])
    (watched.folder / "empty.png").touch()
    rows = watched(*[lambda: None] * 9, patience=5)
    assert sorted(Path(row["image"]).name for row in rows) == ["broken.png", "empty.png"]
    assert all(row["error"].startswith("expected") and not row["label"] for row in rows)
    assert watched(patience=5) == rows
    shutil.copy(photos / "green.png", path)
    assert watched()[2]["label"] == "green"


@pytest.fixture
def half_copied(tmp_path):
    """A JPEG of many bytes, and the same where a copy has made all of it and filled a half."""
    pixels = np.random.default_rng(5).integers(0, 90, (96, 128, 3), np.uint8)
    pixels[..., 0] += 150
    Image.fromarray(pixels).save(tmp_path / "whole.jpg", quality=95)
    whole = (tmp_path / "whole.jpg").read_bytes()
    half = len(whole) // 2
    assert half > 1000
    return whole, whole[:half] + bytes(len(whole) - half)


def test_a_copy_that_is_long_before_it_is_whole_waits(watched, half_copied, model):
    whole, half = half_copied
    path, counts = watched.folder / "long.jpg", []
    path.write_bytes(half)
    with Classifier.open(model) as classifier:
        assert classifier.classify(path).categories  # it decodes: that does not tell it
    stall = [lambda: counts.append(len(rows_of(watched.output)))] * 5
    rows = watched(*stall, lambda: path.write_bytes(whole), after=4)
    assert counts == [0] * 5
    assert [(row["label"], row["error"]) for row in rows] == [("red", "")]


def test_an_image_that_stays_with_zeros_at_its_end_is_labelled_as_it_is(watched, half_copied):
    (watched.folder / "half.jpg").write_bytes(half_copied[1])
    Image.new("RGB", (32, 32)).save(watched.folder / "black.bmp")  # as such files may be
    counts = []
    steps = [lambda: counts.append(len(rows_of(watched.output)))] * 9
    rows = watched(*steps, patience=5)
    assert counts == [0] * 5 + [2] * 4
    assert sorted(Path(row["image"]).name for row in rows) == ["black.bmp", "half.jpg"]
    assert all(row["label"] and not row["error"] for row in rows)


def test_hidden_files_pipes_and_the_results_are_no_images(watched, photos, model):
    shutil.copy(photos / "red.png", watched.folder / ".part-0.png")
    os.mkfifo(watched.folder / "pipe.png")  # reading it would wait for ever
    output = watched.folder / "results.csv"
    with (
        Classifier.open(model) as classifier,
        ResultsFile(output, read_model_file(model), 0.0001) as results,
    ):
        ends = iter([*[lambda: shutil.copy(photos / "red.png", watched.folder / "1.png")] * 3])

        def sleep(seconds):
            next(ends, stop)()

        def stop():
            raise StoppedError

        with pytest.raises(StoppedError):
            watch(classifier, watched.folder, results, patience=0, sleep=sleep)
    names = {Path(row["image"]).name for p in watched.folder.glob("*.csv") for row in rows_of(p)}
    assert names <= {"1.png"}


def test_a_file_that_changes_or_goes_while_it_is_read(watched, photos, model, monkeypatch):
    path, gone = watched.folder / "0.png", watched.folder / "1.png"
    shutil.copy(photos / "red.png", path)
    shutil.copy(photos / "red.png", gone)
    real, changed = Classifier.classify_files, []

    def classify(self, paths):
        results = list(real(self, paths))
        if results and not changed:
            changed.append(shutil.copy(photos / "blue.png", path))
            gone.unlink()
        return iter(results)

    monkeypatch.setattr(Classifier, "classify_files", classify)
    assert [row["label"] for row in watched(after=4)] == ["blue"]


def test_a_folder_that_goes_and_comes_back_is_told_once(watched, photos):
    put = lambda: shutil.copy(photos / "red.png", watched.folder / "0.png")  # noqa: E731
    away = watched.folder.with_name("away")
    said = []
    rows = watched(
        *(lambda: watched.folder.rename(away), lambda: None, lambda: None),
        *(lambda: away.rename(watched.folder), put),
        after=4,
        say=said.append,
    )
    assert [row["label"] for row in rows] == ["red"]
    assert [line.partition(":")[0] for line in said] == [
        f"watching {watched.folder}; {watched.output} has rows of 0 images",
        "warning",
        f"{watched.folder} can be read again",
    ]
    assert f"{watched.folder}: expected a folder that can be read: No such file" in said[1]


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read every folder")
@pytest.mark.parametrize("way", ["--watch", "--output", "text"])
def test_a_folder_that_may_not_be_read_ends_it(model, photos, tmp_path, capsys, way):
    photos.chmod(0)
    output = ["--output", str(tmp_path / "r.csv")]
    options = {"--watch": ["--watch", str(photos), *output], "--output": [str(photos), *output]}
    try:
        assert main([str(model), *options.get(way, [str(photos)])]) == 1
    finally:
        photos.chmod(0o755)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert f"{photos}: expected a folder that can be read: Permission denied" in err


def test_a_folder_that_is_none(tmp_path, model, capsys):
    options = ["--watch", str(tmp_path / "none"), "--output", str(tmp_path / "r.csv")]
    assert main([str(model), *options]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "none: expected a folder to watch, found none" in err.splitlines()[-1]


def test_a_folder_into_a_file_that_the_next_run_goes_on_with(model, photos, tmp_path, capsys):
    (photos / "bad.jpg").write_text("no image")
    output = tmp_path / "new" / "results.csv"
    arguments = [str(model), str(photos), str(photos / "red.png"), "--output", str(output)]
    assert main(arguments) == 1
    assert capsys.readouterr() == (
        "",
        f"{output}: 3 images labelled, 1 failed, 1 were there already\n",
    )
    assert names_of(output) == ["bad.jpg", "blue.png", "green.png", "red.png"]
    assert [row["label"] for row in rows_of(output)] == ["", "blue", "green", "red"]
    before = output.read_bytes()
    assert main(arguments) == 0
    assert "0 images labelled, 0 failed, 5 were there already" in capsys.readouterr().err
    assert output.read_bytes() == before
    assert main([str(model), str(photos / "none.png"), "--output", str(output)]) == 1
    assert rows_of(output)[-1]["error"].endswith("No such file or directory")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--watch", "in"],
        ["--watch", "in", "x.png", "--output", "r.csv"],
        ["--output", "r.csv"],
        ["--output", "r.csv", "--self-test"],
        ["--output", "r.csv", "x.png", "--format", "json"],
        ["--output", "r.csv", "x.png", "--explain", "x/"],
        ["--output", "r.csv", "--benchmark"],
        ["in", "--output", "r.csv", "--uncertain-to", "in/deeper/unsure"],
        ["--watch", "in", "--output", "r.csv", "--uncertain-to", "in"],
        ["--rotate-mb", "3", "x.png"],
        ["--rotate-mb", "0", "x.png", "--output", "r.csv"],
    ],
    ids=" ".join,
)
def test_mistakes_on_the_command_line(model, tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    try:
        status = main([str(model), *arguments])
    except SystemExit as left:
        status = left.code
    out, err = capsys.readouterr()
    assert status == 2 and out == "" and "kit-label:" in err
    assert not (tmp_path / "r.csv").exists()


def test_a_results_file_that_is_none(model, photos, tmp_path, capsys):
    output = tmp_path / "notes.csv"
    output.write_text("dear diary\n")
    assert main([str(model), str(photos), "--output", str(output)]) == 1
    assert main([str(model), str(photos), "--output", str(photos)]) == 1
    err = capsys.readouterr().err.splitlines()
    assert (
        len(err) == 2
        and f"{output}: expected a new file" in err[0]
        and "got something else" in err[1]
    )
    assert output.read_text() == "dear diary\n"


def test_a_full_disk_is_told_in_one_line(model, photos, tmp_path, capsys, monkeypatch):
    def write(file, line, path):
        raise OSError(errno.ENOSPC, "No space left on device", path)

    monkeypatch.setattr(results, "append_whole", write)
    output = tmp_path / "results.csv"
    assert main([str(model), str(photos), "--output", str(output)]) == 1
    assert capsys.readouterr().err == (
        f"kit-label: {output}: expected room on the disk, it is full: make room and run again\n"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("way", ["--watch", "folder"])
def test_stopped_at_any_point_the_next_run_goes_on(model, photos, tmp_path, way, number):
    many, output = tmp_path / "many", tmp_path / "results.csv"
    many.mkdir()
    for index in range(300):
        os.link(photos / f"{('red', 'green', 'blue')[index % 3]}.png", many / f"{index:03}.png")
    command = [sys.executable, "-m", "kit.device", str(model), "--output", str(output)]
    command += ["--watch", str(many)] if way == "--watch" else [str(many)]
    stopped = 0
    for rows in (10, 130):
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            if output.exists() and output.read_bytes().count(b"\n") > rows:
                process.send_signal(number)
                break
        err = process.communicate(timeout=60)[1]
        assert "Traceback" not in err
        stopped += process.returncode in (130, -number)
        assert output.read_bytes().endswith(b"\n")
        names = names_of(output)
        assert names == [f"{index:03}.png" for index in range(len(names))]
    assert stopped
    with Classifier.open(model), ResultsFile(output, read_model_file(model)) as results:
        assert results.found == len(names_of(output))
    assert main([str(model), str(many), "--output", str(output)]) == 0
    assert names_of(output) == [f"{index:03}.png" for index in range(300)]


def test_a_folder_must_exist_before_anything_is_read(tmp_path, model):
    with (
        Classifier.open(model) as classifier,
        ResultsFile(tmp_path / "results.csv", read_model_file(model)) as results,
        pytest.raises(KitError, match="make it first"),
    ):
        watch(classifier, tmp_path / "none", results)
