"""How fast a model file labels one image here, and with how much memory: `kit benchmark`.

Every row is measured by a Python process of its own, so that its imports, the model's loading and
the peak of its memory are its own too. It labels one image file over and over, from the file to the
scores; the first time, which builds and fills what later ones reuse, stands apart.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import Any

import numpy as np

from kit.choices import INTERPRETERS
from kit.errors import ImageError, InferenceError, KitError, ModelFileError
from kit.model.cost import Cost, count_file
from kit.model.model_file import read_model_file, with_card_fields
from kit.model.preprocess import Pixels, to_input
from kit.model.spec import MOST_THREADS, PreprocessSpec, ThreadHint
from kit.runtime.classifier import Classifier
from kit.runtime.images import read_image
from kit.runtime.interpreter import INTERPRETER_VARIABLE, Runner, interpreter_name
from kit.runtime.parallel import default_threads

WARM_UPS, RUNS = 5, 50
DRAWN_SIZE = (1600, 1200)
"""Width and height of the image that is drawn where none is given, in pixels."""
_LATENCY_TIE_RATIO = 1.05
"""Medians this close are the same: the difference is as likely noise as threads."""
_STAGES = ("decode", "preprocess", "invoke")

# sys.path is the starting process's, so that the same kit and interpreters are found.
_CHILD = """
import sys, time
began = time.perf_counter()
sys.path[:] = sys.argv[2:]
from kit.device.benchmark import measure_here
print(measure_here(sys.argv[1], began))
"""


@dataclass(frozen=True)
class Timing:
    """Times of one stage over the runs after the warm-ups.

    Attributes:
        median_ms: half of the runs took less.
        p95_ms: 95 % of them took less.
        n: runs.
    """

    median_ms: float
    p95_ms: float
    n: int

    @classmethod
    def of(cls, milliseconds: Iterable[float]) -> Timing:
        values = np.array([*milliseconds])
        median, p95 = np.percentile(values, (50, 95))
        return cls(float(median), float(p95), len(values))

    def to_json(self) -> dict[str, Any]:
        return {"median": round(self.median_ms, 3), "p95": round(self.p95_ms, 3), "n": self.n}


@dataclass(frozen=True)
class Measurement:
    """One process: one interpreter with one number of threads.

    Attributes:
        interpreter: package, one of kit.runtime.interpreter.INTERPRETERS.
        version: version of the package; empty if it does not say.
        num_threads: threads of one inference.
        import_ms: until numpy, Pillow, the interpreter's package and the kit are imported.
        load_ms: to read the file and build the interpreter.
        first_ms: the first image, from the file to the scores.
        latency: later images, from the file to the scores.
        stages: times of `decode` (file to pixels), `preprocess` (pixels to the input tensor) and
            `invoke` (the model).
        peak_memory_bytes: largest resident memory of the process; None where the system does not
            tell.
    """

    interpreter: str
    version: str
    num_threads: int
    import_ms: float
    load_ms: float
    first_ms: float
    latency: Timing
    stages: Mapping[str, Timing]
    peak_memory_bytes: int | None

    @property
    def cold_start_ms(self) -> float:
        """From Python's being ready to the first scores."""
        return self.import_ms + self.load_ms + self.first_ms

    @property
    def shares(self) -> dict[str, float]:
        """Share of each stage's median in their sum, 0 to 1."""
        total = sum(stage.median_ms for stage in self.stages.values())
        return {name: stage.median_ms / total for name, stage in self.stages.items()}

    def to_json(self) -> dict[str, Any]:
        return {
            "interpreter": self.interpreter,
            "interpreter_version": self.version,
            "num_threads": self.num_threads,
            "import_ms": round(self.import_ms, 3),
            "load_ms": round(self.load_ms, 3),
            "first_ms": round(self.first_ms, 3),
            "cold_start_ms": round(self.cold_start_ms, 3),
            "latency_ms": self.latency.to_json(),
            **{f"{name}_ms": stage.to_json() for name, stage in self.stages.items()},
            "shares": {name: round(share, 4) for name, share in self.shares.items()},
            "peak_memory_bytes": self.peak_memory_bytes,
        }


