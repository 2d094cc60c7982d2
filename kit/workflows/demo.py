"""`kit demo`: the whole path on drawn images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kit.errors import WeightsError
from kit.evaluation import evaluate_model
from kit.files import check_absent, folder_beside
from kit.reporting import Reporter, Silent
from kit.runtime import Classifier
from kit.training.backbones import choose
from kit.training.fitting import FitSettings
from kit.training.weights import find_weights
from kit.workflows.run_folder import RUN_NAME, read_run, run_json
from kit.workflows.train import TrainSettings, train

IMAGES_A_CLASS = 200
HELD_OUT_A_CLASS = 30
Points = npt.NDArray[np.float64]

_SIDE = 160


def draw_images(folder: Path, images_a_class: int, seed: int) -> None:
    """Draws things that a person can tell apart, with random place, size, angle, shade and noise.

    Args:
        folder: where a folder for each class is made.
        images_a_class: number of JPEG files in each folder.
        seed: another seed draws other images.
    """
    from PIL import Image, ImageDraw

    random = np.random.default_rng(seed)
    for name, parts in _THINGS.items():
        (folder / name).mkdir(parents=True)
        for index in range(images_a_class):
            image = Image.fromarray(_background(random))
            draw = ImageDraw.Draw(image)
            centre, radius = random.uniform(65, 95, 2), random.uniform(38, 62)
            angle, light = random.uniform(0, 2 * np.pi), random.uniform(0.6, 1.1)
            for corners, place, size, colour in parts:
                points = _rotated(corners * size + place, angle) * radius + centre
                shade = np.clip(np.array(colour) * light + random.normal(0, 14, 3), 0, 255)
                outline = [(float(x), float(y)) for x, y in points]
                draw.polygon(outline, fill=(int(shade[0]), int(shade[1]), int(shade[2])))
            noise = random.normal(0, random.uniform(2, 14), (_SIDE, _SIDE, 3))
            pixels = np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}_{index:03d}.jpg", quality=90)


def _corners(count: int, width: float = 1.0, inner: float = 1.0) -> Points:
    """A polygon around the origin: every second corner at `inner`, squeezed to `width`."""
    angle = 2 * np.pi * np.arange(count) / count
    radius = np.where(np.arange(count) % 2 == 0, 1.0, inner)
    return np.asarray(np.stack([np.cos(angle), np.sin(angle) * width], axis=1) * radius[:, None])


_DISC = _corners(48)
_LENS = np.array(
    [(x, side * 0.42 * (1 - x * x)) for side in (1, -1) for x in _corners(25)[:13, 0] * side]
)
_GREEN = (70, 140, 50)

# Parts of each thing, drawn in turn: outline, place, size, colour.
_THINGS: dict[str, list[tuple[Points, tuple[float, float], float, tuple[int, int, int]]]] = {
    "blueberries": [
        (_DISC, (-0.5, -0.3), 0.5, (60, 80, 170)),
        (_DISC, (0.5, -0.3), 0.5, (70, 90, 185)),
        (_DISC, (0.0, 0.5), 0.5, (55, 70, 160)),
    ],
    "carrot": [
        (_corners(14, inner=0.3), (-0.85, 0.0), 0.4, _GREEN),
        (_corners(3, width=0.4), (0.1, 0.0), 0.95, (240, 130, 30)),
    ],
    "leaf": [(_LENS, (0.0, 0.0), 1.0, _GREEN), (_LENS, (0.0, 0.0), 0.3, (120, 180, 90))],
    "lemon": [
        (_corners(48, width=0.68), (0.0, 0.0), 0.9, (240, 220, 60)),
        (_DISC, (0.86, 0.0), 0.16, (225, 205, 55)),
    ],
    "tomato": [
        (_corners(48, width=0.92), (0.0, 0.0), 0.9, (215, 50, 40)),
        (_corners(10, inner=0.35), (0.0, -0.25), 0.4, _GREEN),
    ],
}


def _rotated(points: Points, angle: float) -> Points:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]))


def _background(random: np.random.Generator) -> npt.NDArray[np.uint8]:
    """A muted colour that runs from corner to corner."""
    start, end = random.uniform(40, 215) + random.normal(0, 22, (2, 3))
    ramp = np.linspace(0, 0.5, _SIDE)
    weight = (ramp[:, None] + ramp[None, :])[:, :, None]
    return np.asarray(np.clip(start + (end - start) * weight, 0, 255), np.uint8)


def run_demo(
    output: str | os.PathLike[str], *, force: bool = False, reporter: Reporter | None = None
) -> str:
    """Draws images, retrains on them, converts the result, scores new drawings and labels some.

    Args:
        output: the folder for the images and the run; it is complete or absent.
        force: replace an existing folder.
        reporter: is told of progress.

    Returns:
        A text on what was done and what to try next.
    """
    reporter = reporter or Silent()
    check_absent(output, force)
    settings = _settings(reporter)
    with folder_beside(output, force) as folder:
        reporter.say(f"drawing {len(_THINGS)} classes of {IMAGES_A_CLASS} images")
        draw_images(folder / "images", IMAGES_A_CLASS, seed=1)
        draw_images(folder / "new", HELD_OUT_A_CLASS, seed=2)
        told = _Placed(reporter, folder, Path(output))
        train(folder / "images", folder / "run", settings, reporter=told)
        record = read_run(folder / "run") | {"images": str(Path(output, "images").resolve())}
        (folder / "run" / RUN_NAME).write_bytes(run_json(record))
        with Classifier.open(folder / "run" / "model_int8.tflite", top_k=2) as classifier:
            scored = evaluate_model(classifier, folder / "new", reporter=reporter).evaluation
            examples = [
                classifier.classify(folder / "new" / label / f"{label}_000.jpg")
                for label in _THINGS
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
            f"report:    {output / 'run' / 'report.html'}, to read in a browser",
            f"run:       {output / 'run'}, with run.json, misclassified.csv and TensorBoard logs",
            "",
            "try next:",
            f"  kit label {model} {output / 'new' / 'leaf'}",
            f"  kit info {model}",
            f"  kit-label {model} --self-test",
            "  kit train your-photos/ --output run/   (a folder of images for each class)",
        ]
    )


class _Placed:
    """Tells of files where they will be once the demo's folder is complete."""

    def __init__(self, reporter: Reporter, partial: Path, final: Path) -> None:
        self._reporter, self._partial, self._final = reporter, str(partial), str(final)
        self.track = reporter.track

    def say(self, line: str) -> None:
        self._reporter.say(line.replace(self._partial, self._final))

    def warn(self, line: str) -> None:
        self._reporter.warn(line.replace(self._partial, self._final))


