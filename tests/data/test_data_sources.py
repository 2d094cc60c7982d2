"""Labels from tables and file names, parts from folders and tables."""

import codecs
import csv
import dataclasses
import hashlib
import json
from pathlib import Path

import pytest

from kit.data import (
    Dataset,
    DataSettings,
    LabelledImage,
    SplitSettings,
    load_dataset,
    scan_images,
    split_dataset,
)
from kit.data.split import check_split, group_members, group_warnings, torn_apart
from kit.errors import DataError

FILES = ("one/a.jpg", "one/b.jpg", "two/c.jpg", "d e.jpg")
ROWS = (("one/a.jpg", "cat"), ("one/b.jpg", "dog"), ("two/c.jpg", "dog"), ("d e.jpg", "cat"))


def put(root, path, content=None):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(path.encode() if content is None else content)
    return file


@pytest.fixture
def images(tmp_path):
    for path in FILES:
        put(tmp_path / "images", path)
    return tmp_path / "images"


@pytest.fixture
def load(images, tmp_path):
    """Loads `images` by a table with this text (or these bytes)."""

    def loaded(text, labels=None, **columns):
        table = tmp_path / "labels.csv"
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load_dataset(images, DataSettings(labels_csv=table, **columns), labels)

    return loaded


def table_of(rows=ROWS, header=("path", "label"), delimiter=","):
    return "".join(delimiter.join(row) + "\n" for row in (header, *rows))


def found(dataset):
    return {image.path: dataset.labels[image.label] for image in dataset.images}


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_as_programs_save_them(load, delimiter, end, encoding):
    text = table_of(delimiter=delimiter).replace("\n", end)
    dataset = load(text.encode(encoding))
    assert found(dataset) == dict(ROWS)
    assert dataset.labels == ("cat", "dog")
    assert dataset.images[0].digest == hashlib.sha256(b"d e.jpg").hexdigest()


def test_utf_16_of_either_order(load):
    text = table_of([*ROWS[:3], ("d e.jpg", "Kätzchen")])
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")):
        assert found(load(mark + text.encode(name)))["d e.jpg"] == "Kätzchen"


def test_quotes_blank_lines_and_other_columns(images, load):
    put(images, 'odd, "name".jpg')
    text = (
        '\nnote, path ,label\n"two\nlines",one/a.jpg,cat\n,,\n\n'
        'x,"odd, ""name"".jpg", dog \nx, "one/b.jpg","dog"\n'
    )
    assert found(load(text)) == {"one/a.jpg": "cat", 'odd, "name".jpg': "dog", "one/b.jpg": "dog"}


def test_columns_by_name(load):
    text = table_of(header=("file", "finding"))
    dataset = load(text, path_column="file", label_column="finding")
    assert found(dataset) == dict(ROWS)


def test_paths_of_other_systems(images, load):
    rows = [("one\\a.jpg", "cat"), ("./one/b.jpg", "dog"), (str(images / "two/c.jpg"), "dog")]
    assert set(found(load(table_of(rows)))) == {"one/a.jpg", "one/b.jpg", "two/c.jpg"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"line 1: expected a header with the columns path, label, got nothing"),
        ("path,class\n", r"line 1: expected a column label once, got it 0 times among path, class"),
        ("path,label,label\n", r"line 1: expected a column label once, got it 2 times"),
        (table_of([("one/a.jpg", "")]), r"line 2: expected a label for one/a.jpg, got an empty"),
        (table_of([("one/a.jpg", "  ")]), r"line 2: expected a label for one/a.jpg"),
        (table_of([("", "cat")]), r"line 2: expected a path below .*images, got an empty cell"),
        (table_of([("../x.jpg", "cat")]), r"line 2: expected a path below .*, got \.\./x\.jpg"),
        (table_of([("/etc/x.jpg", "cat")]), r"line 2: expected a path below .*, got /etc/x\.jpg"),
        (table_of([*ROWS, ("one/a.jpg",)]), r"line 6: expected 2 cells as in the header, got 1"),
        (table_of([("a,b.jpg", "cat")]), r"line 2: expected 2 cells as in the header, got 3: put"),
        (
            table_of([*ROWS, ("one/a.jpg", "dog")]),
            r"line 6: expected one label for one/a.jpg, got dog, in line 2 cat",
        ),
        (table_of() + '"one/a.jpg,cat\n', r"line 6: expected a CSV or TSV table: unexpected end"),
        (table_of([("x.jpg", "cat")]), r"1 rows have none, such as line 2: x\.jpg: paths are rela"),
        (table_of([]), r"expected rows with files below .*, 0 rows have none"),
        (table_of([("one/a.jpg", "cat")]), r"at least 2 classes, in the label column, got 1 \(cat"),
        (
            b"path,label\none/a.jpg,cat\none/b.jpg,\xe9\n",
            r"line 3: .*UTF-8, got the byte 0xe9: sav",
        ),
    ],
)
def test_a_wrong_table_is_one_line_with_its_number(load, text, message):
    with pytest.raises(DataError, match=message) as raised:
        load(text)
    assert "labels.csv" in str(raised.value) or "images" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_all_wrong_lines_are_counted(load):
    rows = [("one/a.jpg", ""), ("one/b.jpg", "dog"), ("two/c.jpg", ""), ("d e.jpg",)]
    with pytest.raises(DataError, match=r"line 2: .*\(also wrong: line 4, 5\)$"):
        load(table_of(rows))


