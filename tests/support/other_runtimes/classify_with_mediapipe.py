"""Classifies ready pixels and photographs with MediaPipe Tasks, told nothing but the file.

`classify_with_mediapipe.py PIXELS PHOTOS ANSWERS MODEL...`: PIXELS is an .npz of `pixels`, uint8
`[images, side, side, 3]`, PHOTOS a text file with a path a line; ANSWERS becomes JSON: for each
MODEL `pixels` and `photos`, each a list of `{label: score}`. Nothing of the kit is imported.
"""

import json
import sys
from pathlib import Path

import numpy as np
from mediapipe import Image, ImageFormat
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions


def answers(classifier, images):
    for image in images:
        categories = classifier.classify(image).classifications[0].categories
        yield {category.category_name: category.score for category in categories}


def main(pixels_path, photos_path, answers_path, *models):
    ready = [Image(image_format=ImageFormat.SRGB, data=p) for p in np.load(pixels_path)["pixels"]]
    photos = [Image.create_from_file(path) for path in Path(photos_path).read_text().splitlines()]
    found = {}
    for model in models:
        options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model))
        with ImageClassifier.create_from_options(options) as classifier:
            found[model] = {
                "pixels": list(answers(classifier, ready)),
                "photos": list(answers(classifier, photos)),
            }
    Path(answers_path).write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
