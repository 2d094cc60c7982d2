"""Damaged and hostile files, drawn from a seed, and how the commands take them.

    python tests/support/fuzzing.py COUNT [SEED]

draws so many files, gives each to the command that reads its kind, in processes of their own, and
prints what went wrong: a crash, a hang, or a traceback. `make fuzz` does this with 10,000.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

FILES = Path(__file__).parent.parent / "files"
_TOGETHER = 50  # files that one process reads
_SECONDS = 300


# ---------------------------------------------------------------- how a file is damaged


def flip(content: bytearray, draw: random.Random) -> None:
    for _ in range(draw.choice((1, 1, 2, 8))):
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)


def overwrite(content: bytearray, draw: random.Random) -> None:
    position = draw.randrange(len(content))
    word = draw.choice((0, 1, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, len(content)))
    content[position : position + 4] = word.to_bytes(4, "little")


def cut(content: bytearray, draw: random.Random) -> None:
    del content[draw.randrange(len(content)) :]


def remove(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content))
    del content[start : start + draw.randrange(1, 40)]


def insert(content: bytearray, draw: random.Random) -> None:
    start = draw.randrange(len(content) + 1)
    content[start:start] = draw.randbytes(draw.randrange(1, 40))


def repeat(content: bytearray, draw: random.Random) -> None:
    start, length = draw.randrange(len(content)), draw.randrange(1, 200)
    content[start:start] = content[start : start + length]


def replace_all(content: bytearray, draw: random.Random) -> None:
    content[:] = draw.randbytes(draw.randrange(200))


DAMAGES = (flip, flip, flip, overwrite, overwrite, cut, remove, insert, repeat, replace_all)


def damaged(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        if changed:
            draw.choice(DAMAGES)(changed, draw)
    return bytes(changed)


# ---------------------------------------------------------------- what is damaged, and who reads it


@dataclass(frozen=True)
class Target:
    """One kind of file.

    Attributes:
        seeds: sound files; damaged ones are made of them.
        suffix: of the file's name.
        read: gives a file to the code that reads it; raises what a command reports in one line.
    """

    seeds: tuple[bytes, ...]
    suffix: str
    read: Callable[[Path], None]


def _label(*options: str) -> Callable[[Path], None]:
    def read(path: Path) -> None:
        from kit.device.command import main

        _quietly(lambda: main([str(path), str(FILES / "red.png"), *options]))

    return read


def _command(*arguments: str) -> Callable[[Path], None]:
    """`kit ARGUMENTS`, with the file in the place of `{}`."""

    def read(path: Path) -> None:
        from typer.testing import CliRunner

        from kit.cli.app import app

        with tempfile.TemporaryDirectory() as folder:
            filled = [part.replace("{}", str(path)).replace("{out}", folder) for part in arguments]
            result = CliRunner().invoke(app, filled)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception

    return read


def _quietly(work: Callable[[], int]) -> None:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        work()
    if "Traceback" in said.getvalue():
        raise AssertionError(said.getvalue())


def _read_image(path: Path) -> None:
    from kit.errors import ImageError
    from kit.runtime.images import read_image

    with contextlib.suppress(ImageError):
        read_image(path, 16)


def _read_labels(path: Path) -> None:
    from kit.errors import LabelFileError
    from kit.model.labels import read_labels

    with contextlib.suppress(LabelFileError):
        read_labels(path)


def _read_table(path: Path) -> None:
    from kit.data import DataSettings, load_dataset
    from kit.errors import DataError

    (path.parent / "a").mkdir(exist_ok=True)
    for name in ("a/1.png", "a/2.png"):
        (path.parent / name).write_bytes(name.encode())
    with contextlib.suppress(DataError):
        load_dataset(path.parent, DataSettings(labels_csv=path))


def _read_run(path: Path) -> None:
    from kit.errors import KitError
    from kit.model.spec import ModelCard
    from kit.workflows.run_folder import RUN_NAME, read_run

    run = path.parent / f"{path.stem}.run"
    run.mkdir(exist_ok=True)
    (run / RUN_NAME).write_bytes(path.read_bytes())
    with contextlib.suppress(KitError):
        record = read_run(run)
        ModelCard.from_json(record["card"])


def _read_source(path: Path) -> None:
    from converters.sources.read import read_source
    from converters.sources.source import SourceOptions
    from kit.errors import KitError

    with contextlib.suppress(KitError):
        read_source(path, SourceOptions(mean=(0, 0, 0), std=(1, 1, 1)))


def _images() -> tuple[bytes, ...]:
    from PIL import Image

    picture = Image.effect_mandelbrot((40, 30), (-2, -1.5, 1, 1.5), 20)
    made = []
    for kind, mode in (
        *(("JPEG", "RGB"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P")),
        *(("BMP", "RGB"), ("TIFF", "I;16"), ("TIFF", "RGB"), ("WEBP", "RGB"), ("PPM", "RGB")),
    ):
        file = io.BytesIO()
        picture.convert("L").convert("RGB" if mode == "CMYK" else "L").convert(mode).save(
            file, kind
        )
        made.append(file.getvalue())
    return tuple(made)


def _archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(FILES / "plain_float32.tflite", "model_unquant.tflite")
        archive.writestr("labels.txt", "0 red\n1 green\n2 blue\n")
    return file.getvalue()


def _run_record(model: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(model)) as archive:
        card = json.loads(archive.read("kit.json"))
    split = {"a/1.png": "train", "b/1.png": "test"}
    settings = {"data": {"label_regex": ""}, "targets": None}
    facts = {"images": "photos", "representative_dataset": ["a/1.png"], "settings": settings}
    return json.dumps({"schema_version": 1, "card": card, "split": split, **facts}).encode()


def _shared_models() -> tuple[bytes, ...]:
    folder = Path(os.environ.get("KIT_TEST_DATA", "no such folder"), "models")
    return tuple(path.read_bytes() for path in sorted(folder.glob("*/*.tflite")))


def _scans() -> tuple[bytes, ...]:
    try:
        from pydicom.data import get_testdata_file
    except ImportError:
        return ()
    names = ("CT_small.dcm", "SC_rgb_small_odd.dcm", "examples_palette.dcm")
    paths = [get_testdata_file(name, download=False) for name in names]
    return tuple(Path(str(path)).read_bytes() for path in paths if path)


def _with_digest(content: bytes) -> bytes:
    """As a kit of today makes it; the files beside it are of earlier ones."""
    from kit.model.model_file import digest_of, with_card_fields

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        end = min(info.header_offset for info in archive.infolist())
    return with_card_fields(content, {"model_sha256": digest_of(content, end)})


def targets() -> dict[str, Target]:
    """Every kind of file that the kit reads."""
    files = {path.name: path.read_bytes() for path in FILES.glob("*.tflite")}
    for suffix in ("keras", "h5"):
        files[f"transfer.{suffix}"] = (FILES / f"keras_2_transfer.{suffix}").read_bytes()
    earlier = tuple(files[name] for name in sorted(files) if name.startswith("red_green_blue"))
    kits = tuple(map(_with_digest, earlier))
    plain = tuple(files[name] for name in sorted(files) if name.startswith("plain"))
    labels = FILES.parent / "files" / "labels.txt"
    given = ("--labels", str(labels), "--mean", "127.5", "--std", "127.5")
    found = {
        "kit models": Target(kits, ".tflite", _label("--self-test")),
        "kit models, info": Target(kits, ".tflite", _command("info", "{}")),
        "models of earlier kits": Target(earlier, ".tflite", _label("--self-test")),
        "foreign models": Target(plain, ".tflite", _label(*given)),
        "foreign models, package": Target(
            plain, ".tflite", _command("package", "{}", "--output", "{out}/x.tflite", *given)
        ),
        "Keras 3 format": Target((files["transfer.keras"],), ".keras", _read_source),
        "HDF5": Target((files["transfer.h5"],), ".h5", _read_source),
        "archives": Target((_archive(),), ".zip", _label()),
        "images": Target(_images(), ".jpg", _read_image),
        "label files": Target(
            (b"0 a\n1 b\n", b'["a", "b"]', b'{"0": "a", "1": "b"}', "a\nb\n".encode("utf-16")),
            ".txt",
            _read_labels,
        ),
        "label tables": Target((b"index,label\n0,a\n1,b\n",), ".csv", _read_labels),
        "runs": Target((_run_record(kits[0]),), ".json", _read_run),
        "tables": Target((b'path,label\na/1.png,x\n"a/2.png",y\n',), ".csv", _read_table),
    }
    if theirs := _shared_models():
        found["shared models"] = Target(theirs, ".tflite", _label("--mean", "0", "--std", "1"))
    if scans := _scans():
        found["DICOM"] = Target(scans, ".dcm", _read_image)
    return found


# ---------------------------------------------------------------- many of them


def draw_file(target: Target, seed: str) -> bytes:
    draw = random.Random(seed)
    return damaged(draw.choice(target.seeds), draw)


def read_here(name: str, seeds: range) -> Iterator[str]:
    """What went wrong with these files, in this process; says which one it reads."""
    target = targets()[name]
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            path = Path(folder, f"file{target.suffix}")
            path.write_bytes(draw_file(target, f"{name} {seed}"))
            print(f"at {seed}", flush=True)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    target.read(path)
            except Exception as error:  # whatever should have been a sentence
                yield f"{name} {seed}: {type(error).__name__}: {error}"


def read_elsewhere(name: str, seeds: range) -> Iterator[str]:
    """The same in a process of its own, and once more behind a file that ends it."""
    while seeds:
        asked = json.dumps([name, seeds.start, seeds.stop])
        try:
            done = subprocess.run(
                [sys.executable, __file__, "--child"],
                input=asked,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
                check=False,
            )
            output, status, why = done.stdout, done.returncode, done.stderr[-300:]
        except subprocess.TimeoutExpired as error:
            output, status, why = (error.stdout or b"").decode(), -1, "it hangs"
        lines = output.splitlines()
        yield from (line.removeprefix("wrong ") for line in lines if line.startswith("wrong "))
        if status == 0:
            return
        last = next((line for line in reversed(lines) if line.startswith("at ")), None)
        seed = seeds.start if last is None else int(last.removeprefix("at "))
        yield f"{name} {seed}: the process ends with {status}: {why}"
        seeds = range(seed + 1, seeds.stop)


def fuzz(count: int, first: int = 0) -> tuple[Counter[str], list[str]]:
    """How many files of each kind were read, and what went wrong."""
    from concurrent.futures import ThreadPoolExecutor

    kinds = list(targets())
    each = -(-count // len(kinds))
    tasks = [
        (name, range(start, min(start + _TOGETHER, first + each)))
        for start in range(first, first + each, _TOGETHER)
        for name in kinds
    ]
    read: Counter[str] = Counter()
    wrong: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda task: list(read_elsewhere(*task)), tasks)
        for (name, seeds), found in zip(tasks, results, strict=True):
            read[name] += len(seeds)
            wrong += found
    return read, wrong


def main() -> int:
    if sys.argv[1:] == ["--child"]:
        name, start, stop = json.loads(sys.stdin.read())
        for line in read_here(name, range(start, stop)):
            print("wrong", line.replace("\n", " "), flush=True)
        return 0
    count = int(sys.argv[1])
    read, wrong = fuzz(count, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    for name, number in read.items():
        print(f"{name}: {number} files")
    print(f"{read.total()} files, {len(wrong)} crashes, hangs or tracebacks")
    for line in wrong:
        print(f"  {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
