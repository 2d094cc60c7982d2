"""`kit benchmark`: what is measured, by what, and what becomes of it. No time is asserted."""

import json
import os
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from kit.choices import INTERPRETERS
from kit.cli.app import app
from kit.device import benchmark as module
from kit.device.benchmark import (
    Benchmark,
    Measurement,
    Photograph,
    Timing,
    benchmark,
    benchmark_text,
    draw_photograph,
    write_hints,
)
from kit.device.command import main
from kit.errors import (
    ImageError,
    InferenceError,
    MissingDependencyError,
    ModelFileError,
    SpecError,
)
from kit.model.cost import Cost, count_file
from kit.model.model_file import read_model_file, with_card_fields
from kit.model.spec import Hints, ModelCard, ThreadHint
from kit.runtime import Classifier, classifier, interpreter, machine
from kit.runtime.interpreter import Runner
from kit.runtime.parallel import default_threads, usable_cores
from kit.runtime.self_test import self_test

PACKAGED = "red_green_blue_int8.tflite"
PLAIN = "plain_float32.tflite"
FOREIGN = {"labels": ("a", "b", "c"), "mean": (127.5,), "std": (127.5,)}
INSTALLED = tuple(
    name
    for name in INTERPRETERS
    if find_spec(name) and (name == "ai_edge_litert" or np.__version__.startswith("1."))
)
FIRST = INSTALLED[0]


@pytest.fixture(autouse=True)
def no_choice_of_interpreter(monkeypatch):
    monkeypatch.delenv("KIT_INTERPRETER", raising=False)


@pytest.fixture(scope="module")
def measured(data):
    """One real benchmark, and the lines of progress."""
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("KIT_INTERPRETER", raising=False)
        result = benchmark(data / PACKAGED, most_threads=2, runs=4, warm_ups=2, say=said.append)
    return result, said


def row(interpreter, num_threads, latency_ms):
    stages = dict.fromkeys(
        ("decode", "preprocess", "invoke"), Timing(latency_ms / 3, latency_ms, 4)
    )
    timing = Timing(latency_ms, latency_ms, 4)
    return Measurement(interpreter, "", num_threads, 1, 2, 3, timing, stages, None)


def made_of(*rows, unavailable=None):
    image = Photograph(None, 8, 6, 100)
    return Benchmark("m", 1, Cost(1, 2, 3), "here", image, 5, rows, unavailable or {})


def test_every_interpreter_with_every_number_of_threads(measured):
    result, said = measured
    found = [(row.interpreter, row.num_threads) for row in result.measurements]
    assert found == [(name, threads) for name in INSTALLED for threads in (1, 2)]
    assert set(result.unavailable) == {n for n in INTERPRETERS if find_spec(n)} - set(INSTALLED)
    assert len(said) == len(found) + 2 * len(result.unavailable)


def test_what_a_measurement_says(measured, data):
    result, _ = measured
    for row in result.measurements:
        assert row.version[0].isdigit()
        assert min(row.import_ms, row.load_ms, row.first_ms) > 0
        assert row.cold_start_ms == row.import_ms + row.load_ms + row.first_ms
        assert list(row.stages) == ["decode", "preprocess", "invoke"]
        for timing in (row.latency, *row.stages.values()):
            assert timing.n == 4
            assert 0 < timing.median_ms <= timing.p95_ms
        assert sum(row.shares.values()) == pytest.approx(1)
        assert max(row.stages[name].median_ms for name in row.stages) <= row.latency.median_ms
    assert (result.warm_ups, result.size_bytes) == (2, (data / PACKAGED).stat().st_size)
    assert result.cost == count_file(data / PACKAGED)
    assert result.machine == machine.machine_kind()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it so")
def test_memory_is_of_the_measured_process_alone(measured):
    result, _ = measured
    ballast = np.ones(300 << 20, np.uint8)  # of this process, which a child must not inherit
    again = benchmark(result.model, most_threads=1, runs=1, warm_ups=0, interpreter=FIRST)
    for row in (*result.measurements, *again.measurements):
        # Python and numpy alone need some megabytes; the model is of some kilobytes.
        assert 10e6 < row.peak_memory_bytes < ballast.nbytes


