"""Decode, resize, invoke, on all cores; the reference of label_speed.py for a folder.

Usage: bare_folder.py INTERPRETER_MODULE THREADS MODEL FOLDER

Each thread takes an image through all three steps with an interpreter of its own, which is the
fastest simple arrangement. Prints one JSON line with the seconds of the loop alone: imports and
interpreters come before it.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from PIL import Image

if len(sys.argv) != 5:
    sys.exit(__doc__)
module, threads, model, folder = sys.argv[1:]
interpreters: SimpleQueue[Any] = SimpleQueue()
for _ in range(int(threads)):
    interpreter = import_module(module).Interpreter(model, num_threads=1)
    interpreter.allocate_tensors()
    interpreters.put(interpreter)
taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
side = int(taken["shape"][1])


def label(path: Path) -> int:
    with Image.open(path) as image:
        small = image.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
    pixels: Any = np.asarray(small)
    if taken["dtype"] == np.float32:
        pixels = ((pixels - 127.5) / 127.5).astype(np.float32)
    interpreter = interpreters.get()
    interpreter.set_tensor(taken["index"], pixels[None])
    interpreter.invoke()
    best = int(interpreter.get_tensor(given["index"])[0].argmax())
    interpreters.put(interpreter)
    return best


began = time.perf_counter()
with ThreadPoolExecutor(int(threads)) as executor:
    count = len(list(executor.map(label, sorted(Path(folder).iterdir()))))
print(json.dumps({"images": count, "seconds": time.perf_counter() - began}))
