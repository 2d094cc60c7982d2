"""`report.html`: everything is in it, nothing is loaded, foreign text is only text."""

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from drawing import COLOURS, coloured, draw_folder
from PIL import Image
from training_fixtures import CLASSES, SIDE, colour_card
from typer.testing import CliRunner

from kit.data import DataSettings, scan_images
from kit.errors import ConversionError, ImageError
from kit.evaluation import Evaluation, Operation, UnknownFigures
from kit.evaluation.evaluate import ModelEvaluation
from kit.evaluation.metrics import Agreement, Misclassified
from kit.export.exported import Exported
from kit.export.scoring_set import ScoringSet
from kit.model.spec import OperatingPoint, Screening
from kit.report import measure_latency, of_evaluation, of_run, render
from kit.report.build import most_confused
from kit.report.content import ClassCount
from kit.report.limits import limits
from kit.report.pictures import MOST, worst_mistakes
from kit.report.plots import choose_curves, phase_ends
from kit.runtime import Classifier

pytest_plugins = ["training_fixtures"]

ALWAYS = {
    *("headline", "data", "classes", "confusion", "pairs", "roc", "reliability", "mistakes"),
    *("files", "card"),
}
_VOID = {"meta", "br", "img"}


class Page(HTMLParser):
    """What a browser would find: sections, links, text of each section; tags must balance."""

    def __init__(self, html):
        super().__init__(convert_charrefs=True)
        self.ids, self.tags, self.addresses, self.handlers = [], [], [], []
        self.sections, self._open = {}, []
        self.rows = {}
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        self.tags.append(tag)
        if "id" in given:
            self.ids.append(given["id"])
        self.handlers += [name for name in given if name.startswith("on")]
        self.addresses += [given[name] for name in ("src", "href", "xlink:href") if name in given]
        if tag not in _VOID:
            self._open.append((tag, given.get("id")))
        if tag == "section":
            self.sections[given["id"]] = ""
            self.rows[given["id"]] = []
        if tag == "tr":
            self.rows[self.section].append([])
        if tag in ("td", "th"):
            self.rows[self.section][-1].append("")

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in _VOID:
            assert self._open.pop()[0] == tag

    @property
    def section(self):
        return next((name for tag, name in reversed(self._open) if tag == "section"), None)

    def handle_data(self, data):
        if self.section is None:
            return
        self.sections[self.section] += data
        if any(tag in ("td", "th") for tag, _ in self._open):
            self.rows[self.section][-1][-1] += data

    def text(self, section):
        return " ".join(self.sections[section].split())

    def table(self, section):
        return [[" ".join(cell.split()) for cell in row] for row in self.rows[section]]


def scored(labels, scores, truth, images=None, groups=None, point=None, prevalence=None, **changes):
    scores, truth = np.asarray(scores, np.float32), np.asarray(truth, np.int64)
    images = images or [f"{labels[t]}/{i}.png" for i, t in enumerate(truth)]
    operation = None
    if point is not None:
        index = labels.index(point.positive)
        operation = Operation.of(point, scores[:, index], truth == index, prevalence, groups)
    found = ModelEvaluation(
        Evaluation.of(scores, truth, tuple(labels), images, groups),
        (),
        (),
        scores,
        truth,
        groups,
        operation,
        tuple(images),
    )
    return replace(found, **changes)


def random_scores(classes, images, seed=0):
    """Mostly right; every class is there."""
    random = np.random.default_rng(seed)
    truth = np.arange(images) % classes
    logits = random.normal(0, 1, (images, classes))
    logits[np.arange(images), truth] += 2
    scores = np.exp(logits)
    return (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32), truth


# Of six ill ones the fourth is taken for healthy, of four healthy ones the last for ill.
TWO = ("healthy", "ill")
ILL = [0.9, 0.8, 0.7, 0.2, 0.6, 0.95, 0.1, 0.3, 0.05, 0.85]
TWO_SCORES = [[1 - score, score] for score in ILL]
TWO_TRUTH = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0]


