"""`sweep`: the grid, the judgements, the table, and going on after a kill."""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import time
from base64 import b64encode
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from drawing import draw_folder
from sweep_work import Lines, work_on
from training_fixtures import SIDE, Listener
from typer.testing import CliRunner

from kit.cli.app import app
from kit.cli.sweep_table import TableReporter, sweep_text
from kit.data import DataSettings, SplitSettings, load_dataset, split_dataset
from kit.errors import (
    ImageError,
    MissingDependencyError,
    OutputExistsError,
    TrainingError,
    WeightsError,
)
from kit.evaluation.metrics import Accuracy
from kit.runtime.machine import machine_kind
from kit.sweep import (
    Candidate,
    Combination,
    Limits,
    Processes,
    Row,
    SweepResult,
    SweepSettings,
    TimingSettings,
    combinations,
    holm,
    mcnemar,
    pareto_front,
    recommend,
    sweep,
)
from kit.sweep.plots import page_plots, short_name, write_plots
from kit.sweep.processes import in_processes
from kit.sweep.progress import DONE, FAILED, KEPT, RUNNING, Board, Progress, Standing, seconds_left
from kit.sweep.report import render
from kit.sweep.results import COLUMNS, Scored, Timed, failures, judge, results_csv, results_json
from kit.sweep.run import _held
from kit.sweep.settings import check_same
from kit.training.backbones import choose
from kit.training.fitting import FitSettings
from kit.training.weights import Weights
from kit.workflows.run_folder import read_run
from kit.workflows.train import TrainSettings

pytest_plugins = ["training_fixtures"]


# ---------------------------------------------------------------- the grid


def test_a_grid_is_every_combination_once_in_the_order_given():
    found, left_out = combinations(["mobilenet_v1"], [0.5, 0.25, 0.5], [160, 128])
    assert [one.name for one in found] == [
        "mobilenet_v1_0.5_160",
        "mobilenet_v1_0.5_128",
        "mobilenet_v1_0.25_160",
        "mobilenet_v1_0.25_128",
    ]
    assert left_out == ()


def test_without_values_each_backbone_has_its_defaults():
    found, _ = combinations(["mobilenet_v1", "mobilenet_v2", "inception_v3"], [], [])
    assert [(one.choice.alpha, one.choice.input_resolution) for one in found] == [
        (0.5, 224),
        (1.0, 224),
        (None, 299),
    ]


def test_what_one_backbone_lacks_is_left_out_and_told():
    found, left_out = combinations(["mobilenet_v1", "mobilenet_v2", "resnet50"], [0.25, 0.35], [96])
    assert [one.name for one in found] == [
        "mobilenet_v1_0.25_96",
        "mobilenet_v2_0.35_96",
        "resnet50_96",
    ]
    assert len(left_out) == 2
    assert "mobilenet_v1, got 0.35" in left_out[0]
    assert "mobilenet_v2, got 0.25" in left_out[1]


@pytest.mark.parametrize(
    ("backbones", "alphas", "sides", "said"),
    [
        (["mobilenet_v1"], [0.25, 0.3], [128], "got 0.3"),
        (["mobilenet_v1", "mobilenet_v2"], [0.25, 0.35], [128, 9], "got 9"),
        (["mobilenet_v9"], [], [], "'mobilenet_v9'"),
        (["inception_v3", "resnet50"], [0.5], [], "expected no alpha"),
    ],
)
def test_what_no_backbone_has_is_refused(backbones, alphas, sides, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        combinations(backbones, alphas, sides)


# ---------------------------------------------------------------- judgements, by hand


def test_pareto_front():
    #        a   b   c   d   e
    costs = [30, 10, 20, 20, 40]
    values = [0.7, 0.5, 0.8, 0.6, 0.8]
    assert pareto_front(costs, values) == (1, 2)  # a, d: c is better; e: as good and dearer
    assert pareto_front([1, 1, 2], [0.5, 0.5, 0.5]) == (0, 1)  # equal points are both on it
    assert pareto_front([1, 2, 3], [0.1, 0.2, 0.3]) == (0, 1, 2)
    assert pareto_front([], []) == ()


def answers(text):
    return np.array([letter == "1" for letter in text])


def test_mcnemar():
    #              both right, 1 only the first, 5 only the second
    first, second = answers("111000000"), answers("110111110")
    found = mcnemar(first, second)
    assert (found.only_first, found.only_second) == (1, 5)
    assert found.p == pytest.approx(2 * (1 + 6) / 2**6)  # six throws, at most one of a kind
    turned = mcnemar(second, first)
    assert (turned.only_first, turned.only_second, turned.p) == (5, 1, found.p)
    assert mcnemar(answers("0" * 8), answers("1" * 8)).p == pytest.approx(2 / 2**8)
    assert mcnemar(first, first).p == 1.0
    with pytest.raises(ValueError, match="the same images"):
        mcnemar(first, second[:-1])


def test_mcnemar_of_groups_counts_each_once():
    first, second = answers("11110110"), answers("00001101")
    groups = ["a"] * 4 + ["b"] + ["c"] + ["d"] * 2
    found = mcnemar(first, second, groups)  # a for the first, b for the second, c and d for none
    assert (found.only_first, found.only_second, found.p) == (1, 1, 1.0)
    each = [str(index) for index in range(8)]
    assert mcnemar(first, second, each) == mcnemar(first, second)


def test_holm():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.6, 0.9]) == (1.0, 1.0)
    assert holm([]) == ()


def candidate(name, correct, kilobytes, latency_ms=None):
    return Candidate(name, Accuracy.of(correct, 100), 1000 * kilobytes, latency_ms)


SMALL, MIDDLE, LARGE = (
    candidate("small", 70, 300, 5.0),
    candidate("middle", 86, 500, 9.0),  # Wilson's interval of 90 in 100 begins at 0.826
    candidate("large", 90, 900, 20.0),
)


