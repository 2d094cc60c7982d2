"""Corrections of labels: by content, told, and never of what is not there."""

import csv
import hashlib
import shutil

import pytest
from drawing import draw_folder

from kit.data import DataSettings, SplitSettings, load_dataset, split_dataset
from kit.data.check import check_images
from kit.data.corrections import corrected_tests
from kit.errors import DataError, SpecError


@pytest.fixture
def images(tmp_path):
    return draw_folder(tmp_path / "images", {"blue": 8, "red": 8}, seed=1)


def digest_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def table(tmp_path):
    def write(*rows, header=("digest", "label")):
        path = tmp_path / "corrections.csv"
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
        return DataSettings(corrections=path)

    return write


def labels_of(dataset):
    return {image.path: dataset.labels[image.label] for image in dataset.images}


def test_labels_go_by_content(images, table):
    wrong, bad = images / "blue" / "000.png", images / "red" / "003.png"
    settings = table((digest_of(wrong), "red"), (digest_of(bad), "exclude"), ("0" * 64, "red"))
    before = load_dataset(images)
    found = load_dataset(images, settings)
    assert labels_of(found)["blue/000.png"] == "red"
    assert len(found.images) == 15
    assert found.left_out == (("red/003.png", "left out by corrections.csv"),)
    assert found.corrected == {digest_of(wrong)}
    assert found.warnings[-2:] == (
        "1 label corrected and 1 image left out by corrections.csv",
        "1 row of corrections.csv fit no image here",
    )
    assert found.fingerprint != before.fingerprint
    moved = images / "blue" / "renamed.png"
    shutil.move(wrong, moved)
    assert labels_of(load_dataset(images, settings))["blue/renamed.png"] == "red"


def test_a_label_that_is_right_already_changes_nothing(images, table):
    settings = table((digest_of(images / "blue" / "000.png"), "blue"))
    found = load_dataset(images, settings)
    assert found.corrected == frozenset()
    assert found.fingerprint == load_dataset(images).fingerprint


def test_corrected_test_images_are_named(images, table):
    settings = table(*((digest_of(path), "red") for path in (images / "blue").iterdir()))
    found = load_dataset(images, settings, ("blue", "red"))
    split = {image.path: "train" for image in found.images}
    assert corrected_tests(found, split) is None
    told = corrected_tests(found, {**split, "blue/002.png": "test", "red/002.png": "test"})
    assert told.startswith("1 test image had another label before the corrections, blue/002.png: ")
    left = load_dataset(images, table((digest_of(images / "red" / "001.png"), "exclude")))
    assert "1 image left out, of whatever part: figures flatter" in corrected_tests(left, split)
    assert corrected_tests(found).startswith("8 test images had another label")
    plain = load_dataset(images)
    assert corrected_tests(plain, split_dataset(plain, SplitSettings())) is None


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([("0" * 64, "red"), ("1" * 64, "red")], "got 2 rows that fit none of its 16 images"),
        ([("0" * 64, "red"), ("0" * 64, "blue")], "line 3: expected one label for an image"),
        ([("abc", "red")], "line 2: expected a SHA-256 and a label, got abc and red"),
        ([("0" * 64, "")], "got 0{64} and none"),
        ([("0" * 64, "red"), ('1" ' * 30000, "red" * 50000)], "its reading fails"),
    ],
)
def test_what_is_wrong_with_a_table(images, table, rows, said):
    with pytest.raises(DataError, match=said):
        load_dataset(images, table(*rows))


def test_a_new_label_is_told_and_a_model_has_none(images, table):
    first, second = images / "blue" / "000.png", images / "red" / "001.png"
    settings = table((digest_of(first), "grey"), (digest_of(second), "blue"))
    found = load_dataset(images, settings)
    assert found.labels == ("blue", "grey", "red")
    labels = labels_of(found)
    assert labels.pop("blue/000.png") == "grey" and labels.pop("red/001.png") == "blue"
    assert all(path.startswith(label) for path, label in labels.items())
    assert found.counts() == (8, 1, 7)
    assert "grey is a new label, of 1 image" in found.warnings
    with pytest.raises(DataError, match="expected labels of blue, red, or exclude, got grey"):
        load_dataset(images, settings, ("blue", "red"))


def test_a_class_called_exclude_is_a_class(tmp_path, table):
    images = draw_folder(tmp_path / "others", {"exclude": 4, "ok": 4}, seed=2)
    found = load_dataset(images, table((digest_of(images / "ok" / "001.png"), "exclude")))
    assert found.counts() == (4, 3)


