import ast
import contextlib
import csv
import io
import json
import os
import subprocess
import sys
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from kit.device.command import main
from kit.device.label import further_columns, write_results
from kit.errors import KitError
from kit.model.model_file import with_card_fields
from kit.model.spec import Screening
from kit.runtime import Category, Classification, Classifier, Failure

PLAIN = "plain_float32.tflite"


@pytest.fixture
def bad(photos):
    path = photos / "bad.jpg"
    path.write_text("no image")
    return path


def test_text(model, photos, capsys):
    assert main([str(model), str(photos / "red.png"), str(photos / "blue.png")]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert len(lines) == 2 and err == ""
    # Softmax of (2, -2, -2) is 0.965, 0.018, 0.018; an int8 file is off by some hundredths.
    assert lines[0].startswith(f"{photos / 'red.png'}: red 0.9")
    assert lines[1].startswith(f"{photos / 'blue.png'}: blue 0.9")
    assert lines[0].count(",") == 2


def test_options_stand_anywhere(model, photos, capsys):
    red, blue = str(photos / "red.png"), str(photos / "blue.png")
    wanted = None
    for arguments in (
        ["--top-k", "1", str(model), red, blue],
        [str(model), "--top-k", "1", red, blue],
        [str(model), red, "--top-k", "1", blue],
        [str(model), red, blue, "--top-k", "1"],
    ):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert [line.split()[-2] for line in out.splitlines()] == ["red", "blue"]
        wanted = wanted or out
        assert out == wanted


def test_top_k_and_threshold(model, photos, capsys):
    assert main([str(model), str(photos / "red.png"), "--top-k", "1"]) == 0
    assert "," not in capsys.readouterr().out
    assert main([str(model), str(photos / "red.png"), "--score-threshold", "0.999"]) == 0
    assert capsys.readouterr().out == f"{photos / 'red.png'}: nothing above the threshold\n"
    assert main([str(model), str(photos / "red.png"), "--deny", "red", "--deny", "blue"]) == 0
    assert ": green 0.0" in capsys.readouterr().out
    assert main([str(model), str(photos / "red.png"), "--allow", "blue"]) == 0
    assert ": blue 0.0" in capsys.readouterr().out


def test_json(model, photos, bad, capsys):
    images = [str(photos / "green.png"), str(bad), str(photos / "red.png")]
    assert main([str(model), *images, "--format", "json", "--top-k", "2"]) == 1
    out, err = capsys.readouterr()
    first, second, third = map(json.loads, out.splitlines())
    assert [row["image"] for row in (first, second, third)] == images
    assert err == ""
    assert set(first) == {"image", "categories"} and set(second) == {"image", "error"}
    assert second["error"].startswith("expected")
    best, other = first["categories"]
    assert best["index"] == 1 and best["label"] == "green"
    assert best["score"] == pytest.approx(0.965, abs=0.02)
    assert other["score"] == pytest.approx(0.018, abs=0.02)
    assert third["categories"][0]["label"] == "red"


def test_csv(model, photos, bad, capsys):
    assert main([str(model), str(photos / "red.png"), str(bad), "--format", "csv"]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["image", "rank", "index", "label", "score", "error"]
    assert [row["rank"] for row in rows] == ["1", "2", "3", ""]
    assert rows[0]["label"] == "red" and float(rows[0]["score"]) == pytest.approx(0.965, abs=0.02)
    assert rows[3]["image"] == str(bad) and rows[3]["error"].startswith("expected")


def test_csv_quotes_labels_with_commas(data, tmp_path, photos, capsys):
    labels = tmp_path / "labels.txt"
    labels.write_text('tench, Tinca tinca\n"quoted"\nblau ß\n', encoding="utf-8")
    options = ["--labels", str(labels), "--mean", "127.5", "--std", "127.5,127.5,127.5"]
    assert main([str(data / PLAIN), str(photos / "red.png"), "--format", "csv", *options]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert {row["label"] for row in rows} == {"tench, Tinca tinca", '"quoted"', "blau ß"}


@pytest.fixture
def operating(data, tmp_path):
    """A model that answers: of 0.965 positive, of 0.018 uncertain."""
    point = {"positive": "red", "negative_below": 0.01, "positive_from": 0.5}
    content = (data / "red_green_blue_float32.tflite").read_bytes()
    path = tmp_path / "operating.tflite"
    path.write_bytes(with_card_fields(content, {"operating_point": point}))
    return path


def test_csv_tells_the_answer_of_every_image(operating, photos, bad, capsys):
    images = [str(photos / "red.png"), str(photos / "green.png"), str(bad)]
    options = ["--format", "csv", "--deny", "red", "--score-threshold", "0.5"]
    assert main([str(operating), *images, *options]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["image", "rank", "index", "label", "score", "error", "answer"]
    assert [row["image"] for row in rows] == images
    assert [row["label"] for row in rows] == ["", "green", ""]
    assert [row["rank"] for row in rows] == ["", "1", ""]
    assert [row["answer"] for row in rows] == ["positive", "uncertain", ""]
    assert [bool(row["error"]) for row in rows] == [False, False, True]


def test_csv_of_a_model_without_answers_has_a_row_for_every_image(model, photos, capsys):
    image = str(photos / "red.png")
    assert main([str(model), image, "--format", "csv", "--score-threshold", "1"]) == 0
    assert capsys.readouterr().out == f"image,rank,index,label,score,error\n{image},,,,,\n"


@pytest.mark.parametrize(("point", "answer"), [(None, None), ("positive", "unknown")])
def test_csv_of_a_screening_model_answers_unknown_as_text_does(operating, point, answer):
    rose = (Category(0, "rose", 0.75),)
    found = [
        Classification("x.png", rose, answer, True, 2.5),
        Classification("y.png", rose, point, False, 0.5),
        Failure("z.png", "expected an image"),
    ]
    with Classifier.open(operating) as classifier:
        card = replace(classifier.file.card, screening=Screening(1.0, False))
        if point is None:
            card = replace(card, operating_point=None)
        classifier.file = replace(classifier.file, card=card)
        further = further_columns(classifier)
    assert further == ("unknown", "unfamiliarity", "answer")
    out = io.StringIO()
    assert not write_results(found, "csv", out, io.StringIO(), further)
    assert out.getvalue().splitlines() == [
        "image,rank,index,label,score,error,unknown,unfamiliarity,answer",
        "x.png,1,0,rose,0.750000,,True,2.5,unknown",
        f"y.png,1,0,rose,0.750000,,False,0.5,{point or ''}",
        "z.png,,,,,expected an image,,,",
    ]


def test_a_folder_is_labelled_in_order_past_hidden_files(model, photos, capsys):
    (photos / ".hidden.png").write_text("not looked at")
    (photos / ".cache").mkdir()
    (photos / ".cache" / "x.png").write_text("not looked at")
    (photos / "deeper").mkdir()
    (photos / "blue.png").rename(photos / "deeper" / "blue.png")
    assert main([str(model), str(photos), "--format", "json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["image"] for row in rows] == [
        str(photos / "green.png"),
        str(photos / "red.png"),
        str(photos / "deeper" / "blue.png"),
    ]
    assert [row["categories"][0]["label"] for row in rows] == ["green", "red", "blue"]


def test_paths_on_standard_input(model, photos, capsys, monkeypatch):
    text = f"{photos / 'red.png'}\n\n{photos / 'green.png'}\n"
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert main([str(model), "-", str(photos / "blue.png"), "--format", "json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["categories"][0]["label"] for row in rows] == ["red", "green", "blue"]


@pytest.mark.parametrize("alone", [True, False])
def test_a_missing_image_costs_only_itself(model, photos, capsys, alone):
    missing = str(photos / "missing.png")
    images = [missing] if alone else [str(photos / "red.png"), missing, str(photos / "blue.png")]
    assert main([str(model), *images]) == 1
    out, err = capsys.readouterr()
    assert err == f"{missing}: expected a readable image: No such file or directory\n"
    assert len(out.splitlines()) == len(images) - 1


def test_a_file_name_that_is_no_text(model, photos):
    name = os.fsencode(photos) + b"/caf\xe9.png"  # Latin-1, as on an old card
    try:
        (photos / "red.png").rename(os.fsdecode(name))
    except OSError:
        pytest.skip("this file system takes only text as names")
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "kit.device", str(model), "--format", "json", "--top-k", "1"]
    for extra, given in ((str(photos), b""), ("-", name + b"\n")):
        done = subprocess.run(
            [*command, extra], input=given, capture_output=True, env=environment, check=False
        )
        assert done.returncode == 0, done.stderr
        rows = [json.loads(line) for line in done.stdout.decode("utf-8").splitlines()]
        by_name = {os.fsencode(row["image"]): row["categories"][0]["label"] for row in rows}
        assert by_name[name] == "red"
        assert len(rows) == (1 if given else 3)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["MODEL"],
        ["MODEL", "x.png", "--format", "xml"],
        ["MODEL", "x.png", "--top-k", "many"],
        ["MODEL", "x.png", "--top-k", "0"],
        ["MODEL", "x.png", "--num-threads", "0"],
        ["MODEL", "x.png", "--mean", "a,b"],
        ["MODEL", "x.png", "--mean", "127.5", "--std", "127.5"],
        ["MODEL", "x.png", "--allow", "rose"],
        ["MODEL", "x.png", "--allow", "red", "--deny", "blue"],
        ["MODEL", "x.png", "--unknown"],
    ],
    ids=" ".join,
)
def test_mistakes_on_the_command_line(model, capsys, arguments):
    arguments = [str(model) if argument == "MODEL" else argument for argument in arguments]
    try:
        status = main(arguments)
    except SystemExit as left:  # argparse's own way
        status = left.code
    out, err = capsys.readouterr()
    assert status == 2
    assert out == "" and "kit-label:" in err


def test_help_and_version(capsys):
    for option, wanted in (("--help", "--self-test"), ("--version", "kit-label ")):
        with pytest.raises(SystemExit) as left:
            main([option])
        assert left.value.code == 0
        assert wanted in capsys.readouterr().out


def test_a_model_that_is_none(tmp_path, photos, capsys):
    missing, text = tmp_path / "none.tflite", tmp_path / "text.tflite"
    text.write_text("no model " * 9)
    for path in (missing, text):
        assert main([str(path), str(photos / "red.png")]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith(f"kit-label: {path}: expected") and err.count("\n") == 1


def test_debugging_shows_the_traceback(tmp_path, photos, monkeypatch):
    monkeypatch.setenv("KIT_DEBUG", "1")
    with pytest.raises(KitError, match="No such file"):
        main([str(tmp_path / "none.tflite"), str(photos / "red.png")])


def test_self_test(model, photos, capsys):
    assert main([str(model), "--self-test"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 4 and out[-1] == "self-test passed"
    assert all("same pixels" in line and line.endswith("passed") for line in out[:-1])
    assert main([str(model), "--self-test", str(photos / "red.png")]) == 0
    assert ": red 0.9" in capsys.readouterr().out.splitlines()[-1]


def test_self_test_that_fails(repackage, data, capsys, photos):
    name = "red_green_blue_float32.tflite"
    with zipfile.ZipFile(data / name) as archive:
        card = json.loads(archive.read("kit.json"))
    card["golden"][1]["scores"] = [1, 0, 0]
    path = repackage(name, {"kit.json": json.dumps(card)})
    assert main([str(path), "--self-test", str(photos / "red.png")]) == 1
    out = capsys.readouterr().out.splitlines()
    assert [line.rsplit(" ", 1)[-1] for line in out[:4]] == ["passed", "FAILED", "passed", "FAILED"]
    assert ": red 0.9" in out[4]  # images are labelled all the same


def test_self_test_of_a_file_without_a_card(data, capsys, tmp_path):
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    assert main([str(data / "plain_uint8.tflite"), "--self-test", "--labels", str(labels)]) == 1
    assert "expected a card with golden checks" in capsys.readouterr().err


def test_labels_from_a_file(data, tmp_path, photos, capsys):
    model, image = str(data / PLAIN), str(photos / "green.png")
    labels = tmp_path / "labels.txt"
    labels.write_bytes("\ufeffrot\r\ngrün\r\nblau\r\n".encode())
    options = ["--labels", str(labels), "--mean", "127.5", "--std", "127.5", "--resize"]
    for method in ("bilinear", "antialias"):
        assert main([model, image, *options, method, "--top-k", "1"]) == 0
        assert capsys.readouterr().out == f"{image}: grün 0.965\n"
    assert main([model, image]) == 1
    assert "--labels FILE" in capsys.readouterr().err
    assert main([model, image, "--labels", str(labels)]) == 1
    assert "--mean 127.5" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"a\n\nb\n", b"a\nb\n"])
def test_label_files_that_do_not_do(data, tmp_path, photos, capsys, content):
    labels = tmp_path / "labels.txt"
    if content is not None:
        labels.write_bytes(content)
    arguments = [str(data / "plain_uint8.tflite"), str(photos / "red.png"), "--labels", str(labels)]
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("kit-label: ") and "expected" in err
    assert err.count("\n") == 1


def test_a_reader_that_goes_away(model, photos):
    # As `kit-label ... | head -1`: no traceback, and not success.
    paths = f"{photos / 'red.png'}\n" * 3000
    process = subprocess.Popen(
        [sys.executable, "-m", "kit.device", str(model), "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    process.stdout.close()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(paths.encode())
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert err == b""


def test_results_come_as_they_are_made(model, photos):
    # A camera's loop feeds one path and waits for its answer before it gives the next.
    process = subprocess.Popen(
        [sys.executable, "-m", "kit.device", str(model), "-", "--num-threads", "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    guard = threading.Timer(60, process.kill)  # a failure here would wait for ever
    guard.start()
    process.stdin.write(f"{photos / 'red.png'}\n" * 6)
    process.stdin.flush()
    # Four may be under way for a thread; the reader of the sixth line has let the first go.
    assert ": red 0.9" in process.stdout.readline()
    process.stdin.close()
    assert len(process.stdout.readlines()) == 5
    process.stdout.close()
    assert process.wait() == 0
    guard.cancel()


def test_wide_range_of_sizes(model, tmp_path, capsys):
    from PIL import Image

    for index, size in enumerate([(1, 1), (1, 300), (300, 1), (777, 3), (2000, 1500)]):
        pixels = np.zeros((size[1], size[0], 3), np.uint8)
        pixels[..., 2] = 255
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
    images = [str(tmp_path / f"{index}.png") for index in range(5)]
    assert main([str(model), *images, "--top-k", "1"]) == 0
    assert capsys.readouterr().out.count(": blue 0.9") == 5


# ---------------------------------------------------------------- start


@pytest.mark.parametrize(
    ("size", "images", "threads"),
    [(2_000_000, 1, 1), (2_000_001, 1, 4), (2_000_000, 2, 4)],
)
def test_a_small_network_on_one_image_runs_on_one_thread(
    model, photos, monkeypatch, size, images, threads
):
    from kit.runtime import classifier

    built = []

    class Watched(classifier.Runner):
        def __init__(self, model, num_threads=1, **more):
            built.append(num_threads)
            super().__init__(model, num_threads, **more)

    monkeypatch.setattr(classifier, "Runner", Watched)
    monkeypatch.setattr(classifier, "default_threads", lambda: 4)
    read = classifier.read_model_file
    monkeypatch.setattr(
        classifier, "read_model_file", lambda path: replace(read(path), size_bytes=size)
    )
    paths = [str(photos / f"{name}.png") for name in ("red", "green")][:images]
    assert main([str(model), *paths]) == 0
    assert built[0] == threads


def test_one_jpeg_loads_no_module_that_it_does_not_need(model, photos, tmp_path):
    from PIL import Image

    Image.open(photos / "red.png").save(tmp_path / "red.jpg")
    code = (
        "import sys\n"
        "from kit.device.__main__ import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "print(sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(model), str(tmp_path / "red.jpg")],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(ast.literal_eval(done.stderr.splitlines()[-1]))
    assert "PIL.JpegImagePlugin" in loaded
    unneeded = {"numpy.typing", "csv", "difflib", "fractions", "kit.device.watch", "kit.files"}
    unneeded |= {"PIL.PngImagePlugin", "PIL.TiffImagePlugin"}
    assert loaded & {*unneeded, "kit.device.benchmark", "kit.device.camera"} == set()


def test_collecting_garbage_is_on_again_once_everything_is_loaded():
    code = "import gc; from kit.device.__main__ import main; assert gc.isenabled()"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_mistyped_option_names_the_nearest(model, capsys):
    with pytest.raises(SystemExit) as ended:
        main([str(model), "--top-q", "3"])
    assert ended.value.code == 2
    assert "no such option: --top-q; did you mean --top-k?" in capsys.readouterr().err
