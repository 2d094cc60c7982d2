"""Runs the comparisons with what one would use instead; writes docs/explanation/benchmarks.md.

Each comparison is a script of its own in this folder, and its docstring says what is compared and
why that is fair. This script trains the model that several of them measure, runs them one after
another, and puts their words and tables into one page. The page replaces the last one when all
scripts have succeeded.
"""

from __future__ import annotations

import ast
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from common import KIT, argument_parser

_HERE = Path(__file__).resolve().parent
_PAGE = _HERE.parent / "docs" / "explanation" / "benchmarks.md"
_HEAD = """# Benchmarks

This page compares the kit with what you would use instead. `make benchmark` writes it, with the
figures of the machine that it runs on. Each section is a script in `benchmarks/`. The processes or
loops that are compared take turns on one machine, so the ratios hold on other machines even if the
milliseconds do not.
"""
RUN, MODEL, IMAGES = "{run}", "{run}/model_int8.tflite", "{images}"
SCRIPTS: Sequence[tuple[str, ...]] = (
    ("alternatives.py", "--images", IMAGES, "--model", MODEL),
    ("label_speed.py", "--images", IMAGES, "--model", MODEL),
    ("invoke_latency.py", "--model", MODEL),
    ("file_size.py", "--run", RUN),
    ("train_speed.py", "--images", IMAGES),
    ("extraction_speed.py", "--images", IMAGES),
    ("augmentation.py", "--images", IMAGES),
    ("batch_normalization.py",),
    ("sweep_overhead.py", "--images", IMAGES),
    ("startup.py",),
)
_TRAIN = ("--alpha", "0.5", "--input-resolution", "224")
_MODES = ("float32", "float16", "dynamic", "int8")


def run(command: Sequence[str]) -> str:
    """What a command prints; ends this program where it fails. Its complaints go to the screen."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}: docs stay as they were")
    return done.stdout


def section(script: str, output: str) -> str:
    """A script's words and its table."""
    text = ast.get_docstring(ast.parse((_HERE / script).read_text("utf-8"))) or ""
    title, _, explained = text.partition("\n\n")
    table = "\n".join(line for line in output.splitlines() if line.startswith("|"))
    machine = output.partition("\n")[0].partition(", ")[2]
    heading = " ".join(title.split()).removesuffix(".")
    measured = f"`benchmarks/{script}`" + (f", {machine}" if machine else "")
    return f"## {heading}\n\n{measured}\n\n{table}\n\n{explained}\n"


def main() -> None:
    options = argument_parser(__doc__).parse_args()
    sections = [_HEAD]
    with tempfile.TemporaryDirectory() as folder:
        places = {"run": str(Path(folder, "run")), "images": str(options.images)}
        modes = [word for mode in _MODES for word in ("--quantize", mode)]
        kit = [sys.executable, "-c", KIT]
        run([*kit, "train", places["images"], "--output", places["run"], *_TRAIN, *modes])
        for number, (script, *arguments) in enumerate(SCRIPTS, start=1):
            began = time.monotonic()
            given = [argument.format(**places) for argument in arguments]
            sections.append(section(script, run([sys.executable, str(_HERE / script), *given])))
            seconds = time.monotonic() - began
            print(f"[{number}/{len(SCRIPTS)}] {script}: {seconds:.0f} s", file=sys.stderr)
    partial = _PAGE.with_suffix(".partial")
    partial.write_text("\n".join(sections), "utf-8")
    partial.replace(_PAGE)
    print(_PAGE)


if __name__ == "__main__":
    main()