@pytest.fixture
def report(data, tmp_path):
    """The report of an evaluation: the file is a small one, the answers are given."""

    def made(found, images=tmp_path, **options):
        with Classifier.open(data / "red_green_blue_int8.tflite") as classifier:
            return of_evaluation(classifier, images, found, **options)

    return made


@pytest.fixture
def page(report):
    return lambda *given, **options: Page(render(report(*given, **options)))


# ---------------------------------------------------------------- what stands in it


def test_two_classes_by_hand(page):
    found = page(scored(TWO, TWO_SCORES, TWO_TRUTH), positive="ill", prevalence=0.1)
    assert set(found.sections) == ALWAYS | {"thresholds"}
    assert "80.0 % right answers" in found.text("headline")
    assert "95 % interval 49.0 % to 94.3 %, N=10" in found.text("headline")
    # Of 24 pairs, one healthy image (0.85) outranks four ill ones, one (0.3) outranks one.
    assert f"{19 / 24:.3f} area under the ROC curve, ill against healthy" in found.text("headline")
    assert found.table("confusion") == [
        ["", "healthy", "ill"],
        ["healthy", "3 75.0 %", "1 25.0 %"],
        ["ill", "1 16.7 %", "5 83.3 %"],
    ]
    assert found.table("pairs")[1:] == [
        ["healthy", "ill", "1", "25.0 %"],
        ["ill", "healthy", "1", "16.7 %"],
    ]
    ill = found.table("classes")[2]
    assert ill[:2] == ["ill", "6"]
    assert ill[2].startswith("83.3 % (") and ill[3].startswith("83.3 % (")
    assert ill[4] == "0.833"
    half = next(row for row in found.table("thresholds") if row[0] == "0.5")
    assert half[1].startswith("83.3 % (") and half[2].startswith("75.0 % (")
    ppv = 0.1 * 5 / 6 / (0.1 * 5 / 6 + 0.9 / 4)
    npv = 0.9 * 3 / 4 / (0.9 * 3 / 4 + 0.1 / 6)
    assert half[5:] == [f"{100 * ppv:.1f} %", f"{100 * npv:.1f} %"]
    assert "where 10.0 % of the images are ill" in found.text("thresholds")
    assert "Nobody said" not in found.text("thresholds")
    assert "2 surest of 2 wrong answers" in found.text("mistakes")


def test_without_a_positive_label_the_second_is_taken_and_that_is_said(page):
    found = page(scored(TWO, TWO_SCORES, TWO_TRUTH))
    assert "Thresholds of ill" in found.text("thresholds")
    assert "Nobody said which of the two labels counts as positive" in found.text("thresholds")
    assert "where 60.0 % of the images are ill" in found.text("thresholds")


def test_an_operating_point(report):
    point = OperatingPoint("ill", 0.15, 0.65, 0.9, 0.5)
    found = scored(TWO, TWO_SCORES, TWO_TRUTH, point=point, prevalence=0.2)
    html = render(report(found))
    page = Page(html)
    assert "ill from a score of 0.6500, uncertain from 0.1500" in page.text("operating-point")
    assert "sensitivity of 90.0 %" in page.text("operating-point")
    row = page.table("operating-point")[1]
    assert row[0].startswith("the images of ")
    assert row[1].startswith("100.0 % (") and row[2].startswith("75.0 % (")
    assert row[3].startswith("30.0 % (") and row[4] == "20.0 %"
    assert "100.0 % sensitivity for ill" in page.text("headline")
    assert "the operating point of ill" in page.text("roc")
    plain = render(report(scored(TWO, TWO_SCORES, TWO_TRUTH)))
    assert "the operating point of ill" not in plain
    other = render(report(found, positive="healthy"))  # draws the curve of healthy alone
    assert "the operating point of ill" not in Page(other).text("roc")
    rings = [len(re.findall(r"<use [^>]*#roc-", each)) for each in (html, plain, other)]
    assert rings[0] == rings[1] + 2  # at both thresholds
    assert rings[2] == rings[1]


