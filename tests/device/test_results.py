"""The CSV of `--output`: whole rows, none twice, none lost, however the process ended."""

import csv
import errno
import hashlib
import os
from dataclasses import replace

import pytest

import kit
from kit.device import results as module
from kit.device.results import COLUMNS, FileState, ResultsFile
from kit.errors import KitError
from kit.model.model_file import read_model_file
from kit.model.spec import OperatingPoint
from kit.runtime.appearance import Appearance
from kit.runtime.classifier import Category, Classification, Failure

ROSE = Classification("x", (Category(0, "rose", 0.75), Category(1, "tulip", 0.25)))


def image(index):
    return f"/photos/{index}.jpg", FileState(1000 + index, 10**18 + index)


def opened(folder, model, rotate_mb=10.0):
    return ResultsFile(folder / "results.csv", read_model_file(model), rotate_mb)


def rows_of(folder):
    rows = []
    for path in sorted(
        folder.glob("results*.csv"), key=lambda path: (path.stem == "results", path)
    ):
        with open(path, newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            rows += table
            assert tuple(table.fieldnames) == COLUMNS
    assert all(None not in row and None not in row.values() for row in rows)
    return rows


@pytest.fixture
def filled(tmp_path, model):
    """A file with three rows, and its bytes."""
    folder = tmp_path / "out"
    with opened(folder, model) as results:
        for index in range(3):
            results.append(ROSE, *image(index))
    return folder, (folder / "results.csv").read_bytes()


def test_a_row_says_what_was_labelled_and_how(tmp_path, model):
    looks = Appearance(0.5, 0.25, 0.125)
    screened = Classification(
        "x", (Category(0, "rose", 0.75),), "positive", False, 1.25, looks, highest_score=0.875
    )
    with opened(tmp_path, model) as results:
        results.append(screened, *image(1))
        results.append(Classification("x", ()), *image(2))
        results.append(Failure("x", "expected an image,\ngot none"), *image(3))
        results.append(ROSE, "frame 1")
    first, second, third, fourth = rows_of(tmp_path)
    assert first.pop("time").endswith("Z") and first.pop("kit") == kit.__version__
    assert first.pop("model") == hashlib.sha256(model.read_bytes()).hexdigest()[:12]
    assert first.pop("card") == read_model_file(model).card.version
    assert first == {
        "image": "/photos/1.jpg",
        "size_bytes": "1001",
        "modified_ns": "1000000000000000001",
        "label": "rose",
        "score": "0.750000",
        "highest_score": "0.875000",
        "answer": "positive",
        "unknown": "False",
        "unfamiliarity": "1.250000",
        "brightness": "0.5000",
        "contrast": "0.2500",
        "sharpness": "0.1250",
        "negative_below": "",
        "positive_from": "",
        "error": "",
    }
    assert second["label"] == second["score"] == second["error"] == ""
    assert third["error"] == "expected an image, got none" and third["label"] == ""
    assert fourth["image"] == "frame 1" and fourth["size_bytes"] == ""


def test_a_row_says_which_thresholds_were_in_use(tmp_path, model):
    file = read_model_file(model)
    card = replace(
        file.card,
        operating_point=OperatingPoint(file.card.labels[0], 0.25, 0.75),
        created="2026-11-28T10:00:00+00:00",
        history=({"date": "2026-11-29"},),
    )
    with ResultsFile(tmp_path / "results.csv", replace(file, card=card)) as results:
        results.append(ROSE, *image(1))
    (row,) = rows_of(tmp_path)
    assert row["card"] == "2026-11-28.1"
    assert (row["negative_below"], row["positive_from"]) == ("0.250000", "0.750000")


@pytest.mark.parametrize("torn", ["", "2026-01-01T00:00:00Z,/photos/2.jpg,10"])
@pytest.mark.parametrize("columns", module._EARLIER, ids=len)
def test_a_file_of_an_earlier_kit_is_numbered_and_its_images_are_known(
    tmp_path, model, columns, torn
):
    row = ["2026-01-01T00:00:00Z", "/photos/1.jpg", "1001", "1000000000000000001"]
    cells = [*row, *[""] * (len(columns) - len(row))]
    before = f"{','.join(columns)}\n{','.join(cells)}\n"
    (tmp_path / "results.csv").write_text(before + torn)
    for _ in range(2):
        with opened(tmp_path, model) as results:
            assert results.found == 1 and results.has(*image(1))
    with opened(tmp_path, model) as results:
        results.append(ROSE, *image(2))
    assert (tmp_path / "results-0001.csv").read_text() == before
    with (tmp_path / "results.csv").open(newline="") as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["/photos/2.jpg"]
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == [
        "results-0001.csv",
        "results.csv",
    ]


def test_it_goes_on_with_what_is_there(filled, model):
    folder, before = filled
    with opened(folder, model) as results:
        assert results.found == 3
        assert all(results.has(*image(index)) for index in range(3))
        path, (size, modified) = image(1)
        assert not results.has(path, FileState(size, modified + 1))  # taken anew
        assert not results.claim(*image(2)) and results.claim(*image(3))
        assert not results.claim(*image(3))
        results.append(ROSE, *image(3))
    after = (folder / "results.csv").read_bytes()
    assert after.startswith(before) and after.count(b"\n") == 5


def test_what_a_power_cut_tears_off_is_repaired(filled, model):
    """At every byte: whole rows stay, the torn one is gone, and the file can be gone on with."""
    folder, whole = filled
    path = folder / "results.csv"
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        with opened(folder, model) as results:
            found = results.found
            assert found == max(0, whole[:length].count(b"\n") - 1)
            for index in range(3):
                if results.claim(*image(index)):
                    results.append(ROSE, *image(index))
        names = [row["image"] for row in rows_of(folder)]
        assert names == [image(index)[0] for index in range(3)], length


@pytest.mark.parametrize("zeros", [1, 4096])
def test_zeros_that_a_power_cut_leaves_are_cut_away(filled, model, zeros):
    # A file system may have made the file longer, and not have written what belongs there.
    folder, whole = filled
    path = folder / "results.csv"
    torn = whole[:-9] + b"\0" * zeros
    for content in (whole + b"\0" * zeros, torn, torn + b"\n", b"\0" * zeros):
        path.write_bytes(content)
        with opened(folder, model) as results:
            for index in range(3):
                if results.claim(*image(index)):
                    results.append(ROSE, *image(index))
        assert path.read_bytes().count(b"\0") == 0
        assert len(rows_of(folder)) == 3


@pytest.mark.parametrize("garbage", [b"a\rb,c\n", b"\r\r\n", b"x" * 200_000 + b"\n"])
def test_a_row_that_is_no_csv_is_passed_over(filled, model, garbage):
    folder, whole = filled
    path = folder / "results.csv"
    last = whole.splitlines(keepends=True)[-1]
    first = whole.removesuffix(last)
    for content, found in ((first + garbage + last, 3), (whole + garbage, 3), (first + garbage, 2)):
        path.write_bytes(content)
        with opened(folder, model) as results:
            assert results.found == found
            assert results.claim(*image(2)) == (found == 2)
    path.write_bytes(whole + garbage)
    with opened(folder, model) as results:
        results.append(ROSE, *image(3))
    assert path.read_bytes().startswith(whole) and len(rows_of(folder)) == 4


@pytest.mark.parametrize("content", [b"name,label\nx,rose\n", b"my notes", b"\n", b"\x89PNG\r\n"])
def test_another_file_of_that_name_is_left_alone(tmp_path, model, content):
    path = tmp_path / "results.csv"
    path.write_bytes(content)
    with pytest.raises(KitError, match=r"results\.csv: expected a new file or one of kit-label's"):
        opened(tmp_path, model)
    assert path.read_bytes() == content


def test_it_rotates_by_size_and_remembers_what_is_in_older_files(tmp_path, model):
    for start in (0, 20):
        with opened(tmp_path, model, rotate_mb=0.001) as results:
            assert results.found == start
            for index in range(start + 20):
                if results.claim(*image(index)):
                    results.append(ROSE, *image(index))
            assert results.is_own(str(tmp_path / "results-0001.csv"))
            assert not results.is_own(str(tmp_path / "results-1.csv"))
    names = sorted(path.name for path in tmp_path.glob("*.csv"))
    assert names[:2] == ["results-0001.csv", "results-0002.csv"] and names[-1] == "results.csv"
    assert [row["image"] for row in rows_of(tmp_path)] == [image(i)[0] for i in range(40)]


def test_a_power_cut_while_it_rotates(filled, model):
    folder, _ = filled
    (folder / "results.csv").rename(folder / "results-0001.csv")
    with opened(folder, model) as results:
        assert results.found == 3
        results.append(ROSE, *image(3))
    assert len(rows_of(folder)) == 4


def test_names_and_labels_that_hold_anything_stay_one_line(tmp_path, model):
    names = ['/a/"quoted", with\nline\r ends', os.fsdecode(b"/a/caf\xe9.jpg"), "/a/\u00e9 \u4e2d"]
    for _ in range(2):
        with opened(tmp_path, model) as results:
            for name in names:
                if results.claim(name, FileState(1, -2)):
                    label = Category(0, "line\nend", 1)
                    results.append(Classification(name, (label,)), name, FileState(1, -2))
    lines = (tmp_path / "results.csv").read_bytes().splitlines()
    assert len(lines) == 4
    assert len(rows_of(tmp_path)) == 3


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, model):
    class Full:
        """Takes a part of the row, then nothing, as a full disk does."""

        def __init__(self, file):
            self.file, self.took = file, False

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, line):
            if self.took:
                raise OSError(errno.ENOSPC, "No space left on device")
            self.took = True
            return self.file.write(line[:7])

    with opened(tmp_path, model) as results:
        results.append(ROSE, *image(0))
        sound = (tmp_path / "results.csv").read_bytes()
        results._file = Full(results._file)
        with pytest.raises(OSError, match="No space") as raised:
            results.append(ROSE, *image(1))
        assert raised.value.filename == str(tmp_path / "results.csv")
        assert (tmp_path / "results.csv").read_bytes() == sound
        assert not results.has(*image(1))
        results._file = results._file.file
        results.append(ROSE, *image(1))  # room was made
    assert len(rows_of(tmp_path)) == 2


