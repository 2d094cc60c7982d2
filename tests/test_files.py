"""Outputs are complete or absent."""

import os
from pathlib import Path

import pytest

from kit.errors import OutputExistsError
from kit.files import check_absent, folder_beside, write_beside


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def older(tmp_path):
    """A run folder of an earlier day."""
    output = tmp_path / "run"
    output.mkdir()
    (output / "old.txt").write_text("old")
    return output


def test_a_folder_appears_when_it_is_complete(tmp_path):
    output = tmp_path / "deep" / "run"
    with folder_beside(output, force=False) as folder:
        (folder / "model").write_text("half")
        assert not output.exists()
        assert folder.parent == output.parent  # so that the last step is a rename, not a copy
        (folder / "logs").mkdir()
    assert names(output) == ["logs", "model"]
    assert names(output.parent) == ["run"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_folder_is_absent_after_an_error(tmp_path, error):
    with pytest.raises(error), folder_beside(tmp_path / "run", force=False) as folder:
        (folder / "model").write_text("half")
        raise error
    assert names(tmp_path) == []


def test_a_folder_that_stays_where_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path).name == "volume")
    (tmp_path / "volume").mkdir()
    for output in (".", "..", tmp_path / "volume"):
        for force in (False, True):
            with (
                pytest.raises(OutputExistsError, match="stays where it is: name a new one in it"),
                folder_beside(output, force),
            ):
                pass
    with folder_beside(tmp_path / "volume" / "run", False):
        pass


def test_an_existing_folder_is_in_the_way(older):
    entered = False
    with (
        pytest.raises(OutputExistsError, match=r"run: expected an output .* or --force"),
        folder_beside(older, force=False),
    ):
        entered = True
    assert not entered
    assert names(older) == ["old.txt"]
    assert names(older.parent) == ["run"]


def test_force_replaces_the_whole_folder(older):
    with folder_beside(str(older), force=True) as folder:
        (folder / "new.txt").write_text("new")
        assert names(older) == ["old.txt"]
    assert names(older) == ["new.txt"]
    assert names(older.parent) == ["run"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_older_folder_survives_an_error(older, error):
    with pytest.raises(error), folder_beside(older, force=True) as folder:
        (folder / "new.txt").write_text("new")
        raise error
    assert (older / "old.txt").read_text() == "old"
    assert names(older.parent) == ["run"]


def test_the_older_folder_survives_a_failing_rename(older, monkeypatch):
    real = Path.rename

    def rename(self, target):
        if "partial" in self.name:
            raise OSError(5, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "rename", rename)
    with (
        pytest.raises(OSError, match="Input/output"),
        folder_beside(older, force=True) as folder,
    ):
        (folder / "new.txt").write_text("new")
    monkeypatch.undo()
    assert names(older.parent) == ["run"]
    assert (older / "old.txt").read_text() == "old"


def test_what_appeared_in_the_meantime_is_kept(tmp_path):
    output = tmp_path / "run"
    with pytest.raises(OutputExistsError), folder_beside(output, force=False) as folder:
        (folder / "new.txt").write_text("new")
        output.mkdir()
        (output / "theirs.txt").write_text("theirs")
    assert names(output) == ["theirs.txt"]
    assert names(tmp_path) == ["run"]


def test_force_replaces_a_file_by_a_folder(tmp_path):
    (tmp_path / "run").write_text("a file")
    with folder_beside(tmp_path / "run", force=True) as folder:
        (folder / "new.txt").write_text("new")
    assert names(tmp_path / "run") == ["new.txt"]
    assert names(tmp_path) == ["run"]


def test_force_replaces_a_link_and_not_what_it_leads_to(older):
    link = older.parent / "link"
    link.symlink_to(older, target_is_directory=True)
    with folder_beside(link, force=True) as folder:
        (folder / "new.txt").write_text("new")
    assert names(older) == ["old.txt"]
    assert names(link) == ["new.txt"]
    assert not link.is_symlink()


def test_force_replaces_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "run").symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExistsError):
        check_absent(tmp_path / "run", force=False)
    with folder_beside(tmp_path / "run", force=True) as folder:
        (folder / "new.txt").write_text("new")
    assert names(tmp_path / "run") == ["new.txt"]


def test_a_file_is_written_whole(tmp_path):
    output = tmp_path / "deep" / "model.tflite"
    write_beside(output, b"\x00content", force=False)
    assert output.read_bytes() == b"\x00content"
    assert names(output.parent) == ["model.tflite"]


def test_an_existing_file_is_in_the_way(tmp_path):
    output = tmp_path / "model.tflite"
    output.write_bytes(b"old")
    with pytest.raises(OutputExistsError, match=r"model\.tflite"):
        write_beside(output, b"new", force=False)
    assert output.read_bytes() == b"old"
    write_beside(output, b"new", force=True)
    assert output.read_bytes() == b"new"
    assert names(tmp_path) == ["model.tflite"]


def test_the_older_file_survives_a_full_disk(tmp_path, monkeypatch):
    output = tmp_path / "model.tflite"
    output.write_bytes(b"old")
    real = os.fdopen

    class Full:
        def __init__(self, file):
            self._file = file

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self._file.close()

        def write(self, content):
            self._file.write(content[:2])
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fdopen", lambda *arguments: Full(real(*arguments)))
    with pytest.raises(OSError, match="No space left"):
        write_beside(output, b"new content", force=True)
    assert output.read_bytes() == b"old"
    assert names(tmp_path) == ["model.tflite"]


def test_a_folder_is_not_replaced_by_a_file(older):
    with pytest.raises(OSError, match=r"."):
        write_beside(older, b"new", force=True)
    assert names(older) == ["old.txt"]
    assert names(older.parent) == ["run"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other permissions")
@pytest.mark.parametrize(
    ("mask", "of_folder", "of_file"), [(0o022, 0o755, 0o644), (0, 0o777, 0o666)]
)
def test_permissions_are_as_of_any_other_file(tmp_path, mask, of_folder, of_file):
    before = os.umask(mask)
    try:
        with folder_beside(tmp_path / "run", force=False) as folder:
            (folder / "x").write_text("x")
        write_beside(tmp_path / "file", b"x", force=False)
        assert os.umask(mask) == mask  # looking at it must not change it
    finally:
        os.umask(before)
    assert (tmp_path / "run").stat().st_mode & 0o777 == of_folder
    assert (tmp_path / "file").stat().st_mode & 0o777 == of_file