def test_five_classes(page):
    labels = ("a", "b", "c", "d", "e")
    found = page(scored(labels, *random_scores(5, 200)))
    assert set(found.sections) == ALWAYS
    assert len(found.table("confusion")) == 6
    assert found.text("roc").count("against the rest: AUC") == 5
    assert "other labels" not in found.text("roc")


def test_thirty_classes_have_pairs_but_no_matrix(page):
    labels = tuple(f"kind {number}" for number in range(30))
    result = scored(labels, *random_scores(30, 300))
    found = page(result)
    assert found.table("confusion") == []
    assert "30 classes are too many for a matrix" in found.text("confusion")
    assert len(found.table("pairs")) == 13
    assert len(found.table("classes")) == 31
    assert found.text("roc").count("against the rest: AUC") == 6
    assert "24 other labels, which are ranked better" in found.text("roc")
    worst = sorted(area.value for area in result.evaluation.auc)[:6]
    for value in worst:
        assert f"AUC {value:.4f} (" in found.text("roc")


def test_most_confused_pairs_come_first():
    evaluation = Evaluation.of(
        np.eye(3, dtype=np.float32)[[1, 1, 1, 0, 2, 0, 0, 1, 2]],
        np.array([0, 0, 0, 0, 0, 1, 1, 1, 2]),
        ("a", "b", "c"),
        ["x"] * 9,
    )
    pairs = [(p.label, p.predicted, p.count, round(p.share, 3)) for p in most_confused(evaluation)]
    assert pairs == [("a", "b", 3, 0.6), ("b", "a", 2, 0.667), ("a", "c", 1, 0.2)]
    assert len(most_confused(evaluation, most=2)) == 2


def test_no_mistakes_and_one_class_only(page):
    scores = [[0.1, 0.9], [0.2, 0.8]]
    found = page(scored(TWO, scores, [1, 1]))
    assert "No answer was wrong" in found.text("mistakes")
    assert "No answer was wrong" in found.text("pairs")
    assert "one class only: nothing can be ranked" in found.text("roc")
    assert found.table("classes")[1] == ["healthy", "0", "-", "-", "-", "-"]


def test_scores_that_are_no_probabilities(page):
    found = page(scored(TWO, [[0.9, 0.8], [0.1, 0.7]], [0, 1]))
    assert "no probabilities" in found.text("reliability")
    assert "calibration error" not in found.text("headline")
    assert "Its scores are no probabilities" in found.text("card")


def told_apart(own_threshold=None):
    """Of four images of something else one is taken for known."""
    return UnknownFigures.of(
        "unfamiliarity", np.arange(20.0), np.array([5.5, 30, 31, 32]), own_threshold
    )


def test_figures_on_something_else_are_shown_where_there_are_some(page):
    result = scored(TWO, TWO_SCORES, TWO_TRUTH, unknown=told_apart(own_threshold=9.0))
    rows = dict(page(result).table("unknown"))
    assert rows["told by"] == "unfamiliarity"
    area = rows["area under the ROC curve"]
    assert area.startswith(f"{(6 + 3 * 20) / 80:.4f} (")
    assert area.endswith("20 known images, 4 of something else")
    assert rows["taken for known of those of something else"].startswith("25.0 % (")
    own = rows["at the file's own threshold"]
    assert own.startswith("25.0 % (") and "and 50.0 % (" in own
    plain = page(scored(TWO, TWO_SCORES, TWO_TRUTH, unknown=told_apart()))
    assert "at the file's own threshold" not in dict(plain.table("unknown"))


# ---------------------------------------------------------------- one file, foreign text


HOSTILE = ("<script>alert('1')</script>", 'x" onerror="alert(2)', "$x_2^{$", "菊 & {{ 7*7 }}")