def _settings(reporter: Reporter) -> TrainSettings:
    """With ImageNet weights where they are available; else the demo says so and works without."""
    settings = TrainSettings(
        backbone="mobilenet_v1",
        alpha=0.25,
        input_resolution=128,
        quantize=("int8", "float32"),
        fitting=FitSettings(learning_rate=0.01),
        intended_use="Demonstration: tells drawn things apart.",
    )
    try:
        find_weights(choose("mobilenet_v1", 0.25, 128), "imagenet")
    except WeightsError as error:
        reporter.warn(f"{error}")
        reporter.warn(
            "the demo trains from random values instead, which is enough for drawn images"
        )
        fitting = FitSettings(epochs=30, learning_rate=0.002, batch_size=32, l2=1e-4, patience=30)
        return replace(settings, weights="none", input_resolution=64, fitting=fitting)
    return settings


def _contact_sheet(folder: Path, output: Path) -> None:
    """The first images of each class, a row each."""
    from PIL import Image

    columns = 8
    sheet = Image.new("RGB", (columns * _SIDE, len(_THINGS) * _SIDE))
    for row, label in enumerate(_THINGS):
        for column in range(columns):
            with Image.open(folder / label / f"{label}_{column:03d}.jpg") as image:
                sheet.paste(image, (column * _SIDE, row * _SIDE))
    sheet.save(output)
