"""What the device's command costs beyond the bare work: for one image, and for a folder.

For one image, this compares the wall time and the peak memory of `python -m kit.device MODEL IMAGE`
with those of bare_label.py. Its fifteen lines import numpy, the interpreter and Pillow, open the
image, convert, resize, invoke, sort and print. If --python has the console script kit-label, that
is measured too. For a folder, it compares `python -m kit.device MODEL FOLDER` with bare_folder.py,
which decodes, resizes and invokes in threads on the same cores. It does so once for whole processes
and once for the loops alone (Classifier.classify_files, and the clock of bare_folder.py). All of
them resize to the model's input; the bare scripts use Pillow's own filters, as such scripts do.

The comparison is fair because all of them run in the same Python with the same interpreter package
and model, and take turns. Each has run once before, so bytecode is compiled and files are in the
system's cache. By default the kit is a fresh copy of this repository, laid out as a wheel lays it
out, because a device has no editable install. The place of the copy is on PYTHONPATH for all of
them. With --installed, the kit is the one that --python finds by itself, PYTHONPATH included.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from common import (
    Run,
    argument_parser,
    cores,
    interleave,
    median,
    median_ratio,
    report,
    run_child,
    verdict,
    with_bytecode,
)

MOST_TIME, MOST_MEMORY, LEAST_THROUGHPUT = 1.2, 1.08, 0.9
_HERE = Path(__file__).resolve().parent
_PHOTOGRAPHS = (".jpg", ".jpeg", ".png")
_INTERPRETER = """
from kit.runtime.interpreter import _interpreter_class
print(_interpreter_class().__module__)
"""


def photographs(root: Path, count: int) -> list[Path]:
    """So many image files below a folder, evenly over their order."""
    found = sorted(path for path in root.rglob("*") if path.suffix.lower() in _PHOTOGRAPHS)
    if not found:
        sys.exit(f"{root}: expected photographs, found none")
    count = min(count, len(found))
    return [found[i * len(found) // count] for i in range(count)]


def turns(
    commands: Mapping[str, Sequence[str]], environment: Mapping[str, str], rounds: int
) -> dict[str, list[Run]]:
    """Runs of each command, in turns, after one of each that does not count."""

    def child(command: Sequence[str]) -> Callable[[], Run]:
        return lambda: run_child(command, environment)

    contestants = {name: child(command) for name, command in commands.items()}
    interleave(contestants, 1)
    return interleave(contestants, rounds)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a .tflite that the kit made")
    parser.add_argument("--python", default=sys.executable, help="that runs all (this one)")
    parser.add_argument("--installed", action="store_true", help="the kit that --python finds")
    parser.add_argument("--rounds", type=int, default=15, help="turns of each, one image (15)")
    parser.add_argument("--folder-rounds", type=int, default=5, help="and a folder (5)")
    parser.add_argument("--count", type=int, default=500, help="images in the folder (500)")
    options = parser.parse_args()

    python, model, threads = options.python, str(options.model), str(min(4, cores()))
    with tempfile.TemporaryDirectory() as scratch:
        environment = with_bytecode(str(Path(scratch, "bytecode")))
        if not options.installed:
            packages = Path(scratch, "packages")
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(_HERE.parent / "kit", packages / "kit", ignore=ignored)
            others = os.environ.get("PYTHONPATH")
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(packages), others)))
        folder = Path(scratch, "photographs")
        folder.mkdir()
        for number, path in enumerate(photographs(options.images, options.count)):
            shutil.copyfile(path, folder / f"{number:06d}{path.suffix}")
        count = len(list(folder.iterdir()))
        image = str(min(folder.iterdir()))
        module = run_child([python, "-c", _INTERPRETER], environment).output.strip()
        machine = json.loads(run_child([python, str(_HERE / "common.py")], environment).output)

        def script(name: str, *arguments: str) -> list[str]:
            return [python, str(_HERE / name), *arguments]

        single = {
            "bare script": script("bare_label.py", module, model, image),
            "python -m kit.device": [python, "-m", "kit.device", model, image],
        }
        console = Path(python).with_name("kit-label")
        if console.exists():
            single["kit-label"] = [python, str(console), model, image]
        whole = {
            "bare loop": script("bare_folder.py", module, threads, model, str(folder)),
            "python -m kit.device": [python, "-m", "kit.device", model, str(folder)],
            "classify_files": script("kit_folder.py", model, str(folder)),
        }
        one = turns(single, environment, options.rounds)
        many = turns(whole, environment, options.folder_rounds)

    seconds = {name: [run.seconds for run in runs] for name, runs in one.items()}
    cpu_seconds = {name: [run.cpu_seconds for run in runs] for name, runs in one.items()}
    peaks = {name: [float(run.peak_bytes) for run in runs] for name, runs in one.items()}
    rows, ratios = [], {}
    for name in one:
        time_ratio = median_ratio(seconds[name], seconds["bare script"])
        memory_ratio = median_ratio(peaks[name], peaks["bare script"])
        ratios[name] = {"time": time_ratio, "memory": memory_ratio}
        reached = (
            f"time {verdict(time_ratio, at_most=MOST_TIME)}, "
            f"memory {verdict(memory_ratio, at_most=MOST_MEMORY)}"
        )
        measured = f"{median(seconds[name]) * 1000:.0f} ms, {median(peaks[name]) / 1e6:.1f} MB"
        rows.append(
            [
                f"one image: {name}",
                measured,
                f"{time_ratio:.3f}, {memory_ratio:.3f}",
                "" if name == "bare script" else reached,
            ]
        )
    walls = {name: [run.seconds for run in runs] for name, runs in many.items()}
    loops = {
        name: [float(json.loads(run.output)["seconds"]) for run in many[name]]
        for name in ("bare loop", "classify_files")
    }
    throughput = {
        # Speed is one over time, so the ratio of speeds has the bare time above.
        "whole process": median_ratio(walls["bare loop"], walls["python -m kit.device"]),
        "loop alone": median_ratio(loops["bare loop"], loops["classify_files"]),
        "whole process against bare loop alone": median_ratio(
            loops["bare loop"], walls["python -m kit.device"]
        ),
    }
    folder_rows = [
        ("whole process", "bare loop", walls["bare loop"], None),
        ("whole process", "kit", walls["python -m kit.device"], throughput["whole process"]),
        ("loop alone", "bare loop", loops["bare loop"], None),
        ("loop alone", "kit", loops["classify_files"], throughput["loop alone"]),
    ]
    for kind, name, values, ratio in folder_rows:
        rows.append(
            [
                f"{count} images, {kind}: {name}",
                f"{count / median(values):.0f} images/s",
                "1.000" if ratio is None else f"{ratio:.3f}",
                "" if ratio is None else verdict(ratio, at_least=LEAST_THROUGHPUT),
            ]
        )
    report(
        "label_speed",
        machine,
        [f"{options.model.name}, {module}", "median", "of bare", "to reach"],
        rows,
        {
            "model": options.model.name,
            "interpreter": module,
            "threads": int(threads),
            "one_image": {
                "ratios": ratios,
                "seconds": seconds,
                "cpu_seconds": cpu_seconds,
                "peak_bytes": peaks,
            },
            "folder": {
                "images": count,
                "throughput_ratios": throughput,
                "process_seconds": walls,
                "process_cpu_seconds": {
                    name: [run.cpu_seconds for run in runs] for name, runs in many.items()
                },
                "loop_seconds": loops,
            },
            "to_reach": {
                "time": MOST_TIME,
                "memory": MOST_MEMORY,
                "throughput": LEAST_THROUGHPUT,
            },
        },
    )


if __name__ == "__main__":
    main()
