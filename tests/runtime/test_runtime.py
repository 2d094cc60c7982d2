import json
import math
import os
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from kit.errors import ImageError, InferenceError, MissingDependencyError, ModelFileError
from kit.model.model_file import read_model_file
from kit.model.preprocess import fit_pixels
from kit.model.spec import PreprocessSpec
from kit.runtime import Category, Classification, Classifier, Failure
from kit.runtime import interpreter as interpreter_module
from kit.runtime.classifier import Answer
from kit.runtime.interpreter import Runner
from kit.runtime.parallel import default_threads, ordered_map
from kit.runtime.self_test import draw_pattern, self_test

FLOAT, INT8 = "red_green_blue_float32.tflite", "red_green_blue_int8.tflite"
LABELS = ("red", "green", "blue")
ONE = (127.5,)


def colour(*rgb, height=20, width=30):
    return np.full((height, width, 3), rgb, np.uint8)


def by_hand(rgb):
    """What data/make_models.py built: softmax of twice the normalised mean of each channel."""
    powers = [math.exp(2 * (level - 127.5) / 127.5) for level in rgb]
    return [power / sum(powers) for power in powers]


COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (200, 180, 20), (0, 0, 0)]


@pytest.mark.parametrize("rgb", COLOURS)
@pytest.mark.parametrize(
    "name, options, tolerance",
    [
        (FLOAT, {}, 1e-5),
        (INT8, {}, 0.02),
        ("plain_float32.tflite", {"labels": LABELS, "mean": ONE, "std": ONE}, 1e-5),
        ("plain_uint8.tflite", {"labels": LABELS}, 0.02),
        ("plain_int8.tflite", {"labels": LABELS}, 0.02),
        ("plain_int8.tflite", {"labels": LABELS, "mean": ONE * 3, "std": ONE * 3}, 0.02),
    ],
)
def test_scores_are_those_worked_out_by_hand(data, name, options, tolerance, rgb):
    with Classifier.open(data / name, **options) as classifier:
        scores = classifier.scores(colour(*rgb))
    assert scores.dtype == np.float32 and scores.shape == (3,)
    assert np.abs(scores - by_hand(rgb)).max() <= tolerance


def test_an_answer(data):
    with Classifier.open(data / FLOAT) as classifier:
        answer = classifier.classify(colour(255, 0, 100))
    assert answer.image is None
    assert [(c.index, c.label) for c in answer.categories] == [
        (0, "red"),
        (2, "blue"),
        (1, "green"),
    ]
    assert [c.score for c in answer.categories] == pytest.approx(
        [by_hand((255, 0, 100))[index] for index in (0, 2, 1)], abs=1e-5
    )
    assert classifier.labels == LABELS
    assert classifier.preprocess == PreprocessSpec(16, mean=ONE * 3, std=ONE * 3)


def test_equal_scores_keep_the_order_of_the_labels(data):
    with Classifier.open(data / FLOAT) as classifier:
        found = classifier.classification(None, Answer(np.array([0.25, 0.5, 0.25], np.float32)))
        assert [c.label for c in found.categories] == ["green", "red", "blue"]
        found = classifier.classification("x", Answer(np.full(3, 1 / 3, np.float32)))
        assert [c.label for c in found.categories] == ["red", "green", "blue"]
        assert found.image == "x"


def test_many_equal_scores_keep_the_order_of_the_labels(data, fake):
    # Few of them stay in order by any way of sorting.
    fake(output=("float32", (0.0, 0), (1, 500)))
    names = [f"label {index}" for index in range(500)]
    scores = np.tile(np.array([0.1, 0.3], np.float32), 250)
    path = data / "plain_uint8.tflite"
    with Classifier.open(path, labels=names, mean=ONE, std=ONE) as classifier:
        found = [c.index for c in classifier.classification(None, Answer(scores)).categories]
    assert found == [*range(1, 500, 2), *range(0, 500, 2)]


