"""The audit log and the second reading: what is kept beside the results file."""

import csv
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from drawing import draw_folder
from places import FILES, ROOT
from typer.testing import CliRunner

from kit.cli.app import app
from kit.data import DataSettings, load_dataset
from kit.device import audit
from kit.device.appending import open_alone
from kit.device.audit import AuditLog, verify
from kit.device.command import main
from kit.device.second_reading import COLUMNS, TABLE, SecondReading
from kit.errors import KitError
from kit.model.model_file import read_model_file, with_card_fields

MODEL = FILES / "red_green_blue_int8.tflite"


@pytest.fixture
def images(tmp_path):
    return draw_folder(tmp_path / "images", {"red": 4, "green": 4}, seed=2)


@pytest.fixture
def log(images, tmp_path):
    """A log of eight answers."""
    path = tmp_path / "audit.jsonl"
    assert (
        main([str(MODEL), str(images), "--output", str(tmp_path / "r.csv"), "--audit", str(path)])
        == 0
    )
    return path


def lines_of(path):
    return path.read_bytes().splitlines(keepends=True)


def test_an_entry_for_each_answer(log, images):
    found = verify(log)
    assert found.entries == 8
    entries = [json.loads(line) for line in lines_of(log)]
    card = read_model_file(MODEL).card
    for entry in entries:
        assert entry["label"] in ("red", "green")
        assert entry["model"] == card.model_sha256
        assert entry["failed"] is False
        assert {"file", "kit", "card", "score", "time"} <= set(entry)
    assert entries[-1]["hash"] == found.hash
    text = log.read_text()
    assert ".png" not in text
    assert str(images) not in text


def test_the_next_start_goes_on(log, images, tmp_path):
    before = log.read_bytes()
    noted = verify(log).hash
    draw_folder(images, {"blue": 2}, seed=9)
    (images / "blue" / "broken.png").write_bytes(b"no image")
    asked = [str(MODEL), str(images), "--output", str(tmp_path / "r.csv"), "--audit", str(log)]
    assert main([*asked, "--audit-paths"]) == 1
    assert log.read_bytes().startswith(before)
    assert verify(log, holds=noted).entries == 11
    last = [json.loads(line) for line in lines_of(log)[8:]]
    assert sorted(Path(entry["path"]).name for entry in last) == [
        "000.png",
        "001.png",
        "broken.png",
    ]
    assert [entry["failed"] for entry in last] == [False, False, True]


def change(lines):
    return [*lines[:3], lines[3].replace(b'"label":"', b'"label":"x'), *lines[4:]]


def rewrite_its_hash(lines):
    entry = json.loads(lines[3])
    entry["label"] = "other"
    del entry["hash"]
    return [*lines[:3], audit._line({**entry, "hash": audit._hash(entry)}), *lines[4:]]


TAMPERED = {
    "a changed entry": (change, "line 4: expected an entry as it was written"),
    "a changed entry with its hash": (rewrite_its_hash, "line 5: .*removed, swapped or put in"),
    "an entry cut out": (lambda lines: lines[:3] + lines[4:], "line 4: .*removed, swapped"),
    "the first cut off": (lambda lines: lines[1:], "line 1: .*removed, swapped"),
    "two swapped": (
        lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]],
        "line 3: .*removed, swapped",
    ),
    "one twice": (lambda lines: [*lines[:4], lines[3], *lines[4:]], "line 5: .*removed, swapped"),
    "other spaces": (
        lambda lines: [*lines[:3], lines[3].replace(b",", b", ", 1), *lines[4:]],
        "line 4: expected an entry as it was written",
    ),
    "no JSON": (lambda lines: [*lines[:3], b"nothing\n", *lines[4:]], "line 4: .*got no JSON"),
    "other JSON": (lambda lines: [*lines[:3], b"[1]\n", *lines[4:]], "line 4: .*got other JSON"),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_tampering_is_found(log, how):
    tamper, said = TAMPERED[how]
    log.write_bytes(b"".join(tamper(lines_of(log))))
    with pytest.raises(KitError, match=said):
        verify(log)
    done = CliRunner().invoke(app, ["audit", "verify", str(log)])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1


def test_a_noted_hash_finds_what_was_cut_at_the_end_or_made_anew(log, images, tmp_path):
    noted = verify(log).hash
    whole = lines_of(log)
    log.write_bytes(b"".join(whole[:6]))
    assert verify(log).entries == 6  # sound by itself
    with pytest.raises(KitError, match="cut off, or the log was made anew"):
        verify(log, holds=noted)
    log.unlink()
    asked = [str(MODEL), str(images), "--output", str(tmp_path / "s.csv"), "--audit", str(log)]
    assert main(asked) == 0
    done = CliRunner().invoke(app, ["audit", "verify", str(log), "--holds", noted])
    assert done.exit_code == 1
    assert noted in done.stderr


def test_a_log_that_is_not_there(tmp_path):
    done = CliRunner().invoke(app, ["audit", "verify", str(tmp_path / "gone.jsonl")])
    assert done.exit_code == 1
    assert "expected an audit log, there is no such file" in done.stderr


