import base64
import io
import json
import os
import struct
import sys
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps, features
from places import GOLDEN

from kit.errors import ImageError
from kit.runtime.images import read_image

BROKEN = {"truncated_image.png", "broken.png", "decompression_bomb.gif"}
JPEG_SCALES = json.loads((GOLDEN / "jpeg_scales.json").read_text(encoding="utf-8"))
GREY_16_BIT = ("12in16bit.tif", "16bit.r.tif", "i_trns.png")


def shared_names(folder):
    root = Path(os.environ.get("KIT_TEST_DATA", ""), "images", folder)
    if "KIT_TEST_DATA" not in os.environ:
        return [pytest.param("", marks=pytest.mark.skip(reason="KIT_TEST_DATA is not set"))]
    return sorted(path.name for path in root.iterdir() if not path.name.startswith("LICENSE"))


def encoded(image, format, **options):
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def corners(height=40, width=60):
    """Red, green and blue in three corners, black in the fourth: no two orientations agree."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2, 0] = 255
    pixels[: height // 2, width // 2 :, 1] = 255
    pixels[height // 2 :, : width // 2, 2] = 255
    return pixels


def difference(left, right):
    return np.abs(left.astype(int) - right.astype(int)).mean()


@pytest.mark.parametrize("name", shared_names("pillow"))
def test_images_of_pillow(shared, name):
    path = shared / "images" / "pillow" / name
    if name in BROKEN:
        with pytest.raises(ImageError, match=r"^expected") as raised:
            read_image(path, 96)
        assert "\n" not in str(raised.value)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about damaged tags
        for resolution in (None, 96):
            pixels = read_image(path, resolution)
            assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == 3
        assert np.array_equal(read_image(path.read_bytes()), read_image(str(path)))


@pytest.mark.parametrize("name", shared_names("exif"))
def test_orientation_as_pillow_applies_it(shared, name):
    with Image.open(shared / "images" / "exif" / name) as image:
        wanted = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert np.array_equal(read_image(shared / "images" / "exif" / name), wanted)


def test_every_shared_image_is_there(shared):
    names = {path.name for path in (shared / "images" / "pillow").iterdir()}
    assert names > BROKEN and names.issuperset(GREY_16_BIT)


@pytest.mark.parametrize("name", shared_names("exif"))
def test_orientations_of_one_scene(shared, name):
    folder = shared / "images" / "exif"
    upright = read_image(folder / "Landscape_1.jpg")
    found = read_image(folder / name)
    assert found.shape == upright.shape
    assert difference(found, upright) < 6
    # What makes the threshold mean something: the same scene turned is far from it.
    assert difference(upright[::-1, ::-1], upright) > 30


@pytest.mark.parametrize("name", GREY_16_BIT)
def test_16_bit_grey_keeps_its_contrast(shared, name):
    pixels = read_image(shared / "images" / "pillow" / name)
    assert (pixels.min(), pixels.max()) == (0, 255)
    assert np.array_equal(pixels[..., 0], pixels[..., 2])
    assert len(np.unique(pixels)) > 20
    with Image.open(shared / "images" / "pillow" / name) as image:
        values = np.asarray(image).astype(float)
    assert np.corrcoef(values.ravel(), pixels[..., 0].ravel())[0, 1] > 0.999


@pytest.mark.parametrize("name", ["transparent.png", "apng__mode_palette_alpha.png"])
def test_shared_transparency_is_laid_over_white(shared, name):
    with Image.open(shared / "images" / "pillow" / name) as image:
        layer = np.asarray(image.convert("RGBA")).astype(float)
    alpha = layer[..., 3:] / 255
    wanted = layer[..., :3] * alpha + 255 * (1 - alpha)
    found = read_image(shared / "images" / "pillow" / name)
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("name", shared_names("dicom"))
def test_dicom_without_its_extra_says_what_to_install(shared, name, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"pip install 'mobilenet-kit\[dicom\]'"):
        read_image(shared / "images" / "dicom" / name)


def test_dicom_is_known_by_its_mark(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(ImageError, match=r"to read a DICOM file: pip install"):
        read_image(bytes(128) + b"DICM" + bytes(100))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_tag(format, orientation):
    upright = corners()
    # How a camera that is held so stores the scene (EXIF 2.32, tag 0x0112).
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]
    tags = Image.Exif()
    tags[0x0112] = orientation
    options = {"quality": 95, "subsampling": 0} if format == "JPEG" else {}
    options = {"lossless": True} if format == "WEBP" else options
    image = Image.fromarray(np.ascontiguousarray(stored))
    found = read_image(encoded(image, format, exif=tags, **options))
    assert found.shape == upright.shape
    assert difference(found, upright) < 4


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_passed_over(value):
    tags = Image.Exif()
    tags[0x0112] = value
    found = read_image(encoded(Image.fromarray(corners()), "PNG", exif=tags))
    assert np.array_equal(found, corners())


@pytest.mark.parametrize(
    "mode, value, wanted",
    [
        ("1", 1, (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("LA", (100, 0), (255, 255, 255)),
        ("LA", (100, 255), (100, 100, 100)),
        ("RGBA", (200, 100, 0, 255), (200, 100, 0)),
        ("RGBA", (0, 0, 0, 0), (255, 255, 255)),
        ("RGBA", (0, 0, 0, 51), (204, 204, 204)),
        ("CMYK", (0, 255, 255, 0), (255, 0, 0)),
        ("RGB", (1, 2, 3), (1, 2, 3)),
    ],
)
def test_modes(mode, value, wanted):
    image = Image.new(mode, (5, 4), value)
    for source in (image, encoded(image, "TIFF" if mode == "CMYK" else "PNG")):
        pixels = read_image(source)
        assert pixels.shape == (4, 5, 3)
        assert np.abs(pixels.astype(int) - wanted).max() <= 1


def test_palette_with_a_transparent_colour():
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    assert read_image(encoded(image, "PNG")).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    transparent = encoded(image, "PNG", transparency=0)
    assert read_image(transparent).tolist() == [[[255, 255, 255], [200, 100, 50]]]


def test_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    for kind in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert difference(read_image(data), np.asarray(frames[0])) < 1


def test_16_bit_range_is_stretched():
    values = np.array([[1000, 1500], [2000, 3000]], np.uint16)
    # (1500 - 1000) * 255 / 2000 = 63.75, and 1000 * 255 / 2000 = 127.5, halves up
    wanted = [[0, 64], [128, 255]]
    for data in (encoded(Image.fromarray(values), "PNG"), encoded(Image.fromarray(values), "TIFF")):
        assert read_image(data)[..., 1].tolist() == wanted
    signed = Image.fromarray(np.array([[-1000, -500], [0, 1000]], np.int32))
    assert read_image(encoded(signed, "TIFF"))[..., 0].tolist() == wanted
    flat = Image.fromarray(np.full((2, 2), 40_000, np.uint16))
    assert read_image(encoded(flat, "PNG")).max() == 0


def test_missing_pixels_of_float_images_spoil_no_other():
    values = np.array([[0.0, 0.5], [1.0, np.nan], [np.inf, -np.inf]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = read_image(encoded(Image.fromarray(values), "TIFF"))
    assert pixels[..., 0].tolist() == [[0, 128], [255, 0], [255, 0]]
    nothing = Image.fromarray(np.full((2, 2), np.nan, np.float32))
    with pytest.raises(ImageError, match="no finite pixel"):
        read_image(encoded(nothing, "TIFF"))


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "got an empty file"),
        (b"roses are red\n", "got a file that is none"),
        (b"\xff\xd8\xff\xe0", "expected"),
        (b"\x89PNG\r\n\x1a\n", "expected"),
        (b"GIF89a", "expected"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "got a file that is none"),
    ],
    ids=["empty", "text", "jpeg", "png", "gif", "svg"],
)
def test_what_is_no_image(tmp_path, content, message):
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    for source in (path, str(path), content):
        with pytest.raises(ImageError, match=message) as raised:
            read_image(source)
        assert "\n" not in str(raised.value)


def test_no_file_and_a_folder(tmp_path):
    with pytest.raises(ImageError, match="readable image: No such file"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(ImageError, match="expected an image file, got a folder"):
        read_image(tmp_path)
    with pytest.raises(ImageError, match="expected"):
        read_image("null\0byte.png")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(Image.new("RGB", (2, 2)), "PNG"))
    path.chmod(0)
    with pytest.raises(ImageError, match="readable image: Permission denied"):
        read_image(path)


def test_one_pixel():
    assert read_image(encoded(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"), 224).tolist() == [
        [[9, 8, 7]]
    ]


def chunk(kind, content):
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def test_more_pixels_than_are_safe():
    # 400 million pixels of one bit each compress to some kilobytes.
    side = 20_000
    deflate = zlib.compressobj(1)
    row = bytes(1 + side // 8) * 1000
    packed = b"".join(deflate.compress(row) for _ in range(side // 1000)) + deflate.flush()
    data = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
        + chunk(b"IDAT", packed)
        + chunk(b"IEND", b"")
    )
    with pytest.raises(ImageError, match="sensible size, got more pixels"):
        read_image(data)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "TGA"])
def test_damaged_files_only_raise_image_errors(format):
    image = Image.fromarray(np.random.default_rng(5).integers(0, 256, (24, 24, 3), np.uint8))
    data = encoded(image, format)
    random = np.random.default_rng(11)
    failed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for attempt in range(40):
            if attempt % 2:
                damaged = bytearray(data)
                for position in random.integers(0, min(len(data), 200), 6):
                    damaged[position] = random.integers(0, 256)
            else:
                damaged = data[: random.integers(0, len(data))]
            try:
                pixels = read_image(bytes(damaged))
            except ImageError:
                failed += 1
            else:
                assert pixels.dtype == np.uint8 and pixels.ndim == 3
    assert failed > 0


class Undecodable(Image.Image):
    """Raises where Pillow decodes."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def load(self):
        raise self.error