@pytest.mark.parametrize(
    "options, wanted",
    [
        ({}, ["red", "blue", "green"]),
        ({"top_k": 1}, ["red"]),
        ({"top_k": 2}, ["red", "blue"]),
        ({"top_k": 99}, ["red", "blue", "green"]),
        ({"score_threshold": 0.2}, ["red"]),
        ({"score_threshold": 1.1}, []),
        ({"category_allowlist": ["green", "blue"]}, ["blue", "green"]),
        ({"category_allowlist": ["green", "blue"], "top_k": 1}, ["blue"]),
        ({"category_denylist": ["red"]}, ["blue", "green"]),
        ({"category_denylist": iter(["red", "blue"])}, ["green"]),
    ],
)
def test_which_categories_are_answered(data, options, wanted):
    # by_hand((255, 0, 100)): red 0.81, blue 0.17, green 0.01
    with Classifier.open(data / FLOAT, **options) as classifier:
        answer = classifier.classify(colour(255, 0, 100))
    assert [category.label for category in answer.categories] == wanted


def test_a_score_at_the_threshold_is_answered(data):
    with Classifier.open(data / FLOAT, score_threshold=0.5) as classifier:
        found = classifier.classification(None, Answer(np.array([0.5, 0.4999, 0.0001], np.float32)))
    assert [category.label for category in found.categories] == ["red"]


def test_the_threshold_of_the_card_holds_unless_another_is_given(data, repackage):
    with zipfile.ZipFile(data / FLOAT) as archive:
        card = json.loads(archive.read("kit.json"))
    path = repackage(FLOAT, {"kit.json": json.dumps({**card, "score_threshold": 0.5})})
    with Classifier.open(path) as classifier:
        assert len(classifier.classify(colour(255, 0, 100)).categories) == 1
    with Classifier.open(path, score_threshold=0.0) as classifier:
        assert len(classifier.classify(colour(255, 0, 100)).categories) == 3


@pytest.mark.parametrize(
    "name, options, message",
    [
        (FLOAT, {"num_threads": 0}, "num_threads of at least 1, got 0"),
        (FLOAT, {"top_k": 0}, "top_k of at least 1, got 0"),
        (FLOAT, {"labels": LABELS}, "its card says labels and preprocessing"),
        (FLOAT, {"mean": ONE, "std": ONE}, "its card says labels and preprocessing"),
        (FLOAT, {"resize": "bilinear"}, "its card says labels and preprocessing"),
        (FLOAT, {"category_allowlist": ["rose"]}, "labels of the model, got rose"),
        (FLOAT, {"category_denylist": ["red", "rot"]}, "labels of the model, got rot"),
        (
            FLOAT,
            {"category_allowlist": ["red"], "category_denylist": ["blue"]},
            "category_allowlist or a category_denylist, got both",
        ),
        (
            "plain_float32.tflite",
            {"labels": LABELS, "mean": (1.0, 2.0), "std": (1.0, 2.0)},
            "one value for all channels or three, got 2",
        ),
    ],
)
def test_wrong_arguments(data, name, options, message):
    with pytest.raises(ValueError, match=message):
        Classifier.open(data / name, **options)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("plain_uint8.tflite", {}, r"labels for its 3 scores.*--labels FILE"),
        ("plain_uint8.tflite", {"labels": ["a", "b"]}, "expected 3 labels.*got 2"),
        ("plain_float32.tflite", {"labels": LABELS}, r"how its float input is normalised.*--mean"),
        ("plain_float32.tflite", {"labels": LABELS, "mean": ONE}, "mean and std together"),
        ("three_inputs.tflite", {"labels": LABELS}, "one input and one output, got 3 and 1"),
        ("any_size.tflite", {"labels": LABELS}, "input of a fixed size"),
    ],
)
def test_files_that_do_not_suffice(data, name, options, message):
    with pytest.raises(ModelFileError, match=message) as raised:
        Classifier.open(data / name, **options)
    assert str(raised.value).startswith(f"{data / name}: expected")


