"""Which of some models an interpreter package can load.

`probe_operators.py PACKAGE MODELS ANSWERS`: MODELS is an .npz of .tflite files' bytes by name;
ANSWERS becomes JSON, the names that the package resolves. Nothing of the kit is imported.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

import numpy as np

UNKNOWN = ("Didn't find op for builtin opcode", "builtin_code out of range")


def resolves(interpreter, content):
    try:
        interpreter(model_content=content)
    except ValueError as error:
        if any(said in str(error) for said in UNKNOWN):
            return False
        raise
    return True


def main(package, models_path, answers_path):
    interpreter = import_module(package).Interpreter
    models = np.load(models_path)
    known = [name for name in models.files if resolves(interpreter, models[name].tobytes())]
    Path(answers_path).write_text(json.dumps(known))


if __name__ == "__main__":
    main(*sys.argv[1:])
