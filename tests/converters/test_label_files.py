"""Label files of other tools: read as they are meant, or refused with the line's number."""

import pytest

from converters.sources.label_files import read_label_file
from kit.errors import ConversionError


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
        # Not numbers of lines, so part of the labels.
        ("0 cat\n2 dog\n", ("0 cat", "2 dog")),
        ("1 cat\n2 dog\n", ("1 cat", "2 dog")),
        ("0 cat\ndog\n", ("0 cat", "dog")),
        ("0\n1\n", ("0", "1")),
        ("0cat\n1dog\n", ("0cat", "1dog")),
    ],
)
def test_labels(write, content, labels):
    assert read_label_file(write(content), 2) == labels


def test_numbers_of_two_digits(write):
    lines = "".join(f"{index} label {index}\n" for index in range(12))
    assert read_label_file(write(lines), 12) == tuple(f"label {index}" for index in range(12))


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
        ("cat\ndog\ncat\n", "every label once, got 'cat' in lines 1 and 3: make them different"),
        ("0 cat\n1 cat\n", "got 'cat' in lines 1 and 2"),
        ("crane\ndog\ncrane\n", "got 'crane' in lines 1 and 3"),
        ("cat\n", "expected 2 labels, one for each score, got 1: these labels belong to another"),
        ("cat\ndog\nfish\n", "expected 2 labels, one for each score, got 3"),
        (b"\xff\xfec\x00a\x00t\x00\n\x00", "expected a label file in UTF-8"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "expected a label file in UTF-8"),
    ],
)
def test_bad_files(write, content, said):
    path = write(content)
    with pytest.raises(ConversionError, match=said) as raised:
        read_label_file(path, 2)
    assert str(raised.value).startswith(f"{path}: expected ")
    assert "\n" not in str(raised.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConversionError, match="No such file"):
        read_label_file(tmp_path / "labels.txt", 2)
    with pytest.raises(ConversionError, match=r"expected a label file .*Is a directory"):
        read_label_file(tmp_path, 2)


def test_imagenet_has_two_classes_for_some_words(write, shared):
    for name in ("models/coral/imagenet_labels.txt",):
        labels = read_label_file(shared / name, 1001)
        assert labels[0] == "background"
        assert labels.count("crane") == 2
    base = shared / "graphs" / "glasses_mobilenet_0.25_224" / "base" / "labels.txt"
    assert len(read_label_file(base, 1001)) == 1001
    doubled = ["crane", *(f"class {index}" for index in range(998)), "class 5"]
    with pytest.raises(ConversionError, match="got 'class 5' in lines 7 and 1000"):
        read_label_file(write("\n".join(doubled)), 1000)