@dataclass(frozen=True)
class Photograph:
    """What was labelled over and over.

    Attributes:
        path: path of the file; None if the image was drawn.
        width: in pixels, upright.
        height: height in pixels.
        size_bytes: size of the file.
    """

    path: str | None
    width: int
    height: int
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        return {
            "path": self.path,
            "width": self.width,
            "height": self.height,
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True)
class Benchmark:
    """Measurements of one file on this machine.

    Attributes:
        model: its path.
        size_bytes: size of the file.
        cost: multiply-adds and parameters.
        machine: kind of machine (kit.runtime.machine.machine_kind).
        image: what was labelled.
        warm_ups: runs before those that count, the first image apart.
        measurements: one for each interpreter and number of threads, in this order.
        unavailable: interpreters that are installed and could not be measured, and why.
    """

    model: str
    size_bytes: int
    cost: Cost
    machine: str
    image: Photograph
    warm_ups: int
    measurements: tuple[Measurement, ...]
    unavailable: Mapping[str, str]

    def hints(self) -> tuple[ThreadHint, ...]:
        """For each interpreter the fewest threads whose median is within 5 % of the least."""
        found = []
        for name in dict.fromkeys(row.interpreter for row in self.measurements):
            rows = [row for row in self.measurements if row.interpreter == name]
            least = min(row.latency.median_ms for row in rows)
            best = min(
                (row for row in rows if row.latency.median_ms <= _LATENCY_TIE_RATIO * least),
                key=lambda row: row.num_threads,
            )
            latency_ms = round(best.latency.median_ms, 3)
            found.append(ThreadHint(self.machine, name, best.num_threads, latency_ms))
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "size_bytes": self.size_bytes,
            **self.cost.to_json(),
            "machine": self.machine,
            "image": self.image.to_json(),
            "warm_ups": self.warm_ups,
            "measurements": [row.to_json() for row in self.measurements],
            "best": [
                {
                    "interpreter": hint.interpreter,
                    "num_threads": hint.num_threads,
                    "latency_ms": hint.latency_ms,
                }
                for hint in self.hints()
            ],
            "unavailable": dict(self.unavailable),
        }


def benchmark(
    path: str | os.PathLike[str],
    *,
    image: str | os.PathLike[str] | None = None,
    most_threads: int | None = None,
    runs: int = RUNS,
    warm_ups: int = WARM_UPS,
    interpreter: str | None = None,
    write: bool = False,
    say: Callable[[str], None] = lambda line: None,
    **known: Any,
) -> Benchmark:
    """Measures a file with each number of threads and each interpreter that is installed.

    Args:
        path: a .tflite image classifier.
        image: the file to label; default: a drawn JPEG of DRAWN_SIZE.
        most_threads: 1 to this are measured; default: the cores, at most 4.
        runs: number of timed runs, at least 1.
        warm_ups: between the first image and those that count.
        interpreter: one of INTERPRETERS; default: KIT_INTERPRETER, else all that are installed.
        write: store the best numbers of threads in the file's card: `write_hints`.
        say: takes lines of progress.
        known: what `Classifier.open` takes for a file without a card: labels, mean and so on.

    Raises:
        ModelFileError: as `Classifier.open`; `write` for a file without a card.
        InferenceError: no interpreter runs it with every number of threads.
        ImageError: the image cannot be read.
        MissingDependencyError: there is no interpreter package.
        ValueError: impossible arguments.
    """
    most_threads = default_threads() if most_threads is None else most_threads
    for name, value, low, high in (
        ("threads", most_threads, 1, MOST_THREADS),
        ("runs", runs, 1, 10**6),
        ("warm-ups", warm_ups, 0, 10**6),
    ):
        if not low <= value <= high:
            raise ValueError(f"expected {low} to {high} {name}, got {value}")
    names = _interpreters(interpreter)
    classifier = Classifier.open(path, num_threads=1, **known)
    file = classifier.file
    if write and file.card is None:
        raise ModelFileError(
            f"{path}: expected a card to store the best number of threads in, it has none: "
            "kit package makes one"
        )
    from tempfile import TemporaryDirectory

    from kit.runtime.machine import machine_kind

    measurements: list[Measurement] = []
    unavailable: dict[str, str] = {}
    with TemporaryDirectory(prefix="kit-") as folder, classifier:
        cost = count_file(file.path)  # of an archive, what was unpacked goes with the classifier
        image_path = _drawn(folder) if image is None else os.fspath(image)
        described = _describe(image_path, drawn=image is None)
        for name in names:
            for num_threads in range(1, most_threads + 1):
                say(f"{name}, {num_threads} thread{'s' * (num_threads > 1)}: {runs} images")
                try:
                    row = _measure(name, num_threads, classifier, image_path, warm_ups, runs)
                except KitError as error:
                    unavailable[name] = str(error)
                    say(f"{name}: {error}")
                    break
                measurements.append(row)
    whole = tuple(row for row in measurements if row.interpreter not in unavailable)
    if not whole:
        raise InferenceError(f"{path}: {'; '.join(unavailable.values())}")
    result = Benchmark(
        str(path),
        file.size_bytes,
        cost,
        machine_kind(),
        described,
        warm_ups,
        whole,
        unavailable,
    )
    if write:
        write_hints(path, result.hints())
    return result


