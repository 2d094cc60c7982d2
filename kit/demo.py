"""`kit demo`: the whole path on drawn images."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kit.errors import WeightsError
from kit.evaluation import evaluate_model
from kit.files import check_absent, folder_beside
from kit.reporting import Reporter, Silent
from kit.retrain import TrainSettings, train
from kit.runtime import Classifier
from kit.training.backbones import choose
from kit.training.head import HeadSettings
from kit.training.weights import find_weights

IMAGES_A_CLASS = 120
HELD_OUT_A_CLASS = 30
_BACKBONE = ("mobilenet_v1", 0.25, 128)
_SIDE = 160


def draw_images(folder: Path, images_a_class: int, seed: int) -> None:
    """Draws shapes that a human tells apart, no two alike: place, size, angle, colours, noise.

    Args:
        folder: gets a folder for each class.
        images_a_class: JPEG files in each.
        seed: another one draws other images.
    """
    from PIL import Image, ImageDraw

    random = np.random.default_rng(seed)
    for name, corners in _SHAPES.items():
        (folder / name).mkdir(parents=True)
        for index in range(images_a_class):
            ground = _background(random)
            image = Image.fromarray(ground)
            draw = ImageDraw.Draw(image)
            centre, radius = random.uniform(55, 105, 2), random.uniform(28, 55)
            points = _outline(corners, random) * radius + centre
            colour = _contrasting(ground.mean(axis=(0, 1)), random)
            outline = [(float(x), float(y)) for x, y in points]
            draw.polygon(outline, fill=colour)
            noise = random.normal(0, random.uniform(2, 14), (_SIDE, _SIDE, 3))
            pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}_{index:03d}.jpg", quality=90)


# Corners at radius 1, as (turn in parts of a circle, radius).
_SHAPES: dict[str, list[tuple[float, float]]] = {
    "circle": [(k / 48, 1.0) for k in range(48)],
    "cross": [
        (k / 4 + d / 360, r)
        for k in range(4)
        for d, r in ((-16.7, 1.04), (16.7, 1.04), (45.0, 0.42))
    ],
    "square": [(k / 4, 1.0) for k in range(4)],
    "star": [(k / 10, 1.0 if k % 2 == 0 else 0.42) for k in range(10)],
    "triangle": [(k / 3, 1.0) for k in range(3)],
}


def _outline(
    corners: list[tuple[float, float]], random: np.random.Generator
) -> npt.NDArray[np.float64]:
    turn, radius = np.array(corners).T
    angle = 2 * np.pi * (turn + random.uniform())
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * radius[:, None]
    return np.asarray(points * [1, random.uniform(0.85, 1.0)])


def _background(random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A colour that runs from corner to corner."""
    start, end = random.uniform(30, 225, (2, 3))
    ramp = np.linspace(0, 0.5, _SIDE)
    weight = (ramp[:, None] + ramp[None, :])[:, :, None]
    return np.asarray(start + (end - start) * weight, np.uint8)


def _contrasting(
    ground: npt.NDArray[np.float64], random: np.random.Generator
) -> tuple[int, int, int]:
    while True:
        colour = random.integers(0, 256, 3)
        if np.abs(colour - ground).sum() > 200:
            return (int(colour[0]), int(colour[1]), int(colour[2]))


def run_demo(
    output: str | os.PathLike[str], *, force: bool = False, reporter: Reporter | None = None
) -> str:
    """Draws images, retrains on them, converts, scores new drawings, labels some.

    Args:
        output: folder for the images and the run; complete or absent.
        force: replace it.
        reporter: progress.

    Returns:
        What was done and what to try next, for people.
    """
    reporter = reporter or Silent()
    check_absent(output, force)
    weights = _weights(reporter)
    name, alpha, side = _BACKBONE
    with folder_beside(output, force) as folder:
        reporter.say(f"drawing {len(_SHAPES)} classes of {IMAGES_A_CLASS} images")
        draw_images(folder / "images", IMAGES_A_CLASS, seed=1)
        draw_images(folder / "new", HELD_OUT_A_CLASS, seed=2)
        settings = TrainSettings(
            backbone=name,
            alpha=alpha,
            input_resolution=side,
            weights=weights,
            quantize=("int8", "float32"),
            head=HeadSettings(epochs=150, learning_rate=0.01),
            intended_use="Demonstration: tells drawn shapes apart.",
        )
        train(folder / "images", folder / "run", settings, reporter=reporter)
        with Classifier.open(folder / "run" / "model_int8.tflite", top_k=2) as classifier:
            scored = evaluate_model(classifier, folder / "new", reporter=reporter).evaluation
            examples = [
                classifier.classify(folder / "new" / label / f"{label}_000.jpg")
                for label in _SHAPES
            ]
        _contact_sheet(folder / "new", folder / "images.png")
    output = Path(output)
    answers = [
        f"  new/{Path(example.image or '').parent.name}/{Path(example.image or '').name}: "
        + ", ".join(f"{c.label} {c.score:.3f}" for c in example.categories)
        for example in examples
    ]
    model = output / "run" / "model_int8.tflite"
    return "\n".join(
        [
            "",
            f"int8 on {scored.accuracy.n} new drawings: accuracy {scored.accuracy}",
            *answers,
            "",
            f"pictures:  {output / 'images.png'} shows some of {output / 'new'}",
            f"model:     {model}, one file with labels, preprocessing and its own check",
            f"run:       {output / 'run'}, with run.json, misclassified.csv and TensorBoard logs",
            "",
            "try next:",
            f"  kit label {model} {output / 'new' / 'star'}",
            f"  kit info {model}",
            f"  kit-label {model} --self-test",
            "  kit train your-photos/ --output run/   (a folder of images for each class)",
        ]
    )


def _weights(reporter: Reporter) -> str:
    """ImageNet's where they can be had; the demo works without, and says so."""
    try:
        find_weights(choose(*_BACKBONE), "imagenet")
    except WeightsError as error:
        reporter.warn(f"{error}")
        reporter.warn("the demo goes on from random values, which suffice for drawn shapes")
        return "none"
    return "imagenet"


def _contact_sheet(folder: Path, output: Path) -> None:
    """The first images of each class, a row each."""
    from PIL import Image

    columns = 8
    sheet = Image.new("RGB", (columns * _SIDE, len(_SHAPES) * _SIDE))
    for row, label in enumerate(_SHAPES):
        for column in range(columns):
            with Image.open(folder / label / f"{label}_{column:03d}.jpg") as image:
                sheet.paste(image, (column * _SIDE, row * _SIDE))
    sheet.save(output)