def test_normalisation_and_labels_come_from_metadata(repackage):
    # Without kit.json the file is as others make them.
    with Classifier.open(repackage(FLOAT, {"kit.json": None})) as classifier:
        assert classifier.preprocess == PreprocessSpec(16, "stretch", "bilinear", ONE * 3, ONE * 3)
        assert classifier.scores(colour(200, 180, 20)) == pytest.approx(
            by_hand((200, 180, 20)), abs=1e-5
        )
    with Classifier.open(repackage(FLOAT, {"kit.json": None}), resize="antialias") as classifier:
        assert classifier.preprocess.resize == "antialias"


def test_every_kind_of_source_gives_the_same(data, photos):
    from PIL import Image

    path = photos / "green.png"
    with Classifier.open(data / INT8) as classifier, Image.open(path) as image:
        wanted = classifier.classify(colour(0, 255, 0, height=24, width=32))
        for source in (path, str(path), path.read_bytes(), image):
            assert classifier.classify(source).categories == wanted.categories
        assert classifier.classify(path).image == classifier.classify(str(path)).image == str(path)
        assert classifier.classify(image).image is None
        with pytest.raises(ImageError, match="No such file"):
            classifier.classify(photos / "none.png")
        with pytest.raises(ValueError, match="expected pixels"):
            classifier.classify(np.zeros((4, 4, 3)))


def test_the_context_manager_closes(data):
    classifier = Classifier.open(data / FLOAT)
    with classifier as entered:
        assert entered is classifier
        runner = classifier._runner
        before = sys.getrefcount(runner)
    assert sys.getrefcount(runner) == before - 1
    classifier.close()  # a second time does no harm
    with pytest.raises(AttributeError):
        classifier.scores(colour(0, 0, 0))


@pytest.mark.parametrize("num_threads", [1, 2, 3])
def test_a_batch_keeps_its_order_past_bad_files(data, photos, num_threads):
    bad = photos / "bad.jpg"
    bad.write_text("no image")
    good = [photos / f"{name}.png" for name in LABELS]
    paths = [*good, bad, *reversed(good), photos / "missing.png"] * 5
    with Classifier.open(data / INT8, num_threads=num_threads, top_k=1) as classifier:
        results = list(classifier.classify_files(iter(paths)))
        alone = {path: classifier.classify(path) for path in good}
        scores = list(classifier.scores_of_files(paths))
    assert [result.image for result in results] == [str(path) for path in paths]
    for path, result, row in zip(paths, results, scores, strict=True):
        if path in alone:
            assert result == alone[path]
            assert result.categories[0].label == path.stem
            assert row.shape == (3,)
        else:
            assert isinstance(result, Failure) and result == row
            assert result.error.startswith("expected") and "\n" not in result.error


def test_an_empty_batch(data):
    with Classifier.open(data / INT8) as classifier:
        assert list(classifier.classify_files([])) == []


def test_a_batch_may_be_left_early(data, photos):
    with Classifier.open(data / INT8, num_threads=2) as classifier:
        taken = []

        def endless():
            while True:
                taken.append(1)
                yield photos / "red.png"

        results = classifier.classify_files(endless())
        assert next(results).categories[0].label == "red"
        results.close()
        # Never more than a few ahead of the reader.
        assert len(taken) < 20


def test_ordered_map_passes_an_exception_on():
    def work(item):
        if item == 3:
            raise OSError("three")
        return item * 2

    results = ordered_map(work, range(100), 2)
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(OSError, match="three"):
        next(results)


def test_default_threads():
    assert 1 <= default_threads() <= min(4, os.cpu_count())


# Golden checks


@pytest.mark.parametrize("name", [FLOAT, INT8])
def test_self_test_passes_on_a_file_as_it_was_packaged(data, name):
    with Classifier.open(data / name) as classifier:
        results = self_test(classifier)
    assert [result.pattern for result in results] == [0, 1, 2]
    assert all(result.passed and result.same_pixels for result in results)


