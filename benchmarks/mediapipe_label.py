"""What MediaPipe's own guide has one write; a contestant of alternatives.py.

Usage: mediapipe_label.py MODEL FILE_OR_FOLDER

A file's three best labels are printed; of a folder one JSON line with the seconds of the loop
alone: imports and the classifier come before it.
"""

import json
import sys
import time
from pathlib import Path

from mediapipe import Image
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions

if len(sys.argv) != 3:
    sys.exit(__doc__)
model, place = sys.argv[1], Path(sys.argv[2])
options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model), max_results=3)
with ImageClassifier.create_from_options(options) as classifier:
    if place.is_dir():
        began = time.perf_counter()
        paths = sorted(place.iterdir())
        for path in paths:
            classifier.classify(Image.create_from_file(str(path)))
        print(json.dumps({"images": len(paths), "seconds": time.perf_counter() - began}))
    else:
        found = classifier.classify(Image.create_from_file(str(place)))
        for category in found.classifications[0].categories:
            print(f"{category.category_name} {category.score:.3f}")