def test_foreign_text_is_only_text(tmp_path, report):
    scores, truth = random_scores(4, 40, seed=3)
    names = [f"p/{HOSTILE[i % 4]}/{i}.png".replace("/script", "") for i in range(40)]
    result = scored(HOSTILE, scores, truth, names)
    result = replace(
        result, warnings=("<b>bold</b>",), left_out=(("<i>odd</i>.png", "<u>why</u>"),)
    )
    html = render(report(result))
    page = Page(html)
    assert "script" not in page.tags and page.handlers == []
    assert not {"i", "u"} & set(page.tags)
    assert "<b>bold</b>" in page.text("headline")
    assert "<i>odd</i>.png: <u>why</u>" in page.text("data")
    assert page.table("confusion")[0][1:] == list(HOSTILE)
    assert HOSTILE[3] in page.text("pairs")
    assert [row[0] for row in page.table("classes")[1:]] == list(HOSTILE)


def test_nothing_is_loaded(tmp_path, report):
    images = draw_folder(tmp_path / "images", dict.fromkeys(("a", "b", "c"), 12))
    scores, truth = random_scores(3, 36, seed=1)
    names = [f"{'abc'[t]}/{i // 3:03d}.png" for i, t in enumerate(truth)]
    html = render(report(scored(("a", "b", "c"), scores, truth, names), images))
    page = Page(html)
    assert "img" in page.tags
    assert all(a.startswith(("data:image/jpeg;base64,", "#")) for a in page.addresses)
    assert not {"script", "link", "iframe", "object", "image"} & set(page.tags)
    assert "://" not in html and "@import" not in html
    assert re.findall(r"url\((?!#)", html) == []
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'" in html
    assert len(page.ids) == len(set(page.ids))
    for reference in re.findall(r"(?:url\(|href=\")#([^)\"]+)", html):
        assert reference in page.ids
    assert str(tmp_path) not in html
    assert "#0000" not in html.partition("</style>")[2]  # every stand-in became a page's colour


def test_the_drawings_say_what_they_show(page):
    found = page(scored(TWO, TWO_SCORES, TWO_TRUTH))
    assert found.tags.count("svg") == 3
    assert found.tags.count("title") == 3 + 1
    assert f"areas under the ROC curve: ill {19 / 24:.3f}" in found.text("roc")
    assert "N=10" in found.text("reliability")


# ---------------------------------------------------------------- pictures and names


def wrong_answers(folder, count):
    random = np.random.default_rng(5)
    folder.mkdir()
    for index in range(count):
        pixels = random.integers(0, 256, (300, 400, 3), dtype=np.uint8)  # the worst for JPEG
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return tuple(Misclassified(f"{i}.png", "a", "b", 0.9) for i in range(count))


def picture(address):
    content = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
    return Image.open(io.BytesIO(content))


def test_mistakes_have_small_pictures_beside_their_heat(tmp_path):
    wrong = wrong_answers(tmp_path / "images", MOST + 1)
    asked = []

    def heat_map(path):
        asked.append(path)
        hot = np.zeros((2, 2), np.float32)
        hot[0, 0] = 1
        return np.full((100, 200, 3), 90, np.uint8), hot

    found = worst_mistakes(wrong, tmp_path / "images", True, heat_map)
    assert [mistake.row for mistake in found] == list(range(1, MOST + 1))
    assert asked == [tmp_path / "images" / mistake.name for mistake in found]
    first = found[0]
    assert picture(first.picture).size == (200, 100)
    plain, heated = (np.asarray(picture(a), int) for a in (first.picture, first.heat))
    assert np.abs(heated - plain)[:20, :40].max() > 40 > np.abs(heated - plain)[-20:, -40:].max()


def test_pictures_are_small(tmp_path, report):
    wrong = wrong_answers(tmp_path / "images", MOST)
    found = worst_mistakes(wrong, tmp_path / "images", True)
    assert {picture(mistake.picture).size for mistake in found} == {(224, 168)}
    page = report(scored(TWO, TWO_SCORES, TWO_TRUTH))
    twice = tuple(replace(mistake, heat=mistake.picture) for mistake in found)
    assert len(render(replace(page, mistakes=twice))) < 3e6