def test_golden_scores_are_those_worked_out_by_hand(data):
    card = read_model_file(data / FLOAT).card
    for check in card.golden:
        means = fit_pixels(draw_pattern(check.pattern), card.preprocess).mean(axis=(0, 1))
        assert check.scores == pytest.approx(by_hand(means), abs=1e-4)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_patterns_are_what_the_document_says(index):
    drawn = draw_pattern(index)
    assert drawn.shape == (181, 240, 3)
    block = 14 * (index + 1)
    for y, x, c in ((0, 0, 0), (180, 239, 2), (57, 101, 1), (14, 13, 0), (99, 200, 2)):
        value = y // block * 59 + x // block * 37 + c * 83 + y * x // 64
        assert drawn[y, x, c] == value % 256


def golden(card, **changes):
    return {**card, "golden": [{**check, **changes} for check in card["golden"]]}


@pytest.mark.parametrize("name", [FLOAT, INT8])
@pytest.mark.parametrize(
    "change, same_pixels",
    [
        (lambda card: golden(card, scores=[1, 0, 0]), True),
        (lambda card: golden(card, digest="0" * 64), False),
        (lambda card: {**card, "preprocess": {**card["preprocess"], "resize": "antialias"}}, False),
        (lambda card: {**card, "preprocess": {**card["preprocess"], "fit": "crop"}}, False),
        (
            lambda card: {**card, "preprocess": {**card["preprocess"], "mean": [0, 0, 200]}},
            True,
        ),
    ],
    ids=["scores", "digest", "resize", "fit", "mean"],
)
def test_self_test_fails_when_the_card_is_altered(data, repackage, name, change, same_pixels):
    with zipfile.ZipFile(data / name) as archive:
        card = json.loads(archive.read("kit.json"))
    path = repackage(name, {"kit.json": json.dumps(change(card))})
    with Classifier.open(path) as classifier:
        results = self_test(classifier)
    assert not all(result.passed for result in results)
    assert all(result.same_pixels == same_pixels for result in results)


def test_self_test_needs_a_card_that_it_knows(data, repackage):
    none = repackage(FLOAT, {"kit.json": None})
    said = "a card with golden checks, it has none"
    with Classifier.open(none) as classifier, pytest.raises(ModelFileError, match=said):
        self_test(classifier)
    with zipfile.ZipFile(data / FLOAT) as archive:
        card = json.loads(archive.read("kit.json"))
    later = repackage(FLOAT, {"kit.json": json.dumps(golden(card, pattern=7))})
    said = "a pattern below 3, got 7"
    with Classifier.open(later) as classifier, pytest.raises(ModelFileError, match=said):
        self_test(classifier)


# A pretended interpreter shows what reaches the real one, and covers what no small file has.


class Fake:
    """Stands for an Interpreter; class attributes say what the model is like."""

    input = ("float32", (0.0, 0), (1, 16, 16, 3))
    output = ("float32", (0.0, 0), (1, 3))
    answer: object = np.zeros((1, 3), np.float32)
    seen: dict

    def __init__(self, **options):
        type(self).seen = {"options": options}

    def allocate_tensors(self):
        pass

    def _detail(self, index, dtype, quantization, shape):
        return {
            "index": index,
            "dtype": np.dtype(dtype).type,
            "quantization": quantization,
            "shape": np.array(shape, np.int32),
        }

    def get_input_details(self):
        return [self._detail(4, *self.input)]

    def get_output_details(self):
        return [self._detail(9, *self.output)]

    def set_tensor(self, index, tensor):
        self.seen["tensor"] = (index, tensor.copy())

    def invoke(self):
        pass

    def get_tensor(self, index):
        assert index == 9
        return self.answer


@pytest.fixture
def fake(monkeypatch):
    def use(**attributes):
        made = type("Made", (Fake,), attributes)
        monkeypatch.setattr(interpreter_module, "_interpreter_class", lambda: made)
        return made

    return use


