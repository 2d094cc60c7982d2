"""Scores ready pixels with an interpreter package, as its own users would.

`score_pixels.py PACKAGE PIXELS SCORES MODEL...`: PIXELS is an .npz of `pixels`, uint8
`[images, side, side, 3]`, and of `mean` and `std` for float inputs; SCORES becomes an .npz of
float32 `[images, classes]` by MODEL. XNNPACK is left out for one that `plain:` stands before.
Nothing of the kit is imported.
"""

import sys
from importlib import import_module

import numpy as np

PLAIN = "plain:"


def open_model(runtime, model):
    options = {}
    if model.startswith(PLAIN):
        resolver = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        options["experimental_op_resolver_type"] = resolver
    interpreter = runtime.Interpreter(model.removeprefix(PLAIN), num_threads=1, **options)
    interpreter.allocate_tensors()
    return interpreter


def score(interpreter, pixels, normalised):
    (image,) = interpreter.get_input_details()
    scores = interpreter.get_output_details()[0]  # further ones tell other things
    for tensor in pixels if image["dtype"] == np.uint8 else normalised:
        interpreter.set_tensor(image["index"], tensor[None])
        interpreter.invoke()
        yield interpreter.get_tensor(scores["index"])[0].copy()


def main(package, pixels_path, scores_path, *models):
    runtime = import_module(package)
    data = np.load(pixels_path)
    pixels = data["pixels"]
    normalised = ((pixels - data["mean"]) / data["std"]).astype(np.float32)
    found = {m: np.stack([*score(open_model(runtime, m), pixels, normalised)]) for m in models}
    np.savez(scores_path, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