def test_a_picture_that_has_gone_is_left_out(tmp_path):
    def heat_map(path):
        raise ImageError("gone")

    wrong = (Misclassified("gone.png", "a", "b", 0.9),)
    for heat in (None, heat_map):
        (found,) = worst_mistakes(wrong, tmp_path, True, heat)
        assert (found.name, found.picture, found.heat) == ("gone.png", "", "")


def private(tmp_path):
    (tmp_path / "ill").mkdir()
    names = [f"ill/MEIER^ANNA {number}.png" for number in range(10)]
    for name in names:
        Image.new("RGB", (30, 30), "red").save(tmp_path / name)
    result = scored(TWO, TWO_SCORES, TWO_TRUTH, names)
    return replace(
        result,
        warnings=(f"LEAK: {names[3]} and {names[9]} in two parts",),
        left_out=((names[0], f"expected an image in {names[0]}"),),
    )


def test_without_heat_maps_the_reason_is_told(monkeypatch, page):
    import kit.report.build

    def refuse(model, spec):
        raise ConversionError("expected global average pooling, got none")

    result = scored(TWO, TWO_SCORES, TWO_TRUTH)
    assert "no heat maps" not in page(result).text("mistakes")
    monkeypatch.setattr(kit.report.build, "HeatMaps", refuse)
    text = page(result).text("mistakes")
    assert "There are no heat maps: expected global average pooling, got none" in text


@pytest.mark.parametrize("dicom", [False, True])
def test_names_and_pictures_are_left_out_when_asked_and_with_dicom(tmp_path, report, dicom):
    result = private(tmp_path)
    if dicom:
        (tmp_path / "ill" / "MEIER^ANNA 3.png").write_bytes(bytes(128) + b"DICM")
    page = render(report(result, gallery=None if dicom else False))
    assert "MEIER" not in page and "data:image" not in page
    found = Page(page)
    assert "LEAK: (an image) and (an image) in two parts" in found.text("headline")
    assert "expected an image in (an image)" in found.text("data")
    assert found.table("mistakes")[1:] == [
        ["1", "ill", "0.850", "healthy"],
        ["2", "healthy", "0.800", "ill"],
    ]
    assert "no photographs and no file names" in page


def test_otherwise_they_are_shown_and_a_footer_warns(tmp_path, report):
    page = render(report(private(tmp_path)))
    assert "MEIER^ANNA 9.png" in page and page.count("data:image/jpeg") >= 2
    assert "only if you may pass on the photographs" in page
    with_dicom = tmp_path / "ill" / "MEIER^ANNA 3.png"
    with_dicom.write_bytes(bytes(128) + b"DICM")
    assert "MEIER^ANNA 9.png" in render(report(private_again(tmp_path), gallery=True))


def private_again(tmp_path):
    names = [f"ill/MEIER^ANNA {number}.png" for number in range(10)]
    return scored(TWO, TWO_SCORES, TWO_TRUTH, names)


# ---------------------------------------------------------------- a run


HISTORY = [
    {
        "accuracy": 0.5 + epoch / 20,
        "cross_entropy": 1 / (epoch + 1),
        "validation_accuracy": 0.5,
        "validation_cross_entropy": 0.7,
        "phase": phase,
    }
    for phase, epochs in (("head", 4), ("fine-tuning", 3))
    for epoch in range(epochs)
]


