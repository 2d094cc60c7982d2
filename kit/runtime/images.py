"""Image files to pixels: any mode that Pillow reads becomes upright RGB, and so does DICOM."""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.errors import ImageError, MissingDependencyError, one_line
from kit.model.preprocess import Pixels
from kit.runtime.dicom import HEAD_BYTES, is_dicom, read_dicom
from kit.runtime.paths import check_regular

if TYPE_CHECKING:
    import numpy.typing as npt
    from PIL.Image import Image

ImageSource = "str | os.PathLike[str] | bytes | Image | npt.NDArray[np.uint8]"

# What undoes each value of the EXIF orientation tag (names of PIL.Image.Transpose).
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}
_ORIENTATION_TAG = 0x0112
# Brands of ISO base media files (ISO/IEC 23008-12, and AVIF by the Alliance for Open Media).
_HEIC_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_AVIF_BRANDS = {b"avif", b"avis"}


def read_image(source: Any, input_resolution: int | None = None) -> Pixels:
    """Reads an image as a model sees it.

    Transparency is laid over white, palettes are expanded, CMYK is converted, 16-bit grey is
    scaled from its own range, an animation gives its first frame, the orientation tag is applied.
    DICOM is read as kit.runtime.dicom says, if pydicom is installed, and HEIC if pillow-heif is.

    Args:
        source: a path, a file's bytes, a PIL image, or an array, uint8 `[height, width, 3]` (RGB)
            or `[height, width]` (grey).
        input_resolution: lets a JPEG be decoded at a smaller DCT scale, as long as both sides stay
            at least twice this, in pixels.

    Returns:
        uint8 `[height, width, 3]`, RGB, 0 to 255.

    Raises:
        ImageError: the file cannot be read as an image.
        ValueError: an array of another shape or dtype.
    """
    if isinstance(source, np.ndarray):
        return _from_array(source)
    from PIL import Image, UnidentifiedImageError

    head = b""
    try:
        if isinstance(source, Image.Image):
            return _to_rgb(source)
        if not isinstance(source, bytes):
            check_regular(source)
        with io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb") as file:
            # Before Pillow, which takes a DICOM file whose preamble is a TIFF's for that.
            head = file.read(HEAD_BYTES)
            file.seek(0)
            if is_dicom(head):
                return read_dicom(file)
            brands = _brands(head)
            if brands & _HEIC_BRANDS and not brands & _AVIF_BRANDS:
                _enable_heic()
            # By its path, if it has one: then Pillow loads the one decoder that its name asks for.
            with Image.open(file if isinstance(source, bytes) else source) as image:
                if input_resolution is not None:
                    image.draft(None, (2 * input_resolution, 2 * input_resolution))
                return _to_rgb(image)
    except ImageError:
        raise
    except MissingDependencyError as error:
        raise ImageError(str(error)) from error  # of this image alone: a batch goes on
    except UnidentifiedImageError as error:
        kind = "a file that is none, or of a kind that Pillow does not read"
        if _brands(head) & _AVIF_BRANDS:
            kind = "an AVIF, which this Pillow does not read: pip install --upgrade pillow"
        raise ImageError(f"expected an image, got {kind if head else 'an empty file'}") from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            "expected an image of a sensible size, got more pixels than can be decoded safely: "
            f"make it smaller ({error})"
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"expected a readable image: {reason}") from error
    except MemoryError as error:
        raise ImageError("expected an image that fits in memory: make it smaller") from error
    except Exception as error:  # each of Pillow's decoders has its own for damaged files
        reason = one_line(error)
        raise ImageError(f"expected a sound image, its decoding fails: {reason}") from error


def _brands(head: bytes) -> set[bytes]:
    """Of an ISO base media file, what it says to be compatible with; of any other, nothing."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[start : start + 4] for start in range(16, end, 4))}


def _enable_heic() -> None:
    """Tells Pillow of HEIC; raises MissingDependencyError without pillow-heif."""
    try:
        pillow_heif = import_module("pillow_heif")  # by name, since few devices need it
    except ImportError as error:
        raise MissingDependencyError(
            "expected pillow-heif to read a HEIC photograph: pip install 'mobilenet-kit[heic]', "
            "or save it as JPEG"
        ) from error
    pillow_heif.register_heif_opener()


def _from_array(array: npt.NDArray[Any]) -> Pixels:
    if array.dtype == np.uint8 and array.size:
        if array.ndim == 3 and array.shape[2] == 3:
            return array
        if array.ndim == 2:
            return np.repeat(array[:, :, None], 3, axis=2)
    raise ValueError(
        "expected pixels, uint8 [height, width, 3] in RGB or [height, width] in grey, "
        f"got {array.dtype} {list(array.shape)}"
    )


def _to_rgb(image: Image) -> Pixels:
    image.load()  # first: of a TIFF it applies the tag, which older versions of Pillow leave there
    orientation = None if image.format == "TIFF" else _orientation(image)
    if image.mode.startswith(("I", "F")):
        image = _stretch_range(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        from PIL.Image import alpha_composite, new

        layer = image.convert("RGBA")
        white = new("RGBA", layer.size, "white")
        image = alpha_composite(white, layer)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if orientation in _UPRIGHT:
        from PIL.Image import Transpose

        image = image.transpose(Transpose[_UPRIGHT[orientation]])
    return np.asarray(image)


def _orientation(image: Image) -> int | None:
    if image.format == "JPEG" and not {"exif", "xmp"} & image.info.keys():
        return None  # as getexif would say, which loads the decoder of TIFF first
    try:
        value: int | None = image.getexif().get(_ORIENTATION_TAG)
    except Exception:  # a damaged tag directory must not cost a sound image
        return None
    return value


def _stretch_range(image: Image) -> Image:
    """16 and 32 bit grey to 8 bit, lowest value black, highest white: Pillow would clip at 255."""
    from PIL.Image import fromarray

    values = np.asarray(image).astype(np.float64)
    known = values[np.isfinite(values)]  # float files mark missing pixels with NaN
    if not known.size:
        raise ValueError("it has no finite pixel")
    low, high = float(known.min()), float(known.max())
    values = np.nan_to_num(values, nan=low, posinf=high, neginf=low)
    span = high - low or 1.0
    levels = np.floor((values - low) * (255 / span) + 0.5)
    return fromarray(levels.astype(np.uint8))