def test_the_command_tells_the_hash_to_note(log):
    done = CliRunner().invoke(app, ["audit", "verify", str(log)])
    assert done.exit_code == 0
    assert f"note the last hash: {verify(log).hash}" in done.stdout
    done = CliRunner().invoke(app, ["audit", "verify", str(log), "--format", "json"])
    assert json.loads(done.stdout)["entries"] == 8


def test_what_a_power_cut_tears_off_is_told(log):
    whole = log.read_bytes()
    log.write_bytes(whole[:-20])
    with AuditLog(str(log), read_model_file(MODEL)) as kept:
        kept.append({"label": "red"}, "x")
    entries = [json.loads(line) for line in lines_of(log)]
    assert len(entries) == 9
    assert entries[7]["event"] == "cut a torn line"
    assert entries[7]["bytes"] == len(whole.splitlines()[-1]) + 1 - 20
    assert verify(log).entries == 9


def test_a_full_disk_loses_nothing(log, monkeypatch):
    from kit.device import appending

    before = log.read_bytes()
    with AuditLog(str(log), read_model_file(MODEL)) as kept:
        real = kept._file

        class Full:
            def write(self, line):
                real.write(line[:10])
                raise OSError(28, "No space left on device")

            def __getattr__(self, name):
                return getattr(real, name)

        with pytest.raises(OSError, match="No space left"):
            appending.append_whole(Full(), b"x" * 100 + b"\n", str(log))
        assert log.read_bytes() == before
        kept.append({"label": "red"}, "x")
    assert verify(log).entries == 9


def test_two_processes_do_not_write_to_one_log(log):
    with (
        AuditLog(str(log), read_model_file(MODEL)),
        pytest.raises(KitError, match="expected to be alone with it, another kit-label"),
    ):
        AuditLog(str(log), read_model_file(MODEL))
    AuditLog(str(log), read_model_file(MODEL)).__exit__(None, None, None)


def test_a_log_with_a_changed_end_is_not_gone_on_with(log):
    lines = lines_of(log)
    log.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b'"label":"', b'"label":"x')]))
    with pytest.raises(KitError, match="its last entry was changed"):
        AuditLog(str(log), read_model_file(MODEL))


def test_answers_do_not_come_without_their_entry(images, tmp_path):
    """The log first: a row of the results file always has its entry."""
    (tmp_path / "folder").mkdir()
    asked = [str(MODEL), str(images), "--output", str(tmp_path / "r.csv")]
    assert main([*asked, "--audit", str(tmp_path / "folder")]) == 1
    assert not (tmp_path / "r.csv").exists()


# ---------------------------------------------------------------- second reading


@pytest.fixture
def unsure(tmp_path):
    """A model that is never sure: every score is between its thresholds."""
    point = {"positive": "red", "negative_below": 0.0, "positive_from": 1.0}
    path = tmp_path / "unsure.tflite"
    path.write_bytes(with_card_fields(MODEL.read_bytes(), {"operating_point": point}))
    return path