@pytest.fixture
def run(data, tmp_path):
    """A run's record, data set, files and test part; nothing was trained for it."""
    images = draw_folder(tmp_path / "my photos", {"blue": 30, "green": 24, "red": 6})
    dataset = scan_images(images)
    split = {}
    for number, image in enumerate(dataset.images):
        split[image.path] = ("train", "train", "validation", "test")[number % 4]
    paths = tuple(path for path, part in split.items() if part == "test")
    truth = np.array([i.label for i in dataset.images if i.path in paths])
    logits = np.eye(3)[truth] * 2
    logits[0] = logits[0][::-1]
    scores = np.exp(logits)
    scores = (scores / scores.sum(axis=1, keepdims=True)).astype(np.float32)
    path = data / "red_green_blue_int8.tflite"
    content = path.read_bytes()
    with Classifier.open(path) as classifier:
        spec = classifier.preprocess
    card = colour_card(
        preprocess=spec,
        dataset={"fingerprint": "ab12", "images": {"train": 30, "validation": 15, "test": 15}},
        created="2026-01-02T03:04:05+00:00",
        minimum_runtime="1.14.0",
        versions={"keras": "3.1"},
    )
    exported = Exported(
        "int8",
        content,
        replace(card, quantization="int8"),
        Evaluation.of(scores, truth, card.labels, paths),
        Agreement(0.9333, 0.1, 15),
        scores=scores,
    )
    record = {
        "settings": {
            "backbone": "mobilenet_v1",
            "weights": str(tmp_path / "weights.h5"),
            "quantize": ["int8"],
            "data": DataSettings().to_json(),
            "split": {"seed": 3, "group_regex": ""},
            "targets": None,
            "gallery": None,
        },
        "history": HISTORY,
        "split": split,
    }
    trial = ScoringSet("test", dataset.root, paths, truth)
    return record, dataset, exported, trial


def test_a_run(run, tmp_path):
    record, dataset, exported, trial = run
    files = {"model_int8.tflite": exported, "model_other.tflite": exported}
    html = render(of_run(record, dataset, files, trial, ("a class is small",)))
    page = Page(html)
    assert set(page.sections) == ALWAYS | {"curves"}
    assert "93.3 % right answers on the test part" in page.text("headline")
    assert "a class is small" in page.text("headline")
    facts = dict(row for row in page.table("data") if len(row) == 2)
    assert facts["images"] == "60 of 3 classes"
    assert facts["fingerprint of the images"] == "ab12"
    assert facts["groups (patients)"] == "none given"
    assert facts["versions"] == "keras 3.1"
    assert facts["split.seed"] == "3"
    assert facts["weights"] == "weights.h5"  # not where on this machine it lies
    assert str(tmp_path) not in html
    counts = [row for row in page.table("data") if len(row) == 4]
    assert counts[0] == ["class", "train", "validation", "test"]
    assert [sum(int(row[column]) for row in counts[1:]) for column in (1, 2, 3)] == [30, 15, 15]
    assert "head to epoch 4; then fine-tuning to epoch 7" in page.text("curves")
    rows = page.table("files")
    assert [row[0].split()[0] for row in rows[1:]] == list(files)
    assert rows[1][1] == f"{len(exported.content) / 1e3:.0f} kB"
    assert rows[1][2].startswith("93.3 % (") and rows[1][3] == "93.3 %"
    assert 0 < float(rows[1][4]) <= float(rows[1][5])
    assert rows[1][6] == "1.14.0"
    assert "30 runs with" in page.text("files")
    assert "None was stated" in page.text("card")
    assert "no medical device" in page.text("card")


def test_a_run_with_an_operating_point(run):
    record, dataset, exported, trial = run
    point = OperatingPoint("red", 0.5, 0.5, 0.9)
    red = exported.card.labels.index("red")
    validation = Operation.of(point, exported.scores[:, red], trial.truth == red, 0.25).to_json()
    card = replace(
        exported.card,
        operating_point=point,
        intended_use="Sorting.",
        metrics={"operating_point": {"validation": validation}},
    )
    targets = {"positive": "red", "sensitivity": 0.9, "specificity": None, "prevalence": 0.25}
    record = {**record, "settings": {**record["settings"], "targets": targets}}
    files = {"model_int8.tflite": replace(exported, card=card)}
    page = Page(render(of_run(record, dataset, files, trial)))
    rows = page.table("operating-point")[1:]
    assert [row[0] for row in rows] == ["the validation part (chosen on it)", "the test part"]
    assert rows[0][1:] == rows[1][1:]  # the same images stand for both
    assert rows[0][4] == "25.0 %"
    assert "Thresholds of red" in page.text("thresholds")
    assert "Sorting." in page.text("card") and "None was stated" not in page.text("card")


