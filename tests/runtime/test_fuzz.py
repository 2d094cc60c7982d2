"""Damaged and hostile files: a sentence each, never a crash, a hang or a traceback."""

import random

import pytest
from fuzzing import damaged, fuzz, read_elsewhere, targets

pytest.importorskip("typer", reason="needs the extra train")


FEW = 24
"""Files of each kind."""


@pytest.mark.parametrize(
    ("each", "first"),
    [(FEW, 0), pytest.param(84, FEW, marks=pytest.mark.slow)],
    ids=["few", "more"],
)
def test_no_file_ends_a_process(each, first):
    count = each * len(targets())
    read, wrong = fuzz(count, first)
    assert read.total() == count
    assert wrong == []


def test_a_crash_would_be_seen(tmp_path, monkeypatch):
    """The harness itself: a process that dies is told, and the files behind it are still read."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, kit.model.labels as labels\n"
        "labels.read_labels = lambda path: os.abort()\n".replace("\\\n", "\n")
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = list(read_elsewhere("label files", range(3)))
    assert [line.split(":")[0] for line in found] == [f"label files {seed}" for seed in range(3)]
    assert all("the process ends with -6" in line for line in found)


def test_files_are_drawn_the_same_way_again():
    content = bytes(range(256)) * 4
    drawn = [damaged(content, random.Random("x")) for _ in range(2)]
    assert drawn[0] == drawn[1] != content
    assert {"kit models", "foreign models", "images", "tables", "runs"} <= {*targets()}
