"""Tables as public data sets have them."""

import pytest

from kit.data import DataSettings, load_dataset
from kit.errors import DataError

FILES = ("one/img_0042.jpg", "one/IMG_7.JPG", "two/img_0043.jpg", "two/deep/1.2.840.dcm")


@pytest.fixture
def load(tmp_path):
    for path in FILES:
        file = tmp_path / "images" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(path)

    def loaded(text, **settings):
        table = tmp_path / "labels.csv"
        table.write_text(text)
        return load_dataset(tmp_path / "images", DataSettings(labels_csv=table, **settings))

    return loaded


def found(dataset):
    return {image.path: dataset.labels[image.label] for image in dataset.images}


@pytest.mark.parametrize(
    "first, second, third",
    [
        ("img_0042", "img_0043", "1.2.840"),
        ("img_0042.jpg", "img_0043.jpg", "1.2.840.dcm"),
        ("one/img_0042", "two/img_0043", "deep/1.2.840"),
        ("one/img_0042.jpg", "TWO/IMG_0043.jpg", "deep/1.2.840.dcm"),
        (r"one\\img_0042.jpg", "img_0043.JPG", "two/deep/1.2.840"),
    ],
)
def test_ids_and_bare_names(load, first, second, third):
    dataset = load(f"path,label\n{first},a\n{second},b\n{third},b\n")
    assert found(dataset) == {FILES[0]: "a", FILES[2]: "b", FILES[3]: "b"}
    whole = first == FILES[0]
    count = 2 if whole else 3
    if first.startswith("one\\"):
        count = 2
    assert f"{count} rows of labels.csv without the whole path" in " ".join(dataset.warnings)


def test_whole_paths_are_not_spoken_of(load):
    dataset = load("path,label\none/img_0042.jpg,a\ntwo/img_0043.jpg,b\n")
    assert not any("whole path" in line for line in dataset.warnings)


def test_a_name_that_several_files_have(load, tmp_path):
    (tmp_path / "images/two/img_0042.png").write_text("another")
    with pytest.raises(DataError, match=r"line 3: expected one file for img_0042, got 2, one/"):
        load("path,label\nimg_0043,a\nimg_0042,b\n")
    dataset = load("path,label\nimg_0043,a\nimg_0042.png,b\n")
    assert found(dataset)["two/img_0042.png"] == "b"


def test_the_same_case_comes_first(load, tmp_path):
    (tmp_path / "images/two/img_7.jpg").write_text("another")
    assert found(load("path,label\nIMG_7.JPG,a\nimg_0043,b\n")) == {FILES[1]: "a", FILES[2]: "b"}


def test_two_rows_of_one_file_must_agree(load):
    with pytest.raises(DataError, match=r"line 3: expected one label for one/img_0042.jpg, got b"):
        load("path,label\nimg_0042,a\none/img_0042.jpg,b\n")


@pytest.mark.parametrize("one, zero", [("1", "0"), ("1.0", "0.0"), ("True", "False"), ("1", "")])
def test_a_column_of_0_and_1_for_each_class(load, one, zero):
    dataset = load(
        f"image,melanoma,nevus,other\nimg_0042,{one},{zero},{zero}\nimg_0043,{zero},{one},{zero}\n",
        path_column="image",
        label_columns="melanoma, nevus,other",
    )
    assert found(dataset) == {FILES[0]: "melanoma", FILES[2]: "nevus"}


@pytest.mark.parametrize(
    "row, message",
    [
        ("1,1,0", r"line 3: expected a 1 in one column, got 2 \(a, b\): multi-label sets are not"),
        ("0,0,0", "line 3: expected a 1 in one of the columns a, b, c, got none"),
        ("0,2,0", "line 3: expected 0 or 1 in the column b, got '2'"),
        ("0,0.7,0", "line 3: expected 0 or 1 in the column b, got '0.7'"),
    ],
)
def test_rows_that_have_not_one_class(load, row, message):
    with pytest.raises(DataError, match=message):
        load(f"path,a,b,c\nimg_0043,1,0,0\nimg_0042,{row}\n", label_columns="a,b,c")


def test_a_column_that_is_missing(load):
    with pytest.raises(DataError, match="a column c once, got it 0 times among path, a, b"):
        load("path,a,b\nimg_0043,1,0\n", label_columns="a,b,c")


@pytest.mark.parametrize("cell", ["daisy|tulip", '"daisy, tulip"', "daisy ; tulip"])
def test_several_labels_in_a_cell(load, cell):
    text = f"path,label\nimg_0043,daisy\nIMG_7,tulip\nimg_0042,{cell}\n"
    with pytest.raises(
        DataError, match=r"line 4: expected one label, got 'daisy.*multi-label sets"
    ):
        load(text)


def test_a_workbook(load, tmp_path):
    (tmp_path / "labels.xlsx").write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(DataError, match="expected a CSV or TSV table, got a workbook: save it as"):
        load_dataset(tmp_path / "images", DataSettings(labels_csv=tmp_path / "labels.xlsx"))


def test_a_comma_in_a_label_that_is_no_list(load):
    dataset = load('path,label\nimg_0043,"Crane, bird"\nimg_0042,rose\n')
    assert dataset.labels == ("Crane, bird", "rose")


def test_numbers_with_names(load):
    names = {"label_names": "0=normal, 1=abnormal"}
    dataset = load("path,label\nimg_0042,0\nimg_0043,1.0\n", **names)
    assert found(dataset) == {FILES[0]: "normal", FILES[2]: "abnormal"}
    with pytest.raises(DataError, match=r"line 3: .*--label-names to name every label.* for 2"):
        load("path,label\nimg_0042,0\nimg_0043,2\n", **names)


def test_names_for_folders_and_patterns(tmp_path):
    for path in ("0/x_0.png", "1/y_1.png"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(path)
    names = "0=normal,1=abnormal"
    folders = load_dataset(tmp_path, DataSettings(label_names=names))
    assert found(folders) == {"0/x_0.png": "normal", "1/y_1.png": "abnormal"}
    pattern = DataSettings(label_regex=r"_([01])", label_names=names)
    assert found(load_dataset(tmp_path, pattern)) == {
        "0/x_0.png": "normal",
        "1/y_1.png": "abnormal",
    }


@pytest.mark.parametrize("names", ["0", "0=", "=x", "0=a,0=b", "0=a,,1=b"])
def test_label_names_that_make_no_sense(names):
    with pytest.raises(ValueError, match="expected label names such as 0=normal,1=abnormal"):
        DataSettings(label_names=names)


def test_label_columns_that_make_no_sense(tmp_path):
    with pytest.raises(ValueError, match="expected --labels-csv beside --label-columns"):
        DataSettings(label_columns="a,b")
    with pytest.raises(ValueError, match="expected at least 2 different columns"):
        DataSettings(tmp_path, label_columns="a,a")
    with pytest.raises(ValueError, match="--label-column or --label-columns, got both"):
        DataSettings(tmp_path, label_column="x", label_columns="a,b")
