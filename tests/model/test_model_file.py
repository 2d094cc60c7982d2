import io
import json
import os
import struct
import zipfile

import pytest

from kit.errors import ModelFileError, SpecError
from kit.model.labels import parse_labels
from kit.model.model_file import read_model_file
from kit.runtime import Classifier

PACKAGED = ("red_green_blue_float32.tflite", "red_green_blue_int8.tflite")
PLAIN = ("plain_float32.tflite", "plain_int8.tflite", "plain_uint8.tflite")


def card_of(data, **changes):
    with zipfile.ZipFile(data / PACKAGED[0]) as archive:
        card = json.loads(archive.read("kit.json"))
    return json.dumps({**card, **changes}).encode()


@pytest.mark.parametrize("name, quantization", [(PACKAGED[0], "float32"), (PACKAGED[1], "int8")])
def test_a_packaged_file_is_read_back(data, name, quantization):
    file = read_model_file(data / name)
    assert file.path == data / name
    assert file.size_bytes == (data / name).stat().st_size
    assert file.labels == file.card.labels == ("red", "green", "blue")
    assert file.card.quantization == quantization
    assert file.card.preprocess.input_resolution == 16
    assert file.card.preprocess.mean == file.card.preprocess.std == (127.5, 127.5, 127.5)
    assert len(file.card.golden) == 3
    assert file.metadata.labels_name == "labels.txt"
    assert file.metadata.mean == file.metadata.std == (127.5, 127.5, 127.5)
    assert file.metadata.score_threshold is None
    # Numbers of the TensorFlow Lite schema: 3 is CONV_2D, 25 is SOFTMAX.
    assert {3, 25} <= {code for code, _, _ in file.operators}
    assert all(custom == "" and version >= 1 for _, custom, version in file.operators)


@pytest.mark.parametrize("name", PLAIN)
def test_a_plain_file_has_nothing_appended(data, name):
    file = read_model_file(data / name)
    assert (file.card, file.labels, file.metadata) == (None, None, None)
    assert file.operators


@pytest.mark.parametrize("name", (*PACKAGED, *PLAIN))
def test_a_truncated_file_is_refused_at_many_lengths(data, tmp_path, name):
    content = (data / name).read_bytes()
    path = tmp_path / "cut.tflite"
    path.write_bytes(content)
    ends = range(len(content) - 1, len(content) - 40, -1)
    for length in (*ends, *range(ends[-1], -1, -7), 8, 4, 1, 0):
        os.truncate(path, length)
        with pytest.raises(ModelFileError) as raised:
            read_model_file(path)
        assert str(raised.value).startswith(f"{path}: expected"), length


def test_one_byte_less_is_refused_by_the_classifier(data, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes((data / PACKAGED[1]).read_bytes()[:-1])
    with pytest.raises(ModelFileError, match=r"labels\.txt behind the model.*truncated"):
        Classifier.open(path)


@pytest.mark.parametrize("name", PLAIN)
def test_damage_never_gives_another_exception(data, tmp_path, name):
    content = (data / name).read_bytes()
    path = tmp_path / "damaged.tflite"
    refused = 0
    # A huge number, written over each aligned word in turn, leads every offset astray once.
    with path.open("wb", buffering=0) as file:
        file.write(content)
        for position in range(0, len(content) - 4, 4):
            word = (0xFFFFFFFF, 0x7FFFFFF0, len(content))[position // 4 % 3]
            os.pwrite(file.fileno(), struct.pack("<I", word), position)
            try:
                read_model_file(path)
            except ModelFileError:
                refused += 1
            os.pwrite(file.fileno(), content[position : position + 4], position)
    assert path.read_bytes() == content
    assert refused > 20


def test_weights_that_reach_past_the_end(data, tmp_path):
    # What a cut through the weights looks like; the interpreter would read beyond the file.
    content = bytearray((data / PLAIN[0]).read_bytes())
    weights = struct.pack("<9f", 2, 0, 0, 0, 2, 0, 0, 0, 2)  # twice the unit matrix
    start = content.index(weights)
    assert struct.unpack_from("<I", content, start - 4) == (36,)
    content[start - 4 : start] = struct.pack("<I", len(content))
    path = tmp_path / "cut.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="truncated or damaged: copy it again"):
        read_model_file(path)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "got a file of 0 bytes"),
        (b"TFL3", "got a file of 4 bytes"),
        (b"just some text, no model at all\n" * 9, "got another kind of file"),
        (b"PK\x03\x04" + b"\0" * 60, "got a zip archive: unpack it first"),
        (b"\x00\x00\x00\x00TFL3" + b"\0" * 60, "truncated or damaged|without"),
        (b"\xff\xff\xff\xffTFL3" + b"\xff" * 60, "truncated or damaged"),
        (b"\x10\x00\x00\x00TFL3" + b"\0" * 9, "truncated or damaged"),
    ],
    ids=["empty", "short", "text", "zip", "zeros", "ones", "root outside"],
)
def test_other_files(tmp_path, content, message):
    path = tmp_path / "other.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=message) as raised:
        read_model_file(path)
    assert str(path) in str(raised.value)
    with pytest.raises(ModelFileError):
        Classifier.open(path)


