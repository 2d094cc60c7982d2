"""Figures of subgroups, and the gaps between them."""

import csv
import json

import numpy as np
import pytest
from drawing import draw_folder
from places import FILES
from typer.testing import CliRunner

from kit.cli.app import app
from kit.data import DataSettings, load_dataset
from kit.errors import DataError
from kit.evaluation import Accuracy, Auc
from kit.evaluation.subgroups import compare_subgroups
from kit.model.spec import OperatingPoint

COUNT = 400


def drawn(seed=0, worse=0.0):
    """Scores of ill images; those of the old are lower by `worse`."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 2, COUNT)
    age = random.choice(["old", "young"], COUNT)
    score = np.clip(
        0.3 + 0.4 * truth + random.normal(0, 0.15, COUNT) - worse * truth * (age == "old"), 0, 1
    )
    return np.stack([1 - score, score], axis=1).astype(np.float32), truth, age.tolist()


def test_figures_by_hand():
    scores, truth, age = drawn(worse=0.2)
    point = OperatingPoint("ill", 0.4, 0.6)
    found, _ = compare_subgroups({"age": age}, scores, truth, positive=1, point=point)
    assert [(one.column, one.value) for one in found] == [("age", "old"), ("age", "young")]
    for one in found:
        mine = np.array(age) == one.value
        ill = mine & (truth == 1)
        well = mine & (truth == 0)
        assert one.images == mine.sum()
        assert one.figures["accuracy"] == Accuracy.of_answers(
            scores.argmax(axis=1)[mine] == truth[mine]
        )
        wide = scores[:, 1].astype(np.float64)
        assert one.figures["sensitivity"] == Accuracy.of_answers(wide[ill] >= 0.4)
        assert one.figures["specificity"] == Accuracy.of_answers(wide[well] < 0.6)
        assert one.auc == Auc.of(scores[mine, 1], truth[mine] == 1)
        assert not one.is_small
        json.dumps(one.to_json(), allow_nan=False)


def test_the_largest_gap_has_an_interval():
    scores, truth, age = drawn(worse=0.2)
    found, gaps = compare_subgroups({"age": age}, scores, truth, positive=1)
    by_figure = {gap.figure: gap for gap in gaps}
    gap = by_figure["sensitivity"]
    assert (gap.worst, gap.best) == ("old", "young")
    shares = {one.value: one.figures["sensitivity"].value for one in found}
    assert gap.difference == pytest.approx(shares["young"] - shares["old"])
    low, high = gap.interval
    assert 0 < low < gap.difference < high < 1
    # Where nobody is worse off, the interval says that it may be chance.
    _, gaps = compare_subgroups({"age": drawn()[2]}, *drawn(worse=0.0)[:2], positive=1)
    low, high = {gap.figure: gap for gap in gaps}["specificity"].interval
    assert low < 0 < high


def test_the_interval_is_of_patients():
    """Four images of each patient, all alike: half as sure, not twice."""
    scores, truth, age = drawn(worse=0.2)
    alone = compare_subgroups({"age": age}, scores, truth, positive=1)[1]
    four = compare_subgroups(
        {"age": age * 4},
        np.tile(scores, (4, 1)),
        np.tile(truth, 4),
        positive=1,
        groups=[str(index) for index in range(COUNT)] * 4,
    )[1]
    for one, other in zip(alone, four, strict=True):
        assert other.difference == pytest.approx(one.difference)
        width, other_width = (gap.interval[1] - gap.interval[0] for gap in (one, other))
        assert other_width == pytest.approx(width, rel=0.15)


def test_few_images_are_named_and_not_judged():
    scores, truth, age = drawn()
    ill = np.flatnonzero(truth == 1)
    for index in ill[:9]:
        age[index] = "of nine"
    for index in ill[9:12]:
        age[index] = ""
    found, gaps = compare_subgroups({"age": age}, scores, truth, positive=1)
    few = next(one for one in found if one.value == "of nine")
    assert few.images == 9
    assert few.is_small and few.auc is None
    assert few.figures == {"accuracy": None, "sensitivity": None, "specificity": None}
    assert {one.value for one in found} == {"of nine", "old", "young"}  # no value is no subgroup
    assert all("of nine" not in (gap.best, gap.worst) for gap in gaps)
    assert few.to_json()["sensitivity"] is None


def test_without_a_positive_label_it_is_accuracy():
    scores, truth, age = drawn()
    found, gaps = compare_subgroups({"age": age}, scores, truth)
    assert [list(one.figures) for one in found] == [["accuracy"]] * 2
    assert {gap.figure for gap in gaps} <= {"accuracy"}


# ---------------------------------------------------------------- where the values come from


@pytest.fixture
def table(tmp_path):
    """Images of two wards and a table of them."""
    images = draw_folder(tmp_path / "images", {"red": 24, "green": 24, "blue": 24})
    rows = [
        (path.relative_to(images).as_posix(), path.parent.name, "ab"[number % 2], "")
        for number, path in enumerate(sorted(images.rglob("*.png")))
    ]
    rows[0] = (*rows[0][:2], "", "")
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "ward", "sex"), *rows])
    return images, tmp_path / "labels.csv"


def test_values_of_a_table(table):
    images, labels = table
    dataset = load_dataset(images, DataSettings(labels, subgroup_columns=" ward , sex,ward"))
    found = [dict(image.subgroups) for image in dataset.images]
    assert found[0] == {"ward": "", "sex": ""}
    assert [one["ward"] for one in found[1:]] == ["ab"[number % 2] for number in range(1, 72)]
    with pytest.raises(DataError, match="expected a column clinic once, got it 0 times"):
        load_dataset(images, DataSettings(labels, subgroup_columns="clinic"))
    with pytest.raises(ValueError, match=r"only what DICOM files say themselves .* got ward"):
        DataSettings(subgroup_columns="sex,ward")
    assert DataSettings(subgroup_columns="sex, age_band").subgroups() == ("sex", "age_band")


def test_a_row_twice_with_other_values(table):
    images, labels = table
    first = labels.read_text().splitlines()[2]
    labels.write_text(labels.read_text() + first.replace(",b,", ",c,") + "\n")
    with pytest.raises(DataError, match="expected one subgroup for"):
        load_dataset(images, DataSettings(labels, subgroup_columns="ward"))


@pytest.mark.tf
def test_the_command_compares_them(table, tmp_path):
    images, labels = table
    model = FILES / "red_green_blue_int8.tflite"
    report = tmp_path / "report.html"
    asked = ["evaluate", model, images, "--labels-csv", labels, "--subgroup-columns", "ward"]
    done = CliRunner().invoke(
        app, [str(one) for one in [*asked, "--positive", "red", "--report", report]]
    )
    assert done.exit_code == 0, done.stderr
    shown = done.stdout
    assert "by ward (95 % intervals):" in shown
    assert "  a  accuracy 1.0000" in shown and "  b  accuracy 1.0000" in shown
    page = report.read_text("utf-8")
    assert 'id="subgroups"' in page and "ward: a" in page
    done = CliRunner().invoke(app, [str(one) for one in [*asked, "--format", "json"]])
    facts = json.loads(done.stdout)
    assert [one["value"] for one in facts["subgroups"]] == ["a", "b"]
    assert sum(one["images"] for one in facts["subgroups"]) == 71
    assert facts["gaps"] == []
