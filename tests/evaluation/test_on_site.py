"""Thresholds that are chosen where a model is used: only the card changes, and it remembers."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from drawing import draw_folder
from places import ROOT
from training_fixtures import Listener, colour_card, package
from typer.testing import CliRunner

from kit.cli.app import app
from kit.data import DataSettings, load_dataset
from kit.errors import DataError, ModelFileError
from kit.evaluation import Operation, Targets, evaluate_model
from kit.evaluation.on_site import adjust_on_site, adjusted_text
from kit.model.model_file import digest_of, read_model_file, with_card_fields
from kit.model.spec import OperatingPoint
from kit.runtime import Classifier

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf


def kit(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


NOTE = "Ward 3, Dr Ada Osei"
MEASURED = {"accuracy": 1.0, "n": 3, "correct": 3, "interval_95": [0.4, 1.0]}
TARGETS = Targets("red", sensitivity=0.9, prevalence=0.2)


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """Images of another place, where red is paler, in folders of their labels."""
    folder = draw_folder(
        tmp_path_factory.mktemp("clinic"), {"blue": 30, "green": 30, "red": 40}, seed=5
    )
    (folder / "red" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def model(colour_flatbuffer, tmp_path):
    card = replace(
        colour_card(),
        model_sha256="",
        operating_point=OperatingPoint("red", 0.5, 0.5, 0.8),
        metrics={"test": MEASURED, "operating_point": {"validation": {}}},
    )
    path = tmp_path / "model.tflite"
    path.write_bytes(package(colour_flatbuffer, card))
    return path


@pytest.fixture(scope="module")
def screening_model(small_backbone, tmp_path_factory):
    """A screening file with a limit of the unknown."""
    from kit.data import SplitSettings
    from kit.training.fitting import FitSettings
    from kit.workflows.train import TrainSettings, train

    base = tmp_path_factory.mktemp("on-site")
    images = draw_folder(base / "images", {"blue": 80, "red": 80}, seed=6)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=small_backbone.choice.input_resolution,
        weights=str(small_backbone.weights.path),
        split=SplitSettings(0.3, 0.2),
        fitting=FitSettings(epochs=3, learning_rate=0.01, batch_size=16),
        screening=True,
    )
    return train(images, base / "run", settings, cache=base / "cache").screening_files["int8"]


def archive_starts(content):
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return min(info.header_offset for info in archive.infolist())


def test_only_the_card_changes(model, clinic, tmp_path):
    adjusted = adjust_on_site(model, clinic, NOTE, targets=TARGETS)
    before = model.read_bytes()
    start = archive_starts(before)
    assert archive_starts(adjusted.content) == start
    assert adjusted.content[:start] == before[:start]
    new = tmp_path / "new.tflite"
    new.write_bytes(adjusted.content)
    card, old = read_model_file(new).card, read_model_file(model).card
    kept = {"operating_point", "metrics", "history", "reference"}
    told = {name: value for name, value in old.to_json().items() if name not in kept}
    assert {name: value for name, value in card.to_json().items() if name not in kept} == told
    assert card.metrics["test"] == MEASURED
    assert digest_of(before, start) == digest_of(adjusted.content, start)


def test_what_it_promises_is_what_the_file_does_there(model, clinic, tmp_path):
    listener = Listener()
    adjusted = adjust_on_site(model, clinic, NOTE, targets=TARGETS, reporter=listener)
    assert adjusted.images == 100
    assert any("broken.png" in line for line in listener.warned)
    point = adjusted.operation.point
    assert (point.target_sensitivity, point.confidence) == (0.9, 0.95)
    assert (point.positives, point.negatives) == (40, 60)
    new = tmp_path / "new.tflite"
    new.write_bytes(adjusted.content)
    with Classifier.open(new) as classifier:
        found = evaluate_model(classifier, clinic, prevalence=0.2)
        assert classifier.file.card.operating_point == point
    index = found.evaluation.labels.index("red")
    again = Operation.of(point, found.scores[:, index], found.truth == index, 0.2)
    assert again == adjusted.operation == found.operation
    measured = read_model_file(new).card.metrics["operating_point"]
    assert measured == {"on_site": json.loads(json.dumps(again.to_json()))}


def test_what_is_referred_and_missed_of_a_thousand(model, clinic):
    adjusted = adjust_on_site(model, clinic, NOTE, targets=TARGETS)
    assert len(adjusted.table) == 10  # nine, and the one that was chosen
    for row in adjusted.table:
        found, cleared = row.sensitivity.value, row.specificity.value
        assert row.missed_per_1000[0] == pytest.approx(200 * (1 - found))
        assert row.referred_per_1000[0] == pytest.approx(200 * found + 800 * (1 - cleared))
        for value, low, high in (row.missed_per_1000, row.referred_per_1000):
            assert low <= value <= high and high > low
    text = adjusted_text(adjusted)
    assert "of 1,000 images at a prevalence of 0.2" in text
    assert sum(line.startswith("* ") for line in text.splitlines()) == 1
    assert max(map(len, text.splitlines()[:12])) <= 120


def test_the_card_remembers_what_it_said_before(model, clinic, tmp_path):
    first, second = tmp_path / "first.tflite", tmp_path / "second.tflite"
    first.write_bytes(adjust_on_site(model, clinic, NOTE, targets=TARGETS).content)
    strict = replace(TARGETS, sensitivity=0.5, specificity=0.5)
    second.write_bytes(adjust_on_site(first, clinic, "  after the move ", targets=strict).content)
    history = read_model_file(second).card.history
    assert [(entry["note"], entry["images"]) for entry in history] == [
        (NOTE, 100),
        ("after the move", 100),
    ]
    assert history[0]["before"]["operating_point"]["target_sensitivity"] == 0.8
    assert history[1]["before"]["operating_point"]["target_sensitivity"] == 0.9
    done = kit("info", second)
    assert done.exit_code == 0, done.stderr
    shown = done.stdout
    assert shown.index("after the move") < shown.index(NOTE)
    assert "before: red from 0.5000, negative below" in shown


def test_unlabelled_images_choose_the_limit_of_the_unknown_alone(screening_model, tmp_path):
    images = draw_folder(tmp_path / "unsorted", {"anything": 60, "deeper/blue": 40}, seed=8)
    adjusted = adjust_on_site(screening_model, images, NOTE)
    assert adjusted.operation is None and adjusted.table == ()
    threshold, accepted = adjusted.unfamiliarity
    assert accepted.n == 100 and accepted.correct == 95
    new = tmp_path / "new.tflite"
    new.write_bytes(adjusted.content)
    old, card = read_model_file(screening_model).card, read_model_file(new).card
    assert card.screening.unfamiliarity_threshold == threshold
    before = old.screening.unfamiliarity_threshold
    assert threshold != before
    assert card.history[0]["before"]["unfamiliarity_threshold"] == before
    assert {*old.metrics["unknown"]} == {"validation", "test"}
    measured = {**old.metrics, "unknown": {"on_site": accepted.to_json("accepted")}}
    assert card.metrics == json.loads(json.dumps(measured))
    with Classifier.open(new) as classifier:
        answers = list(classifier.classify_files(sorted(images.rglob("*.png"))))
    assert sum(bool(answer.unknown) for answer in answers) == 5


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"note": "  "}, ValueError, "expected a note on where this is done"),
        ({"targets": Targets("mauve", 0.9)}, ValueError, "expected --positive of blue, green, red"),
        ({"targets": Targets("red", 0.99)}, DataError, "at least 299 positive images among the"),
        ({"targets": None}, DataError, "a screening file has a limit of the unknown"),
        (
            {"data": DataSettings(label_regex="(IM)")},
            DataError,
            "expected",
        ),
    ],
)
def test_what_cannot_be_chosen(model, clinic, changes, error, said):
    before = model.read_bytes()
    arguments = {"note": NOTE, "targets": TARGETS} | changes
    with pytest.raises(error, match=said):
        adjust_on_site(model, clinic, **arguments)
    assert model.read_bytes() == before


def test_one_patient_is_no_crowd(model, clinic):
    said = r"at least 29 independent positives among the images .* got 1 of 41 images"
    with pytest.raises(DataError, match=said):
        adjust_on_site(model, clinic, NOTE, targets=TARGETS, group_regex="(.).*png")


def trained_on(model, images, pattern):
    """The same file, whose card says that it was trained on these, with this pattern of groups."""
    told = {"fingerprint": load_dataset(images).fingerprint, "group_regex": pattern}
    model.write_bytes(with_card_fields(model.read_bytes(), {"dataset": told}))
    return model


def test_images_of_the_training_are_warned_of(model, clinic):
    listener = Listener()
    trained = trained_on(model, clinic, "nobody")
    adjust_on_site(trained, clinic, NOTE, targets=TARGETS, reporter=listener)
    for said in ("the images that the model was trained on", "group pattern 'nobody'"):
        assert any(said in line for line in listener.warned)


def test_patients_are_told_apart_as_in_the_training(model, clinic, tmp_path):
    trained = trained_on(model, clinic, "(.).*png")
    with pytest.raises(DataError, match=r"at least 29 independent positives .* got 1 of 41"):
        adjust_on_site(trained, clinic, NOTE, targets=TARGETS)
    table = tmp_path / "table.csv"
    paths = [path.relative_to(clinic).as_posix() for path in clinic.rglob("*.png")]
    rows = [f"{path},{path.partition('/')[0]},{path}" for path in paths]
    table.write_text("\n".join(["path,label,patient", *rows]) + "\n")
    data = DataSettings(table, group_column="patient")
    point = adjust_on_site(trained, clinic, NOTE, targets=TARGETS, data=data).operation.point
    assert point.positives == 40


def test_copies_of_a_few_images_promise_nothing(model, clinic, tmp_path):
    images = tmp_path / "images"
    shutil.copytree(clinic / "blue", images / "blue")
    (images / "red").mkdir()
    for path in sorted((clinic / "red").glob("*.png"))[1:7]:
        for number in range(5):
            shutil.copy2(path, images / "red" / f"{number}{path.name}")
    with pytest.raises(DataError, match=r"at least 29 independent positives .* got 6 of 30 images"):
        adjust_on_site(model, images, NOTE, targets=TARGETS)
    # Where the images reach more than they can promise, the card counts each content once.
    asked = replace(TARGETS, sensitivity=0.5)
    point = adjust_on_site(model, images, NOTE, targets=asked).operation.point
    assert (point.positives, point.negatives) == (6, 30)


def test_other_labels_and_no_positives(model, tmp_path):
    strangers = draw_folder(tmp_path / "strangers", {"violet": 3, "red": 3})
    with pytest.raises(DataError, match="expected folders named as the model's labels"):
        adjust_on_site(model, strangers, NOTE, targets=TARGETS)
    negatives = draw_folder(tmp_path / "negatives", {"blue": 30, "green": 30})
    with pytest.raises(DataError, match=r"29 positive images among the images to promise .* got 0"):
        adjust_on_site(model, negatives, NOTE, targets=TARGETS)


def test_a_model_without_a_card(colour_flatbuffer, clinic, tmp_path):
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(colour_flatbuffer)
    with pytest.raises(ModelFileError):
        adjust_on_site(bare, clinic, NOTE, targets=TARGETS)


def test_too_few_images_leave_the_limit_as_it_is(screening_model, tmp_path):
    images = draw_folder(tmp_path / "few", {"blue": 8, "red": 8}, seed=8)
    listener = Listener()
    targets = Targets("red", sensitivity=0.5, confidence=0.0)
    adjusted = adjust_on_site(screening_model, images, NOTE, targets=targets, reporter=listener)
    assert adjusted.unfamiliarity is None
    assert "the limit of the unknown stays: a limit of the unknown takes 20 images, got 16" in (
        listener.warned
    )


# ---------------------------------------------------------------- the commands

_WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"scipy", "sklearn", "tensorflow", "keras", "typer", "jinja2"}:
            raise ModuleNotFoundError(f"no {name} on this device")
sys.meta_path.insert(0, Missing())
from kit.device.command import main
sys.exit(main(sys.argv[1:]))
"""


