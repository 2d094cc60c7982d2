"""Our wheel in environments that hold what a device holds, and nothing else."""

import json
import subprocess
import sys

import pytest
from environments import install, new_environment, run
from places import FILES, ROOT

MODEL = FILES / "red_green_blue_int8.tflite"
ENVIRONMENTS = {
    "tflite-runtime": ["tflite-runtime==2.14.0", "numpy<2", "pillow"],
    "ai-edge-litert": ["ai-edge-litert", "numpy>=2", "pillow"],
}
SCRIPT = """
import json, sys
import numpy as np
from kit.runtime import Classifier
with Classifier.open(sys.argv[1]) as classifier:
    pixels = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    result = classifier.classify(pixels)
unwanted = {"tensorflow", "typer", "rich", "sklearn", "scipy", "matplotlib"} & set(sys.modules)
interpreter = [name for name in ("tflite_runtime", "ai_edge_litert") if name in sys.modules]
print(json.dumps({"best": result.categories[0].label, "unwanted": sorted(unwanted),
                  "interpreter": interpreter, "pillow": "PIL" in sys.modules}))
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.parametrize("interpreter", ENVIRONMENTS)
def test_wheel_labels_images_on_a_device(interpreter, wheel, tmp_path):
    python = new_environment(tmp_path / "env")
    assert install(python, *ENVIRONMENTS[interpreter]) is None
    assert install(python, "--no-deps", wheel) is None
    kit_label = python.with_name("kit-label")

    found = json.loads(run(python, "-c", SCRIPT, MODEL, cwd=tmp_path))
    assert found["unwanted"] == []
    assert found["interpreter"] == [interpreter.replace("-", "_")]
    assert not found["pillow"]  # pixels were given: no image file was read

    assert "self-test passed" in run(kit_label, MODEL, "--self-test", cwd=tmp_path)
    image = tmp_path / "image.png"
    run(
        python,
        "-c",
        f"from PIL import Image; Image.new('RGB', (40, 30), 'red').save({str(image)!r})",
    )
    answer = json.loads(run(kit_label, MODEL, image, "--format", "json"))
    assert answer["image"] == str(image)
    assert sum(c["score"] for c in answer["categories"]) == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_kit_says_what_to_install_for_training(wheel, tmp_path):
    python = new_environment(tmp_path / "env")
    assert install(python, "--no-deps", wheel) is None
    result = subprocess.run([python.with_name("kit"), "--help"], capture_output=True, text=True)
    assert result.returncode == 1
    assert "pip install 'mobilenet-kit[train]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.tf
def test_every_mode_runs_in_tflite_runtime(shared, tmp_path, monkeypatch):
    """With real weights: an int16x8 file of a random network fails there for its extreme scales."""
    from kit.model.spec import QUANTIZATION_MODES
    from kit.training.fitting import FitSettings
    from kit.workflows.demo import draw_images
    from kit.workflows.train import TrainSettings, train

    monkeypatch.setenv("KIT_WEIGHTS_DIR", str(shared / "weights"))
    draw_images(tmp_path / "photos", 40, seed=3)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=128,
        quantize=QUANTIZATION_MODES,
        fitting=FitSettings(epochs=5),
        representative_images=30,
    )
    result = train(tmp_path / "photos", tmp_path / "run", settings, cache=tmp_path / "cache")
    python = new_environment(tmp_path / "env")
    assert install(python, *ENVIRONMENTS["tflite-runtime"]) is None
    for mode, path in result.files.items():
        command = [python, "-m", "kit.device", path, "--self-test"]
        tested = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert "self-test passed" in tested.stdout, (mode, tested.stdout, tested.stderr)
