"""DICOM images to pixels, by pydicom: an extra, imported when the first DICOM file is met."""

from __future__ import annotations

import hashlib
import re
import struct
import warnings
import zlib
from importlib import import_module
from math import isfinite, nan
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from kit.errors import ImageError, ImageWarning, MissingDependencyError, one_line
from kit.model.preprocess import Pixels

if TYPE_CHECKING:
    import numpy.typing as npt


HEAD_BYTES = 132
_DEFLATED = "1.2.840.10008.1.2.1.99"
_JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
_JPEG_2000 = tuple(f"1.2.840.10008.1.2.4.{last}" for last in (90, 91, 92, 93, 201, 202, 203))
"""JPEG 2000, its multi-component form, and High-Throughput JPEG 2000."""
_J2K_SIZE = re.compile(rb"\xff\x4f\xff\x51.{4}(.{34})", re.DOTALL)
"""How a JPEG 2000 codestream begins: sides, offsets, the same of tiles, number of components."""
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Where enhanced multi-frame files keep what others have at the top.
_FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_OF_A_FRAME = ("PixelValueTransformationSequence", "FrameVOILUTSequence")
_OPTIONAL = (
    ("RescaleSlope", "RescaleIntercept"),
    ("ModalityLUTSequence",),
    ("WindowCenter", "WindowWidth"),
    ("VOILUTFunction",),
    ("VOILUTSequence",),
    ("PixelPaddingValue",),
    ("PixelPaddingRangeLimit",),
)
"""What a file may leave out; of a pair, one means nothing without the other."""


_LEAST_WIDTHS = {"LINEAR": 1.0, "LINEAR_EXACT": 5e-324, "SIGMOID": 5e-324}
"""Of a window, by the function (PS3.3 C.11.2.1); above 0 for those that are exact."""


def is_dicom(head: bytes) -> bool:
    """Whether the first HEAD_BYTES of a file are a DICOM file's."""
    return head[128:HEAD_BYTES] == b"DICM"


def read_dicom(file: BinaryIO) -> Pixels:
    """The first frame as a viewer shows it.

    Grey goes through the file's modality transformation (rescale or table), its VOI table, else
    its first window, else its own range; MONOCHROME1 is inverted. Colour becomes RGB of 8 bits.
    An ImageWarning says that a window is impossible (its own range is taken then, as viewers do),
    or that there are more frames.

    Args:
        file: open at its beginning.

    Returns:
        uint8 `[rows, columns, 3]`, RGB, 0 to 255.

    Raises:
        ImageError: the file is damaged, has no image or one of too many pixels, or its decoder is
            missing.
        MissingDependencyError: pydicom is missing.
    """
    pydicom, pixels = _pydicom()
    try:
        data = _dcmread(pydicom, file)
        if not any(name in data for name in _PIXELS):
            raise ImageError("expected a DICOM image, got a DICOM file without pixels")
        _check_decoder(data, pixels)
        _check_size(data)
        stored = pixels.pixel_array(data, index=0)
        _flatten(data)
        _without_empty(data)
        _without_impossible_window(data)
        if int(data.get("NumberOfFrames") or 1) > 1:
            _warn(f"of a DICOM file with {data.NumberOfFrames} frames the first is taken")
        if data.PhotometricInterpretation.startswith("MONOCHROME"):
            grey = _to_grey(stored, data, pixels)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return _to_colour(stored, data, pixels)
    except ImageError:
        raise
    except MemoryError as error:
        raise ImageError("expected an image that fits in memory: make it smaller") from error
    except Exception as error:  # of three packages of decoders, on damaged files
        reason = one_line(error)
        raise ImageError(f"expected a sound DICOM image, its decoding fails: {reason}") from error


def patient_group(file: BinaryIO) -> str | None:
    """A digest of the patient's id, else of the study's; None where the file has neither.

    Nothing of the patient leaves this function. Raises MissingDependencyError.
    """
    pydicom, _ = _pydicom()
    try:
        data = _dcmread(pydicom, file, "PatientID", "StudyInstanceUID")
        keys = [str(data.get(name) or "").strip() for name in ("PatientID", "StudyInstanceUID")]
    except Exception:  # damaged: reading its pixels will say so
        return None
    key = next((f"{kind}:{key}" for kind, key in zip("ps", keys, strict=True) if key), None)
    return None if key is None else hashlib.sha256(key.encode()).hexdigest()


DICOM_SUBGROUPS = ("sex", "age_band", "manufacturer", "model")
"""What `subgroups_of` tells."""
_AGES = ((18, "under 18"), (40, "18 to 39"), (65, "40 to 64"), (200, "65 and over"))


