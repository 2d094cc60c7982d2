"""Preprocessing and answers a second time, slowly: fractions and loops, nothing of the kit's.

`python tests/golden/make_golden.py` writes golden.json (image to input tensor) and answers.json
(output tensor to labels). Kotlin and JavaScript test against the same files, see `about` in them.
"""

import base64
import hashlib
import json
import struct
from fractions import Fraction
from math import exp, floor
from pathlib import Path

ABOUT = {
    "input": "RGB uint8 [height, width, 3]; level(y, x, c) = "
    "(a * y + b * x + d * c + (x * y) div e) mod 256, with formula = [a, b, d, e]",
    "pixels": "base64 of uint8 [height, width, 3] of the input after fit and resize; height is "
    "preprocess.input_resolution, and width too, unless preprocess.input_width is given",
    "tensor": "base64 of the input tensor without batch axis, [height, width, channels], or with "
    "the layout NCHW [channels, height, width], little endian",
    "sha256": "of the bytes of the tensor",
}

ABOUT_ANSWERS = {
    "output": "base64 of the scores' tensor without batch axis, little endian",
    "unfamiliarity": "base64 of one float32, little endian; null of a plain file",
    "output_kind": "what the output is: logits get a softmax, a probability or a logit of the "
    "second label becomes two scores; where it is not scores, scores may differ by 1e-6",
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


def half_up(fraction):
    return max(1, floor(fraction + Fraction(1, 2)))


def grey(image):
    """Luma of ITU-R BT.601 in 65,536 parts, three times."""
    return [
        [
            [floor(Fraction(19595 * r + 38470 * g + 7471 * b, 65536) + Fraction(1, 2))] * 3
            for r, g, b in row
        ]
        for row in image
    ]


def fit(image, size, how, method):
    height, width = len(image), len(image[0])
    scales = [Fraction(to, of) for to, of in zip(size, (height, width), strict=True)]
    if how == "crop":  # the larger scale fills the input
        rows, columns = (half_up(to / max(scales)) for to in size)
        top, left = (height - rows) // 2, (width - columns) // 2
        image = [row[left : left + columns] for row in image[top : top + rows]]
    if how == "pad":  # with the smaller one all of the image is inside
        inner = [half_up(of * min(scales)) for of in (height, width)]
        small = resize(image, *inner, method)
        top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
        black = [[[0, 0, 0] for _ in range(size[1])] for _ in range(size[0])]
        for y, row in enumerate(small):
            black[top + y][left : left + inner[1]] = row
        return black
    return resize(image, *size, method)


def single(value):
    """Rounded to float32."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def tensor(pixels, mean, std, dtype, quantization, channels=3, layout="NHWC"):
    """Little-endian bytes."""
    places = [(y, x) for y in range(len(pixels)) for x in range(len(pixels[0]))]
    order = [(y, x, c) for y, x in places for c in range(channels)]
    if layout == "NCHW":
        order = [(y, x, c) for c in range(channels) for y, x in places]
    return b"".join(value(pixels[y][x][c], c, mean, std, dtype, quantization) for y, x, c in order)


def value(level, c, mean, std, dtype, quantization):
    ranges = {"uint8": (0, 255), "int8": (-128, 127)}
    if dtype == "float32":
        real = float(level)
        if mean is not None:
            real = single(single(level - single(mean[c])) / single(std[c]))
        return struct.pack("<f", real)
    if mean is None:
        whole = level - 128 if dtype == "int8" else level
    else:
        scaled = (level - mean[c]) / std[c] / quantization["scale"]
        whole = floor(abs(scaled) + 0.5) * (1 if scaled >= 0 else -1)
        whole += quantization["zero_point"]
    low, high = ranges[dtype]
    return struct.pack("<b" if dtype == "int8" else "<B", min(max(whole, low), high))


def flat(image):
    return bytes(level for row in image for pixel in row for level in pixel)


def case(
    name, size, side, how, method, formula, mean=None, std=None, dtype="uint8", quant=None, **more
):
    """`more`: input_width, channels and layout of version 2."""
    image = draw(*size, formula)
    channels, layout = more.get("channels", 3), more.get("layout", "NHWC")
    if channels == 1:
        image = grey(image)
    pixels = fit(image, (side, more.get("input_width") or side), how, method)
    made = tensor(pixels, mean, std, dtype, quant, channels, layout)
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
            **more,
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
    one, even = [127.5] * 3, (11, 23, 5, 4)
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
        yield case(name, (9, 14), 5, "stretch", "bilinear", even, *means, dtype, quant)
    for how in ("stretch", "crop", "pad"):
        for name, size in {"wide": (9, 23), "tall": (31, 6), "its aspect": (8, 14)}.items():
            for high, wide in ((4, 7), (7, 4)):
                said = f"{high} by {wide} input, {name}, {how}"
                yield case(said, size, high, how, "bilinear", rough, input_width=wide)
    high = {"input_width": 5, "channels": 1, "layout": "NCHW"}
    for name, more in (
        ("grey", {"channels": 1}),
        ("channels first", {"layout": "NCHW"}),
        ("grey, 3 by 5, channels first", high),
    ):
        side = 3 if "input_width" in more else 6
        yield case(f"{name}, uint8", (12, 17), side, "crop", "antialias", rough, **more)
        yield case(
            f"{name}, float", (5, 9), side, "pad", "bilinear", rough, one, one, "float32", **more
        )
    quant = {"scale": 0.015625, "zero_point": -10}
    first = {"layout": "NCHW"}
    yield case(
        "channels first, int8, each channel",
        *((9, 14), 5, "stretch", "bilinear", even, *imagenet, "int8", quant),
        **first,
    )


FORMATS = {"float32": "f", "uint8": "B", "int8": "b", "int16": "h"}


def packed(dtype, values):
    return struct.pack(f"<{len(values)}{FORMATS[dtype]}", *values)


def to_scores(row, kind):
    if kind == "probability":
        return [single(1 - row[0]), row[0]]
    if kind in ("logits", "logit"):
        logits = [0.0, row[0]] if kind == "logit" else row
        powers = [exp(logit - max(logits)) for logit in logits]
        return [single(power / sum(powers)) for power in powers]
    return row


def answer_case(
    name,
    output,
    dtype="float32",
    quant=None,
    top_k=None,
    threshold=None,
    point=None,
    unknown=None,
    kind="scores",
):
    """`point`: negative_below and positive_from of the label b; `unknown`: value and threshold."""
    if quant is None:
        scores = [single(value) for value in output]
    else:
        scores = [single((value - quant["zero_point"]) * quant["scale"]) for value in output]
    scores = to_scores(scores, kind)
    labels = ["a", "b", "c", "d", "e"][: len(scores)]
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
        "output_kind": kind,
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
    yield answer_case("logits", [0.5, -3.0, 12.25, 0.0, 11.5], kind="logits")
    yield answer_case("large logits", [5000.0, 4999.0, -5000.0], kind="logits")
    yield answer_case(
        "int8 logits", [-128, 127, 100], "int8", {"scale": 0.125, "zero_point": 3}, kind="logits"
    )
    for number in (0.0, 0.125, 0.7, 1.0):
        yield answer_case(f"probability {number}", [number], point=[0.25, 0.7], kind="probability")
    yield answer_case("uint8 probability", [192], "uint8", unit, kind="probability")
    for number in (-800.0, -1.5, 0.0, 3.25, 800.0):
        yield answer_case(f"logit {number}", [number], point=[0.25, 0.75], kind="logit")
    yield answer_case("independent scores", [0.9, 0.8, 0.1], kind="independent_scores")
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