def test_an_image_is_drawn_unless_one_is_given(measured, data, photos):
    result, _ = measured
    drawn = result.image
    assert (drawn.path, drawn.width, drawn.height) == (None, *module.DRAWN_SIZE)
    assert drawn.size_bytes > 100_000
    given = str(photos / "red.png")
    options = {"most_threads": 1, "runs": 1, "warm_ups": 0, "interpreter": FIRST}
    found = benchmark(data / PACKAGED, image=given, **options)
    assert found.image == Photograph(given, 32, 24, (photos / "red.png").stat().st_size)
    (photos / "bad.jpg").write_text("no image")
    with pytest.raises(ImageError, match=r"bad\.jpg: expected an image"):
        benchmark(data / PACKAGED, image=photos / "bad.jpg", **options)


def test_the_drawn_image_is_the_same_every_time():
    pixels = draw_photograph(40, 30)
    assert pixels.shape == (30, 40, 3) and pixels.dtype == np.uint8
    assert (pixels == draw_photograph(40, 30)).all()
    assert pixels.std() > 20  # not one grey area, which would be decoded in no time


def test_timing_by_hand():
    timing = Timing.of([4, 1, 2, 3, 1000])
    # The 95th percentile lies 0.8 of the way from the fourth to the fifth of five values.
    assert timing == Timing(3, pytest.approx(4 + 0.8 * 996), 5)


@pytest.mark.parametrize(
    "latencies, best",
    [
        ((100, 60, 40, 41), 3),
        ((100, 60, 42, 40.1), 3),  # within 5 % of the least: as likely noise
        ((41, 40, 40, 40), 1),
        ((10, 20, 30, 40), 1),
    ],
)
def test_the_fewest_threads_that_are_fast(latencies, best):
    rows = [row("tflite_runtime", i, latency) for i, latency in enumerate(latencies, 1)]
    result = made_of(row("ai_edge_litert", 1, 7), *rows)
    assert result.hints() == (
        ThreadHint("here", "ai_edge_litert", 1, 7),
        ThreadHint("here", "tflite_runtime", best, latencies[best - 1]),
    )


def test_text_and_json(measured):
    result, _ = measured
    data = json.loads(json.dumps(result.to_json()))
    assert {
        "model",
        "size_bytes",
        "multiply_adds",
        "parameters",
        "machine",
        "image",
        "best",
    } <= set(data)
    first = data["measurements"][0]
    assert first["interpreter"] == FIRST and first["latency_ms"]["n"] == 4
    assert first["decode_ms"]["p95"] >= first["decode_ms"]["median"]
    assert [best["interpreter"] for best in data["best"]] == list(INSTALLED)
    lines = benchmark_text(result).splitlines()
    table = [line for line in lines if line.startswith(INTERPRETERS)]
    assert len(table) == len(result.measurements)
    assert lines[-1 - len(result.unavailable)].startswith("best: ")
    said = benchmark_text(made_of(row("x", 1, 2), unavailable={"y": "too old"}))
    assert "not told" in said and said.endswith("y: not measured: too old")


def test_one_interpreter_is_asked_for(data, monkeypatch):
    options = {"most_threads": 1, "runs": 1, "warm_ups": 0}
    for name in INSTALLED:
        found = benchmark(data / PACKAGED, interpreter=name, **options)
        assert [row.interpreter for row in found.measurements] == [name]
    monkeypatch.setenv("KIT_INTERPRETER", FIRST)
    assert {row.interpreter for row in benchmark(data / PACKAGED, **options).measurements} == {
        FIRST
    }
    with pytest.raises(ValueError, match="expected an interpreter of ai_edge_litert"):
        benchmark(data / PACKAGED, interpreter="onnx", **options)


