"""The one implementation of PreprocessSpec: decoded pixels in, the model's input tensor out.

Everything up to the last step is integer arithmetic, written down in
docs/explanation/preprocessing.md, so that other languages reproduce it byte for byte. The resize
filter is the triangle of width one source pixel (`bilinear`, half-pixel centres) or of the scale
factor (`antialias`); both are exact ratios of integers, rounded to weights that sum to 256.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from kit.model.spec import PreprocessSpec, QuantizationParameters

if TYPE_CHECKING:
    import numpy.typing as npt


_LUMA = (19595, 38470, 7471)
"""Red, green and blue in 65,536 parts of grey, by ITU-R BT.601; Pillow has the same."""
_WEIGHT_SUM = (
    256  # the largest for which 255 * sum + half of it still fits an unsigned 16-bit number
)

Pixels: TypeAlias = "npt.NDArray[np.uint8]"


@lru_cache(maxsize=1024)
def filter_taps(
    source: int, target: int, method: str
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.uint16]]:
    """Which source positions each target position reads, and with what weight.

    Args:
        source: length of the axis before resizing, in pixels.
        target: length after resizing, in pixels.
        method: `bilinear` or `antialias`.

    Returns:
        Positions, intp `[target, taps]`, 0 to `source - 1`, and weights, uint16 of the same shape,
        each row summing to 256.
    """
    # In units of 1 / (2 * target) source pixels every quantity is an integer.
    half_width = 2 * (max(source, target) if method == "antialias" else target)
    centre = (2 * np.arange(target, dtype=np.int64) + 1) * source
    first = np.clip((centre - half_width - target) // (2 * target) + 1, 0, source - 1)
    last = np.clip((centre + half_width - target) // (2 * target), 0, source - 1)
    positions = first[:, None] + np.arange(int((last - first).max()) + 1)
    distance = np.abs((2 * positions + 1) * target - centre[:, None])
    triangle = np.maximum(half_width - distance, 0)
    triangle[positions >= source] = 0
    total = triangle.sum(axis=1, keepdims=True)
    # Rounding the running sum instead of each weight keeps every row's sum exact.
    running = (2 * _WEIGHT_SUM * np.cumsum(triangle, axis=1) + total) // (2 * total)
    weights = np.diff(running, axis=1, prepend=0).astype(np.uint16)
    return np.minimum(positions, source - 1).astype(np.intp), weights


def _blend(parts: list[npt.NDArray[Any]], weights: list[npt.NDArray[np.uint16]]) -> Pixels:
    """Weighted sum of uint8 arrays, rounded half up. No intermediate exceeds 255 * 256 + 128."""
    total = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total += part * weight
    total += _WEIGHT_SUM // 2
    total >>= 8
    return total.astype(np.uint8)


def resize(pixels: Pixels, height: int, width: int, method: str) -> Pixels:
    """Resizes an image, rows first, rounding to whole levels after each of the two passes.

    Args:
        pixels: uint8 `[rows, columns, 3]`, 0 to 255.
        height: rows of the result.
        width: columns of the result.
        method: `bilinear` or `antialias`.

    Returns:
        uint8 `[height, width, 3]`.
    """
    rows, columns = pixels.shape[:2]
    image = pixels.reshape(rows, columns * 3)
    if rows != height:
        positions, weights = filter_taps(rows, height, method)
        image = _blend(
            [image[p] for p in positions.T], [np.ascontiguousarray(w)[:, None] for w in weights.T]
        )
    if columns != width:
        positions, weights = filter_taps(columns, width, method)
        channels = np.arange(3)
        image = _blend(
            [image.take((3 * p[:, None] + channels).ravel(), axis=1) for p in positions.T],
            [np.repeat(w, 3)[None, :] for w in weights.T],
        )
    return image.reshape(height, width, 3)


def to_grey(pixels: Pixels) -> Pixels:
    """Three equal channels of luma, rounded half up.

    Args:
        pixels: uint8 `[height, width, 3]`, RGB, 0 to 255.

    Returns:
        uint8 `[height, width, 3]`.
    """
    luma = pixels.astype(np.uint32) @ np.array(_LUMA, np.uint32)
    luma += 1 << 15
    luma >>= 16
    return np.repeat(luma.astype(np.uint8)[:, :, None], 3, axis=2)


def crop_size(height: int, width: int, spec: PreprocessSpec) -> tuple[int, int]:
    """Height and width of the largest part of an image that has the input's aspect, in pixels."""
    if width * spec.height >= height * spec.width:
        return height, max(1, (2 * height * spec.width + spec.height) // (2 * spec.height))
    return max(1, (2 * width * spec.height + spec.width) // (2 * spec.width)), width


def _inner_size(height: int, width: int, spec: PreprocessSpec) -> tuple[int, int]:
    """Height and width of an image that is resized to touch the input's border."""
    if width * spec.height >= height * spec.width:
        return max(1, (2 * height * spec.width + width) // (2 * width)), spec.width
    return spec.height, max(1, (2 * width * spec.height + height) // (2 * height))


def fit_pixels(pixels: Pixels, spec: PreprocessSpec) -> Pixels:
    """Brings an image of any size to the input's, as `spec.fit` and `spec.resize` say.

    Args:
        pixels: uint8 `[height, width, 3]`, RGB, 0 to 255.
        spec: what the model was trained with.

    Returns:
        uint8 `[spec.height, spec.width, 3]`, RGB, 0 to 255; three equal channels for a grey input.

    Raises:
        ValueError: `pixels` has another shape or dtype.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(
            "expected RGB pixels, uint8 [height, width, 3], "
            f"got {pixels.dtype} {list(pixels.shape)}: convert the image first"
        )
    height, width = pixels.shape[:2]
    if spec.channels == 1:
        pixels = to_grey(pixels)
    if spec.fit == "crop":
        rows, columns = crop_size(height, width, spec)
        top, left = (height - rows) // 2, (width - columns) // 2
        pixels = np.ascontiguousarray(pixels[top : top + rows, left : left + columns])
    elif spec.fit == "pad":
        inner_height, inner_width = _inner_size(height, width, spec)
        top, left = (spec.height - inner_height) // 2, (spec.width - inner_width) // 2
        padded = np.zeros((spec.height, spec.width, 3), np.uint8)
        padded[top : top + inner_height, left : left + inner_width] = resize(
            pixels, inner_height, inner_width, spec.resize
        )
        return padded
    return resize(np.ascontiguousarray(pixels), spec.height, spec.width, spec.resize)


@lru_cache(maxsize=32)
def input_table(
    spec: PreprocessSpec, dtype: str, quantization: QuantizationParameters | None
) -> npt.NDArray[Any]:
    """What each of the 256 pixel levels becomes in the input tensor, for each channel.

    Normalising and quantising are both functions of one pixel value, so they fold into a table:
    the arithmetic happens once, in float64, and is the same for every image.

    Args:
        spec: gives mean and std; a model whose own scale does it has neither.
        dtype: `uint8` or `int8`, of the input tensor.
        quantization: the input tensor's scale and zero point; None for one that takes pixels.

    Returns:
        `[256, 3]` of `dtype`.
    """
    levels = np.repeat(np.arange(256, dtype=np.float64)[:, None], 3, axis=1)
    if spec.mean is None or spec.std is None:
        # The model takes pixels as they are; int8 ones are shifted to its range.
        return np.asarray(levels - 128 if dtype == "int8" else levels, dtype)
    normalised = (levels - np.array(spec.mean)) / np.array(spec.std)
    return quantize(normalised, quantization or QuantizationParameters(1.0, 0), dtype)


def quantize(
    values: npt.NDArray[Any], quantization: QuantizationParameters, dtype: str
) -> npt.NDArray[Any]:
    """Real values to integers: `round(value / scale) + zero_point`, halves away from zero, clamped.

    As TensorFlow Lite's QUANTIZE operator does (8-bit quantisation specification, ai.google.dev).

    Args:
        values: any shape, float.
        quantization: scale and zero point.
        dtype: `uint8`, `int8` or `int16`.
    """
    scaled = np.asarray(values, np.float64) / quantization.scale
    rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled) + quantization.zero_point
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(rounded, limits.min, limits.max), dtype)


def dequantize(
    values: npt.NDArray[Any], quantization: QuantizationParameters
) -> npt.NDArray[np.float32]:
    """Integers to real values: `(value - zero_point) * scale`, float32 of the same shape."""
    # Widened first: uint8 minus a zero point would wrap around.
    widened = values.astype(np.int32) - quantization.zero_point
    return (widened * np.float64(quantization.scale)).astype(np.float32)


def to_input(
    pixels: Pixels,
    spec: PreprocessSpec,
    dtype: str = "float32",
    quantization: QuantizationParameters | None = None,
) -> npt.NDArray[Any]:
    """Pixels of any size to one input tensor without its batch axis.

    Args:
        pixels: uint8 `[height, width, 3]`, RGB, 0 to 255.
        spec: what the model was trained with.
        dtype: dtype of the input tensor.
        quantization: quantisation of the input tensor; None for float32.

    Returns:
        `[height, width, channels]` of `dtype`, or as `spec.layout` says, channels first.

    Raises:
        ValueError: `pixels` has another shape or dtype.
    """
    return fitted_to_input(fit_pixels(pixels, spec), spec, dtype, quantization)


def fitted_to_input(
    fitted: Pixels,
    spec: PreprocessSpec,
    dtype: str = "float32",
    quantization: QuantizationParameters | None = None,
) -> npt.NDArray[Any]:
    """The second half of `to_input`, for what `fit_pixels` gave."""
    values = _values(fitted[..., : spec.channels], spec, dtype, quantization)
    return values if spec.layout == "NHWC" else np.ascontiguousarray(values.transpose(2, 0, 1))


def _values(
    fitted: Pixels,
    spec: PreprocessSpec,
    dtype: str,
    quantization: QuantizationParameters | None,
) -> npt.NDArray[Any]:
    """Normalised and quantised, of the same shape."""
    if dtype == "float32" and quantization is None:
        return _normalise(fitted, spec)
    table = input_table(spec, dtype, quantization)
    if not spec.is_uniform():
        return np.asarray(table[fitted, np.arange(3)])
    if dtype == "uint8" and np.array_equal(table[:, 0], np.arange(256)):
        return fitted  # as in the files that the kit makes: the input's scale is the normalisation
    return np.asarray(np.take(table[:, 0], fitted))


def _normalise(pixels: Pixels, spec: PreprocessSpec) -> npt.NDArray[np.float32]:
    """`(pixel - mean) / std`, each step in float32."""
    values = pixels.astype(np.float32)
    if spec.mean is None or spec.std is None:
        return values
    if spec.is_uniform():  # numpy is far faster with a scalar than along an axis of three
        values -= np.float32(spec.mean[0])
        values /= np.float32(spec.std[0])
        return values
    values -= np.array(spec.mean, np.float32)
    values /= np.array(spec.std, np.float32)
    return values
