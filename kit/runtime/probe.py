"""A first run of a model that others made, in a process of its own: a crash there is a sentence."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from signal import Signals

import numpy as np

from kit.errors import InferenceError, KitError
from kit.runtime.interpreter import Runner

_SECONDS = 120


def check_survives(
    model: str | os.PathLike[str],
    size: tuple[int, int] | None = None,
    output_tensor: str | None = None,
) -> None:
    """Builds an interpreter and runs it once, elsewhere.

    Args:
        model: a .tflite file.
        size: see kit.runtime.interpreter.Runner.
        output_tensor: see kit.runtime.interpreter.Runner.

    Raises InferenceError where that ends the process, or takes minutes. What the interpreter says
    in words is left to whoever builds the next one.
    """
    asked = json.dumps({"model": os.fspath(model), "size": size, "output_tensor": output_tensor})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "kit.runtime.probe", asked],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise InferenceError(
            f"expected a model that answers, it ran for {_SECONDS} seconds: the file is damaged"
        ) from error
    if done.returncode < 0:
        name = Signals(-done.returncode).name
        raise InferenceError(
            f"expected a model that the interpreter can run, it ends the process ({name}): the "
            "file is damaged, or made for another runtime; copy it again, or convert it again"
        )


def main(asked: str) -> int:
    """The other process; returns its exit status."""
    options = json.loads(asked)
    size = options["size"] and tuple(options["size"])
    try:
        runner = Runner(options["model"], size=size, output_tensor=options["output_tensor"])
        runner.run(np.zeros(runner.image.dimensions(1)[1:], runner.input.dtype))
    except KitError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