def test_a_run_with_a_screening_file(run):
    record, dataset, exported, trial = run
    found = {"test": {"accepted": 0.9, "n": 10, "correct": 9, "interval_95": [0.6, 0.98]}}
    card = replace(exported.card, screening=Screening(1.5, True), metrics={"unknown": found})
    files = {"model.tflite": exported, "model_screening.tflite": replace(exported, card=card)}
    page = Page(render(of_run(record, dataset, files, trial)))
    assert "taken for known of the test part" in page.text("unknown")
    assert "90.0 % (60.0 to 98.0), N=10" in page.text("unknown")
    assert "The screening file answers unknown" in page.text("card")
    plain = Page(render(of_run(record, dataset, {"model.tflite": exported}, trial)))
    assert "unknown" not in plain.sections
    assert "this file rejects nothing" in plain.text("card")


def test_thresholds_that_were_chosen_on_site(run):
    record, dataset, exported, trial = run
    point = OperatingPoint("red", 0.5, 0.5, 0.9, confidence=0.95, positives=40, negatives=60)
    red = exported.card.labels.index("red")
    here = Operation.of(point, exported.scores[:, red], trial.truth == red).to_json()
    found = {"accepted": 0.9, "n": 10, "correct": 9, "interval_95": [0.6, 0.98]}
    card = replace(
        exported.card,
        operating_point=point,
        screening=Screening(1.5, True),
        metrics={"operating_point": {"on_site": here}, "unknown": {"on_site": found}},
    )
    files = {"model.tflite": replace(exported, card=card)}
    page = Page(render(of_run(record, dataset, files, trial)))
    rows = page.table("operating-point")[1:]
    assert [row[0] for row in rows] == ["the place of its use (chosen on it)", "the test part"]
    assert "like those of the place of its use reach this" in page.text("operating-point")
    assert "95 % of the images of the place of its use" in page.text("unknown")
    told = page.text("operating-point") + page.text("unknown")
    assert "validation part" not in told


def test_phases():
    assert phase_ends(HISTORY) == (4, 7)
    plain = [{key: value for key, value in r.items() if key != "phase"} for r in HISTORY]
    assert phase_ends(plain) == (7,)


def test_curves_of_many_labels():
    labels = tuple("abcdefghij")
    result = scored(labels, *random_scores(10, 100))
    from kit.evaluation import rank_labels

    curves = choose_curves(rank_labels(result.scores, result.truth, labels), None)
    assert len(curves) == 10
    coloured_ones = [curve for curve in curves if curve.colour]
    assert [curve.colour for curve in coloured_ones] == [1, 2, 3, 4, 5, 6]
    best_of_worst = max(curve.ranking.auc.value for curve in coloured_ones)
    assert all(c.ranking.auc.value >= best_of_worst for c in curves if c.colour is None)


def test_latency(data):
    path = data / "red_green_blue_int8.tflite"
    with Classifier.open(path) as classifier:
        spec = classifier.preprocess
    for model in (path, path.read_bytes()):
        found = measure_latency(model, spec, num_threads=1)
        assert 0 < found.median_ms <= found.p95_ms
        assert (found.runs, found.num_threads) == (30, 1)


# ---------------------------------------------------------------- limits


def told(result, counts=(), rejects_unknown=False):
    return " ".join(limits(result, counts, rejects_unknown)).replace("\u00a0", " ")