def test_a_table_that_is_not_there(images, tmp_path):
    with pytest.raises(DataError, match=r"none\.csv: expected a readable table: No such file"):
        load_dataset(images, DataSettings(labels_csv=tmp_path / "none.csv"))


def test_a_missing_file_is_left_out_with_its_line(load):
    dataset = load(table_of([*ROWS, ("gone.jpg", "cat")]))
    assert found(dataset) == dict(ROWS)
    ((path, reason),) = dataset.left_out
    assert path == "gone.jpg"
    assert "there is none; it is in line 6" in reason


def test_the_same_row_twice_is_one_image(load):
    assert len(load(table_of([*ROWS, ROWS[0]])).images) == 4


def test_the_labels_of_a_model(load):
    assert load(table_of(), labels=("dog", "bird", "cat")).counts() == (2, 0, 2)
    with pytest.raises(DataError, match=r"labels.csv such as the model's labels \(dog\), got cat"):
        load(table_of(), labels=("dog",))


def test_a_table_gives_the_fingerprint_of_folders(images, load):
    for path, label in ROWS:
        put(images.parent / "folders", f"{label}/{Path(path).name}", path.encode())
    assert load(table_of()).fingerprint == scan_images(images.parent / "folders").fingerprint


def test_groups_stay_together_and_their_keys_do_not_show(load):
    rows = [(*row, f"Jane Doe {number % 2}") for number, row in enumerate(ROWS)]
    text = table_of(rows, ("path", "label", "patient"))
    dataset = load(text, group_column="patient")
    members = group_members(dataset, SplitSettings())
    assert sorted(map(sorted, members)) == [["d e.jpg", "one/b.jpg"], ["one/a.jpg", "two/c.jpg"]]
    assert "Jane" not in repr(dataset)
    for seed in range(10):
        split = split_dataset(dataset, SplitSettings(0.3, 0.3, seed))
        assert split["d e.jpg"] == split["one/b.jpg"]
        assert split["one/a.jpg"] == split["two/c.jpg"]


def test_a_group_follows_its_key_not_its_images(images, load):
    rows = [(*row, f"patient {number}") for number, row in enumerate(ROWS)]
    text = table_of(rows, ("path", "label", "patient"))
    settings = SplitSettings(0.3, 0.3)
    before = split_dataset(load(text, group_column="patient"), settings)
    for path in FILES:
        put(images, path, b"new " + path.encode())
    assert split_dataset(load(text, group_column="patient"), settings) == before


def test_rows_without_a_group_are_told_of(load):
    text = table_of([(*ROWS[0], "p1"), (*ROWS[1], ""), (*ROWS[2], "p2")], ("path", "label", "p"))
    warnings = load(text, group_column="p").warnings
    assert any(line.startswith("1 rows have no p, so") for line in warnings)


def test_two_groups_for_one_image_are_refused_without_their_names(load):
    rows = [(*ROWS[0], "Jane Doe"), (*ROWS[1], "p"), (*ROWS[0], "John Doe")]
    with pytest.raises(DataError, match=r"line 4: expected one group for one/a.jpg") as raised:
        load(table_of(rows, ("path", "label", "p")), group_column="p")
    assert "Doe" not in str(raised.value)


def test_one_group_for_all_is_no_group(load):
    text = table_of([(*row, "ANONYMOUS") for row in ROWS], ("path", "label", "p"))
    dataset = load(text, group_column="p")
    assert group_members(dataset, SplitSettings()) == []
    assert any("one and the same group or patient id" in line for line in dataset.warnings)


