"""Which files are images, and what is never opened."""

import io
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kit.errors import ImageError, KitError
from kit.filenames import irregular, shown
from kit.runtime.images import read_image
from kit.runtime.paths import image_paths, images_below, is_left_behind, is_side_file


def photo(mode="RGB"):
    rows, columns = np.mgrid[:48, :64]
    levels = np.stack([rows * 5, columns * 3, rows + columns], axis=2).astype(np.uint8)
    return Image.fromarray(levels).convert(mode)


def encoded(kind, **options):
    file = io.BytesIO()
    photo().save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["HEIF", "AVIF", "WEBP"])
def test_photographs_of_telephones(tmp_path, kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="needs the extra heic").register_heif_opener()
    content = encoded(kind, quality=90)
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(content)
    for source in (path, content):
        pixels = read_image(source)
        assert pixels.shape == (48, 64, 3)
        assert np.abs(pixels.astype(int) - np.asarray(photo())).mean() < 5


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_telephones_that_were_turned(kind):
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="needs the extra heic").register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = read_image(encoded(kind, quality=90, exif=exif.tobytes()))
    upright = np.asarray(photo().transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert pixels.shape == upright.shape
    assert np.abs(pixels - upright).mean() < 5


def test_heic_is_read_in_a_process_that_has_not_heard_of_it(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="needs the extra heic")
    pillow_heif.register_heif_opener()
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(encoded("HEIF", quality=90))
    code = f"from kit.runtime.images import read_image; print(read_image({str(path)!r}).shape)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "(48, 64, 3)\n"


def test_heic_without_its_package_says_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "x.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"pip install 'mobilenet-kit\[heic\]', or save it as"):
        read_image(path)


def test_avif_that_this_pillow_does_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "open", no_format)
    with pytest.raises(ImageError, match="an AVIF, which this Pillow does not read: pip install"):
        read_image(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif" + bytes(200))


def no_format(*_):
    from PIL import UnidentifiedImageError

    raise UnidentifiedImageError("cannot identify image file")


def test_pipes_are_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="got a named pipe: it is never opened"):
        read_image(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="got a device: it is never opened"):
        read_image("/dev/zero")
    assert irregular(tmp_path / "missing") is None
    assert irregular(tmp_path) == "a folder"


@pytest.mark.parametrize("name", [".x.jpg", "._x.jpg", "Thumbs.db", "@eaDir", "__MACOSX"])
def test_left_behind(name):
    assert is_left_behind(name)


@pytest.mark.parametrize("name", ["x.jpg", "eaDir", "MACOSX", "thumbs.jpg", "train"])
def test_not_left_behind(name):
    assert not is_left_behind(name)
    assert not is_side_file(name)


@pytest.mark.parametrize("name", ["a.JSON", "a.jpg.txt", "film.MOV", "README", "data.tar.gz"])
def test_side_files(name):
    assert is_side_file(name)


def test_a_folder_gives_its_images(tmp_path):
    for name in ("b.jpg", "a.png", "notes.txt", ".hidden.jpg", "@eaDir/a.png/x.jpg", "in/c.webp"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = image_paths([str(tmp_path), "given.txt", "-"], io.StringIO("one.jpg\n\ntwo.txt\n"))
    names = [path.removeprefix(f"{tmp_path}/") for path in found]
    # What you name yourself is taken.
    assert names == ["a.png", "b.jpg", "in/c.webp", "given.txt", "one.jpg", "two.txt"]


def test_a_folder_below_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "a.png").touch()
    place, name = os.open(tmp_path, os.O_RDONLY), "n" * 200
    for _ in range(25):  # until its path is too long to be opened, for root too
        os.mkdir(name, dir_fd=place)
        below = os.open(name, os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = below
    os.close(place)
    with pytest.warns(UserWarning, match=r"left out .*: expected a folder that can be read: File"):
        assert list(image_paths([str(tmp_path)], io.StringIO())) == [str(tmp_path / "a.png")]


def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(KitError, match="expected a folder that can be read: No such file"):
        list(images_below(str(tmp_path / "gone")))


def test_names_in_a_line_of_text():
    assert shown("Gänse 薔薇\u3000.jpg") == "Gänse 薔薇\u3000.jpg"
    assert shown("a\nb\tc\x1b[1m\udce9") == "a\\nb\\tc\\x1b[1m\\udce9"


PIPED = (
    ("label", "{}.tflite", "red.png"),
    ("label", "{}.zip", "red.png"),
    ("info", "{}.tflite"),
    ("evaluate", "{}.tflite", "."),
    ("package", "{}.tflite", "--output", "out.tflite"),
    ("package", "{}.zip", "--output", "out.tflite"),
    *(("convert", f"{{}}{suffix}", "--output", "out.tflite") for suffix in (".h5", ".pb", ".zip")),
    ("convert", "{}.keras", "--output", "out.tflite", "--labels", "labels.txt"),
)


@pytest.mark.parametrize("arguments", PIPED, ids=" ".join)
def test_no_command_opens_a_pipe_as_a_model(tmp_path, arguments):
    """In a process of its own: one that opens it hangs, and is ended."""
    pytest.importorskip("typer", reason="needs the extra train")
    for part in arguments:
        if part.startswith("{}"):
            os.mkfifo(tmp_path / part.format("pipe"))
    (tmp_path / "labels.txt").write_text("a\nb\n")
    command = [sys.executable, "-c", "from kit.cli import main; main()"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}
    done = subprocess.run(
        [*command, *(part.format("pipe") for part in arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "got a named pipe: it is never opened" in done.stderr
    assert done.stderr.count("\n") == 1