def test_uncertain_images_are_copied_for_a_person(unsure, images, tmp_path):
    folder = tmp_path / "second"
    shutil.copy(images / "red" / "000.png", images / "red" / "the same again.png")
    asked = [str(unsure), str(images), "--output", str(tmp_path / "r.csv")]
    assert main([*asked, "--uncertain-to", str(folder)]) == 0
    with (folder / TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    assert {row["answer"] for row in rows} == {"uncertain"}
    originals = {path.read_bytes() for path in images.rglob("*.png")}
    assert {(folder / row["path"]).read_bytes() for row in rows} == originals
    assert all(row["label"] == "" and row["suggestion"] in ("red", "green") for row in rows)
    # What it says is enough to learn from, once a person has filled in the labels.
    for row in rows:
        row["label"] = row["suggestion"]
    with (folder / TABLE).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    dataset = load_dataset(folder, DataSettings(folder / TABLE))
    assert len(dataset.images) == 8 and set(dataset.labels) == {"red", "green"}


def test_sure_answers_are_not_copied_and_the_next_start_goes_on(unsure, images, tmp_path):
    folder = tmp_path / "second"
    asked = ["--output", str(tmp_path / "r.csv"), "--uncertain-to", str(folder)]
    assert main([str(MODEL), str(images), *asked]) == 0
    assert (folder / TABLE).read_text().count("\n") == 1
    draw_folder(images, {"blue": 3}, seed=5)
    (images / "blue" / "broken.png").write_bytes(b"no image")
    assert main([str(unsure), str(images), *asked]) == 1
    rows = (folder / TABLE).read_text().splitlines()
    assert len(rows) == 4  # the new ones: the others have their answer already
    with (folder / TABLE).open("ab") as file:
        file.write(b"torn")
    (tmp_path / "r.csv").unlink()
    assert main([str(unsure), str(images), *asked]) == 1
    again = (folder / TABLE).read_text().splitlines()
    assert again[:4] == rows and len(again) == 12 and "torn" not in again[-1]


def test_another_table_is_not_written_to(unsure, images, tmp_path):
    folder = tmp_path / "second"
    folder.mkdir()
    (folder / TABLE).write_text("path,label\nx,y\n")
    asked = ["--output", str(tmp_path / "r.csv"), "--uncertain-to", str(folder)]
    assert main([str(unsure), str(images), *asked]) == 1
    assert (folder / TABLE).read_text() == "path,label\nx,y\n"


@pytest.fixture
def reading(tmp_path):
    """Tells the second reading of an image, as a kit-label that goes on running does."""
    kept = SecondReading(str(tmp_path / "second"))

    def tell(content):
        photo = tmp_path / "photo.jpg"
        photo.write_bytes(content)
        kept.append({"answer": "uncertain", "label": "red"}, str(photo))
        return tmp_path / "second" / TABLE

    return tell


def in_place(table, content):
    table.write_bytes(content)


def by_renaming(table, content):
    table.with_suffix(".new").write_bytes(content)
    table.with_suffix(".new").replace(table)


@pytest.mark.parametrize("save", [in_place, by_renaming])
def test_a_person_fills_in_the_table_while_it_is_written_to(reading, save):
    table = reading(b"first")
    filled = table.read_bytes().replace(b",,uncertain", b",a long label,uncertain")
    save(table, filled)
    reading(b"second")
    reading(b"first")
    content = table.read_bytes()
    assert content.startswith(filled)
    assert content.count(b"\n") == 3 and b".jpg,,uncertain,red,,," in content[len(filled) :]


def test_two_processes_write_to_one_table_in_turn(reading):
    table = reading(b"first")
    with ThreadPoolExecutor() as pool:
        with open_alone(str(table), "--uncertain-to"):
            waiting = pool.submit(reading, b"second")
            wait([waiting], timeout=1)
        waiting.result()
    assert table.read_text().count("\n") == 3


def test_a_row_without_its_end_is_kept_if_a_person_left_it(reading):
    table = reading(b"first")
    whole = table.read_bytes()
    for saved, kept in (
        (whole[:-1], whole),
        (whole + b"x.jpg,red", whole + b"x.jpg,red\n"),
        (whole + b"x.jpg,,uncert", whole),
        (whole + bytes(20), whole),
        (COLUMNS[0].encode(), f"{','.join(COLUMNS)}\n".encode()),
    ):
        table.write_bytes(saved)
        SecondReading(str(table.parent))
        assert table.read_bytes() == kept


def test_a_table_that_a_spreadsheet_saved_is_gone_on_with(reading):
    table = reading(b"first")
    rows = table.read_text().replace(",", ";").splitlines()
    saved = "\ufeff" + "\r\n".join((f"{rows[0]};remark", f"{rows[1]};a, b")) + "\r\n"
    table.write_bytes(saved.encode())
    SecondReading(str(table.parent))
    reading(b"second")
    assert table.read_bytes().startswith(saved.encode())
    with table.open(newline="", encoding="utf-8-sig") as file:
        first, second = csv.DictReader(file, delimiter=";")
    assert first["remark"] == "a, b" and second["remark"] == ""
    assert (table.parent / second["path"]).read_bytes() == b"second"
    assert second["answer"] == "uncertain" and second["label"] == ""


def test_a_table_that_became_another_is_not_written_to(reading):
    table = reading(b"first")
    for other in (b"path,label\nx,y\n", b"dear diary", table.read_text().encode("utf-16")):
        table.write_bytes(other)
        with pytest.raises(KitError, match="expected a new folder, or a table of --uncertain-to"):
            reading(b"second")
        assert table.read_bytes() == other


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--audit", "a"), "expected --audit and --uncertain-to beside --output"),
        (("--uncertain-to", "a"), "expected --audit and --uncertain-to beside --output"),
        (("--output", "x", "--audit-paths"), "expected --audit-paths beside --audit"),
    ],
)
def test_mistakes(images, capsys, arguments, said):
    with pytest.raises(SystemExit):
        main([str(MODEL), str(images), *arguments])
    assert said in capsys.readouterr().err


def test_a_watched_folder_has_both(unsure, images, tmp_path):
    """As a service runs it."""
    log, folder = tmp_path / "audit.jsonl", tmp_path / "second"
    watching = subprocess.Popen(
        [
            *(sys.executable, "-m", "kit.device", str(unsure), "--watch", str(images)),
            *("--output", str(tmp_path / "r.csv"), "--audit", str(log)),
            *("--uncertain-to", str(folder)),
        ],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        for _ in range(600):
            if log.exists() and log.read_bytes().count(b"\n") >= 8:
                break
            assert watching.poll() is None, watching.stderr.read()
            time.sleep(0.1)
    finally:
        watching.kill()
        watching.wait()
    assert verify(log).entries >= 8
    assert (folder / TABLE).read_text().count("\n") >= 8