def test_limits_follow_from_the_data():
    few = told(scored(TWO, TWO_SCORES, TWO_TRUTH))
    assert "10 images leave the accuracy anywhere between 49.0 % and 94.3 %" in few
    assert "fewer than 30 images: healthy (4), ill (6)" in few
    assert "tested on fewer than 10 images, so these figures mean little. kit cross-valid" in few
    assert "The weakest class is healthy: 75.0 %" in few
    assert "No groups were given" in few
    assert "this file rejects nothing" in few
    scores, truth = random_scores(2, 4000)
    many = told(
        scored(TWO, scores, truth, groups=tuple(str(i) for i in range(4000))),
        (ClassCount("ill", {"train": 90}), ClassCount("healthy", {"train": 18})),
        rejects_unknown=True,
    )
    assert "leave the accuracy anywhere" not in many
    assert "fewer than 30" not in many and "mean little" not in many
    assert "No groups" not in many
    assert "healthy has the fewest images to learn from: 18, which are very few; ill has 90" in many
    assert "how often it misses that was not measured here" in many
    measured = scored(TWO, TWO_SCORES, TWO_TRUTH, unknown=told_apart(own_threshold=9.0))
    assert "it took 25.0 % (4.6 % to 69.9 %, N=4) for known" in told(measured, (), True)
    assert "this file rejects nothing" in told(measured)


def test_limits_tell_whether_scores_are_probabilities():
    random = np.random.default_rng(2)
    sure = random.uniform(0.5, 1, 3000)
    truth = (random.random(3000) > sure).astype(int)  # the first label is right as often as claimed
    honest = np.stack([sure, 1 - sure], axis=1)
    assert "Nothing here speaks against" in told(scored(TWO, honest, truth))
    boast = np.stack([np.full(3000, 0.999), np.full(3000, 0.001)], axis=1)
    assert "cannot be read as probabilities" in told(scored(TWO, boast, truth))


# ---------------------------------------------------------------- the commands


def kit(*arguments):
    from kit.cli.app import app

    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def labelled(tmp_path):
    folder = draw_folder(tmp_path / "images", {"blue": 4, "green": 4, "red": 4})
    pixels = coloured(COLOURS["green"], np.random.default_rng(8))
    Image.fromarray(pixels).save(folder / "red" / "odd one.png")
    return folder


def test_evaluate_writes_a_report(data, labelled, tmp_path):
    given = ("evaluate", data / "red_green_blue_int8.tflite", labelled)
    output = tmp_path / "reports" / "x.html"
    done = kit(*given, "--report", output, "--positive", "red", "--prevalence", 0.05)
    assert done.exit_code == 0, done.output
    html = output.read_text("utf-8")
    page = Page(html)
    assert "92.3 % right answers on the images of images" in page.text("headline")
    assert "red/odd one.png" in page.text("mistakes")
    assert "where 5.0 % of the images are red" in page.text("thresholds")
    assert str(tmp_path) not in html
    again = kit(*given, "--report", output)
    assert again.exit_code == 1 and "--force" in again.stderr
    assert output.read_text("utf-8") == html
    assert kit(*given, "--report", output, "--force", "--no-gallery").exit_code == 0
    assert "odd one" not in output.read_text("utf-8")


@pytest.mark.tf
def test_training_writes_a_report(finished_run):
    html = (finished_run.folder / "report.html").read_text("utf-8")
    page = Page(html)
    assert set(page.sections) == ALWAYS | {"curves"}
    test = json.loads((finished_run.folder / "run.json").read_text("utf-8"))["metrics"]["int8"]
    assert f"{100 * test['accuracy']:.1f} % right answers on the test part" in page.text("headline")
    assert f"N={test['n']}" in page.text("headline")
    assert [row[0].split()[0] for row in page.table("files")[1:]] == [
        "model_int8.tflite",
        "model_float16.tflite",
    ]
    assert [row[0] for row in page.table("classes")[1:]] == list(CLASSES)
    assert f"{SIDE} pixels" in page.text("data")
    assert "red/broken.jpg" in page.text("data")  # was left out
    assert "Tests." in page.text("card")
    shown = min(MOST, test["n"] - test["correct"])
    assert shown > 0 and page.tags.count("img") == 2 * shown  # each with its heat map
    assert str(Path(finished_run.images).parent) not in html


def test_a_name_that_ends_another_is_withheld_with_it():
    from kit.report.build import _without_names

    found = _without_names("such as Doe_Jane/x.dcm", ["x.dcm", "Doe_Jane/x.dcm"])
    assert "Doe" not in found and "x.dcm" not in found
