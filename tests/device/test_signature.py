"""Signatures: a device runs only what its clinic released."""

import io
import shutil
import zipfile

import pytest
from drawing import draw_folder
from places import FILES
from typer.testing import CliRunner

from kit.cli.app import app
from kit.device import signature
from kit.device.command import main
from kit.device.signature import check_signature, make_keys, signed
from kit.errors import KitError, MissingDependencyError, ModelFileError, OutputExistsError
from kit.model.model_file import (
    SIGNATURE_NAME,
    append_files,
    read_model_file,
    with_card_fields,
)
from kit.runtime import Classifier

pytest.importorskip("cryptography")


@pytest.fixture
def keys(tmp_path):
    key = tmp_path / "clinic.key"
    return key, make_keys(key)


@pytest.fixture
def model(tmp_path, keys):
    path = tmp_path / "model.tflite"
    path.write_bytes(signed((FILES / "red_green_blue_int8.tflite").read_bytes(), keys[0]))
    return path


def entries(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def test_a_signed_model_is_the_model(model, keys):
    check_signature(model, keys[1])
    plain = FILES / "red_green_blue_int8.tflite"
    assert read_model_file(model).card == read_model_file(plain).card
    with Classifier.open(model) as classifier:
        assert set(classifier.labels) == {"red", "green", "blue"}
    # Signed again it has one signature; the same key gives the same bytes.
    assert signed(model.read_bytes(), keys[0]) == model.read_bytes()
    assert list(entries(model.read_bytes())).count(SIGNATURE_NAME) == 1


def places(content):
    """An offset within each part of the file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        infos = archive.infolist()
        start = min(info.header_offset for info in infos)
        yield "the weights", start // 2
        yield "the start", 100
        for info in infos:
            if info.filename != SIGNATURE_NAME:
                yield info.filename, content.index(archive.read(info)[:40], start) + 8


def test_a_changed_byte_anywhere_is_found(model, keys, tmp_path):
    content = model.read_bytes()
    changed = tmp_path / "changed.tflite"
    for name, place in places(content):
        changed.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            check_signature(changed, keys[1])
        except ModelFileError:
            continue
        pytest.fail(f"a changed byte in {name} was not found")


def test_parts_put_in_or_taken_out_are_found(model, keys, tmp_path):
    content = model.read_bytes()
    parts = entries(content)
    start = min(i.header_offset for i in zipfile.ZipFile(io.BytesIO(content)).infolist())
    other = tmp_path / "other.tflite"
    for changed in (
        {name: part for name, part in parts.items() if name != "labels.txt"},
        {**parts, "more.txt": b"more"},
        {**parts, "labels.txt": b"blue\nred\ngreen\n"},
    ):
        other.write_bytes(append_files(content[:start], changed))
        with pytest.raises(ModelFileError, match="it was changed after that"):
            check_signature(other, keys[1])


@pytest.mark.parametrize(
    ("entries", "mode", "said"),
    [
        ({"a.txt": bytes(40 << 20)}, zipfile.ZIP_DEFLATED, "a.txt as the kit stores it"),
        ({"a.txt": bytes(5 << 20)}, zipfile.ZIP_STORED, "a.txt to have its stated .* at most"),
        ({str(n): b"" for n in range(65)}, zipfile.ZIP_STORED, "at most 64 appended files"),
    ],
    ids=["deflated", "large", "many"],
)
def test_nothing_is_unpacked_without_limit(model, keys, entries, mode, said):
    with zipfile.ZipFile(model, "a", mode) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    with pytest.raises(ModelFileError, match=said):
        check_signature(model, keys[1])
    with pytest.raises(ModelFileError, match=said):
        with_card_fields(model.read_bytes(), {})


def test_a_part_that_is_there_twice(model, keys):
    with zipfile.ZipFile(model, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("labels.txt", "blue\nred\ngreen\n")
    with pytest.raises(ModelFileError, match="each part of the file once"):
        check_signature(model, keys[1])


def test_a_changed_card_has_no_signature(model, keys, tmp_path):
    other = tmp_path / "other.tflite"
    other.write_bytes(with_card_fields(model.read_bytes(), {"intended_use": "everything"}))
    with pytest.raises(ModelFileError, match="it has no signature: kit sign MODEL"):
        check_signature(other, keys[1])


def test_another_key_and_no_signature(model, keys, tmp_path):
    foreign = make_keys(tmp_path / "foreign.key")
    with pytest.raises(ModelFileError, match="another key signed it"):
        check_signature(model, foreign)
    with pytest.raises(ModelFileError, match="it has no signature"):
        check_signature(FILES / "red_green_blue_int8.tflite", keys[1])
    # A foreign signer who claims to be the clinic.
    forged = tmp_path / "forged.tflite"
    content = signed(model.read_bytes(), tmp_path / "foreign.key")
    ours, theirs = (path.read_text() for path in (keys[1], foreign))
    forged.write_bytes(content.replace(repr(theirs)[1:-1].encode(), repr(ours)[1:-1].encode()))
    with pytest.raises(ModelFileError):
        check_signature(forged, keys[1])


def test_keys_are_not_replaced_and_are_their_owner_s(keys):
    assert keys[0].stat().st_mode & 0o077 == 0
    before = keys[0].read_bytes()
    with pytest.raises(OutputExistsError):
        make_keys(keys[0])
    assert keys[0].read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"no key", b"-----BEGIN PUBLIC KEY-----\nx\n"])
def test_what_is_no_key(model, keys, tmp_path, content):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(content)
    with pytest.raises(KitError, match="expected a public key of kit sign, got another file"):
        check_signature(model, wrong)
    with pytest.raises(KitError, match="expected a private key"):
        signed(model.read_bytes(), wrong)
    with pytest.raises(KitError, match="expected a private key"):
        signed(model.read_bytes(), keys[1])
    with pytest.raises(KitError, match="expected a public key"):
        check_signature(model, tmp_path / "gone")


def test_without_the_package_it_says_what_to_do(model, keys, monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(signature, "import_module", missing)
    with pytest.raises(MissingDependencyError, match=r"pip install 'mobilenet-kit\[sign\]'"):
        check_signature(model, keys[1])


# ---------------------------------------------------------------- the commands


def test_the_commands(tmp_path, capsys):
    model, key = tmp_path / "model.tflite", tmp_path / "keys" / "clinic.key"
    shutil.copy(FILES / "red_green_blue_int8.tflite", model)
    image = draw_folder(tmp_path / "images", {"red": 1}) / "red" / "000.png"
    public = f"{key}.pub"
    asked = [str(model), str(image), "--require-signature", public]
    done = CliRunner().invoke(app, ["sign", str(model), "--key", str(key), "--new-key"])
    assert done.exit_code == 0, done.stderr
    assert "which must stay secret" in done.stderr
    assert main(asked) == 0
    assert ": red 0." in capsys.readouterr().out
    model.write_bytes(with_card_fields(model.read_bytes(), {"intended_use": "everything"}))
    assert main(asked) == 1
    shown = capsys.readouterr()
    assert shown.out == "" and len(shown.err.splitlines()) == 1
    key.chmod(0o644)
    done = CliRunner().invoke(
        app, ["sign", str(model), "--key", str(key), "--output", str(tmp_path / "other.tflite")]
    )
    assert "can be read by others on this machine: chmod 600" in done.stderr
    assert main(asked) == 1  # the file itself was not signed again
    assert main([str(tmp_path / "other.tflite"), *asked[1:]]) == 0
    again = CliRunner().invoke(app, ["sign", str(model), "--key", str(key), "--new-key"])
    assert again.exit_code == 1