def test_the_smallest_within_one_interval_of_the_best():
    (found,) = recommend([LARGE, SMALL, MIDDLE])
    assert found.name == "middle"
    assert "1.8 times smaller, 4.0 points less" in found.words
    assert recommend([SMALL, LARGE])[0].name == "large"
    quick = candidate("quick", 88, 900, 4.0)
    assert "of the same size, 2.0 points less" in recommend([LARGE, quick])[0].words
    assert recommend([]) == ()


def test_of_equals_the_smaller_then_the_faster_is_the_best():
    slow, fast = candidate("slow", 90, 300, 9.0), candidate("fast", 90, 300, 5.0)
    assert recommend([LARGE, slow, fast])[0].name == "fast"


@pytest.mark.parametrize(
    ("limits", "name"),
    [
        (Limits(max_size_kb=500), "middle"),
        (Limits(max_size_kb=499.9), "small"),
        (Limits(max_latency_ms=9), "middle"),
        (Limits(max_latency_ms=100), "large"),
        (Limits(min_accuracy=0.7), "small"),
        (Limits(min_accuracy=0.71), "middle"),
        (Limits(max_size_kb=800, max_latency_ms=6), "small"),
        (Limits(max_size_kb=400, min_accuracy=0.8), None),
    ],
)
def test_the_best_within_limits(limits, name):
    found = recommend([SMALL, MIDDLE, LARGE], limits)
    assert [one.name for one in found] == ["middle", name]


def test_what_was_not_timed_is_within_no_latency():
    untimed = replace(LARGE, latency_ms=None)
    assert recommend([SMALL, untimed], Limits(max_latency_ms=1000))[1].name == "small"


def test_where_none_will_do_the_nearest_is_told_with_what_it_misses():
    words = recommend([SMALL, MIDDLE, LARGE], Limits(max_size_kb=400, min_accuracy=0.8))[1].words
    assert words.startswith("none has at most 400 kB and an accuracy of at least 0.8; large")
    assert words.endswith("misses at most 400 kB")


@pytest.mark.parametrize(
    "wrong", [{"max_size_kb": 0}, {"max_latency_ms": -1}, {"min_accuracy": 1.5}]
)
def test_limits_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="expected"):
        Limits(**wrong)


# ---------------------------------------------------------------- how long it takes


def step(name, kind, weight, state="waiting", seconds=None):
    return Standing(name, kind, weight, state, "", seconds)


def test_time_left_by_the_weight_of_what_is_done():
    done = [step("a", "train", 2, DONE, 20.0), step("b", "train", 1, KEPT)]
    left = [step("c", "train", 3, RUNNING), step("d", "train", 1)]
    assert seconds_left([*done, *left], 1, {}) == pytest.approx(40)
    assert seconds_left([*done, *left], 1, {"c": 12.0}) == pytest.approx(28)
    assert seconds_left([*done, *left], 2, {}) == pytest.approx(30)  # not less than the longest
    assert seconds_left(done, 1, {}) == 0
    assert seconds_left(left, 1, {}) is None
    timed = [step("e", "time", 2, DONE, 6.0), step("f", "time", 1), step("g", "time", 1)]
    assert seconds_left([*done, *timed], 4, {}) == pytest.approx(6)  # always one at a time


class Watching(Listener):
    """A SweepReporter that keeps the last table."""

    def __init__(self):
        super().__init__()
        self.tables = []

    def progress(self, progress):
        assert isinstance(progress, Progress)
        self.tables.append(progress)

    @property
    def states(self):
        return {one.name: one.state for one in self.tables[-1].steps}


def test_the_board_tells_every_change_and_each_warning_once():
    watching = Watching()
    board = Board([step("a", "train", 1), step("b", "train", 1)], 1, watching)
    board.begin("a")
    board.say("a", "first\nepoch 1")
    assert [(one.state, one.note) for one in watching.tables[-1].steps] == [
        (RUNNING, "epoch 1"),
        ("waiting", ""),
    ]
    for name in ("a", "b"):
        board.warn(name, "the same")
    board.end("a", "", "int8 0.9")
    board.begin("b")
    board.end("b", "no luck")
    assert watching.warned == ["the same"]
    assert watching.states == {"a": DONE, "b": FAILED}
    assert watching.said[0].startswith("[1/2] a: int8 0.9")
    assert watching.said[1].startswith("[2/2] b: failed: no luck")


# ---------------------------------------------------------------- processes


@pytest.mark.parametrize("jobs", [1, 3])
def test_what_fails_or_dies_ends_no_other(jobs):
    lines = Lines()
    kinds = ("fails", "breaks", "is killed", "works")
    tasks = {kind: (kind, "") for kind in kinds}
    ended = dict(in_processes(work_on, tasks, jobs, lines))
    assert ended["fails"] == "no luck"
    assert ended["breaks"] == "KeyError: 'lost'"
    assert "signal 9" in ended["is killed"]
    assert ended["works"] == ""
    assert lines.begun == list(kinds)
    assert {(kind, f"{kind} begins") for kind in kinds} <= set(lines.said)


PARENT = """
import sys
sys.path[:] = sys.argv[2:]
import sweep_work
from kit.sweep.processes import in_processes
if __name__ == "__main__":
    list(in_processes(sweep_work.work_on, {"waits": ("waits", sys.argv[1])}, 1, sweep_work.Lines()))
"""