def test_a_class_that_is_emptied_is_none(images, table):
    draw_folder(images, {"green": 4}, seed=9)
    found = load_dataset(
        images, table(*((digest_of(p), "red") for p in (images / "blue").iterdir()))
    )
    assert found.labels == ("green", "red") and found.counts() == (4, 16)
    assert "blue has no image any more: it is no class" in found.warnings
    with pytest.raises(SpecError, match="one line of text"):
        load_dataset(images, table((digest_of(images / "blue" / "001.png"), "a\nb")))


@pytest.mark.parametrize("label", ["red", "exclude"])
def test_corrections_that_leave_one_class_are_refused(images, table, label):
    rows = [(digest_of(path), label) for path in (images / "blue").iterdir()]
    with pytest.raises(DataError, match="at least 2 classes, they leave red: "):
        load_dataset(images, table(*rows))
    everything = [(digest_of(path), "exclude") for path in images.rglob("*.png")]
    for labels in (None, ("blue", "red")):
        with pytest.raises(DataError, match="they leave none: "):
            load_dataset(images, table(*everything), labels)


def test_a_table_that_a_spreadsheet_has_saved(images, table):
    settings = table(("", ""), (digest_of(images / "red" / "001.png"), "blue"), ("", ""))
    settings.corrections.write_bytes(b"\r\n" + settings.corrections.read_bytes())
    assert load_dataset(images, settings).counts() == (9, 7)
    with settings.corrections.open("a") as file:
        file.write("abc,red\n")
    with pytest.raises(DataError, match="line 6: expected a SHA-256"):
        load_dataset(images, settings)


def test_an_open_quotation_mark_swallows_no_rows(images, table, tmp_path):
    settings = table(("0" * 64, "red"))
    with settings.corrections.open("a") as file:
        file.write('"' + "1" * 64 + ",red\n" + "2" * 64 + ",red\n")
    with pytest.raises(DataError, match="its reading fails"):
        load_dataset(images, settings)


def test_what_stands_in_two_classes_is_settled(images, table):
    shutil.copy(images / "red" / "001.png", images / "blue" / "copy.png")
    plain = load_dataset(images)
    assert len(plain.contradictions) == 2 and len(plain.images) == 15
    found = load_dataset(images, table((digest_of(images / "red" / "001.png"), "red")))
    assert labels_of(found)["blue/copy.png"] == labels_of(found)["red/001.png"] == "red"
    assert found.contradictions == () and found.left_out == ()
    assert "fit no image" not in " ".join(found.warnings)


def test_a_class_of_nothing_but_what_is_settled_otherwise_is_none(images, table):
    (images / "violet").mkdir()
    shutil.copy(images / "red" / "001.png", images / "violet" / "copy.png")
    for label in ("red", "exclude"):
        found = load_dataset(images, table((digest_of(images / "red" / "001.png"), label)))
        assert found.labels == ("blue", "red")
        assert "violet has no image any more: it is no class" in found.warnings


def test_what_is_settled_keeps_a_class_that_is_emptied_otherwise(images, table):
    (images / "violet").mkdir()
    shutil.move(images / "blue" / "001.png", images / "violet" / "own.png")
    shutil.copy(images / "red" / "001.png", images / "violet" / "copy.png")
    rows = {"violet/own.png": "red", "red/001.png": "violet"}
    found = load_dataset(images, table(*((digest_of(images / p), one) for p, one in rows.items())))
    names = labels_of(found)
    assert (names["violet/own.png"], names["red/001.png"]) == ("red", "violet")
    assert names["violet/copy.png"] == "violet"


def test_labels_are_read_as_folders_are(images, table):
    (images / "red").rename(images / "\N{LATIN SMALL LETTER E WITH ACUTE}")
    found = load_dataset(images, table((digest_of(images / "blue" / "001.png"), "e\u0301")))
    assert found.counts() == (7, 9)


def test_what_is_left_out_is_no_problem_of_a_check(images, table):
    settings = table((digest_of(images / "red" / "001.png"), "exclude"))
    kinds = {problem.kind for problem in check_images(images, settings).problems}
    assert "unreadable" not in kinds


def test_other_tables(images, table, tmp_path):
    with pytest.raises(DataError, match="expected the columns digest and label"):
        load_dataset(images, table(("a", "b"), header=("path", "label")))
    with pytest.raises(DataError, match="expected a table of corrections: No such file"):
        load_dataset(images, DataSettings(corrections=tmp_path / "gone.csv"))


def test_settings_keep_the_table(tmp_path):
    settings = DataSettings(corrections=tmp_path / "corrections.csv")
    assert DataSettings.from_json(settings.to_json()) == settings
    assert DataSettings.from_json(DataSettings().to_json()) == DataSettings()
