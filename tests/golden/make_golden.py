"""Preprocessing and answers a second time, slowly: fractions and loops, nothing of the kit's.

`python tests/golden/make_golden.py` writes golden.json (image to input tensor) and answers.json
(output tensor to labels). Kotlin and JavaScript test against the same files, see `about` in them.
"""

import base64
import hashlib
import json
import struct
from fractions import Fraction
from math import floor
from pathlib import Path

ABOUT = {
    "input": "RGB uint8 [height, width, 3]; level(y, x, c) = "
    "(a * y + b * x + d * c + (x * y) div e) mod 256, with formula = [a, b, d, e]",
    "pixels": "base64 of uint8 [input_resolution, input_resolution, 3] after fit and resize",
    "tensor": "base64 of the input tensor without batch axis, same shape, little endian",
    "sha256": "of the bytes of the tensor",
}

ABOUT_ANSWERS = {
    "output": "base64 of the scores' tensor without batch axis, little endian",
    "unfamiliarity": "base64 of one float32, little endian; null of a plain file",
    "scores": "base64 of float32 [labels], little endian, dequantised",
    "categories": "best first, those of at least score_threshold, top_k at most",
}


def draw(height, width, formula):
    a, b, d, e = formula
    return [
        [[(a * y + b * x + d * c + x * y // e) % 256 for c in range(3)] for x in range(width)]
        for y in range(height)
    ]


def weights(source, target, method):
    """For each target position the whole numbers out of 256 for all source positions."""
    scale = Fraction(source, target)
    radius = max(scale, Fraction(1)) if method == "antialias" else Fraction(1)
    rows = []
    for i in range(target):
        centre = (i + Fraction(1, 2)) * scale
        row = [max(radius - abs(j + Fraction(1, 2) - centre), 0) for j in range(source)]
        total, running, last, whole = sum(row), 0, 0, []
        for weight in row:
            running += weight
            now = floor(256 * running / total + Fraction(1, 2))
            whole.append(now - last)
            last = now
        rows.append(whole)
    return rows


def resize_line(line, rows):
    """`line`: a list of pixels; one weighted mean for each row of weights, rounded half up."""
    return [
        [
            (sum(w * pixel[c] for w, pixel in zip(row, line, strict=True) if w) + 128) >> 8
            for c in range(3)
        ]
        for row in rows
    ]


def resize(image, height, width, method):
    columns = [list(column) for column in zip(*image, strict=True)]
    down = weights(len(image), height, method)
    shorter = [resize_line(column, down) for column in columns]
    across = weights(len(columns), width, method)
    return [resize_line(list(row), across) for row in zip(*shorter, strict=True)]


def fit(image, side, how, method):
    height, width = len(image), len(image[0])
    if how == "crop":
        short = min(height, width)
        top, left = (height - short) // 2, (width - short) // 2
        image = [row[left : left + short] for row in image[top : top + short]]
    if how == "pad":
        long = max(height, width)
        inner = [
            max(1, floor(Fraction(length * side, long) + Fraction(1, 2)))
            for length in (height, width)
        ]
        small = resize(image, *inner, method)
        top, left = (side - inner[0]) // 2, (side - inner[1]) // 2
        black = [[[0, 0, 0] for _ in range(side)] for _ in range(side)]
        for y, row in enumerate(small):
            black[top + y][left : left + inner[1]] = row
        return black
    return resize(image, side, side, method)


def single(value):
    """Rounded to float32."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def tensor(pixels, mean, std, dtype, quantization):
    """Little-endian bytes."""
    ranges = {"uint8": (0, 255), "int8": (-128, 127)}
    out = bytearray()
    for row in pixels:
        for pixel in row:
            for c, level in enumerate(pixel):
                if dtype == "float32":
                    value = float(level)
                    if mean is not None:
                        value = single(single(level - single(mean[c])) / single(std[c]))
                    out += struct.pack("<f", value)
                    continue
                if mean is None:
                    whole = level - 128 if dtype == "int8" else level
                else:
                    scaled = (level - mean[c]) / std[c] / quantization["scale"]
                    whole = floor(abs(scaled) + 0.5) * (1 if scaled >= 0 else -1)
                    whole += quantization["zero_point"]
                low, high = ranges[dtype]
                out += struct.pack("<b" if dtype == "int8" else "<B", min(max(whole, low), high))
    return bytes(out)


def flat(image):
    return bytes(level for row in image for pixel in row for level in pixel)


def case(name, size, side, how, method, formula, mean=None, std=None, dtype="uint8", quant=None):
    image = draw(*size, formula)
    pixels = fit(image, side, how, method)
    made = tensor(pixels, mean, std, dtype, quant)
    return {
        "name": name,
        "height": size[0],
        "width": size[1],
        "formula": list(formula),
        "preprocess": {
            "input_resolution": side,
            "fit": how,
            "resize": method,
            "mean": mean,
            "std": std,
            "channel_order": "RGB",
            "orientation": "applied",
        },
        "dtype": dtype,
        "quantization": quant,
        "pixels": base64.b64encode(flat(pixels)).decode(),
        "tensor": base64.b64encode(made).decode(),
        "sha256": hashlib.sha256(made).hexdigest(),
    }


def cases():
    smooth, rough = (9, 7, 31, 3), (97, 59, 83, 2)
    sizes = {
        "one pixel": (1, 1),
        "one row": (1, 13),
        "one column": (17, 1),
        "smaller": (3, 5),
        "larger": (23, 31),
        "same": (6, 6),
        "tall": (40, 4),
        "twice": (12, 12),
    }
    for name, size in sizes.items():
        for how in ("stretch", "crop", "pad"):
            for method in ("bilinear", "antialias"):
                formula = rough if method == "antialias" else smooth
                yield case(f"{name}, {how}, {method}", size, 6, how, method, formula)
    one, grey = [127.5] * 3, (11, 23, 5, 4)
    imagenet = ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    for name, means, dtype, quant in (
        ("float, -1 to 1", (one, one), "float32", None),
        ("float, each channel", imagenet, "float32", None),
        ("float, as it is", (None, None), "float32", None),
        ("int8, as it is", (None, None), "int8", None),
        ("uint8, -1 to 1", (one, one), "uint8", {"scale": 0.0078125, "zero_point": 128}),
        ("int8, -1 to 1", (one, one), "int8", {"scale": 0.0078125, "zero_point": 0}),
        ("int8, ties", ([128.0] * 3, [2.0] * 3), "int8", {"scale": 1.0, "zero_point": 3}),
        ("int8, each channel", imagenet, "int8", {"scale": 0.015625, "zero_point": -10}),
    ):
        yield case(name, (9, 14), 5, "stretch", "bilinear", grey, *means, dtype, quant)


FORMATS = {"float32": "f", "uint8": "B", "int8": "b", "int16": "h"}


def packed(dtype, values):
    return struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)


def answer_case(
    name, output, dtype="float32", quant=None, top_k=None, threshold=None, point=None, unknown=None
):
    """`point`: negative_below and positive_from of the label b; `unknown`: value and threshold."""
    labels = ["a", "b", "c", "d", "e"][: len(output)]
    if quant is None:
        scores = [single(value) for value in output]
    else:
        scores = [single((value - quant["zero_point"]) * quant["scale"]) for value in output]
    # A score that is no number is below any threshold.
    kept = [i for i, score in enumerate(scores) if score >= (threshold or 0)]
    kept.sort(key=lambda i: -scores[i])
    is_unknown = None if unknown is None else not single(unknown[0]) <= unknown[1]
    decision = None
    if point is not None:
        decision = "positive" if scores[1] >= point[1] else "uncertain"
        if scores[1] < point[0]:
            decision = "negative"
        if is_unknown:
            decision = "unknown"
    return {
        "name": name,
        "labels": labels,
        "dtype": dtype,
        "quantization": quant,
        "top_k": top_k,
        "score_threshold": threshold,
        "operating_point": point
        and {"positive": "b", "negative_below": point[0], "positive_from": point[1]},
        "unfamiliarity_threshold": unknown and unknown[1],
        "output": base64.b64encode(packed(dtype, output)).decode(),
        "unfamiliarity": unknown and base64.b64encode(packed("float32", unknown[:1])).decode(),
        "scores": base64.b64encode(packed("float32", scores)).decode(),
        "categories": [{"index": i, "label": labels[i], "score": scores[i]} for i in kept[:top_k]],
        "answer": decision,
        "unknown": is_unknown,
    }


def answer_cases():
    nan, plain = float("nan"), [0.1, 0.7, 0.05, 0.125, 0.025]
    unit = {"scale": 0.00390625, "zero_point": 0}
    yield answer_case("float", plain)
    yield answer_case("equal scores keep the labels' order", [0.25, 0.125, 0.25, 0.125, 0.25])
    yield answer_case("zeros of both signs are equal", [0.0, -0.0, 1.0, -0.0, 0.0])
    yield answer_case("uint8", [0, 255, 128, 1, 127], "uint8", unit)
    yield answer_case("int8", [-128, 127, 0, -1, 1], "int8", unit | {"zero_point": -128})
    yield answer_case(
        "int16", [0, 32767, -32768, 1, 12345], "int16", {"scale": 2.0**-15, "zero_point": 0}
    )
    yield answer_case(
        "int8, odd scale", [-128, 127, 5, 6, 4], "int8", {"scale": 0.0041, "zero_point": 5}
    )
    yield answer_case("top 2", plain, top_k=2)
    yield answer_case("top 9 of 5", plain, top_k=9)
    yield answer_case("threshold", plain, threshold=0.1)
    # 0.7 in float32 is a little less than in float64, in which thresholds are compared.
    yield answer_case("threshold just above the score", plain, threshold=0.7)
    yield answer_case("threshold at the score", [0.25, 0.75], threshold=0.75)
    yield answer_case("none reaches the threshold", plain, threshold=0.9)
    yield answer_case("one score is no number", [0.5, nan, 0.25])
    for score in (0.0, 0.24, 0.25, 0.5, 0.75, 1.0):
        yield answer_case(f"two thresholds, {score}", [1 - score, score], point=[0.25, 0.75])
    for score in (0.49, 0.5):
        yield answer_case(f"one threshold, {score}", [1 - score, score], point=[0.5, 0.5])
    yield answer_case("positive without a number", [0.5, nan], point=[0.25, 0.75])
    for value in (0.0, 1.5, 1.51, float("inf"), nan):
        yield answer_case(f"unfamiliarity {value}", plain, unknown=[value, 1.5])
    yield answer_case("unknown, not positive", plain, point=[0.5, 0.5], unknown=[2.0, 1.5])
    yield answer_case("known and positive", plain, point=[0.5, 0.5], unknown=[1.0, 1.5])


if __name__ == "__main__":
    for name, about, made in (
        ("golden.json", ABOUT, cases()),
        ("answers.json", ABOUT_ANSWERS, answer_cases()),
    ):
        text = json.dumps({"about": about, "cases": list(made)}, indent=1)
        Path(__file__).with_name(name).write_text(text + "\n", encoding="utf-8")