def test_no_file(tmp_path):
    with pytest.raises(ModelFileError, match="No such file"):
        read_model_file(tmp_path / "missing.tflite")
    with pytest.raises(ModelFileError, match="directory"):
        read_model_file(tmp_path)


def appended(data, path, write, mode=zipfile.ZIP_STORED):
    """A model with a zip behind it that `write(archive)` fills; returns its bytes."""
    buffer = io.BytesIO((data / PLAIN[0]).read_bytes())
    buffer.seek(0, io.SEEK_END)
    with zipfile.ZipFile(buffer, "a", mode) as archive:
        write(archive)
    path.write_bytes(buffer.getvalue())
    return buffer.getvalue()


def test_labels_without_metadata_are_found(data, tmp_path):
    path = tmp_path / "m.tflite"
    for mode in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        appended(
            data, path, lambda archive: archive.writestr("labels.txt", "a\r\nb\r\nc\r\n"), mode
        )
        assert read_model_file(path).labels == ("a", "b", "c")


def test_a_zip_bomb(data, tmp_path):
    path = tmp_path / "bomb.tflite"
    zeros = bytes(40 << 20)
    appended(
        data, path, lambda archive: archive.writestr("labels.txt", zeros), zipfile.ZIP_DEFLATED
    )
    assert path.stat().st_size < 100_000
    with pytest.raises(ModelFileError, match=r"labels\.txt to have its stated .* at most"):
        read_model_file(path)


def test_too_many_files(data, tmp_path):
    path = tmp_path / "many.tflite"
    appended(data, path, lambda archive: [archive.writestr(f"{n}", b"") for n in range(65)])
    with pytest.raises(ModelFileError, match="at most 64 appended files, got 65"):
        read_model_file(path)


@pytest.mark.parametrize("stated", [0, 3, 1000, 0x7FFFFFFF])
def test_a_zip_that_lies_about_a_size(data, tmp_path, stated):
    path = tmp_path / "liar.tflite"
    content = bytearray(
        appended(data, path, lambda archive: archive.writestr("labels.txt", "red\ngreen\nblue\n"))
    )
    # Compressed and uncompressed size stand 20 bytes into the directory's entry.
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 20 : entry + 28] = struct.pack("<II", stated, stated)
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"zip archive|stated"):
        read_model_file(path)


def test_a_deflated_file_of_another_size_than_stated(data, tmp_path):
    # Its checksum is right and the stream ends in order, so zipfile itself has no objection.
    path = tmp_path / "liar.tflite"
    content = bytearray(
        appended(
            data, path, lambda a: a.writestr("labels.txt", "red\ngreen\n"), zipfile.ZIP_DEFLATED
        )
    )
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = struct.pack("<I", 1000)
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"labels\.txt to have its stated 1000 bytes"):
        read_model_file(path)


def test_a_wrong_checksum(data, tmp_path):
    path = tmp_path / "crc.tflite"
    content = appended(data, path, lambda archive: archive.writestr("labels.txt", "red\ngreen\n"))
    path.write_bytes(content.replace(b"red\ngreen", b"rod\ngreen"))
    with pytest.raises(ModelFileError, match=r"sound zip archive behind the model.*CRC"):
        read_model_file(path)


def test_a_damaged_deflate_stream(data, tmp_path):
    path = tmp_path / "deflate.tflite"
    content = bytearray(
        appended(
            data,
            path,
            lambda archive: archive.writestr("labels.txt", "red\n" * 99),
            zipfile.ZIP_DEFLATED,
        )
    )
    start = content.rindex(b"labels.txt", 0, content.rindex(b"PK\x01\x02")) + len("labels.txt")
    content[start : start + 4] = b"\xff" * 4
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="sound zip archive"):
        read_model_file(path)