def write_hints(path: str | os.PathLike[str], hints: Sequence[ThreadHint]) -> None:
    """Stores hints in a file's card; all else in it, and all other files, stay as they are.

    The file is written beside and renamed: no reader sees half of it.

    Raises ModelFileError where it has no card.
    """
    from kit.files import write_beside

    card = read_model_file(path).card
    if card is None:
        raise ModelFileError(f"{path}: expected a card to store hints in, it has none")
    known = card.hints
    for hint in hints:
        known = known.with_thread(hint)
    whole = os.path.realpath(path)  # of a link, what it points to is replaced
    with open(whole, "rb") as source:
        content = source.read()
    write_beside(whole, with_card_fields(content, {"hints": known.to_json()}), force=True)


def measure_here(request: str, began: float) -> str:
    """One measurement, in a process that did nothing before; `_measure` starts it.

    Args:
        request: JSON object with `model`, `image`, `preprocess`, `output_tensor`, `num_threads` and
            `images` (how often to label it).
        began: time.perf_counter() before the kit was imported.

    Returns:
        JSON object with milliseconds and `peak_memory_bytes`, or with an `error` in one line.
    """
    asked = json.loads(request)
    try:
        name = interpreter_name()
        import PIL.Image  # noqa: F401

        imported = perf_counter()
        read_model_file(asked["model"])
        spec = PreprocessSpec.from_json(asked["preprocess"])
        runner = Runner(
            asked["model"],
            asked["num_threads"],
            size=(spec.height, spec.width),
            output_tensor=asked.get("output_tensor"),
        )
        loaded = perf_counter()
        images = [_label(runner, spec, asked["image"]) for _ in range(asked["images"])]
        peak = _peak_memory()
    except KitError as error:
        return json.dumps({"error": str(error)})
    return json.dumps(
        {
            "version": _version(name),
            "import_ms": (imported - began) * 1e3,
            "load_ms": (loaded - imported) * 1e3,
            "images": images,
            "peak_memory_bytes": peak,
        }
    )


def _label(runner: Runner, spec: PreprocessSpec, image: str) -> list[float]:
    """Milliseconds of each stage."""
    began = perf_counter()
    pixels = read_image(image, spec.longer_side)
    decoded = perf_counter()
    tensor = to_input(pixels, spec, runner.input.dtype, runner.input.quantization)
    preprocessed = perf_counter()
    runner.run(tensor)
    times = (began, decoded, preprocessed, perf_counter())
    return [(end - start) * 1e3 for start, end in pairwise(times)]


def _measure(
    name: str,
    num_threads: int,
    classifier: Classifier,
    image: str,
    warm_ups: int,
    runs: int,
) -> Measurement:
    """`measure_here` in a new process; raises InferenceError where it fails."""
    import subprocess

    request = {
        "model": os.path.abspath(classifier.file.path),
        "image": os.path.abspath(image),
        "preprocess": classifier.preprocess.to_json(),
        "output_tensor": classifier.output_tensor,
        "num_threads": num_threads,
        "images": 1 + warm_ups + runs,
    }
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, json.dumps(request), *sys.path],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={**os.environ, INTERPRETER_VARIABLE: name},
        check=False,
    )
    if done.returncode < 0:
        raise InferenceError(
            f"expected {name} to run the model, it crashes with signal {-done.returncode}"
        )
    if done.returncode > 0:
        reason = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[-1]
        raise InferenceError(f"expected {name} to run the model, it fails: {reason}")
    found = json.loads(done.stdout)
    if "error" in found:
        raise InferenceError(found["error"])
    first, *later = found["images"]
    counted = later[warm_ups:]
    return Measurement(
        interpreter=name,
        version=found["version"],
        num_threads=num_threads,
        import_ms=found["import_ms"],
        load_ms=found["load_ms"],
        first_ms=sum(first),
        latency=Timing.of(map(sum, counted)),
        stages={
            stage: Timing.of(values)
            for stage, values in zip(_STAGES, zip(*counted, strict=True), strict=True)
        },
        peak_memory_bytes=found["peak_memory_bytes"],
    )