def subgroups_of(file: BinaryIO) -> dict[str, str]:
    """What figures may be compared by, by the names of DICOM_SUBGROUPS, as far as it is told.

    Nothing of it tells one person from the others of the same band. Raises MissingDependencyError.
    """
    pydicom, _ = _pydicom()
    tags = ["PatientSex", "PatientAge", "Manufacturer", "ManufacturerModelName"]
    try:
        data = _dcmread(pydicom, file, *tags)
        sex, age, manufacturer, model = (str(data.get(name) or "").strip() for name in tags)
    except Exception:  # damaged: reading its pixels will say so
        return {}
    told = {
        "sex": sex.upper(),
        "age_band": _age_band(age),
        "manufacturer": manufacturer,
        "model": model,
    }
    return {name: value for name, value in told.items() if value}


def _age_band(age: str) -> str:
    """Of a DICOM age string, such as 034Y, 006M, 012W or 003D; empty where it is none."""
    number, unit = age[:-1], age[-1:].upper()
    if not number.isdecimal() or unit not in "YMWD":
        return ""
    years = int(number) // {"Y": 1, "M": 12, "W": 52, "D": 365}[unit]
    return next((band for below, band in _AGES if years < below), "")


def dicom_facts(file: BinaryIO) -> tuple[str, int, int]:
    """Photometric interpretation, columns and rows.

    Raises ImageError where the file lacks them, MissingDependencyError where pydicom is missing.
    """
    pydicom, _ = _pydicom()
    tags = ["PhotometricInterpretation", "Rows", "Columns"]
    try:
        data = _dcmread(pydicom, file, *tags)
        return str(data.PhotometricInterpretation), int(data.Columns), int(data.Rows)
    except Exception as error:
        raise ImageError("expected a DICOM image, got a DICOM file without pixels") from error


def _pydicom() -> tuple[Any, Any]:
    """pydicom and pydicom.pixels; by name, since no device needs them."""
    try:
        return import_module("pydicom"), import_module("pydicom.pixels")
    except ImportError as error:
        raise MissingDependencyError(
            "expected pydicom 3 to read a DICOM file: pip install 'mobilenet-kit[dicom]'"
        ) from error


def _dcmread(pydicom: Any, file: BinaryIO, *tags: str) -> Any:
    """All of a file, or these elements; a deflated data set is inflated only if it is no bomb."""
    read = import_module("pydicom.filereader").read_dataset
    file.seek(HEAD_BYTES)
    meta = read(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if meta.get("TransferSyntaxUID") == _DEFLATED:
        read(file, True, True, stop_when=lambda tag, *_: tag.group != 0)  # as pydicom goes on
        most = 3 * _most_pixels()
        if len(zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), most + 1)) > most:
            raise ImageError(
                f"expected a deflated DICOM file of at most {most} bytes when it is inflated, got "
                "a larger one: export it without compression, or as PNG"
            )
    file.seek(0)
    chosen = {"stop_before_pixels": True, "specific_tags": list(tags)} if tags else {}
    return pydicom.dcmread(file, **chosen)


def _most_pixels() -> int:
    """Where Pillow begins to speak of a bomb; a caller may have set it to None."""
    from PIL import Image

    return Image.MAX_IMAGE_PIXELS or 1 << 40


def _check_size(data: Any) -> None:
    """Before decoding: some bytes may say that they become gigabytes. One frame is decoded."""
    sides = (int(data.get(name) or 0) for name in ("Columns", "Rows"))
    sizes = [(*sides, 1.0)]  # of samples pydicom allows 3
    if data.file_meta.TransferSyntaxUID in _JPEG_2000:
        frame = next(import_module("pydicom.encaps").generate_frames(data.PixelData), b"")
        if found := _J2K_SIZE.search(frame):
            # Its decoder believes the codestream, whatever the file says.
            right, lower, left, upper, *_, components = struct.unpack(">8IH", found[1])
            sizes.append((right - left, lower - upper, components / 3))
    for columns, rows, layers in sizes:
        if columns * rows * layers > _most_pixels():
            raise ImageError(
                f"expected a DICOM image of at most {_most_pixels()} pixels, got {columns} x "
                f"{rows}: make it smaller"
            )


