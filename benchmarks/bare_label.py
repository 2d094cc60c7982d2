"""The least that labels one image; a contestant of label_speed.py.

Usage: bare_label.py INTERPRETER_MODULE THREADS MODEL IMAGE

No argparse and no checks, on purpose: it is the floor, not an example.
"""

import sys
import zipfile
from importlib import import_module

import numpy as np
from PIL import Image

if len(sys.argv) != 5:
    sys.exit(__doc__)
module, threads, model, image = sys.argv[1:]
interpreter = import_module(module).Interpreter(model, num_threads=int(threads))
interpreter.allocate_tensors()
taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
side = int(taken["shape"][1])
pixels = np.asarray(
    Image.open(image).convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
)
if taken["dtype"] == np.float32:
    pixels = ((pixels - 127.5) / 127.5).astype(np.float32)
interpreter.set_tensor(taken["index"], pixels[None])
interpreter.invoke()
scores = interpreter.get_tensor(given["index"])[0]
with zipfile.ZipFile(model) as archive:
    labels = archive.read("labels.txt").decode().splitlines()
for index in np.argsort(-scores)[:3]:
    print(f"{labels[index]} {scores[index]:.3f}")
