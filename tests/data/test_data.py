"""A folder of class folders to a list of labelled images."""

import hashlib
import os
import shutil

import pytest

from kit.data import scan_images
from kit.errors import DataError


def put(root, path, content=None):
    """A file; its content is its path unless given, so that no two are alike."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(path.encode() if content is None else content)
    return file


def paths(dataset):
    return [image.path for image in dataset.images]


def test_finds_images_with_labels_and_digests(tmp_path):
    put(tmp_path, "roses/2.jpg", b"two")
    put(tmp_path, "roses/1.jpg", b"one")
    put(tmp_path, "daisy/1.jpg", b"another")
    dataset = scan_images(tmp_path)
    assert dataset.labels == ("daisy", "roses")
    assert [(image.path, image.label) for image in dataset.images] == [
        ("daisy/1.jpg", 0),
        ("roses/1.jpg", 1),
        ("roses/2.jpg", 1),
    ]
    assert dataset.images[1].digest == hashlib.sha256(b"one").hexdigest()
    assert dataset.counts() == (1, 2)
    assert dataset.left_out == ()


def test_labels_of_any_script_stay_as_they_are(tmp_path):
    names = ["中文", "two words", "🌷 tulip", "Ünï-cödé", "عربي", "a.b", "C"]
    for name in names:
        put(tmp_path, f"{name}/1.jpg")
    dataset = scan_images(str(tmp_path))
    assert dataset.labels == tuple(sorted(names))
    assert {path.split("/")[0] for path in paths(dataset)} == set(names)


def test_nested_folders_belong_to_their_class(tmp_path):
    put(tmp_path, "roses/2019/may/1.jpg")
    put(tmp_path, "roses/1.jpg")
    put(tmp_path, "tulips/roses/1.jpg")
    dataset = scan_images(tmp_path)
    assert dataset.labels == ("roses", "tulips")
    assert {image.path: dataset.labels[image.label] for image in dataset.images} == {
        "roses/1.jpg": "roses",
        "roses/2019/may/1.jpg": "roses",
        "tulips/roses/1.jpg": "tulips",
    }


def test_hidden_and_system_files_are_passed_over(tmp_path):
    put(tmp_path, "a/1.jpg")
    put(tmp_path, "b/1.jpg")
    for ignored in (
        ".git/config",
        ".DS_Store",
        "__MACOSX/a/1.jpg",
        "a/.DS_Store",
        "a/._1.jpg",
        "a/Thumbs.db",
        "a/desktop.ini",
        "a/.thumbnails/1.jpg",
        "b/__MACOSX/1.jpg",
        "b/Icon\r",
    ):
        put(tmp_path, ignored)
    dataset = scan_images(tmp_path)
    assert dataset.labels == ("a", "b")
    assert paths(dataset) == ["a/1.jpg", "b/1.jpg"]
    assert dataset.left_out == ()
    assert not any("beside" in line for line in dataset.warnings)


def test_every_format_is_listed(tmp_path):
    names = ["1.png", "2.webp", "3.GIF", "4.bmp", "5.tiff", "6.jpeg", "without_suffix"]
    for name in names:
        put(tmp_path, f"a/{name}")
    put(tmp_path, "b/1.jpg")
    assert paths(scan_images(tmp_path))[:-1] == [f"a/{name}" for name in sorted(names)]


def test_linked_files_and_folders_are_read(tmp_path):
    put(tmp_path, "originals/1.jpg", b"linked")
    put(tmp_path, "data/b/1.jpg")
    (tmp_path / "data/a").symlink_to(tmp_path / "originals", target_is_directory=True)
    (tmp_path / "data/b/2.jpg").symlink_to(put(tmp_path, "elsewhere.jpg"))
    assert paths(scan_images(tmp_path / "data")) == ["a/1.jpg", "b/1.jpg", "b/2.jpg"]


def test_missing_folder(tmp_path):
    with pytest.raises(DataError, match=r"nowhere: expected a folder .* nothing there"):
        scan_images(tmp_path / "nowhere")


def test_a_file_is_no_folder(tmp_path):
    with pytest.raises(DataError, match=r"expected a folder .* a file"):
        scan_images(put(tmp_path, "photo.jpg"))


@pytest.mark.parametrize("inside", [(), ("roses", "tulips"), (".hidden",)])
def test_empty_folders(tmp_path, inside):
    for name in inside:
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match="found no images"):
        scan_images(tmp_path)


def test_one_class_is_too_few(tmp_path):
    put(tmp_path, "roses/1.jpg")
    with pytest.raises(DataError, match=r"at least 2 classes.*got 1 \(roses\)"):
        scan_images(tmp_path)


def test_an_empty_class_folder_is_told_of(tmp_path):
    for name in "ab":
        put(tmp_path, f"{name}/1.jpg")
    (tmp_path / "forgotten").mkdir()
    dataset = scan_images(tmp_path)
    assert dataset.labels == ("a", "b")
    assert any("forgotten" in line for line in dataset.warnings)


def test_fewer_than_twenty_images_are_warned_of(tmp_path):
    for name, count in (("enough", 20), ("few", 19)):
        for index in range(count):
            put(tmp_path, f"{name}/{index}.jpg")
    (warning,) = scan_images(tmp_path).warnings
    assert warning.startswith("few has 19 images")


def test_same_content_in_two_classes_is_left_out(tmp_path):
    put(tmp_path, "a/1.jpg", b"same")
    put(tmp_path, "b/other_name.jpg", b"same")
    put(tmp_path, "b/copy.jpg", b"same")
    put(tmp_path, "a/2.jpg")
    put(tmp_path, "b/2.jpg")
    dataset = scan_images(tmp_path)
    assert paths(dataset) == ["a/2.jpg", "b/2.jpg"]
    reasons = dict(dataset.left_out)
    assert set(reasons) == {"a/1.jpg", "b/other_name.jpg", "b/copy.jpg"}
    assert reasons["a/1.jpg"].endswith("is in b")
    assert reasons["b/copy.jpg"].endswith("is in a")


def test_nothing_but_contradictions(tmp_path):
    put(tmp_path, "a/1.jpg", b"same")
    put(tmp_path, "b/1.jpg", b"same")
    with pytest.raises(DataError, match="all 2 files were left out"):
        scan_images(tmp_path)


def test_copies_within_a_class_stay(tmp_path):
    put(tmp_path, "a/1.jpg", b"same")
    put(tmp_path, "a/deep/2.jpg", b"same")
    put(tmp_path, "b/1.jpg")
    dataset = scan_images(tmp_path)
    assert dataset.counts() == (2, 1)
    assert dataset.left_out == ()
    assert dataset.images[0].digest == dataset.images[1].digest


def test_loose_files_are_warned_of(tmp_path):
    put(tmp_path, "a/1.jpg")
    put(tmp_path, "b/1.jpg")
    put(tmp_path, "labels.csv")
    put(tmp_path, "3.jpg")
    dataset = scan_images(tmp_path)
    assert len(dataset.images) == 2
    assert "files beside the class folders, in no class, passed over: 1" in dataset.warnings
    assert "passed over 1 file, no image by the name: .csv" in dataset.warnings


def test_a_broken_link_is_left_out_with_its_reason(tmp_path):
    put(tmp_path, "a/1.jpg")
    put(tmp_path, "b/1.jpg")
    (tmp_path / "a/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    dataset = scan_images(tmp_path)
    assert paths(dataset) == ["a/1.jpg", "b/1.jpg"]
    ((path, reason),) = dataset.left_out
    assert path == "a/gone.jpg"
    assert "No such file" in reason


def deny(monkeypatch, folder):
    """Listing this folder fails, as for a user without permission."""
    for name in ("scandir", "listdir"):
        real = getattr(os, name)

        def listing(path=".", real=real):
            if os.fspath(path) == str(folder):
                raise PermissionError(13, "Permission denied", str(folder))
            return real(path)

        monkeypatch.setattr(os, name, listing)


def test_an_unreadable_folder_below_a_class_is_left_out(tmp_path, monkeypatch):
    put(tmp_path, "a/1.jpg")
    put(tmp_path, "a/secret/2.jpg")
    put(tmp_path, "b/1.jpg")
    deny(monkeypatch, tmp_path / "a" / "secret")
    dataset = scan_images(tmp_path)
    assert paths(dataset) == ["a/1.jpg", "b/1.jpg"]
    assert dataset.left_out == (("a/secret", "expected a readable folder: Permission denied"),)


def test_an_unreadable_class_is_not_called_empty(tmp_path, monkeypatch):
    """Going on without the class would train another classifier than was asked for."""
    for name in ("a", "b", "secret"):
        put(tmp_path, f"{name}/1.jpg")
    deny(monkeypatch, tmp_path / "secret")
    try:
        dataset = scan_images(tmp_path)
    except DataError as error:
        assert "secret" in str(error)
    else:
        assert not any("has no files" in line for line in dataset.warnings)


def test_an_unreadable_data_set(tmp_path, monkeypatch):
    put(tmp_path, "a/1.jpg")
    deny(monkeypatch, tmp_path)
    with pytest.raises(DataError, match="expected a readable folder: Permission denied"):
        scan_images(tmp_path)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every folder"
)
def test_permissions_of_the_file_system(tmp_path):
    put(tmp_path, "a/1.jpg")
    put(tmp_path, "a/2.jpg").chmod(0)
    put(tmp_path, "b/1.jpg")
    (tmp_path / "b/secret").mkdir(mode=0)
    dataset = scan_images(tmp_path)
    assert paths(dataset) == ["a/1.jpg", "b/1.jpg"]
    assert [path for path, _ in dataset.left_out] == ["b/secret", "a/2.jpg"]


def test_fingerprint_depends_on_content_and_labels_alone(tmp_path):
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg"):
        put(tmp_path / "one", name)
    shutil.copytree(tmp_path / "one", tmp_path / "moved")
    (tmp_path / "moved/a/1.jpg").rename(tmp_path / "moved/a/zzz.png")
    (tmp_path / "moved/b/deep").mkdir()
    (tmp_path / "moved/b/1.jpg").rename(tmp_path / "moved/b/deep/9.jpg")
    shutil.copytree(tmp_path / "one", tmp_path / "relabelled")
    (tmp_path / "relabelled/a").rename(tmp_path / "relabelled/c")
    shutil.copytree(tmp_path / "one", tmp_path / "other_class")
    (tmp_path / "other_class/a/2.jpg").rename(tmp_path / "other_class/b/2.jpg")
    shutil.copytree(tmp_path / "one", tmp_path / "changed")
    (tmp_path / "changed/a/1.jpg").write_bytes(b"retouched")
    prints = {path.name: scan_images(path).fingerprint for path in tmp_path.iterdir()}
    assert prints["moved"] == prints["one"]
    assert len({prints[name] for name in ("one", "relabelled", "other_class", "changed")}) == 4


def test_with_the_labels_of_a_model(tmp_path):
    put(tmp_path, "roses/1.jpg")
    put(tmp_path, "daisy/1.jpg")
    dataset = scan_images(tmp_path, labels=("tulips", "roses", "daisy"))
    assert dataset.labels == ("tulips", "roses", "daisy")
    assert {image.path: image.label for image in dataset.images} == {
        "roses/1.jpg": 1,
        "daisy/1.jpg": 2,
    }
    assert dataset.warnings == ()  # few images are no fault of a test set
    only = scan_images(tmp_path, labels=("roses", "daisy", "x"))
    assert only.counts() == (1, 1, 0)


def test_a_folder_that_no_label_names(tmp_path):
    put(tmp_path, "roses/1.jpg")
    put(tmp_path, "cacti/1.jpg")
    with pytest.raises(DataError, match=r"\(roses, tulips\), got cacti"):
        scan_images(tmp_path, labels=("roses", "tulips"))


def test_without_lists_what_it_leaves_out(tmp_path):
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg"):
        put(tmp_path, name)
    (tmp_path / "a/gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    dataset = scan_images(tmp_path)
    less = dataset.without({"a/2.jpg": "truncated"})
    assert paths(less) == ["a/1.jpg", "b/1.jpg"]
    assert [path for path, _ in less.left_out] == ["a/gone.jpg", "a/2.jpg"]
    assert less.left_out[-1] == ("a/2.jpg", "truncated")
    assert less.labels == dataset.labels
    assert less.fingerprint != dataset.fingerprint


@pytest.mark.parametrize("name", [" roses", "roses ", "two\nlines", "two\u2028lines", "a\x0bb"])
def test_a_label_that_no_label_file_can_hold_is_refused_at_once(tmp_path, name):
    """labels.txt has a label a line; after hours of training would be a bad time to find out."""
    from kit.model.labels import parse_labels

    put(tmp_path, f"{name}/1.jpg")
    put(tmp_path, "tulips/1.jpg")
    try:
        labels = scan_images(tmp_path).labels
    except DataError as error:
        assert "roses" in str(error) or "label" in str(error)
    else:
        assert parse_labels("".join(f"{label}\n" for label in labels)) == labels
