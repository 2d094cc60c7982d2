"""What `kit deploy pi` writes, installed and run in Debian's own userland for ARM, under QEMU."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from drawing import draw_folder
from places import FILES, ROOT, TESTS

SCRIPT = TESTS / "device" / "arm64" / "arm64.sh"
MODES = ("int8", "float32")


@pytest.fixture(scope="module")
def material(tmp_path_factory, request):
    """A folder of images, one of them broken, a folder with labelled ones, and models.

    With KIT_TEST_DATA a MobileNet on ImageNet weights; without it a network of one layer.
    """
    from PIL import Image

    folder = tmp_path_factory.mktemp("photos")
    noise = np.random.default_rng(5)
    for index, colour in enumerate(("red", "green", "blue")):
        pixels = noise.integers(0, 90, (180, 240, 3), np.uint8)
        pixels[..., index] += 150
        Image.fromarray(pixels).save(folder / f"{colour}.jpg")
    (folder / "broken.jpg").write_text("no image")
    (folder / "again").mkdir()
    (folder / "again" / "red.jpg").write_bytes((folder / "blue.jpg").read_bytes())
    if not os.environ.get("KIT_TEST_DATA"):
        labelled = tmp_path_factory.mktemp("labelled")
        draw_folder(labelled, dict.fromkeys(("red", "green", "blue"), 15), seed=4)
        return folder, labelled, [FILES / f"red_green_blue_{mode}.tflite" for mode in MODES]

    from kit.data import SplitSettings
    from kit.training.fitting import FitSettings
    from kit.workflows.demo import draw_images
    from kit.workflows.train import TrainSettings, train

    patch = pytest.MonkeyPatch()
    request.addfinalizer(patch.undo)
    patch.setenv("KIT_WEIGHTS_DIR", str(Path(os.environ["KIT_TEST_DATA"]) / "weights"))
    work = tmp_path_factory.mktemp("work")
    draw_images(work / "photos", 40, seed=3)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=128,
        quantize=MODES,
        screening=True,
        split=SplitSettings(0.2, 0.1),
        fitting=FitSettings(epochs=5),
        representative_images=30,
    )
    result = train(work / "photos", work / "run", settings, cache=work / "cache")
    for index, path in enumerate(sorted((work / "photos").rglob("*.*"))[::29]):
        (folder / f"drawn_{index}{path.suffix}").write_bytes(path.read_bytes())
    return folder, work / "photos", list(result.screening_files.values())


@pytest.mark.slow
@pytest.mark.tf
@pytest.mark.skipif(
    not os.environ.get("KIT_TEST_DEVICE"),
    reason="KIT_TEST_DEVICE is not set: ten minutes under emulation, by make test-device",
)
@pytest.mark.parametrize("system", ["bookworm-arm64", "bookworm-armhf"])
def test_a_pi_says_what_this_machine_says(material, system):
    images, labelled, models = material
    positive = sorted(path.name for path in labelled.iterdir())[0]
    done = subprocess.run(
        [SCRIPT, system, images, labelled, positive, *models],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHON": sys.executable, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    print(done.stdout, done.stderr)
    if done.returncode == 77:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines.count("self-test passed") == 1
    assert sum("same label on" in line for line in lines) == len(models)
    assert "calibrate: the same bytes" in lines and "monitor: the same bytes" in lines
    # What the device wrote, and what this machine went on with.
    answers = len([path for path in labelled.rglob("*") if path.is_file()])
    assert f"{answers + 1} entries from" in done.stdout
    assert f"{len(list(images.rglob('*.*'))) + 1} lines in results.csv" in done.stdout