def test_a_disk_that_is_full_when_it_rotates(tmp_path, model, monkeypatch):
    path = str(tmp_path / "results.csv")
    real = os.open

    def full(name, *arguments):
        if name == path:
            raise OSError(errno.ENOSPC, "No space left on device", name)
        return real(name, *arguments)

    with pytest.raises(OSError, match="No space left"), opened(tmp_path, model, 0.001) as results:
        monkeypatch.setattr(module.os, "open", full)
        for index in range(20):
            results.append(ROSE, *image(index))
    monkeypatch.undo()
    with opened(tmp_path, model) as results:
        assert results.found == len(rows_of(tmp_path)) > 0
        results.append(ROSE, *image(19))


def test_two_processes_do_not_write_to_one_file(tmp_path, model):
    pytest.importorskip("fcntl")
    with opened(tmp_path, model), pytest.raises(KitError, match="another kit-label writes to it"):
        opened(tmp_path, model)
    with opened(tmp_path, model) as results:
        assert results.found == 0


def test_rows_reach_the_disk_within_a_second(tmp_path, model, monkeypatch):
    now, synced = [0.0], []
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(module.os, "fsync", lambda handle: synced.append(now[0]))
    with opened(tmp_path, model) as results:
        for index in range(40):
            now[0] += 0.1
            results.append(ROSE, *image(index))
        count = len(synced)
    assert 3 <= count <= 4 and len(synced) == count + 1


@pytest.mark.parametrize("rotate_mb", [0, -1, float("nan")])
def test_a_size_to_rotate_at_that_is_none(tmp_path, model, rotate_mb):
    with pytest.raises(ValueError, match="above 0"):
        opened(tmp_path, model, rotate_mb)
    assert not (tmp_path / "results.csv").exists()
