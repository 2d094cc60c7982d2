"""Which quantisation modes can be asked for, and the order in which `auto` tries them."""

from __future__ import annotations

from collections.abc import Sequence

from kit.model.spec import QUANTIZATION_MODES

AUTO = "auto"
AUTO_MODES = ("int8", "int8_float_head", "int16x8", "float16")
"""What `auto` tries, smallest and fastest first."""
AUTO_DROP = 0.01
"""Share of accuracy that `auto` lets a file lose, unless told otherwise."""
MODES_AND_AUTO = (*QUANTIZATION_MODES, AUTO)


def check_modes(modes: Sequence[str]) -> None:
    """Raises ValueError for an unknown quantisation mode, for none, or for more beside `auto`."""
    if unknown := [mode for mode in modes if mode not in MODES_AND_AUTO]:
        raise ValueError(
            f"expected quantisation modes of {', '.join(MODES_AND_AUTO)}, got {', '.join(unknown)}"
        )
    if not modes:
        raise ValueError("expected at least one quantisation mode, got none")
    if AUTO in modes and len(modes) > 1:
        raise ValueError("expected auto alone, got other quantisation modes beside it")
