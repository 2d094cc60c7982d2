"""The least that labels one image; a contestant of label_speed.py.

Usage: bare_label.py INTERPRETER_MODULE MODEL IMAGE

It has no options, no checks and no names of labels, on purpose: it is the floor, not an example.
"""

import sys
from importlib import import_module

import numpy as np
from PIL import Image

module, model, image = sys.argv[1:]
interpreter = import_module(module).Interpreter(model)
interpreter.allocate_tensors()
taken, given = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
side = int(taken["shape"][1])
pixels = np.asarray(Image.open(image).convert("RGB").resize((side, side)))
interpreter.set_tensor(taken["index"], pixels[None])
interpreter.invoke()
scores = interpreter.get_tensor(given["index"])[0]
for index in np.argsort(-scores)[:3]:
    print(f"{index} {scores[index]:.3f}")
