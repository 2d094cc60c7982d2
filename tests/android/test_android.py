"""The phone app without a phone: its Kotlin under Maven, against this side's golden files."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from drawing import draw_folder
from PIL import Image
from places import OTHER_RUNTIMES, ROOT
from training_fixtures import SIDE

from kit.runtime import Classifier
from kit.runtime.images import read_image

pytestmark = pytest.mark.slow
pytest_plugins = ["training_fixtures"]

APP = ROOT / "android_demo"
SERVER = OTHER_RUNTIMES / "serve_interpreter.py"
TEN_MINUTES = 600


def run(*command, **options):
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=TEN_MINUTES,
        **options,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    return done.stdout


@pytest.fixture(scope="session")
def maven():
    """Runs Maven in the app's folder; skips where it or its packages cannot be had."""
    for program in ("mvn", "java"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: it compiles and tests the app's Kotlin")

    def goals(*arguments):
        return run("mvn", "--batch-mode", "--quiet", *arguments, cwd=APP)

    return goals


def test_the_app_passes_its_tests(maven):
    """Of its classifier, and of the states and errors of its screen, on Robolectric's Android."""
    if shutil.which("aapt") is None:
        maven("test", "--projects", "classifier")
        pytest.skip("aapt, which makes the app's resources, is missing: no screen was tested")
    maven("test", "-P", "screens")


@pytest.fixture(scope="module")
def screening_run(small_backbone, tmp_path_factory):
    """Drawn images, and a run trained on them with a plain and a screening file."""
    from kit.data import SplitSettings
    from kit.evaluation import Targets
    from kit.training.fitting import FitSettings
    from kit.workflows.train import TrainSettings, train

    base = tmp_path_factory.mktemp("screening")
    images = draw_folder(base / "images", {"blue": 80, "red": 80}, seed=6)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=SIDE,
        weights=str(small_backbone.weights.path),
        split=SplitSettings(0.3, 0.2),
        fitting=FitSettings(epochs=6, learning_rate=0.01, batch_size=16),
        targets=Targets("red", sensitivity=0.9, specificity=0.99, confidence=0.0),
        screening=True,
    )
    return images, train(images, base / "run", settings, cache=base / "cache")


@pytest.mark.tf
@pytest.mark.parametrize("form", ["files", "screening_files"])
def test_same_labels_as_this_runtime(maven, shared, tmp_path, form, screening_run):
    """Kotlin preprocesses photographs, the same interpreter runs: the answers are the same."""
    images, result = screening_run
    model = getattr(result, form)["int8"]
    photos = sorted((shared / "data/flowers").glob("*/*.jpg"))[::150]
    photos += sorted(images.glob("*/*.png"))[::20]
    for index, photo in enumerate(photos):
        Image.fromarray(read_image(photo)).save(tmp_path / f"{index:03}.png")
    maven(
        "test",
        "--projects",
        "classifier",
        "-Dtest=EndToEndTest",
        f"-Dkit.photographs={tmp_path}",
        f"-Dkit.model={model}",
        f"-Dkit.python={sys.executable}",
        f"-Dkit.server={SERVER}",
    )
    lines = (tmp_path / "answers.jsonl").read_text(encoding="utf-8").splitlines()
    *found, last = map(json.loads, lines)
    assert last["self_test"] and all(last["self_test"])
    assert len(found) == len(photos) > 25
    with Classifier.open(model, num_threads=1) as classifier:
        for line in found:
            image = tmp_path / line["image"]
            expected = classifier.classify(image)
            names = [(c["index"], c["label"]) for c in line["categories"]]
            assert names == [(c.index, c.label) for c in expected.categories]
            scores = np.array([c["score"] for c in line["categories"]], np.float32)
            # The last digit may go: interpreters that share the cores add up in another order.
            np.testing.assert_allclose(scores, [c.score for c in expected.categories], atol=1e-6)
            assert (line["answer"], line["unknown"]) == (expected.answer, expected.unknown)
            if form == "screening_files":
                heat = classifier.explain(image).activation_map
                shares = np.maximum(heat, 0) / max(heat.max(), 1e-9)
                np.testing.assert_allclose(line["heat"], shares.ravel(), atol=1e-5)
    if form == "screening_files":
        assert {line["unknown"] for line in found} == {True, False}


def test_apk_without_google_s_hosts(maven, data):
    """`build-apk.sh MODEL`: signed, with the model as it is, and nothing that Android can't run."""
    for program in ("aapt", "zipalign", "apksigner", "javac"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed: build-apk.sh needs it")
    model = data / "red_green_blue_int8.tflite"
    apk = Path(run(APP / "build-apk.sh", model).splitlines()[-1])
    run("apksigner", "verify", apk)
    run("zipalign", "-c", "4", apk)
    facts = run("aapt", "dump", "badging", apk)
    assert "sdkVersion:'26'" in facts and "launchable-activity" in facts
    assert run("aapt", "dump", "permissions", apk).count("uses-permission") == 1
    with zipfile.ZipFile(apk) as archive:
        packed = archive.getinfo("assets/model.tflite")
        assert packed.compress_type == zipfile.ZIP_STORED
        assert archive.read(packed) == model.read_bytes()
        licence = (APP / "app/target/aar/lite/LICENSE").read_text(encoding="utf-8")
        assert licence.strip() in archive.read("res/raw/licences.txt").decode()
    if shutil.which("dexdump") is not None:
        code = run("dexdump", "-d", apk)
        assert "Lmobilenetkit/demo/MainActivity;" in code
        assert "invoke-custom" not in code


def test_a_wrong_file_costs_no_apk(maven, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 no model")
    done = subprocess.run(
        [APP / "build-apk.sh", tmp_path / "photo.jpg"], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "expected a .tflite model" in done.stderr and done.stderr.count("\n") == 1