@pytest.mark.parametrize(
    "dtype, quantization, level, wanted",
    [
        ("float32", (0.0, 0), 255, 1.0),
        ("float32", (0.0, 0), 0, -1.0),
        # (255 - 127.5) / 127.5 / 0.01 + 100 = 200
        ("uint8", (0.01, 100), 255, 200),
        ("uint8", (0.01, 100), 0, 0),
        ("int8", (0.0078125, -1), 255, 127),
        ("int8", (0.0078125, -1), 0, -128),
        # 51 / 127.5 - 1 = -0.6, / 0.0078125 = -76.8
        ("int8", (0.0078125, -1), 51, -78),
    ],
)
def test_what_reaches_the_interpreter(data, fake, dtype, quantization, level, wanted):
    made = fake(input=(dtype, quantization, (1, 16, 16, 3)))
    options = {"labels": LABELS, "mean": ONE, "std": ONE, "num_threads": 3}
    with Classifier.open(data / "plain_float32.tflite", **options) as classifier:
        classifier.scores(colour(level, level, level))
    index, tensor = made.seen["tensor"]
    assert index == 4
    assert tensor.shape == (1, 16, 16, 3) and tensor.dtype == dtype
    assert (tensor == np.array(wanted, dtype)).all()
    assert made.seen["options"] == {
        "num_threads": 3,
        "model_path": str(data / "plain_float32.tflite"),
    }


@pytest.mark.parametrize("dtype, wanted", [("uint8", 77), ("int8", 77 - 128)])
def test_whole_number_inputs_take_pixels_as_they_are(data, fake, dtype, wanted):
    made = fake(input=(dtype, (0.5, 3), (1, 16, 16, 3)))
    with Classifier.open(data / "plain_uint8.tflite", labels=LABELS) as classifier:
        classifier.scores(colour(77, 77, 77))
    assert (made.seen["tensor"][1] == wanted).all()


@pytest.mark.parametrize(
    "dtype, quantization, raw, wanted",
    [
        ("float32", (0.0, 0), [0.5, 0.25, 0.25], [0.5, 0.25, 0.25]),
        ("uint8", (1 / 256, 0), [0, 255, 64], [0.0, 0.99609375, 0.25]),
        ("int8", (1 / 256, -128), [-128, 127, 0], [0.0, 0.99609375, 0.5]),
        ("int16", (1 / 32768, 0), [0, 32767, 16384], [0.0, 32767 / 32768, 0.5]),
        ("uint8", (0.5, 200), [0, 255, 200], [-100.0, 27.5, 0.0]),
    ],
)
def test_outputs_are_dequantised(fake, dtype, quantization, raw, wanted):
    fake(output=(dtype, quantization, (1, 3)), answer=np.array([raw], dtype))
    found = Runner("model.tflite").run(np.zeros((16, 16, 3), np.float32))
    assert found.dtype == np.float32
    assert found.tolist() == pytest.approx(wanted, abs=1e-7)


@pytest.mark.parametrize(
    "attributes, message",
    [
        ({"input": ("float32", (0.0, 0), (1, 16, 16, 4))}, r"got an input of \[1, 16, 16, 4\]"),
        ({"input": ("float32", (0.0, 0), (1, 28, 28))}, r"got an input of \[1, 28, 28\]"),
        ({"input": ("float64", (0.0, 0), (1, 16, 16, 3))}, "got float64 and float32"),
        ({"output": ("int64", (0.0, 0), (1, 3))}, "got float32 and int64"),
        ({"get_output_details": lambda self: []}, "got 1 and 0"),
    ],
)
def test_models_of_another_kind(fake, attributes, message):
    fake(**attributes)
    with pytest.raises(ModelFileError, match=message):
        Runner("model.tflite")


def raising(error):
    def method(self, *arguments):
        raise error

    return method


