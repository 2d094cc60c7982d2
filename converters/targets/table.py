"""What a packaged model can be written as."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from converters.targets.c_array import c_sources
from converters.targets.onnx_model import onnx_model
from kit.choices import TARGET_NAMES


@dataclass(frozen=True)
class Target:
    """One form of output.

    Attributes:
        suffixes: suffixes of the files, added to the output's name; `""` is the output itself.
        make: from a packaged .tflite and the output's name to the files' contents, by suffix.
    """

    suffixes: tuple[str, ...]
    make: Callable[[bytes, str], Mapping[str, bytes]]

    def paths(self, output: Path) -> dict[str, Path]:
        """The files to write, by suffix."""
        return {suffix: output.with_name(output.name + suffix) for suffix in self.suffixes}


def _c(model: bytes, name: str) -> dict[str, bytes]:
    return {Path(file).suffix: text.encode() for file, text in c_sources(model, name).items()}


_TFLITE = Target(("",), lambda model, name: {"": model})
_C = Target((".h", ".c"), _c)
_ONNX = Target(("",), lambda model, name: {"": onnx_model(model)})
TARGETS: Mapping[str, Target] = dict(zip(TARGET_NAMES, (_TFLITE, _C, _ONNX), strict=True))