@pytest.mark.parametrize(
    "kind",
    [
        *(RuntimeError, NotImplementedError, AssertionError, AttributeError, KeyError),
        *(ZeroDivisionError, ValueError, SyntaxError, EOFError, struct.error, zlib.error),
    ],
)
def test_whatever_a_decoder_raises_is_an_image_error(kind):
    with pytest.raises(ImageError, match=r"decoding fails: .*two lines") as raised:
        read_image(Undecodable(kind("said in\ntwo lines")))
    assert "\n" not in str(raised.value)


def test_what_no_damaged_file_raises():
    with pytest.raises(ImageError, match="fits in memory"):
        read_image(Undecodable(MemoryError()))
    with pytest.raises(KeyboardInterrupt):
        read_image(Undecodable(KeyboardInterrupt()))


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_damaged_avif():
    pixels = np.random.default_rng(5).integers(0, 256, (24, 24, 3), np.uint8)
    data = encoded(Image.fromarray(pixels), "AVIF")
    reasons = []
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 0x80
        try:
            read_image(bytes(damaged))
        except ImageError as error:
            reasons.append(str(error))
    assert any("decoding fails" in reason for reason in reasons)


def test_a_dds_of_no_pixel_format():
    data = bytearray(encoded(Image.fromarray(corners()), "DDS"))
    data[80:84] = bytes(4)  # the flags of its pixel format
    with pytest.raises(ImageError, match="sound image, its decoding fails"):
        read_image(bytes(data))


