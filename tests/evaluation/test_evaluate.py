"""Scoring a model file on a labelled folder: a model whose answers are known beforehand."""

import numpy as np
import pytest
from drawing import COLOURS, coloured, draw_folder
from PIL import Image
from training_fixtures import colour_card, package, part_by_definition

from kit.data import DataSettings, scan_images
from kit.errors import DataError
from kit.evaluation import evaluate_model
from kit.runtime import Classifier

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf


@pytest.fixture
def images(tmp_path):
    """Ten of each colour, and two greens that lie among the reds."""
    folder = draw_folder(tmp_path / "images", {"blue": 10, "green": 10, "red": 10})
    random = np.random.default_rng(8)
    for name in ("wrong 1.png", "wrong 2.png"):
        Image.fromarray(coloured(COLOURS["green"], random)).save(folder / "red" / name)
    return folder


def evaluated(path, images, **arguments):
    with Classifier.open(path) as classifier:
        return evaluate_model(classifier, images, **arguments)


def test_known_answers(colour_file, images):
    result = evaluated(colour_file, images)
    evaluation = result.evaluation
    assert evaluation.labels == ("blue", "green", "red")
    assert (evaluation.accuracy.correct, evaluation.accuracy.n) == (30, 32)
    assert evaluation.confusion == ((10, 0, 0), (0, 10, 0), (0, 2, 10))
    assert {(w.image, w.label, w.predicted) for w in evaluation.misclassified} == {
        ("red/wrong 1.png", "red", "green"),
        ("red/wrong 2.png", "red", "green"),
    }
    assert result.left_out == ()
    assert result.warnings == ()


def test_some_of_the_labels_suffice(colour_file, tmp_path):
    images = draw_folder(tmp_path / "red alone", {"red": 5})
    evaluation = evaluated(colour_file, images).evaluation
    assert (evaluation.accuracy.correct, evaluation.accuracy.n) == (5, 5)
    assert evaluation.confusion[2] == (0, 0, 5)


def test_a_folder_that_the_model_does_not_know(colour_file, images):
    draw_folder(images, {"violet": 1})
    with pytest.raises(DataError, match=r"\(blue, green, red\), got violet"):
        evaluated(colour_file, images)


def test_unreadable_images_are_listed_and_not_counted(colour_file, images):
    (images / "red" / "000.png").write_bytes(b"no image")
    result = evaluated(colour_file, images)
    ((path, reason),) = result.left_out
    assert path == "red/000.png"
    assert "expected an image" in reason
    assert (result.evaluation.accuracy.correct, result.evaluation.accuracy.n) == (29, 31)
    assert result.evaluation.confusion == ((10, 0, 0), (0, 10, 0), (0, 2, 9))


