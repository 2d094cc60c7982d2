"""What reviewers ask for: what is known is told, and what is not is marked."""

import json
from dataclasses import replace

import pytest
from places import FILES
from typer.testing import CliRunner

from kit.cli.app import app
from kit.model.model_file import read_model_file
from kit.model.spec import ModelCard, OperatingPoint, PreprocessSpec, Screening
from kit.report.checklist import TO_BE_FILLED_IN, checklist, markdown

SHARE = {"value": 0.9252, "n": 107, "correct": 99, "interval_95": [0.8574, 0.9622]}
CARD = ModelCard(
    backbone="mobilenet_v1",
    alpha=0.25,
    weights="ImageNet",
    quantization="int8",
    preprocess=PreprocessSpec(32),
    labels=("NORMAL", "PNEUMONIA"),
    temperature=1.25,
    operating_point=OperatingPoint("PNEUMONIA", 0.8, 0.8, 0.9, None, 0.95, 90, 61),
    dataset={
        "images": {"train": 489, "validation": 197, "test": 157},
        "unlabelled": 40,
        "seed": 3,
        "group_column": "patient",
    },
    metrics={
        "test": {"accuracy": 0.98, "n": 157, "correct": 154, "interval_95": [0.94, 0.99]},
        "operating_point": {
            "validation": {"sensitivity": {**SHARE, "value": 0.99}},
            "test": {"sensitivity": SHARE, "specificity": {"value": None}},
        },
    },
    versions={"mobilenet-kit": "9.8"},
    created="2026-11-29",
    screening=Screening(1.25, True),
    model_sha256="ab12",
    teachers=("a big one",),
    history=({"date": "2026-12-01", "note": "Ward 3", "images": 50, "before": {}},),
)


def answers(card, **others):
    return {item.name: item.answer for item in checklist(card, **others)}


def test_what_the_card_knows_is_told():
    found = answers(CARD, left_out=3, limits=("Few images.", "One hospital."))
    assert found["Partition of the data"].startswith("drawn by a hash of each image's content")
    assert "groups by the column patient stay together" in found["Partition of the data"]
    assert found["Sample size"] == (
        "489 train, 197 validation, 157 test images, and 40 without a label"
    )
    assert found["Missing and excluded data"].startswith("3 files were left out")
    assert found["Model"].endswith("quantised to int8; learnt from a big one")
    assert (
        "promises a sensitivity of 0.9 with 95% confidence"
        in (found["Thresholds and how they were chosen"])
    )
    performance = found["Performance, with uncertainty"]
    assert "accuracy 0.9800 (0.9400 to 0.9900, N=157) on the test part" in performance
    assert "sensitivity 0.9252 (0.8574 to 0.9622, N=107) on the test part" in performance
    assert "0.99" not in performance.replace("0.9900", "")  # the part that it was chosen on
    assert found["Version"] == "SHA-256 of the model ab12, made 2026-11-29, by mobilenet-kit 9.8"
    assert "Ward 3" in found["Changes where it is used"]
    assert found["Limits"] == "Few images. One hospital."


def test_what_nobody_told_is_marked():
    bare = replace(CARD, operating_point=None, screening=None, dataset={}, metrics={}, history=())
    found = answers(bare)
    for name in (
        *("Intended use and users", "Participants", "Reference standard", "Sample size"),
        *("Thresholds and how they were chosen", "Subgroups", "Ethics, registration, funding"),
        "Missing and excluded data",
    ):
        assert found[name].startswith(TO_BE_FILLED_IN), name
    assert found["Changes where it is used"] == "none"
    assert all(text for text in found.values())


def test_foreign_text_cannot_break_the_table():
    evil = replace(CARD, intended_use="a | b\n| <script> `x` [y](z) *w* \\")
    shown = markdown("a|b", checklist(evil))
    rows = [line for line in shown.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(checklist(evil))
    for row in rows:
        assert row.replace("\\\\", "").replace("\\|", "").count("|") == 3
    assert "\\<script>" in shown


@pytest.mark.parametrize("format", ["markdown", "json"])
def test_the_command(tmp_path, format):
    model = FILES / "red_green_blue_int8.tflite"
    items = checklist(read_model_file(model).card)
    done = CliRunner().invoke(app, ["report", str(model), "--format", format])
    assert done.exit_code == 0, done.stderr
    if format == "json":
        assert [row["name"] for row in json.loads(done.stdout)] == [item.name for item in items]
    else:
        assert done.stdout == markdown(model.name, items)
    output = tmp_path / "card.md"
    asked = ["report", str(model), "--format", format, "--output", str(output)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert output.read_text("utf-8") == done.stdout
    assert CliRunner().invoke(app, asked).exit_code == 1  # it is not replaced unasked