def _interpreters(asked: str | None) -> tuple[str, ...]:
    """Those to measure; raises as `interpreter_name` where there is none."""
    from importlib.util import find_spec

    asked = asked or os.environ.get(INTERPRETER_VARIABLE) or None
    if asked is not None and asked not in INTERPRETERS:
        raise ValueError(f"expected an interpreter of {', '.join(INTERPRETERS)}, got {asked!r}")
    if asked is not None:
        return (asked,)
    return tuple(name for name in INTERPRETERS if find_spec(name)) or (interpreter_name(),)


def _version(name: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(name.replace("_", "-"))
    except PackageNotFoundError:  # built by hand
        return ""


def _peak_memory() -> int | None:
    """Largest resident memory of this process so far, in bytes; None where nobody tells.

    Linux's getrusage does not: there it starts from that of the process that started this one.
    """
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def draw_photograph(width: int, height: int) -> Pixels:
    """Soft shapes and sensor noise: as JPEG, of a photograph's size and cost to decode.

    Returns:
        uint8 `[height, width, 3]`, RGB, the same every time.
    """
    random = np.random.default_rng(0)
    rows = np.linspace(0, 1, height)[:, None, None]
    columns = np.linspace(0, 1, width)[None, :, None]
    value = np.full((height, width, 3), 110.0)
    for waves in (1, 2, 3, 5, 9, 17, 33):
        down, across, shift = random.uniform(-waves, waves, (3, 3)) * np.pi
        value += 60 / waves**0.8 * np.sin(down * rows + across * columns + shift)
    value += random.normal(0, 4, (height, width, 1))
    pixels: Pixels = np.clip(value, 0, 255).astype(np.uint8)
    return pixels


def _drawn(folder: str) -> str:
    from PIL import Image

    path = os.path.join(folder, "drawn.jpg")
    Image.fromarray(draw_photograph(*DRAWN_SIZE)).save(path, quality=90)
    return path


def _describe(path: str, drawn: bool) -> Photograph:
    try:
        height, width = read_image(path).shape[:2]
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    return Photograph(None if drawn else path, width, height, os.path.getsize(path))


def benchmark_text(result: Benchmark) -> str:
    """A line for each measurement, and which number of threads is best."""
    image, runs = result.image, result.measurements[0].latency.n
    table: list[tuple[str, ...]] = [
        (
            *("interpreter", "threads", "import", "load", "first", "later", "p95"),
            *_STAGES,
            "memory",
        )
    ]
    for row in result.measurements:
        peak = row.peak_memory_bytes
        table.append(
            (
                f"{row.interpreter} {row.version}".strip(),
                str(row.num_threads),
                *(f"{value:.1f}" for value in (row.import_ms, row.load_ms, row.first_ms)),
                *(f"{value:.2f}" for value in (row.latency.median_ms, row.latency.p95_ms)),
                *(f"{row.stages[name].median_ms:.2f} {row.shares[name]:3.0%}" for name in _STAGES),
                "not told" if peak is None else f"{peak / 1e6:.1f} MB",
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    lines = [
        f"{result.model}: {result.size_bytes} bytes, {cost_text(result.cost)}",
        f"on {result.machine}",
        f"image: {image.path or 'drawn'}, {image.width} x {image.height} pixels, "
        f"{image.size_bytes / 1e3:.0f} kB",
        f"milliseconds; of later images the median and 95th percentile of {runs}, after the first "
        f"and {result.warm_ups} more, and each stage's median and share; the process's peak memory",
        "",
    ]
    lines += [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in table
    ]
    lines.append("")
    lines += [
        f"best: {hint.num_threads} thread{'s' * (hint.num_threads > 1)} with {hint.interpreter} "
        f"({hint.latency_ms:.2f} ms)"
        for hint in result.hints()
    ]
    lines += [f"{name}: not measured: {reason}" for name, reason in result.unavailable.items()]
    return "\n".join(lines)


def cost_text(cost: Cost) -> str:
    """`0.21 million parameters, 40.8 million multiply-adds`."""
    return (
        f"{cost.parameters / 1e6:.2f} million parameters, "
        f"{cost.multiply_adds / 1e6:.1f} million multiply-adds"
    )