def test_the_variable_that_names_an_interpreter(monkeypatch):
    for name in INSTALLED:
        # In a process of its own: two interpreters in one may disturb each other.
        code = "from kit.runtime.interpreter import interpreter_name; print(interpreter_name())"
        environment = {**os.environ, "KIT_INTERPRETER": name}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == name
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setenv("KIT_INTERPRETER", "ai_edge_litert")
    with pytest.raises(MissingDependencyError, match=r"as KIT_INTERPRETER says.*pip install"):
        interpreter.interpreter_name()
    monkeypatch.setenv("KIT_INTERPRETER", "onnx")
    with pytest.raises(ValueError, match=r"KIT_INTERPRETER to be one of .*got 'onnx'"):
        Runner("model.tflite")


def test_an_interpreter_that_fails_does_not_end_it(data, monkeypatch):
    monkeypatch.setattr(module, "_interpreters", lambda asked: INTERPRETERS)

    def measure(name, num_threads, *rest):
        if name == INTERPRETERS[1] and num_threads == 2:
            raise InferenceError("expected another model")
        return row(name, num_threads, 1)

    monkeypatch.setattr(module, "_measure", measure)
    result = benchmark(data / PACKAGED, most_threads=2)
    # What it did with one thread alone is no benchmark of it.
    assert [r.interpreter for r in result.measurements] == [INTERPRETERS[0]] * 2
    assert result.unavailable == {INTERPRETERS[1]: "expected another model"}
    monkeypatch.setattr(module, "_interpreters", lambda asked: INTERPRETERS[1:2])
    with pytest.raises(InferenceError, match="expected another model"):
        benchmark(data / PACKAGED, most_threads=2)


@pytest.mark.parametrize(
    "code, message",
    [
        ("import os; os.abort()", "it crashes with signal 6"),
        ("raise SystemExit('no such library')", "it fails: no such library"),
        ('print(\'{"error": "expected a newer runtime"}\')', "expected a newer runtime"),
    ],
)
def test_processes_that_go_wrong(data, monkeypatch, code, message):
    monkeypatch.setattr(module, "_CHILD", code)
    with pytest.raises(InferenceError, match=message) as raised:
        benchmark(data / PACKAGED, most_threads=1, interpreter=FIRST)
    assert str(raised.value).startswith(str(data / PACKAGED))


def test_nothing_heavy_is_measured_along(data, photos):
    request = {
        "model": str(data / PACKAGED),
        "image": str(photos / "red.png"),
        "preprocess": read_model_file(data / PACKAGED).card.preprocess.to_json(),
        "num_threads": 1,
        "images": 2,
    }
    code = (
        "import json, sys\n"
        "from kit.device.benchmark import measure_here\n"
        "found = json.loads(measure_here(sys.argv[1], 0))\n"
        "heavy = {'tensorflow', 'keras', 'typer', 'rich', 'sklearn', 'scipy'}\n"
        "print(json.dumps([len(found['images']), sorted(heavy & set(sys.modules))]))"
    )
    command = [sys.executable, "-c", code, json.dumps(request)]
    environment = {**os.environ, "KIT_INTERPRETER": FIRST}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    images, heavy = json.loads(done.stdout)
    assert images == 2
    assert heavy == []


@pytest.mark.parametrize(
    "options",
    [{"most_threads": 0}, {"runs": 0}, {"warm_ups": -1}, {"most_threads": 10**6}],
    ids=str,
)
def test_impossible_arguments(data, options):
    with pytest.raises(ValueError, match="expected"):
        benchmark(data / PACKAGED, **options)


def test_files_of_others(data):
    with pytest.raises(ModelFileError, match="--labels FILE"):
        benchmark(data / PLAIN)
    with pytest.raises(ModelFileError, match=r"expected a card to store .* kit package"):
        benchmark(data / PLAIN, write=True, **FOREIGN)
    options = {"most_threads": 1, "runs": 1, "warm_ups": 0, "interpreter": FIRST}
    assert len(benchmark(data / PLAIN, **options, **FOREIGN).measurements) == 1


# What is stored, and what becomes of it.


def parts(path):
    """The flatbuffer, and each appended file."""
    with zipfile.ZipFile(path) as archive:
        start = min(info.header_offset for info in archive.infolist())
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    return path.read_bytes()[:start], files


def hint(num_threads=1, machine="here", name="ai_edge_litert"):
    return ThreadHint(machine, name, num_threads, 12.5)


