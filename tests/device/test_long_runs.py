"""Ten thousand images in one process: its memory stays where it was after the first thousands."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

IMAGES = 10_000
BROKEN_EVERY = 100
PAGE_BYTES = 4096


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder of 10,000 links to photographs of many kinds; every hundredth is torn off."""
    from PIL import Image

    kinds, folder = tmp_path_factory.mktemp("kinds"), tmp_path_factory.mktemp("many")
    noise = np.random.default_rng(3)
    for index, (mode, suffix) in enumerate(
        [("RGB", "jpg"), ("L", "jpg"), ("RGBA", "png"), ("P", "gif"), ("CMYK", "jpg")] * 3
    ):
        size = (64 + 16 * index, 48 + 12 * index)
        coarse = Image.fromarray(noise.integers(0, 255, (12, 16, 3), np.uint8))
        coarse.resize(size).convert(mode).save(kinds / f"{index:02}.{suffix}")
    whole = sorted(kinds.iterdir())
    torn = kinds / "torn.jpg"
    content = whole[-1].read_bytes()
    torn.write_bytes(content[: len(content) // 2])
    for index in range(IMAGES):
        source = torn if index % BROKEN_EVERY == 0 else whole[index % len(whole)]
        os.link(source, folder / f"{index:05}{source.suffix}")
    return folder


@pytest.mark.slow
# Watching grew by 2.0 to 3.8 % on one processor, in steps and for a reason not found yet;
# 1 kB an image would be 11 %.
@pytest.mark.parametrize("way, growth", [("folder", 0.02), ("--watch", 0.05)])
def test_memory_stays_flat(many, model, tmp_path, way, growth):
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system has no /proc/PID/statm to read a process's memory from")
    output = tmp_path / "results.csv"
    command = [sys.executable, "-m", "kit.device", str(model), "--output", str(output)]
    command += ["--watch", str(many)] if way == "--watch" else [str(many)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    resident = {}
    rows, position = 0, 0
    try:
        while process.poll() is None and rows <= IMAGES:  # a line is the header
            time.sleep(0.02)
            if not output.exists():
                continue
            with open(output, "rb") as file:
                file.seek(position)
                new = file.read()
            position += len(new)
            rows += new.count(b"\n")
            pages = Path(f"/proc/{process.pid}/statm").read_text().split()
            if len(pages) > 1:
                resident.setdefault(rows // 1000, []).append(int(pages[1]) * PAGE_BYTES)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        err = process.communicate(timeout=60)[1]
    with open(output, newline="") as file:
        table = list(csv.DictReader(file))
    assert [Path(row["image"]).stem for row in table if row["label"]] == [
        f"{index:05}" for index in range(IMAGES) if index % BROKEN_EVERY
    ], err
    assert sum(bool(row["error"]) for row in table) == IMAGES // BROKEN_EVERY
    early, late = (np.mean(resident[thousands]) for thousands in (2, 9))
    print(f"{way}: {early / 1e6:.2f} MB in the third thousand, {late / 1e6:.2f} MB in the last")
    assert late == pytest.approx(early, rel=growth)
