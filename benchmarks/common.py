"""What the benchmarks share: the machine's facts, fair turns, held-out images, printed results.

Only the standard library is imported at the top. A child's peak memory, as the system counts it,
includes that of the process that started it, so a benchmark that measures memory has to stay
smaller than its contestants. As a command of its own this file prints the facts of the
interpreter that runs it.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from kit.data import Dataset, LabelledImage
    from kit.training.backbones import BackboneChoice

FOLDS = 5
"""Each image is held out in one of them: 20 %."""

DATA_VARIABLE = "KIT_TEST_DATA"
KIT = "from kit.cli import main; main()"  # for `python -c`: no need to find the console script
_PACKAGES = (
    "mobilenet-kit",
    "numpy",
    "pillow",
    "ai-edge-litert",
    "tflite-runtime",
    "tensorflow",
    "keras",
    "scikit-learn",
    "typer",
)

Result = TypeVar("Result")


@dataclass(frozen=True)
class Size:
    """One size of the backbone, written `alpha/input_resolution`: `0.5/224`."""

    alpha: float
    input_resolution: int

    @classmethod
    def parse(cls, text: str) -> Size:
        alpha, _, side = text.partition("/")
        return cls(float(alpha), int(side))

    def __str__(self) -> str:
        return f"{self.alpha:g}/{self.input_resolution}"

    def choice(self) -> BackboneChoice:
        from kit.training.backbones import choose

        return choose("mobilenet_v1", self.alpha, self.input_resolution)


@dataclass(frozen=True)
class Run:
    """A finished child process.

    Attributes:
        seconds: wall time.
        cpu_seconds: of all its threads, user and system.
        peak_bytes: largest resident memory.
        output: what it printed.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: str


def argument_parser(doc: str | None, *, images: bool = True) -> argparse.ArgumentParser:
    """A parser that shows the script's docstring and, unless told otherwise, knows --images."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if not images:
        return parser
    folder = os.environ.get(DATA_VARIABLE)
    parser.add_argument(
        "--images",
        type=Path,
        default=Path(folder, "data", "flowers") if folder else None,
        required=folder is None,
        help=f"a folder with a folder of images per class (${DATA_VARIABLE}/data/flowers)",
    )
    return parser


def cores() -> int:
    """Those that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def machine_facts() -> dict[str, Any]:
    """What a figure depends on, besides the code."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu(),
        "cores": cores(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "packages": packages,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    # An x86 says "model name" for each core, a Raspberry Pi "Model" once, at the end.
    named = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model")]
    words = [name for name in named if not name.isdigit()]
    return words[0] if words else platform.machine()


def median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median over rounds: both of a round met the machine in much the same mood."""
    return median([one / other for one, other in zip(numerators, denominators, strict=True)])


def interleave(
    contestants: Mapping[str, Callable[[], Result]], rounds: int
) -> dict[str, list[Result]]:
    """Runs each contestant once a round; the order turns, so none always follows the same one."""
    results: dict[str, list[Result]] = {name: [] for name in contestants}
    names = list(contestants)
    for _ in range(rounds):
        for name in names:
            results[name].append(contestants[name]())
        names.append(names.pop(0))
    return results


def timed(function: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def run_child(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Run:
    """Runs a command to its end; ends this program with the command's own words where it fails."""
    # Files, not pipes: nobody reads while wait4 waits.
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=environment
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        output, complaints = out.read(), err.read()
    if process.returncode != 0:
        shown = " ".join(command)
        sys.exit(f"{shown}\nended with {process.returncode}:\n{(complaints or output)[-3000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit, output)


def with_bytecode(folder: str, **variables: str) -> dict[str, str]:
    """An environment whose programs keep their bytecode in a folder, whatever else is set.

    An installed package has its bytecode beside it; a checked-out tree need not, and in it
    PYTHONDONTWRITEBYTECODE would have every run compile every module again. One warm-up run in
    this environment puts all contestants into the state of an installed package.
    """
    environment = {**os.environ, **variables, "PYTHONPYCACHEPREFIX": folder}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def fold_of(digest: str) -> int:
    """The one fold in which an image is held out, by its content: copies stay together."""
    return int(hashlib.sha256(f"fold:{digest}".encode()).hexdigest()[:8], 16) % FOLDS


def hold_out(dataset: Dataset, fold: int, into: Path) -> tuple[Path, Path]:
    """Copies a data set into two folders: what may be trained on, and what is held out.

    Whoever trains is given the first folder and can't see the second.
    """
    rest, held_out = into / "rest", into / "held_out"
    for image in dataset.images:
        target = (held_out if fold_of(image.digest) == fold else rest) / image.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset.root / image.path, target)
    return rest, held_out


def spread(dataset: Dataset, count: int) -> tuple[LabelledImage, ...]:
    """So many images of a data set, evenly over its classes' order."""
    count = min(count, len(dataset.images))
    return tuple(dataset.images[i * len(dataset.images) // count] for i in range(count))


def verdict(value: float, *, at_least: float | None = None, at_most: float | None = None) -> str:
    """`>= 5: reached`."""
    if at_least is not None:
        return f">= {at_least:g}: {'reached' if value >= at_least else 'MISSED'}"
    if at_most is not None:
        return f"<= {at_most:g}: {'reached' if value <= at_most else 'MISSED'}"
    return ""


def _rounded(value: Any) -> Any:
    """Figures to five digits: more is noise."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def report(
    name: str,
    machine: Mapping[str, Any],
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    results: Mapping[str, Any],
) -> None:
    """Prints the machine, a Markdown table and, as the last line, all of it as JSON."""
    packages = ", ".join(f"{key} {value}" for key, value in machine["packages"].items())
    print(
        f"{name}, {machine['date']}: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['system']}, Python {machine['python']}, {packages}\n"
    )
    for cells in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(cells)} |")
    print()
    print(json.dumps({"benchmark": name, "machine": machine, "results": _rounded(results)}))


if __name__ == "__main__":
    print(json.dumps(machine_facts()))