@pytest.mark.parametrize("error", [ValueError("no\nway"), RuntimeError("no\nway"), MemoryError()])
def test_an_interpreter_that_refuses(data, fake, error):
    fake(allocate_tensors=raising(error))
    path = data / "plain_float32.tflite"
    with pytest.raises(InferenceError, match="that the interpreter can run, it fails") as raised:
        Classifier.open(path)
    assert str(raised.value).startswith(f"{path}: expected")
    assert "\n" not in str(raised.value)


def test_a_runtime_that_is_too_old(fake):
    said = "Didn't find op for builtin opcode 'FULLY_CONNECTED' version '12'. An older version..."
    fake(allocate_tensors=raising(ValueError(said)))
    with pytest.raises(InferenceError, match=r"this one is too old.*--upgrade ai-edge-litert"):
        Runner("model.tflite")


@pytest.mark.parametrize("method", ["set_tensor", "invoke"])
def test_a_model_that_fails_when_it_runs(fake, method):
    fake(**{method: raising(RuntimeError("Node number 3 failed to invoke"))})
    runner = Runner("model.tflite")
    with pytest.raises(InferenceError, match="it fails: Node number 3"):
        runner.run(np.zeros((16, 16, 3), np.float32))


def test_a_file_s_content_instead_of_its_path(data):
    runner = Runner((data / "plain_float32.tflite").read_bytes())
    red = np.full((16, 16, 3), (1, -1, -1), np.float32)
    assert runner.run(red) == pytest.approx(by_hand((255, 0, 0)), abs=1e-5)
    first = runner.run(red)
    runner.run(-red)
    assert first == pytest.approx(by_hand((255, 0, 0)), abs=1e-5)  # not a view of the interpreter's


def test_scores_of_tflite_support_s_own_example(data, fake):
    raw = np.array([[0, 64, 255, 32, 128]], np.uint8)
    fake(
        input=("uint8", (1.0, 0), (1, 16, 16, 3)),
        output=("uint8", (1 / 256, 0), (1, 5)),
        answer=raw,
    )
    names = ("daisy", "dandelion", "roses", "sunflowers", "tulips")
    roses, tulips = Category(2, "roses", 0.99609375), Category(4, "tulips", 0.5)
    dandelion, daisy = Category(1, "dandelion", 0.25), Category(0, "daisy", 0.0)
    sunflowers = Category(3, "sunflowers", 0.125)
    for options, wanted in (
        ({"top_k": 3}, (roses, tulips, dandelion)),
        ({"score_threshold": 0.4}, (roses, tulips)),
        ({"category_allowlist": ["dandelion", "daisy"]}, (dandelion, daisy)),
        ({"category_denylist": ["dandelion", "daisy"]}, (roses, tulips, sunflowers)),
    ):
        path = data / "plain_uint8.tflite"
        with Classifier.open(path, labels=names, **options) as classifier:
            wanted = Classification(None, wanted, highest_score=roses.score)
            assert classifier.classify(colour(1, 2, 3)) == wanted


def test_no_interpreter_package(monkeypatch, data):
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", None)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingDependencyError, match="found none: pip install ai-edge-litert"):
        Classifier.open(data / FLOAT)


def test_tflite_runtime_beside_a_numpy_that_it_crashes_with(monkeypatch):
    package = types.ModuleType("tflite_runtime")
    package.interpreter = types.ModuleType("tflite_runtime.interpreter")
    package.interpreter.Interpreter = Fake
    monkeypatch.setitem(sys.modules, "tflite_runtime", package)
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", package.interpreter)
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setattr(np, "__version__", "1.26.4")
    assert Runner("model.tflite").output_width == 3
    monkeypatch.setattr(np, "__version__", "2.1.0")
    with pytest.raises(MissingDependencyError, match=r"numpy below 2.*found 2\.1\.0"):
        Runner("model.tflite")


def test_paths_of_every_kind_open(data):
    for path in (str(data / FLOAT), Path(data / FLOAT), os.fspath(data / FLOAT)):
        with Classifier.open(path) as classifier:
            assert classifier.file.path == data / FLOAT
