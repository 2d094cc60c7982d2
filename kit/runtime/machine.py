"""Which kind of machine this is: what a measured speed holds for."""

from __future__ import annotations

import platform
import re

from kit.runtime.parallel import usable_cores

_BOARD = "/proc/device-tree/model"
_PROCESSOR = "/proc/cpuinfo"


def machine_kind() -> str:
    """Architecture, model and usable cores, such as `aarch64, Raspberry Pi 4 Model B, 4 cores`.

    The same on two machines that run a model alike. The model is the board's name, else the
    processor's, else the operating system's.
    """
    model = _board(_read(_BOARD)) or _processor(_read(_PROCESSOR)) or platform.system()
    return f"{platform.machine()}, {model}, {usable_cores()} cores"


def _board(text: str) -> str:
    """Without the revision: those of a Raspberry Pi differ in memory, not in speed."""
    return re.sub(r"\s+Rev\b.*", "", text.strip("\0 \n"))


def _processor(text: str) -> str:
    """`model name` of an x86 processor's list; empty where it has none."""
    named = re.search(r"^model name\s*:\s*(.+?)\s*$", text, re.MULTILINE)
    return named.group(1) if named else ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # not Linux, or a board without one
        return ""