def test_parts_of_a_column(load):
    parts = ("train", "VAL", "test", "")
    text = table_of([(*row, p) for row, p in zip(ROWS, parts, strict=True)], ("path", "label", "s"))
    split = split_dataset(load(text, split_column="s"), SplitSettings(0.01, 0.01))
    assert split == {
        "one/a.jpg": "train",
        "one/b.jpg": "validation",
        "two/c.jpg": "test",
        "d e.jpg": "train",
    }


def test_a_part_that_does_not_exist(load):
    text = table_of([(*ROWS[0], "holdout")], ("path", "label", "s"))
    with pytest.raises(DataError, match=r"line 2: expected train, validation, test .*got holdout"):
        load(text, split_column="s")


def given(parts, groups=None, contents=None):
    """A data set of one class from path to given part."""
    images = tuple(
        LabelledImage(
            path,
            0,
            (contents or {}).get(path, hashlib.sha256(path.encode()).hexdigest()),
            (groups or {}).get(path),
            part,
        )
        for path, part in parts.items()
    )
    return Dataset(Path("x"), ("a",), images, (), ())


def test_a_part_given_to_none_is_drawn_from_train():
    parts = {f"{i}.jpg": "train" for i in range(300)} | {f"t{i}.jpg": "test" for i in range(50)}
    dataset = given(parts)
    settings = SplitSettings(0.2, 0.3)
    split = split_dataset(dataset, settings)
    assert {path for path, part in split.items() if part == "test"} == {
        path for path, part in parts.items() if part == "test"
    }
    drawn = [path for path, part in split.items() if part == "validation"]
    # Five standard deviations of a binomial about 60 of the 300.
    assert 60 - 35 < len(drawn) < 60 + 35
    (warning,) = group_warnings(dataset, settings)
    assert warning == "no images are given for validation: drawn from train"


def test_what_belongs_to_a_given_image_follows_it():
    parts = {"a.jpg": "test", "b.jpg": None, "c.jpg": None, "d.jpg": "validation", "e.jpg": "train"}
    dataset = given(
        parts, groups={"a.jpg": "g", "b.jpg": "g"}, contents={"c.jpg": "k", "d.jpg": "k"}
    )
    split = split_dataset(dataset, SplitSettings())
    assert (split["b.jpg"], split["c.jpg"]) == ("test", "validation")


@pytest.mark.parametrize("kind", ["groups", "contents"])
def test_one_patient_in_two_given_parts_is_shouted(kind):
    parts = {"a.jpg": "train", "b.jpg": "test", "c.jpg": "validation", "d.jpg": "test"}
    dataset = given(parts, **{kind: {"a.jpg": "g", "b.jpg": "g"}})
    (warning,) = group_warnings(dataset, SplitSettings())
    assert warning.startswith("LEAK: 1 groups (or contents)")
    assert "a.jpg and b.jpg" in warning
    assert torn_apart(dataset, SplitSettings()) == [("a.jpg", "b.jpg")]
    assert split_dataset(dataset, SplitSettings()) == parts


def test_a_class_that_is_missing_from_a_given_part():
    dataset = given({"a.jpg": "train", "b.jpg": "validation"})
    both = dataclasses.replace(
        dataset,
        labels=("a", "b"),
        images=(*dataset.images, LabelledImage("c.jpg", 1, "d", None, "test")),
    )
    with pytest.raises(DataError, match="none in test of the parts that the folders"):
        check_split(both, split_dataset(both, SplitSettings()), SplitSettings())


def test_given_parts_of_which_none_is_train():
    only = given({f"{part}{i}.jpg": part for part in ("validation", "test") for i in range(9)})
    with pytest.raises(DataError, match="none in train of the parts that the folders"):
        check_split(only, split_dataset(only, SplitSettings()), SplitSettings())


def test_letters_may_be_composed_in_one_row_and_not_in_another(load):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    rows = [
        (path, label)
        for (path, _), label in zip(ROWS, (composed, "tea", "tea", decomposed), strict=True)
    ]
    assert load(table_of(rows)).labels == (composed, "tea")
    assert load(table_of(rows), label_names=f"{decomposed}=x,tea=y").labels == ("x", "y")