def test_a_pil_image_is_read_as_its_file():
    tags = Image.Exif()
    tags[0x0112] = 6
    data = encoded(Image.fromarray(corners()), "TIFF", exif=tags)
    with Image.open(io.BytesIO(data)) as image:
        assert np.array_equal(read_image(image), read_image(data))
    cut = encoded(Image.fromarray(corners()), "PNG")[:90]
    with Image.open(io.BytesIO(cut)) as image, pytest.raises(ImageError, match="expected"):
        read_image(image)


def test_arrays():
    pixels = corners()
    assert np.array_equal(read_image(pixels), pixels)
    grey = read_image(pixels[..., 0])
    assert grey.shape == pixels.shape
    assert np.array_equal(grey[..., 2], pixels[..., 0])


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.int64),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 5), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(12, np.uint8),
        np.zeros((4, 4), bool),
    ],
    ids=lambda array: f"{array.dtype}{list(array.shape)}",
)
def test_other_arrays_are_refused(array):
    with pytest.raises(ValueError, match=r"expected pixels, uint8 .* got"):
        read_image(array)


@pytest.mark.parametrize(
    "height, width, resolution, scale",
    [*(tuple(case.values()) for case in JPEG_SCALES["cases"]), (1200, 1600, None, 1)],
)
def test_large_jpegs_are_decoded_at_a_smaller_scale(height, width, resolution, scale):
    """1/8 where both sides stay at least twice the input, else the next larger scale."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    data = encoded(image, "JPEG", quality=95)
    pixels = read_image(data, resolution)
    wanted = -(-width // scale), -(-height // scale)
    assert pixels.shape == (wanted[1], wanted[0], 3)
    box = image.resize(wanted, Image.Resampling.BOX)
    assert difference(pixels, np.asarray(box)) < 2


def test_a_jpeg_with_odd_sides_is_halved_as_the_golden_file_says():
    image = JPEG_SCALES["image"]
    pixels = read_image(base64.b64decode(image["jpeg"]), image["longer_side"])
    expected = np.frombuffer(base64.b64decode(image["pixels"]), np.uint8).reshape(11, 16, 3)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= 1  # libjpegs may round in other ways