def is_running(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{number}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def until(condition):
    for _ in range(1200):
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it never came")


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_no_training_outlives_a_sweep_that_is_killed(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen([sys.executable, script, tmp_path, *sys.path])
    pid = tmp_path / "pid"
    try:
        child = int(until(lambda: pid.exists() and pid.read_text()))
        assert is_running(child)
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not is_running(child))


# ---------------------------------------------------------------- the folder


FACTS = {"training": {"seed": 0, "fitting": {"epochs": 3}}, "images": {"fingerprint": "a"}}


def test_a_folder_keeps_its_settings_and_refuses_others(tmp_path):
    check_same(tmp_path, FACTS)
    check_same(tmp_path, FACTS)
    others = {**FACTS, "training": {"seed": 0, "fitting": {"epochs": 4}}}
    with pytest.raises(TrainingError, match=r"training.fitting.epochs 3 then and 4 now") as caught:
        check_same(tmp_path, others)
    assert "seed" not in str(caught.value)
    (tmp_path / "sweep.json").write_text("{")
    with pytest.raises(TrainingError, match="--force"):
        check_same(tmp_path, FACTS)


def test_a_folder_of_somebody_else_is_left_alone_even_by_force(tmp_path):
    (tmp_path / "thesis.txt").write_text("all of it")
    for force in (False, True):
        with (
            pytest.raises(TrainingError, match=r"it holds thesis\.txt"),
            _held(tmp_path, FACTS, force),
        ):
            pass
    assert (tmp_path / "thesis.txt").read_text() == "all of it"


def test_what_a_killed_sweep_left_half_done_is_deleted_and_only_that(tmp_path):
    def leave():
        (tmp_path / ".mobilenet_v1_0.5_128.partial-abc").mkdir()
        (tmp_path / ".decoded-abc").mkdir()
        (tmp_path / ".decoded-abc" / "1.ppm").write_bytes(b"a photograph")

    def there():
        return {path.name for path in tmp_path.iterdir() if not path.name.startswith(".lock")}

    kept = {"sweep.json", "mobilenet_v1_0.25_128", "mobilenet_v1_0.5_128.checkpoint"}
    with _held(tmp_path, FACTS, False):
        for name in kept - {"sweep.json"}:
            (tmp_path / name).mkdir()
        leave()  # as a training that is killed does
    assert there() == kept
    with pytest.raises(KeyboardInterrupt), _held(tmp_path, FACTS, False):
        leave()
        raise KeyboardInterrupt
    assert there() == kept
    leave()  # as a sweep that is killed does
    with _held(tmp_path, FACTS, False):
        assert there() == kept
    with _held(tmp_path, {**FACTS, "images": {"fingerprint": "b"}}, True):
        assert not (tmp_path / "mobilenet_v1_0.25_128").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / ".lock").mkdir()
    said = "expected a folder that can be written"
    with pytest.raises(TrainingError, match=said), _held(tmp_path, FACTS, False):
        pass


def test_two_sweeps_do_not_share_a_folder(tmp_path):
    lock = sqlite3.connect(tmp_path / ".lock")
    lock.execute("BEGIN EXCLUSIVE")
    with pytest.raises(TrainingError, match="no other sweep"), _held(tmp_path, FACTS, False):
        pass
    lock.close()
    with _held(tmp_path, FACTS, False):
        pass


def test_auto_compares_nothing():
    with pytest.raises(ValueError, match="auto"):
        SweepSettings(training=TrainSettings(quantize=("auto",)))


def test_the_grid_and_the_limits_may_change_but_not_the_training(tmp_path):
    dataset = load_dataset(draw_folder(tmp_path, {"red": 20, "blue": 20}))
    one = SweepSettings(alphas=(0.25,), training=TrainSettings(alpha=0.25))
    other = SweepSettings(alphas=(0.5, 1.0), limits=Limits(max_size_kb=1))
    assert one.facts(dataset) == other.facts(dataset)
    trained = SweepSettings(training=TrainSettings(quantize=("float32",)))
    assert trained.facts(dataset) != one.facts(dataset)
    assert replace(one, timing=TimingSettings(runs=3)).facts(dataset) == one.facts(dataset)


# ---------------------------------------------------------------- the table


def row(side, mode, right, size_bytes, latency_ms, error=""):
    combination = Combination(choose("mobilenet_v1", 0.25, side))
    if error:
        return Row(combination, mode, None, None, None, error)
    found = answers(right)
    timed = Timed(200, 3000, "tflite_runtime", 1, 250.0, latency_ms, latency_ms + 1, 0.5, None)
    accuracy = Accuracy.of(int(found.sum()), len(found))
    scored = Scored(size_bytes, accuracy, 0.98, found)
    return Row(combination, mode, Path(f"{side}/model_{mode}.tflite"), scored, timed)


BEST = "1" * 18 + "00"
ROWS = (
    row(128, "int8", "0" * 9 + "1" * 9 + "00", 300_000, 4.0),  # 9 images fewer, none more
    row(128, "float32", "1" * 17 + "000", 900_000, 9.0),
    row(160, "int8", BEST, 310_000, 6.0),
    row(160, "float32", "", 0, 0.0, error="no <luck>"),
)


def test_findings():
    found = judge(ROWS, Limits(max_size_kb=305))
    assert found.best == "mobilenet_v1_0.25_160_int8"
    # Of the two comparisons 2 * 2 / 2**9 is multiplied by 2, and 1 stays 1.
    worse = found.against_best["mobilenet_v1_0.25_128_int8"]
    assert (worse.test.only_first, worse.test.only_second) == (9, 0)
    assert worse.adjusted == pytest.approx(2 * 2 / 2**9)
    assert worse.is_real
    alike = found.against_best["mobilenet_v1_0.25_128_float32"]
    assert (alike.test.only_first, alike.adjusted, alike.is_real) == (1, 1.0, False)
    assert len(found.pairs) == 3
    assert found.size_front == ("mobilenet_v1_0.25_128_int8", "mobilenet_v1_0.25_160_int8")
    assert found.latency_front == ("mobilenet_v1_0.25_128_int8", "mobilenet_v1_0.25_160_int8")
    assert [one.name for one in found.recommendations] == [
        "mobilenet_v1_0.25_160_int8",
        "mobilenet_v1_0.25_128_int8",
    ]