def on_a_device(*arguments):
    """`kit-label` where nothing but numpy, Pillow and an interpreter is installed."""
    return subprocess.run(
        [sys.executable, "-c", _WITHOUT, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "KIT_DEBUG": ""},
    )


@pytest.mark.parametrize("form", ["labelled", "unlabelled"])
def test_a_device_gives_the_same_bytes(screening_model, clinic, tmp_path, form):
    images = tmp_path / "images"
    for colour in ("blue", "red"):
        shutil.copytree(clinic / colour, images / colour)
    asked = ["--note", NOTE]
    if form == "labelled":
        asked += ["--positive", "red", "--target-sensitivity", "0.9", "--confidence", "0.9"]
    desktop, device = tmp_path / "desktop.tflite", tmp_path / "device.tflite"
    done = kit("calibrate", screening_model, images, *asked, "--output", desktop)
    assert done.exit_code == 0, done.stderr
    other = on_a_device(screening_model, images, *asked, "--calibrate", device)
    assert other.returncode == 0, other.stderr
    assert device.read_bytes() == desktop.read_bytes()
    assert other.stdout.splitlines()[:-1] == done.stdout.splitlines()[:-1]
    assert "warning: left out" in other.stderr
    again = on_a_device(screening_model, images, *asked, "--calibrate", device)
    assert again.returncode == 1
    assert "or --force" in again.stderr
    drawn = tmp_path / "drawn.png"
    picture = kit(
        *("calibrate", screening_model, images, *asked),
        *("--output", tmp_path / "y", "--plot", drawn),
    )
    assert (picture.exit_code == 0) == drawn.exists() == (form == "labelled")
    shown = kit(
        "calibrate", screening_model, images, *asked, "--output", tmp_path / "x", "--format", "json"
    )
    facts = json.loads(shown.stdout)
    assert facts["images"] == 70
    assert (facts["operating_point"] is None) == (form == "unlabelled")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--positive", "red"), "expected --positive beside --calibrate"),
        (("--calibrate", "x"), "expected --note beside --calibrate"),
        (("--calibrate", "x", "--note", "n", "--positive", "red"), "--positive LABEL and a target"),
        (("--calibrate", "x", "--note", "n", "--confidence", "0.9"), "got one of them"),
        (("--calibrate", "x", "--note", "n", "--self-test"), "expected --calibrate alone"),
        (("--calibrate", "x", "--note", "n", "--format", "csv"), "expected --calibrate alone"),
    ],
)
def test_mistakes_at_the_device(model, clinic, capsys, arguments, said):
    from kit.device.command import main

    with pytest.raises(SystemExit):
        main([str(model), str(clinic), *arguments])
    assert said in capsys.readouterr().err


def test_scores_of_a_device_decide_as_the_card_says(model, clinic, tmp_path):
    """A threshold is between scores that occur: none of them is on it."""
    adjusted = adjust_on_site(model, clinic, NOTE, targets=TARGETS)
    new = tmp_path / "new.tflite"
    new.write_bytes(adjusted.content)
    with Classifier.open(new) as classifier:
        index = classifier.labels.index("red")
        paths = [path for path in sorted(clinic.rglob("*.png")) if path.name != "broken.png"]
        scores = np.array([one.scores[index] for one in classifier.answers_of_files(paths)])
    assert np.abs(scores - adjusted.operation.point.positive_from).min() > 0
