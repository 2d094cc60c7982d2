"""Label files of other tools: read as they are meant, or refused with the line's number."""

import pytest

from kit.errors import LabelFileError
from kit.model.labels import read_labels


@pytest.fixture
def write(tmp_path):
    def written(content):
        path = tmp_path / "labels.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return written


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ("cat\ndog\n", ("cat", "dog")),
        ("cat\ndog", ("cat", "dog")),
        ("cat\r\ndog\r\n", ("cat", "dog")),
        ("\ufeffcat\ndog\n", ("cat", "dog")),
        ("cat\rdog\r", ("cat", "dog")),
        ("cat\ndog\n\n\n", ("cat", "dog")),  # line breaks at the end are no labels
        ("猫\nGroßer Hund\n", ("猫", "Großer Hund")),
        ("0 cat\n1 dog\n", ("cat", "dog")),  # Teachable Machine
        ("0\tcat\n1: big dog\n", ("cat", "big dog")),
        ("0 cat\n1 dog 1\n", ("cat", "dog 1")),
        ("1 dog\n0 cat\n", ("cat", "dog")),
        ("0, cat\n1, dog\n", ("cat", "dog")),
        ('"cat"\n"dog"\n', ("cat", "dog")),
        ("'cat',\n'dog'\n", ("cat", "dog")),
        ('"0 cat"\n"1 dog"\n', ("cat", "dog")),
        ('["cat", "dog"]', ("cat", "dog")),
        ("['cat', 'dog']\n", ("cat", "dog")),
        ('{"0": "cat", "1": "dog"}', ("cat", "dog")),
        ('{"1": "dog", "0": "cat"}', ("cat", "dog")),
        ('{"dog": 1, "cat": 0}', ("cat", "dog")),  # Keras' class_indices
        ('{"id2label": {"0": "cat", "1": "dog"}, "x": 1}', ("cat", "dog")),
        ("cat\r\ndog\r\n".encode("utf-16"), ("cat", "dog")),
        ("0 cat\n1 dog".encode("utf-16"), ("cat", "dog")),
        ("cat, feline\ndog, canine\n", ("cat, feline", "dog, canine")),
        # Not numbers of lines, so part of the labels.
        ("0 cat\n2 dog\n", ("0 cat", "2 dog")),
        ("1 cat\n2 dog\n", ("1 cat", "2 dog")),
        ("0 cat\ndog\n", ("0 cat", "dog")),
        ("0\n1\n", ("0", "1")),
        ("0cat\n1dog\n", ("0cat", "1dog")),
    ],
)
def test_labels(write, content, labels):
    assert read_labels(write(content)) == labels


@pytest.mark.parametrize(
    "content",
    [
        "label\ncat\ndog\n",
        "cat\ndog\n",
        "index,label\n0,cat\n1,dog\n",
        "id;name\n1;dog\n0;cat\n",
        "0,cat\n1,dog\n",
        'mid,display_name\n/m/1,cat\n/m/2,"dog"\n',
        "\ufeffName\tIndex\ndog\t1\ncat\t0\n",
    ],
)
def test_tables(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_text(content, encoding="utf-8")
    assert read_labels(path) == ("cat", "dog")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        ("a,b\ncat,dog\n", "expected a header with a column such as label or name"),
        ("index,label\n0,cat\n7,dog\n", "expected the numbers 0 to 1, each once"),
        ("index,label\n0,cat\n1\n", "as many cells in every row"),
    ],
)
def test_tables_that_are_wrong(tmp_path, content, said):
    path = tmp_path / "labels.csv"
    path.write_text(content)
    with pytest.raises(LabelFileError, match=said):
        read_labels(path)


def test_numbers_of_two_digits(write):
    lines = "".join(f"{index} label {index}\n" for index in range(12))
    assert read_labels(write(lines)) == tuple(f"label {index}" for index in range(12))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "expected a label in every line, it is empty"),
        ("\n\n", "it is empty"),
        ("\ufeff", "it is empty"),
        ("cat\n\ndog\n", "line 2 is blank: remove it"),
        ("cat\n  \t\ndog\n", "line 2 is blank: remove it"),
        ("\ufeff\ncat\n", "line 1 is blank: remove it"),
        ("\ncat\ndog\n", "line 1 is blank: remove it"),
        ("cat\ndog\n \n", "line 3 is blank: remove it"),
        (
            "cat\ndog\ncat\n",
            "every label once, got 'cat' as the labels 1 and 3: make them different",
        ),
        ("0 cat\n1 cat\n", "got 'cat' as the labels 1 and 2"),
        ("crane\ndog\ncrane\n", "got 'crane' as the labels 1 and 3"),
        (b"\xff\xfe", "it is empty"),
        (b"\xff\xfec", "expected a label file in UTF-8 or UTF-16"),
        ('{"0": "cat", "2": "dog"}', "the numbers 0 to 1, each once, for 2 labels"),
        ('{"a": "cat"}', "expected a number for each label"),
        ("[1, 2]", "expected a list of labels"),
        ('["cat"', "expected JSON, got something else"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "expected a label file in UTF-8"),
    ],
)
def test_bad_files(write, content, said):
    path = write(content)
    with pytest.raises(LabelFileError, match=said) as raised:
        read_labels(path)
    assert str(raised.value).startswith(f"{path}: expected ")
    assert "\n" not in str(raised.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(LabelFileError, match="No such file"):
        read_labels(tmp_path / "labels.txt")
    with pytest.raises(LabelFileError, match=r"expected a label file .*Is a directory"):
        read_labels(tmp_path)


def test_imagenet_has_two_classes_for_some_words(write, shared):
    for name in ("models/coral/imagenet_labels.txt",):
        labels = read_labels(shared / name)
        assert labels[0] == "background"
        assert labels.count("crane") == 2
    base = shared / "graphs" / "glasses_mobilenet_0.25_224" / "base" / "labels.txt"
    assert len(read_labels(base)) == 1001
    doubled = ["crane", *(f"class {index}" for index in range(998)), "class 5"]
    with pytest.raises(LabelFileError, match="got 'class 5' as the labels 7 and 1000"):
        read_labels(write("\n".join(doubled)))