def test_other_weights_than_those_asked_for_are_marked_everywhere(tmp_path):
    marked = replace(ROWS[0], weights="rounded/a.h5", substitute=True)
    rows = (marked, *ROWS[1:])
    findings = judge(rows)
    note = "* from the weights of rounded"
    assert [short_name(one, rows) for one in rows[:2]] == ["0.25/128* int8", "0.25/128 float32"]
    facts = {"images": 20, "machine": "here", "created": "", "timed_image": None, "groups": False}
    page = render(rows, findings, facts, "photos")
    assert note in page and ">128*<" in page
    assert f"<!-- {note} -->" in write_plots(rows, findings)["pareto_size.svg"].decode()
    text = sweep_text(SweepResult(tmp_path, rows, findings, "here"))
    assert note in text and "mobilenet_v1_0.25_128_int8*" in text
    records = json.loads(results_json(rows, findings, {}))["rows"]
    assert [one["substitute_weights"] for one in records] == [True, False, False, False]
    assert records[0]["weights"] == "rounded/a.h5"
    plain = render(ROWS, findings, facts, "photos")
    assert "from the weights of" not in plain


def test_findings_of_nothing():
    found = judge(ROWS[-1:])
    assert (found.best, found.recommendations, found.pairs) == (None, (), {})


def test_the_csv_and_the_json_say_the_same():
    findings = judge(ROWS)
    table = list(csv.DictReader(io.StringIO(results_csv(ROWS, findings))))
    data = json.loads(results_json(ROWS, findings, {"machine": "here"}))
    assert list(table[0]) == list(COLUMNS)
    for line, record in zip(table, data["rows"], strict=True):
        for name, value in record.items():
            shown = "" if value is None else str(value).lower() if value is True else str(value)
            assert line[name].lower() == shown.lower()
    assert [line["worse_than_best"] for line in table] == ["true", "false", "", ""]
    assert [line["size_bytes"] for line in table] == ["300000", "900000", "310000", ""]
    assert [line["accuracy"] for line in table] == ["0.45", "0.85", "0.9", ""]
    assert table[3]["error"] == "no <luck>"
    assert data["machine"] == "here"
    assert data["comparisons"][0] == {
        "first": "mobilenet_v1_0.25_128_int8",
        "second": "mobilenet_v1_0.25_128_float32",
        "only_first_right": 1,
        "only_second_right": 9,
        "p": pytest.approx(2 * 11 / 2**10),
    }


def test_plots_are_files_and_lie_about_no_point():
    findings = judge(ROWS)
    files = write_plots(ROWS, findings)
    assert set(files) == {
        f"pareto_{axis}.{suffix}" for axis in ("size", "latency") for suffix in ("png", "svg")
    }
    assert files["pareto_size.png"].startswith(b"\x89PNG")
    assert ElementTree.fromstring(files["pareto_size.svg"]).tag.endswith("svg")
    for plot in page_plots(ROWS, findings).values():
        root = ElementTree.fromstring(plot.svg)
        hits = {one.get("data-row"): one for one in root.iter("circle")}
        assert set(hits) == {"0", "1", "2"}  # the row that failed has no point
        markers = [(float(one.get("x")), float(one.get("y"))) for one in root.iter("use")]
        for hit in hits.values():
            place = float(hit.get("cx")), float(hit.get("cy"))
            assert min(np.hypot(x - place[0], y - place[1]) for x, y in markers) < 0.5
        # More accurate is higher, and dearer further to the right.
        assert float(hits["2"].get("cy")) < float(hits["1"].get("cy")) < float(hits["0"].get("cy"))
        assert float(hits["0"].get("cx")) < float(hits["2"].get("cx")) < float(hits["1"].get("cx"))
        drawn = " ".join(text.text or "" for text in root.iter("text"))
        assert "128 int8" in drawn  # those on the front
        assert "160 int8" in drawn


REPORTED = {
    "images": 60,
    "created": "2026-11-21T12:00:00+00:00",
    "machine": "a machine",
    "timed_image": {"width": 40, "height": 30, "size_bytes": 900},
    "groups": False,
}


