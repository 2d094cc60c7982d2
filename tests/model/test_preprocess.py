import base64
import hashlib
import importlib.util
import json

import numpy as np
import pytest
from places import GOLDEN

from kit.model.preprocess import (
    dequantize,
    filter_taps,
    fit_pixels,
    input_table,
    quantize,
    to_input,
)
from kit.model.preprocess import resize as kit_resize
from kit.model.spec import FITS, RESIZE_METHODS, PreprocessSpec, QuantizationParameters

CASES = json.loads((GOLDEN / "golden.json").read_text(encoding="utf-8"))["cases"]


def _reference():
    where = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make_golden.py")
    module = importlib.util.module_from_spec(where)
    where.loader.exec_module(module)
    return module


reference = _reference()


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def photo(height, width):
    """Smooth enough that two resizers may only differ by rounding, with edges here and there."""
    y, x, c = np.ogrid[:height, :width, :3]
    waves = 100 * np.sin(y / 9 + c) * np.cos(x / 13) + 27 * ((y // 16 + x // 20) % 2)
    return np.clip(waves + 120, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_golden_file(case):
    a, b, d, e = case["formula"]
    y, x, c = np.ogrid[: case["height"], : case["width"], :3]
    image = ((a * y + b * x + d * c + x * y // e) % 256).astype(np.uint8)
    spec = PreprocessSpec.from_json(case["preprocess"])
    assert fit_pixels(image, spec).tobytes() == base64.b64decode(case["pixels"])
    quantization = case["quantization"] and QuantizationParameters(**case["quantization"])
    tensor = to_input(image, spec, case["dtype"], quantization)
    assert tensor.dtype == case["dtype"]
    shape = (spec.height, spec.width, spec.channels)
    assert tensor.shape == (shape if spec.layout == "NHWC" else (shape[2], *shape[:2]))
    assert tensor.tobytes() == base64.b64decode(case["tensor"])
    assert hashlib.sha256(tensor.tobytes()).hexdigest() == case["sha256"]


def test_golden_file_is_what_its_script_writes():
    assert list(reference.cases()) == CASES


def _shapes():
    random = np.random.default_rng(7)
    fixed = [(1, 1, 1), (1, 1, 9), (1, 40, 5), (40, 1, 5), (2, 2, 33), (37, 3, 4), (64, 64, 1)]
    drawn = [tuple(int(n) for n in random.integers(1, 41, 3)) for _ in range(12)]
    return fixed + drawn


@pytest.mark.parametrize("height, width, side", _shapes())
def test_agrees_with_the_slow_reference(height, width, side):
    image = noise(height, width, height * width + side)
    for fit in FITS:
        for method in RESIZE_METHODS:
            wanted = reference.fit(image.tolist(), (side, side), fit, method)
            found = fit_pixels(image, PreprocessSpec(side, fit, method))
            assert found.dtype == np.uint8
            assert found.tolist() == wanted, (fit, method)


@pytest.mark.parametrize("method", RESIZE_METHODS)
@pytest.mark.parametrize("height, width", [(300, 200), (7, 500), (224, 224)])
def test_result_needs_no_contiguous_or_writable_input(method, height, width):
    big = noise(2 * height, 2 * width)
    view = big[::2, ::2]
    spec = PreprocessSpec(32, "stretch", method)
    wanted = fit_pixels(view.copy(), spec)
    before = big.copy()
    big.flags.writeable = False
    assert np.array_equal(fit_pixels(view, spec), wanted)
    assert np.array_equal(big, before)


@pytest.mark.parametrize("source, target", [(1, 1), (5, 3), (3, 5), (1000, 7), (4000, 3), (2, 99)])
@pytest.mark.parametrize("method", RESIZE_METHODS)
def test_taps_weigh_256_and_stay_within_the_image(source, target, method):
    positions, weights = filter_taps(source, target, method)
    assert (weights.sum(axis=1) == 256).all()
    assert positions.min() >= 0 and positions.max() < source


def test_a_flat_image_stays_flat():
    for level in (0, 1, 127, 254, 255):
        flat = np.full((211, 97, 3), level, np.uint8)
        for method in RESIZE_METHODS:
            assert (kit_resize(flat, 50, 60, method) == level).all()


def test_a_photograph_is_resized_as_by_pillow_with_antialiasing():
    from PIL import Image

    for height, width, side in ((300, 400, 224), (480, 360, 96), (20, 30, 64), (500, 90, 128)):
        image = photo(height, width)
        wanted = Image.fromarray(image).resize((side, side), Image.Resampling.BILINEAR)
        found = kit_resize(image, side, side, "antialias")
        assert np.abs(found.astype(int) - np.asarray(wanted).astype(int)).max() <= 2


@pytest.mark.tf
def test_bilinear_is_resized_as_by_tensorflow():
    import tensorflow as tf

    for height, width, side in ((300, 400, 224), (480, 360, 96), (20, 30, 64), (1, 77, 10)):
        image = noise(height, width)
        wanted = tf.image.resize(image, (side, side), "bilinear", antialias=False).numpy()
        found = kit_resize(image, side, side, "bilinear")
        assert np.abs(found - wanted).max() <= 2


def test_methods_differ_only_when_shrinking():
    large = noise(90, 90)
    small = {method: kit_resize(large, 20, 20, method) for method in RESIZE_METHODS}
    assert np.abs(small["bilinear"].astype(int) - small["antialias"]).max() > 20
    up = {method: kit_resize(large, 120, 133, method) for method in RESIZE_METHODS}
    assert np.array_equal(up["bilinear"], up["antialias"])


def test_crop_takes_the_middle_and_pad_puts_black_around():
    image = np.zeros((4, 10, 3), np.uint8)
    image[:, 3:7] = (10, 20, 30)  # columns 3 to 6 are the centre square
    assert (fit_pixels(image, PreprocessSpec(4, "crop")) == (10, 20, 30)).all()
    padded = fit_pixels(np.full((4, 8, 3), 200, np.uint8), PreprocessSpec(8, "pad"))
    assert (padded[2:6] == 200).all()
    assert (padded[:2] == 0).all() and (padded[6:] == 0).all()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(pixels):
    with pytest.raises(ValueError, match=r"uint8 \[height, width, 3\], got"):
        fit_pixels(pixels, PreprocessSpec(4))


@pytest.mark.parametrize(
    "dtype, value, wanted",
    [
        # scale 0.5, zero point 10: a tie is a value of an odd number of quarters.
        ("uint8", 0.25, 11),
        ("uint8", -0.25, 9),
        ("uint8", 0.75, 12),
        ("uint8", -0.75, 8),
        ("uint8", 0.2, 10),
        ("uint8", -5.0, 0),
        ("uint8", -5.2, 0),
        ("uint8", -5.25, 0),
        ("uint8", 122.5, 255),
        ("uint8", 122.7, 255),
        ("uint8", 1e9, 255),
        ("int8", -69.0, -128),
        ("int8", -69.25, -128),
        ("int8", 58.5, 127),
        ("int8", 58.75, 127),
        ("int8", 58.24, 126),
        ("int16", -1e9, -32768),
    ],
)
def test_quantise(dtype, value, wanted):
    found = quantize(np.array([value]), QuantizationParameters(0.5, 10), dtype)
    assert found.dtype == dtype
    assert found.tolist() == [wanted]


@pytest.mark.parametrize(
    "dtype, values, wanted",
    [
        ("uint8", [0, 9, 10, 255], [-5.0, -0.5, 0.0, 122.5]),
        ("int8", [-128, 10, 127], [-69.0, 0.0, 58.5]),
        ("int16", [-32768, 32767], [-16389.0, 16378.5]),
    ],
)
def test_dequantise_without_wrapping_around(dtype, values, wanted):
    found = dequantize(np.array(values, dtype), QuantizationParameters(0.5, 10))
    assert found.dtype == np.float32
    assert found.tolist() == wanted


def test_each_level_survives_a_scale_that_fits():
    # 2 / 255 and -1 to 1: what TensorFlow chooses for an input that covers black to white.
    one = (127.5,) * 3
    table = input_table(
        PreprocessSpec(4, mean=one, std=one), "uint8", QuantizationParameters(2 / 255, 128)
    )
    # -1 / (2 / 255) is -127.5, a tie, which goes to -128: level 0 stays 0.
    assert table[0].tolist() == [0, 0, 0]
    assert table[128:256, 0].tolist() == [*range(129, 256), 255]
    assert table[:128, 0].tolist() == list(range(128))


def test_input_table_of_each_dtype():
    plain = PreprocessSpec(4)
    assert input_table(plain, "uint8", None)[:, 1].tolist() == list(range(256))
    assert input_table(plain, "int8", None)[:, 1].tolist() == list(range(-128, 128))
    halves = input_table(
        PreprocessSpec(4, mean=(128.0,) * 3, std=(128.0,) * 3),
        "int8",
        QuantizationParameters(1 / 128, 0),
    )
    assert halves[:, 2].tolist() == list(range(-128, 128))


def test_float_input_of_every_level():
    levels = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    plain = to_input(levels, PreprocessSpec(16))
    assert plain.dtype == np.float32
    assert plain[..., 2].ravel().tolist() == [float(n) for n in range(256)]
    spec = PreprocessSpec(16, mean=(0.0, 127.5, 255.0), std=(255.0, 127.5, 1.0))
    found = to_input(levels, spec)
    assert found.dtype == np.float32
    assert found[[0, -1], [0, -1]].tolist() == [[0.0, -1.0, -255.0], [1.0, 1.0, 0.0]]
    assert levels[-1, -1].tolist() == [255] * 3  # the caller's pixels are not normalised in place


def test_channels_stay_in_their_order():
    image = np.full((6, 6, 3), (10, 20, 30), np.uint8)
    spec = PreprocessSpec(4, mean=(0.0, 10.0, 20.0), std=(10.0, 1.0, 5.0))
    assert to_input(image, spec)[1, 2].tolist() == [1.0, 10.0, 2.0]
