"""Labelling with the kit, with MediaPipe's ImageClassifier, and with TensorFlow's own interpreter.

This compares the wall time and the peak memory of a process that labels one image, and the images a
second of a process that labels a folder, its start included. The kit is its base install in an
environment of its own, as on a device. MediaPipe has an environment of its own too, and runs
mediapipe_label.py, which is the code of its guide. tf.lite is bare_label.py and bare_folder.py with
TensorFlow's interpreter, in the environment that runs this script.

The comparison is fair because all of them label the same files with the same .tflite on the same
cores and take turns. All have run once before, so files and bytecode are in the system's cache. One
thing differs: MediaPipe samples pixels half a pixel aside, and decodes with a library of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from common import (
    argument_parser,
    cores,
    median,
    median_ratio,
    report,
    run_child,
    verdict,
    with_bytecode,
)
from label_speed import photographs, turns

MOST_TIME, MOST_MEMORY, LEAST_THROUGHPUT = 1 / 3, 1 / 2, 1.0
"""Of MediaPipe's."""
_HERE = Path(__file__).resolve().parent
_REQUIREMENTS = {"kit": str(_HERE.parent), "mediapipe": "mediapipe==1.2.2"}


def environment_of(name: str) -> str:
    """The Python of an environment with _REQUIREMENTS[name], made anew below this one."""
    folder = Path(sys.prefix, "benchmarks", name)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    install = [python, "-m", "pip", "install", "--quiet", _REQUIREMENTS[name]]
    if subprocess.run(install).returncode != 0:
        sys.exit(f"expected pip to install {_REQUIREMENTS[name]}, it could not: see above")
    return python


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--model", type=Path, required=True, help="a .tflite that the kit made")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each, one image (7)")
    parser.add_argument("--folder-rounds", type=int, default=3, help="and a folder (3)")
    parser.add_argument("--count", type=int, default=300, help="images in the folder (300)")
    options = parser.parse_args()
    pythons = {name: environment_of(name) for name in _REQUIREMENTS}
    model, threads = str(options.model), str(min(4, cores()))
    with tempfile.TemporaryDirectory() as scratch:
        environment = with_bytecode(str(Path(scratch, "bytecode")))
        environment.pop("PYTHONPATH", None)
        folder = Path(scratch, "photographs")
        folder.mkdir()
        for number, path in enumerate(photographs(options.images, options.count)):
            shutil.copyfile(path, folder / f"{number:06d}{path.suffix}")
        copies = sorted(folder.iterdir())
        count, image = len(copies), str(copies[0])

        def commands(place: str, bare: str, *more: str) -> dict[str, list[str]]:
            module = "tensorflow.lite.python.interpreter"
            tensorflow = [sys.executable, str(_HERE / bare), module, *more]
            return {
                "MediaPipe": [
                    *(pythons["mediapipe"], str(_HERE / "mediapipe_label.py")),
                    *(model, place),
                ],
                "tf.lite": [*tensorflow, model, place],
                "kit-label": [pythons["kit"], "-m", "kit.device", model, place],
            }

        one = turns(commands(image, "bare_label.py"), environment, options.rounds)
        many = turns(
            commands(str(folder), "bare_folder.py", threads), environment, options.folder_rounds
        )
        facts = [pythons["kit"], str(_HERE / "common.py")]
        machine = json.loads(run_child(facts, environment).output)

    seconds = {name: [run.seconds for run in runs] for name, runs in one.items()}
    peaks = {name: [float(run.peak_bytes) for run in runs] for name, runs in one.items()}
    walls = {name: [run.seconds for run in runs] for name, runs in many.items()}
    rows, ratios = [], {}
    for name in one:
        found = {
            "time": median_ratio(seconds[name], seconds["MediaPipe"]),
            "memory": median_ratio(peaks[name], peaks["MediaPipe"]),
            # Images a second are one over time.
            "throughput": median_ratio(walls["MediaPipe"], walls[name]),
        }
        ratios[name] = found
        reached = (
            f"time {verdict(found['time'], at_most=MOST_TIME)}, "
            f"memory {verdict(found['memory'], at_most=MOST_MEMORY)}, "
            f"images/s {verdict(found['throughput'], at_least=LEAST_THROUGHPUT)}"
        )
        rows.append(
            [
                name,
                f"{median(seconds[name]) * 1000:.0f} ms",
                f"{median(peaks[name]) / 1e6:.0f} MB",
                f"{count / median(walls[name]):.0f}",
                f"{found['time']:.3f}, {found['memory']:.3f}, {found['throughput']:.2f}",
                reached if name == "kit-label" else "",
            ]
        )
    heading = ["one image", "peak memory", f"images/s of {count}", "of MediaPipe's", "to reach"]
    report(
        "alternatives",
        machine,
        [options.model.name, *heading],
        rows,
        {
            "model": options.model.name,
            "threads": int(threads),
            "ratios": ratios,
            "one_image": {"seconds": seconds, "peak_bytes": peaks},
            "folder": {"images": count, "process_seconds": walls},
            "to_reach": {
                "time": MOST_TIME,
                "memory": MOST_MEMORY,
                "throughput": LEAST_THROUGHPUT,
            },
        },
    )


if __name__ == "__main__":
    main()