def test_the_report_stands_by_itself():
    page = render(ROWS, judge(ROWS, Limits(max_size_kb=305)), REPORTED, "<i>photos</i>")
    assert "<i>photos" not in page
    assert "&lt;i&gt;photos" in page
    assert "no &lt;luck&gt;" in page
    assert all(found.startswith("#") for found in re.findall(r'(?:src|href)="([^"]*)"', page))
    assert not re.search(r"https?://(?!www\.w3\.org)|@import|<link|<img", page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page
    body = re.search(r'<table id="table">.*?<tbody>(.*?)</tbody>', page, re.DOTALL).group(1)
    assert len(re.findall("<tr", body)) == len(ROWS)
    assert body.count("chosen") == 2
    (tips,) = re.findall(r'id="tips">(.*?)</script>', page)
    assert json.loads(tips)["2"][1] == f"accuracy {ROWS[2].scored.accuracy}"
    assert "worse, p 0.0078 (9:0)" in page
    assert "not told apart, p 1 (1:0)" in page


def test_files_that_failed_alike_are_told_together():
    failed = [row(160, mode, "", 0, 0.0, error="no luck") for mode in ("int8", "float16")]
    other = row(192, "int8", "", 0, 0.0, error="no luck")
    assert failures([*ROWS[:3], *failed, other]) == [
        ("mobilenet_v1_0.25_160 int8, float16", "no luck"),
        ("mobilenet_v1_0.25_192 int8", "no luck"),
    ]


def test_a_report_of_failures_alone_says_so():
    page = render(ROWS[-1:], judge(ROWS[-1:]), {**REPORTED, "timed_image": None}, "photos")
    assert "nothing to recommend" in page
    assert "no &lt;luck&gt;" in page


# ---------------------------------------------------------------- decoding once


@pytest.mark.slow
@pytest.mark.tf
def test_shared_bottlenecks_are_those_of_each_backbone_alone(small_backbone, tmp_path, monkeypatch):
    import keras

    import kit.sweep.shared_bottlenecks as shared
    from kit.training.learning import BackboneSource
    from kit.training.weights import find_weights, load_backbone

    dataset = load_dataset(draw_folder(tmp_path / "images", {"red": 6, "blue": 5}, side=70))
    (dataset.root / "red" / "000.png").write_bytes(b"no image")
    dataset = load_dataset(dataset.root)
    choice = small_backbone.choice
    other = load_backbone(choice, find_weights(choice, "none", 3))
    other.save_weights(tmp_path / "other.weights.h5")
    weights = [small_backbone.weights, find_weights(choice, str(tmp_path / "other.weights.h5"))]
    spec = choice.preprocess("pad", "antialias")
    alone = [
        BackboneSource(
            load_backbone(choice, one), choice, one, spec, tmp_path / "alone"
        ).bottlenecks(dataset, Listener())[0]
        for one in weights
    ]
    assert not np.allclose(*(next(iter(vectors.values())) for vectors in alone))
    read, seen = shared.read_image, []

    def counted(path, resolution):
        seen.append(path)
        return read(path, resolution)

    monkeypatch.setattr(shared, "read_image", counted)
    task = shared.SharedTask(
        dataset, tuple((choice, one) for one in weights), spec, tmp_path, tmp_path / "shared"
    )
    shared.share_bottlenecks(task, Listener())
    assert len(seen) == len(set(seen)) == 11
    for one, expected in zip(weights, alone, strict=True):
        listener = Listener()
        source = BackboneSource(keras.Model(), choice, one, spec, tmp_path / "shared")
        found, unreadable = source.bottlenecks(dataset, listener)
        assert found.keys() == expected.keys()
        assert all(np.array_equal(found[digest], expected[digest]) for digest in expected)
        assert list(unreadable) == ["red/000.png"]
    assert not list(tmp_path.glob(".decoded-*"))
    seen.clear()
    shared.share_bottlenecks(task, Listener())
    assert [path.name for path in seen] == ["000.png"]  # nothing else is missing


# ---------------------------------------------------------------- a sweep that trains nothing


class TrainedElsewhere(Processes):
    """An executor that makes run folders at once, or an error for those of alpha 0.5."""

    def run(self, work, tasks, board):
        yield from trained_elsewhere(tasks, board)


def trained_elsewhere(tasks, board):
    for name, task in tasks.items():
        board.begin(name)
        if task.settings.alpha == 0.5:
            yield name, f"{task.images / 'red' / '000.png'}: expected a readable image"
            continue
        dataset = load_dataset(task.images, task.settings.data)
        split = split_dataset(dataset, task.settings.split)
        n = list(split.values()).count("test")
        figures = {
            **{"size_bytes": 4, "correct": n, "n": n, "interval_95": [0.5, 1.0]},
            **{"agreement_with_float32": 1.0, "accuracy": 1.0},
        }
        modes = task.settings.quantize
        record = {
            **{"schema_version": 1, "card": {}, "images": "", "representative_dataset": {}},
            "split": split,
            "metrics": dict.fromkeys(modes, figures),
            "misclassified": {mode: {} for mode in modes},
        }
        task.output.mkdir()
        (task.output / "run.json").write_text(json.dumps(record))
        for mode in modes:
            (task.output / f"model_{mode}.tflite").write_bytes(b"file")
        yield name, ""


class Measured:
    """Instead of a kit.device.benchmark.Benchmark."""

    def __init__(self, image):
        self.image = image

    def to_json(self):
        row = {
            **{"interpreter": "one", "num_threads": 1, "cold_start_ms": 9.0},
            **{"latency_ms": {"median": 2.0, "p95": 3.0}, "invoke_ms": {"median": 1.0}},
            "peak_memory_bytes": None,
        }
        return {
            **{"model": "m", "size_bytes": 4, "machine": machine_kind(), "parameters": 1},
            "image": {"path": str(self.image), "width": 1, "height": 1},
            **{"multiply_adds": 1, "measurements": [row], "best": [row]},
        }


@pytest.fixture
def quick(monkeypatch, tmp_path):
    """Calls `sweep` with nothing trained or measured; gives the result and what was timed."""
    draw_folder(tmp_path / "images", {"red": 20, "blue": 20})
    timed = []

    def measure(file, **asked):
        timed.append(asked)
        if asked["runs"] == 13:
            raise ValueError("expected no 13")
        return Measured(asked["image"])

    def find(choice, *_):
        if choice.alpha == 0.75:
            raise WeightsError("no network")
        return Weights("", "", None)

    monkeypatch.setattr("kit.sweep.run.benchmark", measure)
    monkeypatch.setattr("kit.sweep.run.find_weights", find)
    monkeypatch.setattr("kit.sweep.settings.interpreter_name", lambda: "ai_edge_litert")
    monkeypatch.setattr("kit.sweep.run.write_plots", lambda *_: {})

    def call(**changes):
        timed.clear()
        asked = {"alphas": (0.25,), "training": TrainSettings(weights="elsewhere")}
        settings = SweepSettings(**{**asked, **changes})
        executor = TrainedElsewhere()
        return sweep(tmp_path / "images", tmp_path / "out", settings, executor=executor), timed

    return call


def test_other_groups_or_parts_or_names_are_refused_in_words(quick, tmp_path):
    images = tmp_path / "images"
    paths = [path.relative_to(images).as_posix() for path in sorted(images.rglob("*.png"))]
    table = tmp_path / "table.csv"

    def write(patient, part):
        lines = [
            f"{path},{path.split('/')[0]},{patient(number)},{part(number)}"
            for number, path in enumerate(paths)
        ]
        table.write_text("\n".join(["path,label,patient,part", *lines]))

    def part(number):
        return ("train", "test", "validation")[number % 3]

    data = DataSettings(table, group_column="patient", split_column="part")
    training = TrainSettings(weights="elsewhere", data=data)
    write(lambda number: number, part)
    assert not quick(training=training)[0].failures
    assert not quick(training=training)[0].failures
    others = (lambda number: number % 3, part), (lambda number: number, lambda n: part(n + 1))
    for patient, another in others:
        write(patient, another)
        with pytest.raises(TrainingError, match="other groups, parts or file names"):
            quick(training=training)
    write(lambda number: number, part)
    (images / paths[1]).rename(images / "blue" / "renamed.png")
    paths[1] = "blue/renamed.png"
    write(lambda number: number, part)
    with pytest.raises(TrainingError, match="file names"):
        quick(training=training)


def test_a_run_on_files_that_are_gone_is_a_row_with_an_error(quick, tmp_path):
    quick()
    path = tmp_path / "out" / "mobilenet_v1_0.25_224" / "run.json"
    record = json.loads(path.read_text())
    record["split"]["red/gone.png"] = "test"
    path.write_text(json.dumps(record))
    (failed,) = quick()[0].failures
    assert "some of its own are not" in failed.error


def test_of_different_splits_that_of_the_most_runs_counts(quick, tmp_path):
    grid = {"alphas": (0.25, 1.0), "input_resolutions": (224, 128)}
    quick(**grid)
    path = tmp_path / "out" / "mobilenet_v1_0.25_224" / "run.json"
    record = json.loads(path.read_text())
    record["split"].popitem()
    path.write_text(json.dumps(record))
    (failed,) = quick(**grid)[0].failures
    assert "same split" in failed.error and str(path.parent) in failed.error


def test_no_sweep_goes_among_the_images(tmp_path):
    images = draw_folder(tmp_path / "images", {"red": 20, "blue": 20})
    with pytest.raises(OutputExistsError, match="taken for images there"):
        sweep(images, images / "sweep", SweepSettings(alphas=(0.25,)))
    assert not (images / "sweep").exists()


def test_a_terminal_shows_names_that_are_no_text_and_a_grid_of_nothing(monkeypatch):
    reader, writer = os.openpty()
    monkeypatch.setattr(sys, "stderr", os.fdopen(writer, "w", encoding="utf-8"))
    with TableReporter() as reporter:
        reporter.progress(Progress((), None))
        reporter.warn("a file caf\udce9.jpg")
    assert b"caf\\udce9.jpg" in os.read(reader, 100_000)
    sys.stderr.close()
    os.close(reader)


def test_other_timing_settings_redo_the_timing_alone(quick, tmp_path):
    assert len(quick()[1]) == 1
    assert quick()[1] == []
    again, timed = quick(timing=TimingSettings(runs=7))
    assert [asked["runs"] for asked in timed] == [7]
    assert timed[0]["interpreter"] == "ai_edge_litert"
    assert not again.failures
    assert quick(timing=TimingSettings(runs=7))[1] == []
    (failed,) = quick(timing=TimingSettings(runs=13))[0].failures
    assert (failed.error, failed.timed) == ("expected no 13", None)
    (kept,) = (tmp_path / "out" / "timings").iterdir()
    assert json.loads(kept.read_text())["settings"]["runs"] == 7
    assert "path" not in json.loads(kept.read_text())["image"]


def test_mistakes_of_timing_are_told_before_anything_is_trained(quick, tmp_path, monkeypatch):
    monkeypatch.setattr("kit.sweep.settings.find_spec", lambda name: None)
    (tmp_path / "notes.txt").write_text("no image")
    for name in ("absent.jpg", "notes.txt"):
        with pytest.raises(ImageError, match=name):
            quick(timing=TimingSettings(image=tmp_path / name))
    with pytest.raises(MissingDependencyError, match="pip install tflite-runtime"):
        quick(timing=TimingSettings(interpreter="tflite_runtime"))
    assert not (tmp_path / "out").exists()
    for wrong in ({"runs": 10**6 + 1}, {"threads": 257}, {"runs": 0}, {"interpreter": "another"}):
        with pytest.raises(ValueError, match="expected"):
            TimingSettings(**wrong)


def test_what_is_left_out_on_request_is_no_failure(quick, tmp_path, monkeypatch):
    asked = {
        "backbones": ("mobilenet_v1", "mobilenet_v3_small"),
        "alphas": (0.25, 0.75, 1.0),
        "training": TrainSettings(weights="elsewhere", quantize=("int8", "int16x8")),
        "skip_missing": True,
    }
    result, _ = quick(**asked)
    assert result.failures == ()
    assert {row.name.removeprefix("mobilenet_") for row in result.rows if row.skipped} == {
        "v1_0.75_224_int8",
        "v1_0.75_224_int16x8",
        "v3_small_0.75_224_int8",
        "v3_small_0.75_224_int16x8",
        "v3_small_1_224_int16x8",
    }
    monkeypatch.setattr("kit.sweep.sweep", lambda *_, **__: result)
    shown = kit("sweep", "photos", "--output", tmp_path / "out")
    assert shown.exit_code == 0
    assert (
        "mobilenet_v1_0.75_224 int8, int16x8: left out: no weights mobilenet_7_5_224_tf_no_top.h5"
        in shown.stdout
    )
    assert "failed" not in shown.stdout
    page = (tmp_path / "out" / "report.html").read_text("utf-8")
    assert "<b>mobilenet_v1_0.75_224 int8, int16x8</b>: left out: no weights mobilenet_7_5" in page
    nothing = replace(result, rows=result.rows[-1:], findings=judge(result.rows[-1:]))
    monkeypatch.setattr("kit.sweep.sweep", lambda *_, **__: nothing)
    assert kit("sweep", "photos", "--output", tmp_path / "out").exit_code == 1


def test_results_do_not_say_where_the_photographs_lie(quick, tmp_path):
    (failed,) = quick(alphas=(0.25, 0.5))[0].failures
    assert failed.error == "images/red/000.png: expected a readable image"
    for name in ("results.csv", "results.json", "report.html"):
        text = (tmp_path / "out" / name).read_text("utf-8")
        assert failed.error in text
        assert str(tmp_path) not in text


# ---------------------------------------------------------------- a whole sweep


def settings_of(small_backbone, **changes):
    training = TrainSettings(
        weights=str(small_backbone.weights.path),
        quantize=("int8", "float32"),
        split=SplitSettings(0.2, 0.2, 0),
        fitting=FitSettings(epochs=2, learning_rate=0.01, batch_size=16),
        representative_images=10,
    )
    asked = {
        "alphas": (0.25, 0.5),  # the weights are those of 0.25: the other fails
        "input_resolutions": (SIDE,),
        "training": training,
        "timing": TimingSettings(runs=2),
    }
    return SweepSettings(**{**asked, **changes})


@pytest.fixture(scope="module")
def finished_sweep(small_backbone, tmp_path_factory):
    base = tmp_path_factory.mktemp("sweep")
    images = draw_folder(base / "images", {"red": 30, "green": 30, "blue": 30}, seed=5)
    watching = Watching()
    settings = settings_of(small_backbone)
    result = sweep(images, base / "out", settings, cache=base / "cache", reporter=watching)
    return base, settings, result, watching


def state_of(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and path.parent != folder
    }


@pytest.mark.tf
@pytest.mark.slow
def test_a_failure_is_a_row_and_the_others_are_complete(finished_sweep):
    base, _, result, watching = finished_sweep
    names = [one.name for one in result.rows]
    assert names == [
        f"mobilenet_v1_{alpha}_{SIDE}_{mode}"
        for alpha in (0.25, 0.5)
        for mode in ("int8", "float32")
    ]
    for failed in result.rows[2:]:
        assert "expected weights of mobilenet_v1 at alpha 0.5" in failed.error
        assert (failed.scored, failed.timed) == (None, None)
    assert result.failures == result.rows[2:]
    record = read_run(base / "out" / f"mobilenet_v1_0.25_{SIDE}")
    for made in result.rows[:2]:
        path = base / "out" / made.file
        assert made.scored.size_bytes == path.stat().st_size
        assert made.scored.accuracy.correct == made.scored.right.sum()
        assert made.scored.accuracy.n == list(record["split"].values()).count("test")
        assert made.timed.latency_ms <= made.timed.latency_p95_ms
        assert made.timed.invoke_ms < made.timed.latency_ms < made.timed.cold_start_ms
    assert watching.states == {
        f"mobilenet_v1_0.25_{SIDE}": DONE,
        f"mobilenet_v1_0.25_{SIDE}, latency": DONE,
        f"mobilenet_v1_0.5_{SIDE}": FAILED,
        f"mobilenet_v1_0.5_{SIDE}, latency": FAILED,
    }
    # One process does the bottlenecks of both, and one's failure costs the other nothing.
    assert any("decodes the photographs by itself" in line for line in watching.warned)
    written = json.loads((base / "out" / "results.json").read_text("utf-8"))
    assert [one["name"] for one in written["rows"]] == names
    assert "path" not in written["timed_image"]
    assert "000.png" not in (base / "out" / "results.json").read_text("utf-8")
    for name in ("results.csv", "report.html", "pareto_size.png", "pareto_latency.svg"):
        assert (base / "out" / name).stat().st_size > 0


@pytest.mark.tf
@pytest.mark.slow
def test_the_record_of_a_run_has_every_wrong_answer_of_each_file(finished_sweep):
    from kit.evaluation.evaluate import score_files, truth_of
    from kit.runtime import Classifier

    base, _, result, _ = finished_sweep
    record = read_run(base / "out" / f"mobilenet_v1_0.25_{SIDE}")
    dataset = load_dataset(base / "images")
    paths = sorted(path for path, part in record["split"].items() if part == "test")
    for made in result.rows[:2]:
        with Classifier.open(base / "out" / made.file) as classifier:
            scores, _ = score_files(classifier, dataset.root, paths)
        expected = scores.argmax(axis=1) == truth_of(dataset, paths)
        assert np.array_equal(made.scored.right, expected)
        assert len(record["misclassified"][made.quantization]) == (~expected).sum()


@pytest.mark.tf
@pytest.mark.slow
def test_what_is_finished_is_kept_and_the_grid_may_grow(finished_sweep, tmp_path):
    base, settings, before, _ = finished_sweep
    out = tmp_path / "out"
    shutil.copytree(base / "out", out)
    kept = state_of(out)
    watching = Watching()
    grown = replace(settings, alphas=(0.25,), input_resolutions=(SIDE, 48), limits=Limits(1))
    result = sweep(base / "images", out, grown, cache=base / "cache", reporter=watching)
    assert watching.states == {
        f"mobilenet_v1_0.25_{SIDE}": KEPT,
        f"mobilenet_v1_0.25_{SIDE}, latency": DONE,
        "mobilenet_v1_0.25_48": DONE,
        "mobilenet_v1_0.25_48, latency": DONE,
    }
    after = state_of(out)
    assert {name: after[name] for name in kept} == kept
    assert result.rows[:2] == before.rows[:2]
    assert len(result.rows) == 4
    assert not result.failures
    assert result.findings.recommendations[1].name is None  # nothing has 1 kB
    others = replace(settings, training=replace(settings.training, quantize=("int8",)))
    with pytest.raises(TrainingError, match="quantize"):
        sweep(base / "images", out, others, cache=base / "cache")
    draw_folder(base / "more", {"red": 31, "green": 30, "blue": 30}, seed=5)
    with pytest.raises(TrainingError, match=r"images\.fingerprint"):
        sweep(base / "more", out, settings, cache=base / "cache")


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_a_sweep_that_is_killed_goes_on(small_backbone, tmp_path):
    images = draw_folder(tmp_path / "images", {"red": 20, "blue": 20}, seed=6)
    out = tmp_path / "out"
    arguments = [
        *("sweep", images, "--output", out, "--weights", small_backbone.weights.path),
        *("--alpha", "0.25", "--input-resolution", f"{SIDE},48", "--epochs", "1"),
        *("--validation", "0.3", "--test", "0.3", "--runs", "2"),
    ]
    command = [sys.executable, "-c", "from kit.cli import main; main()", *map(str, arguments)]
    own = {**os.environ, "KIT_CACHE_DIR": str(tmp_path / "cache")}
    names = [f"mobilenet_v1_0.25_{side}" for side in (SIDE, 48)]
    first = subprocess.Popen(command, env=own)
    try:
        until(lambda: first.poll() is not None or (out / names[0]).exists())
        time.sleep(3)  # well into the next
    finally:
        first.kill()
        first.wait()
    assert not (out / names[1]).exists()
    kept = state_of(out)
    assert f"{names[0]}/run.json" in kept
    second = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert f"{names[0]}:" not in second.stderr  # it was not trained again
    assert f"{names[1]}:" in second.stderr
    after = state_of(out)
    assert {name: after[name] for name in kept if ".partial-" not in name} == {
        name: changed for name, changed in kept.items() if ".partial-" not in name
    }
    assert not [path for path in out.iterdir() if ".partial-" in path.name]
    rows = json.loads((out / "results.json").read_text("utf-8"))["rows"]
    assert [one["error"] for one in rows] == [None, None]


# ---------------------------------------------------------------- the command


@pytest.fixture
def called(monkeypatch):
    """What the command calls `sweep` with."""
    found = {}

    def instead(images, output, settings, **others):
        found.update(images=images, output=output, settings=settings, **others)
        raise TrainingError("not today")

    monkeypatch.setattr("kit.sweep.sweep", instead)
    monkeypatch.delenv("KIT_DEBUG", raising=False)
    return found


def kit(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_lists_are_given_with_commas_or_again(called):
    result = kit(
        *("sweep", "photos", "--output", "out", "--backbone", "mobilenet_v1, mobilenet_v2"),
        *(
            "--alpha",
            "0.25,0.5",
            "--alpha",
            "0.35",
            "--alpha",
            "0.5",
            "--input-resolution",
            "96,128",
        ),
        *("--quantize", "int8", "--quantize", "float16,float32", "--recipe", "best"),
        *("--jobs", 2, "--max-size-kb", 500, "--seed", 4, "--fine-tune-epochs", 3),
    )
    assert (result.exit_code, result.stderr) == (1, "kit: not today\n")
    settings = called["settings"]
    assert settings.backbones == ("mobilenet_v1", "mobilenet_v2")
    assert settings.alphas == (0.25, 0.5, 0.35)
    assert settings.input_resolutions == (96, 128)
    training = settings.training
    assert training.quantize == ("int8", "float16", "float32")
    assert (training.augment, training.fine_tune.layers) == ("photo", "most")
    assert training.fine_tune.fitting.epochs == 3
    assert {training.split.seed, training.fitting.seed, training.fine_tune.fitting.seed} == {4}
    assert settings.limits == Limits(max_size_kb=500)
    assert called["executor"] == Processes(2)


def test_what_is_not_said_has_its_default(called):
    kit("sweep", "photos", "--output", "out")
    settings = called["settings"]
    assert (settings.backbones, settings.alphas) == (("mobilenet_v1",), ())
    assert settings.training.quantize == ("int8",)
    assert settings.training.fine_tune.layers == "none"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--alpha", "0.25,wide"), "each a number, got '0.25, wide'"),
        (("--input-resolution", "128,"), "each a whole number"),
        (("--quantize", "int8,int9"), "int9"),
        (("--quantize", "auto"), "auto"),
        (("--min-accuracy", "90"), "min_accuracy from 0 to 1"),
        (("--alpha", "0.3"), "got 0.3"),
        (("--threads", "999"), "1 to 256 threads, got 999"),
    ],
)
def test_mistakes_are_told_in_one_line(tmp_path, arguments, said):
    result = kit("sweep", tmp_path, "--output", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_combinations_without_weights_are_named_before_anything_starts(tmp_path, monkeypatch):
    def offline(choice):
        raise WeightsError("no network")

    weights = tmp_path / "weights"
    weights.mkdir()
    monkeypatch.setattr("kit.training.weights._download", offline)
    monkeypatch.setenv("KIT_WEIGHTS_DIR", str(weights))
    (weights / choose("mobilenet_v1", 0.25, 128).weights_names[1]).write_bytes(b"here")
    images = draw_folder(tmp_path / "images", {"red": 20, "blue": 20})
    asked = ("sweep", images, "--output", tmp_path / "out", "--alpha", "0.25,0.5")
    result = kit(*asked, "--input-resolution", "128,160")
    assert result.exit_code == 1
    assert (
        "3 of 4 have none: mobilenet_v1_0.25_160, mobilenet_v1_0.5_128, mobilenet_v1_0.5_160 "
        "(no network): fetch them" in result.stderr
    )
    assert "--weights none" in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_results_are_printed_and_a_failure_is_an_exit_status(tmp_path, monkeypatch):
    findings = judge(ROWS, Limits(max_size_kb=305))
    result = SweepResult(tmp_path, ROWS, findings, "a machine")
    (tmp_path / "results.json").write_text(results_json(ROWS, findings, {}), "utf-8")
    monkeypatch.setattr("kit.sweep.sweep", lambda *_, **__: result)
    shown = kit("sweep", "photos", "--output", tmp_path)
    assert shown.exit_code == 1
    lines = shown.stdout.splitlines()
    assert lines[1].startswith("mobilenet_v1_0.25_128_int8 ")
    assert "0.4500 (" in lines[1]
    assert "worse, p 0.0078" in lines[1]
    assert "the best" in lines[3]
    assert "most accurate with at most 305 kB: mobilenet_v1_0.25_128_int8 (300 kB" in shown.stdout
    assert "mobilenet_v1_0.25_160 float32: failed: no <luck>" in shown.stdout
    as_json = kit("sweep", "photos", "--output", tmp_path, "--format", "json")
    assert [one["name"] for one in json.loads(as_json.stdout)["rows"]] == [one.name for one in ROWS]
    sound = replace(result, rows=ROWS[:3])
    monkeypatch.setattr("kit.sweep.sweep", lambda *_, **__: sound)
    assert kit("sweep", "photos", "--output", tmp_path).exit_code == 0