def test_hints_are_written_and_nothing_else_changes(data, repackage):
    with zipfile.ZipFile(data / PACKAGED) as archive:
        card = json.loads(archive.read("kit.json"))
    path = repackage(PACKAGED, {"kit.json": json.dumps({**card, "later": [1]})})
    before, files = parts(path)
    write_hints(path, [hint(2), hint(3, name="tflite_runtime")])
    after, files_after = parts(path)
    assert before == after
    assert {**files, "kit.json": b""} == {**files_after, "kit.json": b""}
    stored = json.loads(files_after["kit.json"])
    assert stored.pop("hints") == {
        "threads": [
            {"machine": "here", "interpreter": name, "num_threads": n, "latency_ms": 12.5}
            for name, n in (("ai_edge_litert", 2), ("tflite_runtime", 3))
        ]
    }
    # Also what this kit does not know of.
    assert stored == {k: v for k, v in {**card, "later": [1]}.items() if k != "hints"}
    with Classifier.open(path) as opened:
        assert all(result.passed for result in self_test(opened))
    assert list(path.parent.glob(".*partial*")) == []


def test_a_new_hint_takes_the_place_of_its_like(model):
    write_hints(model, [hint(2), hint(4, machine="elsewhere")])
    write_hints(model, [hint(1)])
    hints = read_model_file(model).card.hints
    assert hints == Hints((hint(4, machine="elsewhere"), hint(1)))
    assert hints.num_threads("here", "ai_edge_litert") == 1
    assert hints.num_threads("elsewhere", "ai_edge_litert") == 4
    assert hints.num_threads("here", "tflite_runtime") is None


def test_a_link_stays_one(model, tmp_path):
    link = tmp_path / "link.tflite"
    link.symlink_to(model)
    write_hints(link, [hint(2)])
    assert link.is_symlink() and read_model_file(model).card.hints.threads == (hint(2),)


def test_hints_need_a_card(data, tmp_path):
    path = tmp_path / PLAIN
    path.write_bytes((data / PLAIN).read_bytes())
    with pytest.raises(ModelFileError, match="expected a card"):
        write_hints(path, [hint()])
    assert path.read_bytes() == (data / PLAIN).read_bytes()


def test_the_benchmark_writes_what_it_found(model):
    options = {"most_threads": 2, "runs": 2, "warm_ups": 0, "interpreter": FIRST}
    result = benchmark(model, write=True, **options)
    assert read_model_file(model).card.hints.threads == result.hints()
    assert result.hints()[0].machine == machine.machine_kind()


@pytest.mark.parametrize(
    "threads",
    [
        "many",
        [{"machine": "x", "interpreter": "y", "num_threads": 0, "latency_ms": 1}],
        [{"machine": "x", "interpreter": "y", "num_threads": 10**6, "latency_ms": 1}],
        [{"machine": "x", "interpreter": "y", "num_threads": 2, "latency_ms": "fast"}],
        [{"machine": "x", "num_threads": 2, "latency_ms": 1}],
    ],
    ids=["no list", "no thread", "too many", "no number", "no interpreter"],
)
def test_hints_that_are_none(model, threads):
    with pytest.raises(SpecError):
        with_card_fields(model.read_bytes(), {"hints": {"threads": threads}})


def test_hints_go_through_json():
    hints = Hints((hint(2), hint(3, "elsewhere")))
    assert Hints.from_json(json.loads(json.dumps(hints.to_json()))) == hints
    assert Hints.from_json({}) == Hints()


@pytest.fixture
def threads_used(monkeypatch):
    """How many threads each interpreter was built with."""
    used = []

    class Recording(Runner):
        def __init__(self, file, num_threads=1, **options):
            used.append(num_threads)
            super().__init__(file, num_threads, **options)

    monkeypatch.setattr(classifier, "Runner", Recording)
    return used


def test_the_runtime_follows_a_hint_on_the_same_kind_of_machine(model, threads_used):
    asked = default_threads() + 1  # what nobody would take by default
    here = hint(asked, machine.machine_kind(), interpreter.interpreter_name())
    write_hints(model, [hint(7, "elsewhere", here.interpreter), here])
    Classifier.open(model).close()
    Classifier.open(model, num_threads=1).close()
    assert threads_used == [asked, 1]


