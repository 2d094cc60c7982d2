"""Heat maps of any packaged file, plain or screening: where the model looks in a photograph."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from converters.extra_outputs import with_activation_map
from kit.model.preprocess import Pixels, to_input
from kit.model.spec import ACTIVATION_MAP, PreprocessSpec
from kit.runtime.explain import ActivationMap, seen_part
from kit.runtime.images import read_image
from kit.runtime.interpreter import Runner
from kit.runtime.parallel import default_threads


class HeatMaps:
    """Where a model looks, for any packaged file: its map is added in memory.

    Not for two threads at once.
    """

    def __init__(self, content: bytes, spec: PreprocessSpec) -> None:
        """Args:
            content: a .tflite file, plain or screening.
            spec: what turns a photograph into its input.

        Raises ConversionError where its network allows no map.
        """
        self._spec = spec
        self._runner = Runner(with_activation_map(content), default_threads())

    def __call__(self, image: Any, label: int | None = None) -> tuple[Pixels, ActivationMap]:
        """What kit.runtime.explain.overlay draws.

        Args:
            image: as kit.runtime.images.read_image takes it.
            label: index; None: the best one.

        Returns:
            What the model saw of the photograph, uint8 `[height, width, 3]`, and its map for the
            label, float32 `[rows, columns]`.

        Raises ImageError where the image cannot be read.
        """
        pixels = read_image(image, self._spec.longer_side)
        scores = run_pixels(self._runner, pixels, self._spec)
        chosen = int(scores.argmax()) if label is None else label
        whole = self._runner.further(ACTIVATION_MAP)
        return seen_part(pixels, self._spec), whole[0, :, :, chosen]


def run_pixels(runner: Runner, pixels: Pixels, spec: PreprocessSpec) -> npt.NDArray[np.float32]:
    """Scores of pixels, uint8 `[side, side, 3]`: float32 `[labels]`."""
    return runner.run(to_input(pixels, spec, runner.input.dtype, runner.input.quantization))