def test_blanks_around_a_path(load):
    rows = [(f" {path} ", f"{label} ") for path, label in ROWS]
    assert found(load(table_of(rows))) == dict(ROWS)


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("Train", "val", "TEST")])
def test_folders_that_are_split_already(tmp_path, names):
    for name in names:
        for label in ("cat", "dog"):
            put(tmp_path, f"{name}/{label}/1.jpg")
    put(tmp_path, ".DS_Store")
    dataset = load_dataset(tmp_path)
    assert dataset.labels == ("cat", "dog")
    split = split_dataset(dataset, SplitSettings())
    parts = ("train", "validation", "test")
    for name, part in zip(names, parts, strict=True):
        assert split[f"{name}/cat/1.jpg"] == split[f"{name}/dog/1.jpg"] == part


def test_a_patient_by_pattern_in_two_part_folders(tmp_path):
    for path in ("train/a/p1_1.jpg", "test/a/p1_2.jpg", "train/b/p2_1.jpg", "test/b/p3_1.jpg"):
        put(tmp_path, path)
    warnings = group_warnings(load_dataset(tmp_path), SplitSettings(group_regex=r"p\d"))
    assert any(line.startswith("LEAK: 1 ") and "train/a/p1_1.jpg" in line for line in warnings)


def test_classes_may_be_called_train_and_test(tmp_path):
    for path in ("train/1.jpg", "test/1.jpg"):
        put(tmp_path, path)
    assert load_dataset(tmp_path).labels == ("test", "train")


def test_part_folders_beside_class_folders_are_told_of(tmp_path):
    for path in ("train/cat/1.jpg", "test/cat/1.jpg", "copy/train/cat/1.jpg"):
        put(tmp_path, path)
    dataset = load_dataset(tmp_path)
    assert dataset.labels == ("copy", "test", "train")
    assert any("test, train: taken for classes" in line for line in dataset.warnings)


def test_labels_from_names_as_the_shenzhen_set_has_them(tmp_path):
    for name in ("CHNCXR_0001_0.png", "deep/CHNCXR_0002_1.png", "CHNCXR_0010_1.png", "README.md"):
        put(tmp_path, name)
    dataset = load_dataset(tmp_path, DataSettings(label_regex=r"_([01])\.png$"))
    assert found(dataset) == {
        "CHNCXR_0001_0.png": "0",
        "CHNCXR_0010_1.png": "1",
        "deep/CHNCXR_0002_1.png": "1",
    }
    assert dataset.left_out == ()
    assert "passed over 1 file, no image by the name: .md" in dataset.warnings
    named = DataSettings(label_regex=r"(?P<normal>_0)\.png|(?P<tuberculosis>_1)\.png")
    assert load_dataset(tmp_path, named).labels == ("normal", "tuberculosis")
    whole = DataSettings(label_regex=r"(?<=_)[01](?=\.)")
    assert load_dataset(tmp_path, whole).labels == ("0", "1")


def test_a_label_pattern_that_matches_nothing(images):
    with pytest.raises(DataError, match=r"'_9' to match .*none of 4, such as d e\.jpg"):
        load_dataset(images, DataSettings(label_regex="_9"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label_regex": "("}, r"expected a regular expression for labels, got '\('"),
        ({"label_regex": "a", "labels_csv": Path("x")}, "expected labels from .* got both"),
        ({"group_column": "patient"}, "expected --labels-csv beside --group-column"),
        ({"split_column": "part"}, "expected --labels-csv beside --split-column"),
        ({"label_column": "finding"}, "expected --labels-csv beside --label-column"),
    ],
)
def test_settings_that_contradict(settings, message):
    with pytest.raises(ValueError, match=message):
        DataSettings(**settings)


def test_settings_survive_json(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = DataSettings(labels_csv=Path("labels.csv"), group_column="patient")
    back = DataSettings.from_json(json.loads(json.dumps(settings.to_json())))
    assert back == dataclasses.replace(settings, labels_csv=tmp_path / "labels.csv")
    assert DataSettings.from_json({}) == DataSettings.from_json(DataSettings().to_json())


def test_real_patients_by_the_table_are_kept_apart(shared):
    folder = shared / "data" / "xray"
    if not folder.is_dir():
        pytest.skip("the test data has no X-rays")
    table = folder / "labels.csv"
    dataset = load_dataset(folder, DataSettings(labels_csv=table, group_column="patient"))
    assert found(dataset) == found(scan_images(folder))
    assert dataset.fingerprint == scan_images(folder).fingerprint
    split = split_dataset(dataset, SplitSettings(0.15, 0.15))
    parts = {}
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            parts.setdefault(row["patient"], []).append(split[row["path"]])
    assert sum(len(of) > 1 for of in parts.values()) > 20
    assert all(len({*of}) == 1 for of in parts.values())