def test_nothing_but_unreadable_images(colour_file, tmp_path):
    (tmp_path / "images" / "red").mkdir(parents=True)
    (tmp_path / "images" / "red" / "1.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match="none could be read"):
        evaluated(colour_file, tmp_path / "images")


@pytest.fixture
def trained_file(colour_flatbuffer, images, tmp_path):
    """The model, as if it had been trained on these images."""

    def write(**split):
        data = {"fingerprint": scan_images(images).fingerprint, **split}
        path = tmp_path / "trained.tflite"
        path.write_bytes(package(colour_flatbuffer, colour_card(dataset=data)))
        return path

    return write


SPLIT = {"validation": 0.3, "test": 0.3, "seed": 4, "group_regex": ""}


def test_the_training_images_are_warned_of(trained_file, images):
    path = trained_file(**SPLIT)
    (warning,) = evaluated(path, images).warnings
    assert "trained on" in warning
    assert "--part test" in warning
    draw_folder(images, {"red": 1}, seed=77)
    assert evaluated(path, images).warnings == ()


@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_part_is_that_of_the_training(trained_file, images, part):
    result = evaluated(trained_file(**SPLIT), images, part=part)
    expected = [
        image
        for image in scan_images(images).images
        if part_by_definition(image.digest, 0.3, 0.3, seed=4) == part
    ]
    assert 0 < len(expected) < 32
    assert result.evaluation.accuracy.n == len(expected)
    wrong = {image.path for image in expected if "wrong" in image.path}
    assert {w.image for w in result.evaluation.misclassified} == wrong
    assert result.warnings == ()


def test_parts_must_be_given_as_in_training(trained_file, images, tmp_path):
    """Else they would be drawn, and images that the model has learnt from called test images."""
    parted = tmp_path / "parted"
    for part in ("train", "validation", "test"):
        draw_folder(parted / part, {"red": 4, "blue": 4}, seed=len(part))
    given = trained_file(**SPLIT, given_parts=["train", "validation", "test"])
    found = evaluated(given, parted, part="test")
    assert found.evaluation.accuracy.n == 8
    for folder in (images, parted / "train"):
        with pytest.raises(
            DataError, match=r"\(train, validation, test\) as in training, got none"
        ):
            evaluated(given, folder, part="test")
    rows = [
        f"{path.relative_to(parted)},{path.parent.name},test" for path in parted.rglob("test/*/*")
    ]
    table = tmp_path / "test.csv"
    table.write_text("\n".join(["path,label,part", *rows]))
    data = DataSettings(table, split_column="part")
    by_table = trained_file(**SPLIT, split_column="part", given_parts=["train", "test"])
    found = evaluated(by_table, parted, part="test", data=data)
    assert found.evaluation.accuracy.n == len(rows) == 8
    drawn = trained_file(**SPLIT, given_parts=[])
    with pytest.raises(DataError, match=r"\(none\) as in training, got train, validation, test"):
        evaluated(drawn, parted, part="test")


def test_corrected_test_images_are_named(trained_file, images, tmp_path):
    path = trained_file(**SPLIT)
    tested = next(
        image
        for image in scan_images(images).images
        if part_by_definition(image.digest, 0.3, 0.3, seed=4) == "test"
    )
    other = next(label for label in ("blue", "red") if not tested.path.startswith(label))
    table = tmp_path / "corrections.csv"
    table.write_text(f"digest,label\n{tested.digest},{other}\n")
    data = DataSettings(corrections=table)
    told = evaluated(path, images, part="test", data=data).warnings
    assert any(
        f"1 test image had another label before the corrections, {tested.path}" in line
        for line in told
    )
    elsewhere = evaluated(path, images, part="train", data=data).warnings
    assert not any("another label" in line for line in elsewhere)


def test_a_part_by_groups(trained_file, images):
    # With seed 5 the group "wrong" falls into the test part, and all other names' "0" does not.
    path = trained_file(**{**SPLIT, "group_regex": r"(wrong|\d)", "seed": 5})
    found = evaluated(path, images, part="test").evaluation.accuracy.n
    parts = [part_by_definition(f"group:{key}", 0.3, 0.3, seed=5) for key in ("wrong", "0")]
    assert parts == ["test", "train"]
    assert found == 2


def test_a_group_pattern_of_other_names_is_told_and_not_used(trained_file, images):
    path = trained_file(**{**SPLIT, "fingerprint": "of others", "group_regex": r"patient(\d+)"})
    result = evaluated(path, images)
    assert result.evaluation.accuracy.n == 32 and result.groups is None
    (warning,) = result.warnings
    assert r"'patient(\\d+)'" in warning
    with pytest.raises(DataError, match="to match the images' paths, it matches none"):
        evaluated(path, images, part="test")


def test_a_patient_alone_has_no_part(trained_file, images, tmp_path):
    """Whose images would be divided one by one, training images among them."""
    rows = [
        f"{path.relative_to(images)},{path.parent.name},{path.name}"
        for path in sorted(images.rglob("*.png"))
    ]
    tables = []
    one = [row for row in rows if row.endswith("000.png")]
    for name, patients in (("all", rows), ("one", one)):
        tables.append(tmp_path / f"{name}.csv")
        tables[-1].write_text("\n".join(["path,label,patient", *patients]))
    everyone, alone = (DataSettings(table, group_column="patient") for table in tables)
    model = trained_file(**SPLIT, group_column="patient")
    assert evaluated(model, images, part="test", data=everyone).evaluation.accuracy.n < 32
    assert evaluated(model, images, data=alone).evaluation.accuracy.n == 3
    with pytest.raises(DataError, match="give the whole data set, or leave out --part"):
        evaluated(model, images, part="train", data=alone)


def test_a_part_without_images(trained_file, images):
    path = trained_file(**{**SPLIT, "validation": 1e-9})
    with pytest.raises(DataError, match="validation part, none of these falls into it"):
        evaluated(path, images, part="validation")


def test_a_part_of_a_model_that_does_not_say_its_split(trained_file, colour_file, images):
    for path in (colour_file, trained_file(validation=0.1)):
        with pytest.raises(DataError, match="leave out --part"):
            evaluated(path, images, part="test")


def test_progress_is_told(colour_file, images):
    from training_fixtures import Listener

    listener = Listener()
    evaluated(colour_file, images, reporter=listener)
    assert [total for _, total in listener.tracked] == [32]
