"""The examples run as they are written."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import FILES, ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def run(name, *arguments):
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def test_a_folder_is_labelled(photos, tmp_path):
    (photos / "broken.jpg").write_bytes(b"no image")
    output = tmp_path / "answers.csv"
    model = FILES / "red_green_blue_int8.tflite"
    done = run("label_folder.py", model, photos, "--output", output)
    assert done.returncode == 1, done.stderr
    assert "3 images labelled, 1 failed" in done.stdout
    with output.open(newline="") as file:
        rows = {Path(row["image"]).name: row for row in csv.DictReader(file)}
    assert {name: row["label"] for name, row in rows.items()} == {
        "red.png": "red",
        "green.png": "green",
        "blue.png": "blue",
        "broken.jpg": "",
    }
    assert "expected" in rows["broken.jpg"]["error"]


def test_a_folder_with_a_damaged_model(photos, tmp_path):
    model = tmp_path / "model.tflite"
    model.write_bytes(b"no model")
    done = run("label_folder.py", model, photos, "--output", tmp_path / "answers.csv")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.tf
@pytest.mark.slow
def test_a_gate_is_passed(tmp_path):
    done = run("train_and_gate.py", tmp_path, "--at-least", 0.5)
    assert done.returncode == 0, done.stderr
    assert "on new images" in done.stdout
    assert (tmp_path / "run" / "model_int8.tflite").is_file()


@pytest.mark.tf
@pytest.mark.slow
def test_a_gate_that_nothing_passes(tmp_path):
    done = run("train_and_gate.py", tmp_path, "--at-least", 1.01, "--epochs", 1)
    assert done.returncode == 1
    assert "expected an accuracy of at least 1.01" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}})
    client.execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    printed = "".join(output.get("text", "") for output in outputs)
    assert "int8" in printed
    assert "mobilenet_v1 0.25 int8" in printed


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_committed_without_outputs(path):
    cells = json.loads(path.read_text("utf-8"))["cells"]
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)