@pytest.mark.parametrize("mode", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(data, tmp_path, mode):
    path = tmp_path / "m.tflite"
    appended(data, path, lambda archive: archive.writestr("labels.txt", "a\nb\n"), mode)
    with pytest.raises(ModelFileError, match="neither stored nor deflated"):
        read_model_file(path)


def test_an_encrypted_entry(data, tmp_path):
    path = tmp_path / "m.tflite"
    content = bytearray(appended(data, path, lambda a: a.writestr("labels.txt", "a\nb\n")))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.rindex(signature) + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="encrypted"):
        read_model_file(path)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"labels.txt": b"red\ngreen\nyellow\n"}, "same labels in labels.txt and kit.json"),
        ({"labels.txt": b"red\ngreen\n"}, "same labels in .* got 2 and 3"),
        ({"labels.txt": None}, "labels.txt behind the model, as its metadata says"),
        ({"labels.txt": b"\xff\xfe red\n"}, "labels.txt in UTF-8"),
        ({"labels.txt": b"\n\n"}, "at least one label"),
        ({"labels.txt": b"red\n\nblue\n"}, "one line of text, got ''"),
        ({"kit.json": b"{"}, "expected JSON in kit.json"),
        ({"kit.json": b"\xff\xff\xff"}, "expected JSON in kit.json"),
        ({"kit.json": b"[]"}, "card to be a JSON object, got list"),
        ({"kit.json": b"{}"}, "card.schema_version, it is missing"),
    ],
)
def test_appended_files_that_are_wrong(repackage, changes, message):
    path = repackage(PACKAGED[0], changes)
    with pytest.raises(ModelFileError, match=message) as raised:
        read_model_file(path)
    assert str(raised.value).startswith(f"{path}: expected")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"schema_version": 3}, "schema version 2 or older, got 3: update mobilenet-kit"),
        ({"labels": 3}, "card.labels to be list, got int"),
        ({"alpha": "wide"}, "card.alpha to be int or float or null, got str"),
        ({"preprocess": None}, "card.preprocess to be dict, got NoneType"),
        ({"golden": [{"pattern": 0, "digest": "", "scores": [1], "tolerance": 1}]}, "golden"),
    ],
)
def test_a_card_that_is_wrong(data, repackage, changes, message):
    path = repackage(PACKAGED[0], {"kit.json": card_of(data, **changes)})
    with pytest.raises(ModelFileError, match=message):
        Classifier.open(path)


def test_as_many_labels_as_scores(data, repackage):
    labels = ["red", "green"]
    path = repackage(
        PACKAGED[0],
        {"labels.txt": b"red\ngreen\n", "kit.json": card_of(data, labels=labels, golden=[])},
    )
    assert read_model_file(path).labels == ("red", "green")
    with pytest.raises(ModelFileError, match="expected 3 labels, one for each score, got 2"):
        Classifier.open(path)


def test_the_card_says_the_input_size(data, repackage):
    spec = json.loads(card_of(data))["preprocess"]
    path = repackage(
        PACKAGED[0], {"kit.json": card_of(data, preprocess={**spec, "input_resolution": 32})}
    )
    with pytest.raises(ModelFileError, match="input of 32 pixels, as its card says, got one of 16"):
        Classifier.open(path)


@pytest.mark.parametrize("label", [" spaces ", "line\u2028separator", "form\x0cfeed", "next\x85"])
def test_a_card_keeps_unusual_labels(data, repackage, label):
    labels = [label, "green", "blue"]
    path = repackage(
        PACKAGED[0],
        {
            "labels.txt": "".join(f"{name}\n" for name in labels).encode(),
            "kit.json": card_of(data, labels=labels),
        },
    )
    assert read_model_file(path).labels == tuple(labels)


def test_without_a_card_labels_and_metadata_remain(repackage):
    file = read_model_file(repackage(PACKAGED[0], {"kit.json": None}))
    assert file.card is None
    assert file.labels == ("red", "green", "blue")
    assert file.metadata.mean == (127.5, 127.5, 127.5)


@pytest.mark.parametrize(
    "text, labels",
    [
        ("a\nb\n", ("a", "b")),
        ("a\nb", ("a", "b")),
        ("\ufeffa\r\nb\r\n\r\n", ("a", "b")),
        (" a \n\tb c\r\n", (" a ", "\tb c")),
        ("a\u2028b\x85\x0c\n", ("a\u2028b\x85\x0c",)),
        ("Löwe\n獅子\n", ("Löwe", "獅子")),
    ],
)
def test_parse_labels(text, labels):
    assert parse_labels(text) == labels


@pytest.mark.parametrize("text", ["", "\n", "a\n\nb\n", "\ufeff"])
def test_parse_labels_refuses(text):
    with pytest.raises(SpecError, match="expected"):
        parse_labels(text)