def _check_decoder(data: Any, pixels: Any) -> None:
    syntax = data.file_meta.TransferSyntaxUID
    try:
        available = pixels.get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    # GDCM and Pillow decode this syntax at 8 bits only, and its decoder counts as available.
    if syntax == _JPEG_EXTENDED and data.BitsStored > 8:
        available = "pylibjpeg" in pixels.get_decoder(syntax).available_plugins
        remedy = "pip install pylibjpeg-libjpeg (its licence is the GPL)"
    else:
        remedy = "pip install 'mobilenet-kit[dicom]', or export it as PNG"
    if not available:
        raise ImageError(f"expected a decoder for {syntax.name}, none is installed: {remedy}")


def _flatten(data: Any) -> None:
    """Brings an enhanced file's rescale and window of the first frame to the top."""
    for name in _FUNCTIONAL_GROUPS:
        for group in (data.get(name) or [])[:1]:
            for inner in _OF_A_FRAME:
                for item in (group.get(inner) or [])[:1]:
                    data.update(item)


def _without_empty(data: Any) -> None:
    """Exporters and anonymisers leave elements empty; pydicom's functions take them for given."""
    for names in _OPTIONAL:
        if any(name not in data or data[name].is_empty for name in names):
            for name in names:
                data.pop(name, None)


def _without_impossible_window(data: Any) -> None:
    """Scanners and exporters write windows of width 0, for one."""
    if "WindowWidth" not in data:
        return
    function = str(data.get("VOILUTFunction", "LINEAR")).upper()
    try:
        centre, width = (_first(data[name].value) for name in ("WindowCenter", "WindowWidth"))
    except (TypeError, ValueError):
        centre = width = nan
    if function in _LEAST_WIDTHS and width >= _LEAST_WIDTHS[function] and isfinite(centre + width):
        return
    _warn(
        f"a DICOM file has an impossible window (width {width:g}, {function}): the range of its "
        "pixels is taken instead"
    )
    for name in ("WindowCenter", "WindowWidth", "VOILUTFunction"):
        data.pop(name, None)


def _first(value: Any) -> float:
    """Of a number or several."""
    return float(value if isinstance(value, str | int | float) else next(iter(value)))


def _warn(line: str) -> None:
    warnings.warn(line, ImageWarning, stacklevel=2)


def _to_grey(stored: npt.NDArray[Any], data: Any, pixels: Any) -> npt.NDArray[np.uint8]:
    if data.get("RescaleSlope") == 1 and data.get("RescaleIntercept") == 0:
        del data.RescaleSlope, data.RescaleIntercept  # they change nothing: as if there were none
    values = pixels.apply_modality_lut(stored, data)
    if data.get("VOILUTSequence"):
        table = data.VOILUTSequence[0]
        low, high = 0.0, 2.0 ** table.LUTDescriptor[2] - 1
        values = pixels.apply_voi(values.astype(np.int64), data)
    elif "WindowCenter" in data and "WindowWidth" in data:
        # The window's own ends tell the range that pydicom gives, whatever the rescale.
        low, high = pixels.apply_windowing(np.array([-np.inf, np.inf]), data)
        values = pixels.apply_windowing(values, data)
    elif stored.dtype == np.uint8 and values is stored:
        low, high = 0.0, 2.0**data.BitsStored - 1
    else:
        known = values[_known(stored, data)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    grey = _scale(values, low, high)
    return np.invert(grey) if data.PhotometricInterpretation == "MONOCHROME1" else grey


def _known(stored: npt.NDArray[Any], data: Any) -> npt.NDArray[np.bool_]:
    """Which pixels are no padding around the image, `[rows, columns]`, and finite."""
    known: npt.NDArray[np.bool_] = np.isfinite(stored)
    first = data.get("PixelPaddingValue")
    if first is None:
        return known
    last = data.get("PixelPaddingRangeLimit", first)
    known &= (stored < min(first, last)) | (stored > max(first, last))
    return known


def _to_colour(stored: npt.NDArray[Any], data: Any, pixels: Any) -> Pixels:
    if data.PhotometricInterpretation == "PALETTE COLOR":
        stored = pixels.apply_color_lut(stored, data)[..., :3]
        high = np.iinfo(stored.dtype).max
    else:
        high = 2**data.BitsStored - 1
    return _scale(stored, 0, high)


def _scale(values: npt.NDArray[Any], low: float, high: float) -> npt.NDArray[np.uint8]:
    """`low` to `high` as 0 to 255, halves up, clipped."""
    if low == high:
        return np.zeros(values.shape, np.uint8)
    scaled = (values.astype(np.float64) - low) * 255 / (high - low)
    levels: npt.NDArray[np.float64] = np.floor(np.nan_to_num(scaled) + 0.5)
    return np.clip(levels, 0, 255).astype(np.uint8)