@pytest.mark.parametrize("differing", ["machine", "interpreter"])
def test_and_on_no_other(model, threads_used, differing):
    same = {"machine": machine.machine_kind(), "name": interpreter.interpreter_name()}
    other = {"machine": {"machine": "elsewhere"}, "interpreter": {"name": "another"}}[differing]
    write_hints(model, [hint(default_threads() + 1, **{**same, **other})])
    Classifier.open(model).close()
    assert threads_used == [default_threads()]


def test_a_folder_still_takes_all_cores(model, photos, threads_used, monkeypatch):
    write_hints(model, [hint(1, machine.machine_kind(), interpreter.interpreter_name())])
    workers = []
    real = classifier.ordered_map

    def recording(work, items, num_threads):
        workers.append(num_threads)
        return real(work, items, num_threads)

    monkeypatch.setattr(classifier, "ordered_map", recording)
    with Classifier.open(model) as opened:
        assert len(list(opened.classify_files(sorted(photos.iterdir())))) == 3
    assert workers == [default_threads()]
    assert set(threads_used) == {1}


@pytest.mark.parametrize(
    "board, processor, wanted",
    [
        ("Raspberry Pi 4 Model B Rev 1.4\0", "model name : ARMv7\n", "Raspberry Pi 4 Model B"),
        ("", "processor : 0\nmodel name\t: AMD EPYC 7B13 \nmodel\t: 1\n", "AMD EPYC 7B13"),
        ("", "processor : 0\nBogoMIPS : 108.00\n", "Linux"),
    ],
)
def test_the_kind_of_machine(monkeypatch, board, processor, wanted):
    texts = {machine._BOARD: board, machine._PROCESSOR: processor}
    monkeypatch.setattr(machine, "_read", texts.__getitem__)
    monkeypatch.setattr(machine.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(machine.platform, "system", lambda: "Linux")
    assert machine.machine_kind() == f"aarch64, {wanted}, {usable_cores()} cores"


# The commands.


def test_kit_benchmark(model, photos):
    image = str(photos / "red.png")
    options = ["--threads", "1", "--runs", "3", "--warmup", "1", "--interpreter", FIRST]
    arguments = ["benchmark", str(model), "--image", image, *options, "--write"]
    shown = CliRunner().invoke(app, [*arguments, "--format", "json"])
    assert shown.exit_code == 0, shown.stderr
    data = json.loads(shown.stdout)
    assert data["image"]["path"] == image and data["warm_ups"] == 1
    assert [row["latency_ms"]["n"] for row in data["measurements"]] == [3]
    assert shown.stderr.splitlines() == [f"{FIRST}, 1 thread: 3 images"]
    assert read_model_file(model).card.hints.threads[0].interpreter == FIRST
    assert CliRunner().invoke(app, ["benchmark", str(model), "--runs", "0"]).exit_code == 2


def test_the_device_command(model, photos, capsys, monkeypatch):
    monkeypatch.setenv("KIT_INTERPRETER", FIRST)
    monkeypatch.setattr(module, "RUNS", 50)
    arguments = [str(model), str(photos / "red.png"), "--benchmark", "--num-threads", "1"]
    assert main([*arguments, "--write", "--format", "json"]) == 0
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert [row["latency_ms"]["n"] for row in data["measurements"]] == [50]
    assert data["warm_ups"] == 5
    assert err == f"{FIRST}, 1 thread: 50 images\n"
    card = read_model_file(model).card
    assert isinstance(card, ModelCard) and len(card.hints.threads) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--benchmark", "a.png", "b.png"],
        ["--benchmark", "--format", "csv"],
        ["--benchmark", "--self-test"],
        ["a.png", "--write"],
        ["--benchmark", "--num-threads", "0"],
    ],
    ids=" ".join,
)
def test_mistakes_on_the_devices_command_line(model, capsys, arguments):
    try:
        status = main([str(model), *arguments])
    except SystemExit as left:
        status = left.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == "" and "expected" in err
