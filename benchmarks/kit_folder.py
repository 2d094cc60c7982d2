"""Classifier.classify_files on a folder, in a process that is under way; see label_speed.py.

Usage: kit_folder.py MODEL FOLDER

Prints one JSON line with the seconds of classify_files alone: imports and Classifier.open come
before it.
"""

import json
import sys
import time
from pathlib import Path

from kit.runtime import Classifier, Failure

if len(sys.argv) != 3:
    sys.exit(__doc__)
model, folder = sys.argv[1:]
with Classifier.open(model, top_k=3) as classifier:
    began = time.perf_counter()
    results = list(classifier.classify_files(sorted(Path(folder).iterdir())))
    seconds = time.perf_counter() - began
if failures := [result for result in results if isinstance(result, Failure)]:
    sys.exit(f"{failures[0].image}: {failures[0].error}")
print(json.dumps({"images": len(results), "seconds": seconds}))
