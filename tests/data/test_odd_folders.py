"""Folders as archives, cameras, network drives and other systems leave them."""

import json
import os
import socket
import unicodedata

import pytest

from kit.cli.app import app
from kit.data import DataSettings, SplitSettings, load_dataset, scan_images, split_dataset
from kit.data.check import check_images
from kit.data.scan import label_of
from kit.data.split import check_split, moved_keys
from kit.errors import DataError
from kit.filenames import text_bytes
from kit.model.spec import load_json


def put(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(os.fsencode(path))


def classes_of(dataset):
    return {image.path: dataset.labels[image.label] for image in dataset.images}


# ---------------------------------------------------------------- links


def test_linked_folders_are_followed_and_links_back_are_told(tmp_path, monkeypatch):
    put(tmp_path / "elsewhere", "2.jpg", "deeper/3.jpg")
    put(tmp_path / "images", "a/1.jpg", "b/4.jpg")
    (tmp_path / "images" / "a" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "deeper" / "back").symlink_to(tmp_path / "images" / "a")
    (tmp_path / "images" / "b" / "up").symlink_to("..")
    monkeypatch.chdir(tmp_path / "images")
    for images, settings in (
        (tmp_path / "images", DataSettings()),
        (".", DataSettings()),
        (".", DataSettings(label_regex="^(a|b)")),
    ):
        found = load_dataset(images, settings)
        assert {image.path for image in found.images} == {
            *("a/1.jpg", "a/more/2.jpg", "a/more/deeper/3.jpg", "b/4.jpg"),
        }
        why = "expected a folder, this link leads back to one that it lies in"
        assert found.left_out == (("a/more/deeper/back", why), ("b/up", why))


# ---------------------------------------------------------------- small classes


@pytest.mark.parametrize("count", [3, 4, 10, 20])
@pytest.mark.parametrize("seed", range(8))
def test_every_part_has_each_class_from_3_images_on(tmp_path, count, seed):
    put(tmp_path, *(f"{label}/{index}.jpg" for label in "abcde" for index in range(count)))
    dataset, settings = scan_images(tmp_path), SplitSettings(seed=seed)
    split = split_dataset(dataset, settings)
    check_split(dataset, split, settings)
    for label in "abcde":
        parts = {part for path, part in split.items() if path.startswith(label)}
        assert parts == {"train", "validation", "test"}
    # Only as many as there are empty parts have moved, and those are the nearest to them.
    drawn = {image.path: settings.part(image.digest) for image in dataset.images}
    digests = {image.path: image.digest for image in dataset.images}
    for label in "abcde":
        own = [path for path in split if path.startswith(label)]
        empty = {"train", "validation", "test"} - {drawn[path] for path in own}
        moved = [path for path in own if split[path] != drawn[path]]
        assert {split[path] for path in moved} == empty
        assert len(moved) == len(empty)
        if len(empty) == 1:
            (part,) = empty
            distances = {path: settings.distance(digests[path], part) for path in own}
            spare = [p for p in own if sum(drawn[q] == drawn[p] for q in own) > 1]
            assert distances[moved[0]] == min(distances[path] for path in spare)


def test_names_and_order_do_not_matter_to_the_nearest(tmp_path):
    put(tmp_path, *(f"{label}/{index}.jpg" for label in "ab" for index in range(5)))

    def parts():
        dataset = scan_images(tmp_path)
        split = split_dataset(dataset, SplitSettings())
        return {image.digest: split[image.path] for image in dataset.images}

    before = parts()
    for index in range(5):
        (tmp_path / f"a/{index}.jpg").rename(tmp_path / f"a/new {9 - index}.png")
    (tmp_path / "b").rename(tmp_path / "0")
    assert parts() == before


def test_two_images_of_a_class_are_too_few(tmp_path):
    put(tmp_path, *(f"a/{index}.jpg" for index in range(2)), *(f"b/{i}.jpg" for i in range(9)))
    dataset, settings = scan_images(tmp_path), SplitSettings()
    split = split_dataset(dataset, settings)
    with pytest.raises(DataError, match=r"of a in every part.*2 different images: add at least 1"):
        check_split(dataset, split, settings)


def test_groups_move_whole_and_leave_no_other_class_empty(tmp_path):
    """Each person has images of both classes: what moves for one moves the other's too."""
    names = [
        f"{label}/p{person}_{index}.jpg"
        for label in "ab"
        for person in range(4)
        for index in (0, 1)
    ]
    put(tmp_path, *names)
    for seed in range(20):
        settings = SplitSettings(seed=seed, group_regex=r"p\d")
        dataset = scan_images(tmp_path)
        split = split_dataset(dataset, settings)
        check_split(dataset, split, settings)
        for person in range(4):
            assert len({part for path, part in split.items() if f"p{person}_" in path}) == 1


def test_given_parts_are_kept_and_only_the_missing_one_is_filled(tmp_path):
    put(tmp_path, *(f"train/{label}/{index}.jpg" for label in "ab" for index in range(4)))
    put(tmp_path, *(f"test/{label}/{index + 10}.jpg" for label in "ab" for index in range(3)))
    dataset, settings = scan_images(tmp_path), SplitSettings()
    split = split_dataset(dataset, settings)
    check_split(dataset, split, settings)
    assert {split[path] for path in split if path.startswith("test")} == {"test"}
    drawn = [part for path, part in split.items() if path.startswith("train")]
    assert {*drawn} == {"train", "validation"}


# ---------------------------------------------------------------- folders in folders


@pytest.mark.parametrize("inner, levels", [("flowers", "one level"), ("x/y", "2 levels")])
def test_classes_that_lie_deeper(tmp_path, inner, levels):
    put(tmp_path, f"{inner}/daisy/1.jpg", f"{inner}/tulip/1.jpg", "__MACOSX/flowers/._1.jpg")
    expected = rf"got 1 \(.*\). The classes lie {levels} deeper \(daisy, tulip\): give .*/{inner}$"
    with pytest.raises(DataError, match=expected):
        scan_images(tmp_path)
    with pytest.raises(DataError, match="deeper"):
        scan_images(tmp_path, labels=("daisy", "tulip"))
    assert len(scan_images(tmp_path / inner).images) == 2


def test_one_class_alone_is_still_one_class(tmp_path):
    put(tmp_path, "daisy/1.jpg", "daisy/deep/2.jpg")
    with pytest.raises(DataError, match=r"got 1 \(daisy\): add images of something else"):
        scan_images(tmp_path)
    assert len(scan_images(tmp_path, labels=("daisy", "tulip")).images) == 2


@pytest.mark.parametrize("test", [(), ("test/1.jpg", "test/2.jpg")])
def test_an_unlabelled_test_folder_beside_train(tmp_path, test):
    (tmp_path / "test").mkdir()
    put(tmp_path, "train/a/1.jpg", "train/b/1.jpg", *test)
    dataset = scan_images(tmp_path)
    assert classes_of(dataset) == {"train/a/1.jpg": "a", "train/b/1.jpg": "b"}
    what = "2 files without a class" if test else "nothing"
    assert f"test has {what} in it: passed over" in dataset.warnings
    assert "only train has class folders: all parts are drawn from it" in dataset.warnings
    assert {image.part for image in dataset.images} == {None}


def test_train_and_validation_beside_an_unlabelled_test(tmp_path):
    put(tmp_path, *(f"{part}/{label}/1.jpg" for part in ("train", "val") for label in "ab"))
    put(tmp_path, "test/x.jpg")
    dataset = scan_images(tmp_path)
    assert {image.part for image in dataset.images} == {"train", "validation"}


def test_train_alone(tmp_path):
    put(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "README.txt")
    assert classes_of(scan_images(tmp_path)) == {"train/a/1.jpg": "a", "train/b/1.jpg": "b"}


def test_classes_called_train_and_test(tmp_path):
    put(tmp_path, "train/1.jpg", "test/2.jpg")
    assert scan_images(tmp_path).labels == ("test", "train")


# ---------------------------------------------------------------- leftovers


def test_what_systems_and_archives_leave_behind(tmp_path):
    put(tmp_path, "a/1.jpg", "b/1.jpg", "a/._1.jpg", "b/Thumbs.db", "b/.DS_Store")
    put(
        tmp_path,
        "__MACOSX/a/._1.jpg",
        "@eaDir/x/1.jpg",
        "a/@eaDir/1.jpg/SYNO.jpg",
        "#recycle/1.jpg",
    )
    dataset = scan_images(tmp_path)
    assert [*classes_of(dataset)] == ["a/1.jpg", "b/1.jpg"]
    (line,) = (line for line in dataset.warnings if "left behind" in line)
    for name in ("@eaDir", "__MACOSX", "._*", "#recycle", "Thumbs.db", ".DS_Store"):
        assert name in line
    assert dataset.left_out == ()


def test_side_files_are_one_line(tmp_path):
    put(tmp_path, "a/1.jpg", "b/1.jpg", "a/1.json", "a/1.xml", "b/2.xml", "b/film.MP4", "b/README")
    dataset = scan_images(tmp_path)
    assert dataset.left_out == ()
    (line,) = (line for line in dataset.warnings if "by the name" in line)
    assert line.startswith("passed over 5 files, no image by the name: .xml, ")
    assert {".json", ".mp4", "README"} <= {*line.partition(": ")[2].split(", ")}


def test_a_readme_beside_images_with_a_label_pattern(tmp_path):
    put(tmp_path, "x_0.png", "y_1.png", "z.png", "README", "notes.txt")
    dataset = load_dataset(tmp_path, DataSettings(label_regex=r"_([01])\."))
    assert [path for path, _ in dataset.left_out] == ["z.png"]


def test_one_class_in_two_spellings_of_unicode(tmp_path):
    name = "Gänseblümchen"
    spellings = [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]
    put(tmp_path, f"{spellings[0]}/1.jpg", f"{spellings[1]}/2.jpg", "rose/1.jpg")
    dataset = scan_images(tmp_path)
    assert dataset.labels == (spellings[0], "rose")
    assert dataset.counts() == (2, 1)
    assert f"2 spellings of {spellings[0]} in folders' names are one class" in dataset.warnings
    # A model that an earlier kit trained has the label decomposed.
    model = (spellings[1], "rose")
    assert scan_images(tmp_path, labels=model).counts() == (2, 1)


# ---------------------------------------------------------------- what is no file


@pytest.fixture
def odd(tmp_path):
    put(tmp_path, "a/1.jpg", "b/1.jpg")
    os.mkfifo(tmp_path / "a/pipe.jpg")
    (tmp_path / "b/zero.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(tmp_path / "b/socket.jpg"))
        yield tmp_path


def test_no_pipe_socket_or_device_is_opened(odd):
    assert dict(scan_images(odd).left_out) == {
        "a/pipe.jpg": "expected an image file, got a named pipe: it is never opened",
        "b/socket.jpg": "expected an image file, got a socket: it is never opened",
        "b/zero.jpg": "expected an image file, got a device: it is never opened",
    }


def test_rows_of_a_table_that_name_a_pipe(odd):
    table = odd / "labels.csv"
    table.write_text("path,label\na/1.jpg,x\nb/1.jpg,y\na/pipe.jpg,y\n")
    dataset = load_dataset(odd, DataSettings(labels_csv=table))
    assert [path for path, _ in dataset.left_out] == ["a/pipe.jpg"]


# ---------------------------------------------------------------- names that are no text

BAD = os.fsdecode(b"caf\xe9.jpg")
WORSE = os.fsdecode(b"caf\xe8.jpg")


def test_names_that_are_no_utf8(tmp_path):
    put(tmp_path, f"a/{BAD}", f"a/{WORSE}", "b/1.jpg", 'b/new\nline, "quoted".jpg')
    dataset = scan_images(tmp_path)
    assert len(dataset.images) == 4
    record = text_bytes(json.dumps([*classes_of(dataset)], ensure_ascii=False))
    assert load_json(record, "record") == [*classes_of(dataset)]
    assert b"caf\\udce9.jpg" in record and b"caf\\udce8.jpg" in record
    split = split_dataset(dataset, SplitSettings(group_regex="(.*)"))
    assert len(split) == 4


def test_a_table_may_name_it_as_the_kit_writes_it(tmp_path):
    put(tmp_path, f"a/{BAD}", "b/1.jpg")
    table = tmp_path / "labels.csv"
    table.write_bytes(text_bytes(f"path,label\na/{BAD},x\nb/1.jpg,y\n"))
    assert classes_of(load_dataset(tmp_path, DataSettings(labels_csv=table))) == {
        f"a/{BAD}": "x",
        "b/1.jpg": "y",
    }


def test_a_class_whose_name_is_no_utf8(tmp_path):
    put(tmp_path, f"{os.fsdecode(bytes([0xE9]) + b'toile')}/1.jpg", "b/1.jpg")
    dataset = scan_images(tmp_path)
    assert dataset.labels == ("b", "étoile")
    assert "a folder's name is not UTF-8: its label is étoile" in dataset.warnings
    assert label_of(os.fsdecode(b"\x81")) == "\x81"


def test_check_tells_of_all_this(odd, capsys):
    from typer.testing import CliRunner

    (odd / "a/notes.txt").write_text("x")
    with pytest.raises(DataError, match="none can be read"):  # there is no image among them
        check_images(odd)
    result = CliRunner().invoke(app, ["check", str(odd)])
    assert result.exit_code == 1
    assert "passed over 1 file, no image by the name: .txt" in result.stderr


def test_a_split_is_repeated_for_other_images(tmp_path):
    """What was moved in training must not count as never seen in an evaluation."""
    put(tmp_path, *(f"{label}/{index}.jpg" for label in "abcde" for index in range(3)))
    dataset, settings = scan_images(tmp_path), SplitSettings()
    split = split_dataset(dataset, settings)
    moved = moved_keys(dataset, split, settings)
    assert moved and split_dataset(dataset, settings, moved) == split
    assert all(len(mark) == 5 for mark in moved)
    put(tmp_path, *(f"{label}/new {index}.jpg" for label in "abcde" for index in range(9)))
    (tmp_path / "a/0.jpg").unlink()
    other = split_dataset(scan_images(tmp_path), settings, moved)
    assert {path: other[path] for path in split if path != "a/0.jpg"} == {
        path: part for path, part in split.items() if path != "a/0.jpg"
    }
    # Without a record nothing is moved, as in models of earlier kits.
    by_hash = split_dataset(dataset, settings, {})
    assert by_hash == {image.path: settings.part(image.digest) for image in dataset.images}
