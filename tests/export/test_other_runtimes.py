"""Our files in runtimes that the kit does not ship: the same answers, told nothing but the file.

docs/explanation/runtimes.md has the figures.
"""

import json
import platform
import random
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from environments import run
from other_interpreters import INSTALLED, RUNTIME_MODULES
from places import OTHER_RUNTIMES

from converters.operators import FIRST_RUNTIME, RUNTIMES
from converters.packaging import add_metadata
from kit.model.model_file import CARD_NAME, LABELS_NAME, append_files, read_model_file
from kit.model.preprocess import fit_pixels, to_input
from kit.model.spec import QUANTIZATION_MODES
from kit.runtime.images import read_image
from kit.runtime.interpreter import Runner

pytestmark = [pytest.mark.slow, pytest.mark.tf]

IMAGES = 300
MODELS = tuple(f"model_{mode}.tflite" for mode in QUANTIZATION_MODES)
SAME_KERNELS = ("model_float32.tflite", "model_float16.tflite", "model_int16x8.tflite")
KERNELS_DIFFER = tuple(model for model in MODELS if model not in SAME_KERNELS)

OTHERS = tuple(RUNTIME_MODULES)[1:]


@pytest.fixture(scope="module")
def flowers(shared, flowers_cache, tmp_path_factory):
    """The folder of a trained model of every mode, with photographs that it was not trained on."""
    from kit.data import SplitSettings
    from kit.workflows.train import TrainSettings, train

    folder = tmp_path_factory.mktemp("flowers")
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=224,
        quantize=QUANTIZATION_MODES,
        split=SplitSettings(test=0.2),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIT_WEIGHTS_DIR", str(shared / "weights"))
        images = shared / "data" / "flowers"
        result = train(images, folder / "run", settings, cache=flowers_cache)
    split = json.loads((result.run / "run.json").read_text())["split"]
    unseen = sorted(path for path, part in split.items() if part == "test")
    photos = [images / path for path in random.Random(0).sample(unseen, IMAGES)]
    spec = read_model_file(result.run / MODELS[0]).card.preprocess
    pixels = np.stack([fit_pixels(read_image(photo), spec) for photo in photos])
    np.savez(result.run / "pixels.npz", pixels=pixels, mean=spec.mean, std=spec.std)
    (result.run / "photos.txt").write_text("".join(f"{photo}\n" for photo in photos))
    return result.run


@pytest.fixture(scope="module")
def scores_of(flowers, python_of):
    """`scores_of(runtime)`: scores `[IMAGES, classes]` by model file."""
    found = {}

    def scores(runtime):
        if runtime not in found:
            plain = [f"plain:{model}" for model in MODELS] if runtime == INSTALLED else []
            module, output = RUNTIME_MODULES[runtime], f"{len(found)}.npz"
            script = [OTHER_RUNTIMES / "score_pixels.py", module, "pixels.npz", output]
            run(python_of(runtime), *script, *MODELS, *plain, cwd=flowers)
            found[runtime] = dict(np.load(flowers / output))
        return found[runtime]

    return scores


def lead(scores):
    """How far the best score is above the second."""
    ordered = np.sort(scores, axis=1)
    return ordered[:, -1] - ordered[:, -2]


def assert_nearly_always_the_same(found, expected):
    same = found.argmax(axis=1) == expected.argmax(axis=1)
    assert same[lead(expected) > 0.2].all()
    assert same.mean() >= 0.98


@pytest.mark.parametrize("model", SAME_KERNELS)
@pytest.mark.parametrize("runtime", OTHERS)
def test_the_same_labels_on_every_runtime(runtime, model, scores_of):
    found, expected = scores_of(runtime)[model], scores_of(INSTALLED)[model]
    assert len(found) == IMAGES
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    np.testing.assert_allclose(found, expected, atol=0.001)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="other wheels have other kernels")
def test_int8_scores_of_tflite_runtime_are_those_of_the_plain_kernels(scores_of):
    """So it is not the runtime's age that makes them differ, but its lack of XNNPACK for int8."""
    found = scores_of("tflite-runtime 2.14")["model_int8.tflite"]
    installed = scores_of(INSTALLED)
    np.testing.assert_array_equal(found, installed["plain:model_int8.tflite"])
    assert not np.array_equal(found, installed["model_int8.tflite"])


@pytest.mark.parametrize("model", KERNELS_DIFFER)
@pytest.mark.parametrize("runtime", OTHERS)
def test_nearly_always_the_same_label_where_kernels_differ(runtime, model, scores_of):
    assert_nearly_always_the_same(scores_of(runtime)[model], scores_of(INSTALLED)[model])


@pytest.mark.parametrize("model", KERNELS_DIFFER)
def test_nearly_always_the_same_label_with_plain_kernels(model, scores_of):
    installed = scores_of(INSTALLED)
    assert_nearly_always_the_same(installed[f"plain:{model}"], installed[model])


# ---------------------------------------------------------------- operators


@pytest.mark.parametrize(
    "runtime, name",
    [
        ("tflite-runtime 2.14", "2.14"),
        ("ai-edge-litert 1.0", "litert-1"),
        ("ai-edge-litert 2.0", "litert-2"),
    ],
)
def test_the_oldest_release_of_a_line_has_what_the_table_says(runtime, name, python_of, tmp_path):
    from ai_edge_litert.schema_py_generated import BuiltinOperator
    from one_operator import naming

    def release(text):
        return tuple(int(part) for part in text.split("."))

    expected = {
        f"{operator} {version}": release(first) <= release(RUNTIMES[name])
        for operator, firsts in FIRST_RUNTIME.items()
        for version, first in firsts.items()
    }
    models = {}
    for pair in expected:
        operator, version = pair.split()
        content = naming(getattr(BuiltinOperator, operator), int(version))
        models[pair] = np.frombuffer(content, np.uint8)
    np.savez(tmp_path / "models.npz", **models)
    script = [
        OTHER_RUNTIMES / "probe_operators.py",
        RUNTIME_MODULES[runtime],
        "models.npz",
        "known.json",
    ]
    run(python_of(runtime), *script, cwd=tmp_path)
    known = set(json.loads((tmp_path / "known.json").read_text()))
    assert {pair for pair, has in expected.items() if has} <= known
    if name == "2.14":  # a LiteRT release may be ahead of the number that it counts as
        assert known == {pair for pair, has in expected.items() if has}


# ---------------------------------------------------------------- MediaPipe Tasks

THRESHOLD = 0.6
STRICT = "strict.tflite"


@pytest.fixture(scope="module")
def mediapipe(flowers, python_of):
    """MediaPipe's answers by model file, STRICT among them: the int8 one with a threshold."""
    write_with_threshold(flowers / "model_int8.tflite", flowers / STRICT)
    script = [
        OTHER_RUNTIMES / "classify_with_mediapipe.py",
        "pixels.npz",
        "photos.txt",
        "mediapipe.json",
    ]
    command = [python_of("mediapipe"), *script, *MODELS, STRICT]
    done = subprocess.run(command, cwd=flowers, capture_output=True, text=True)
    if "cannot open shared object" in done.stderr:
        reason = next(line for line in done.stderr.splitlines() if "cannot open shared" in line)
        pytest.skip(f"MediaPipe lacks system libraries (libgl1, libegl1, libgles2): {reason}")
    assert done.returncode == 0, done.stderr
    return json.loads((flowers / "mediapipe.json").read_text())


def write_with_threshold(source, target):
    card = replace(read_model_file(source).card, score_threshold=THRESHOLD)
    labels = "".join(f"{label}\n" for label in card.labels)
    files = {LABELS_NAME: labels.encode(), CARD_NAME: json.dumps(card.to_json()).encode()}
    target.write_bytes(append_files(add_metadata(source.read_bytes(), card), files))


def as_rows(answers, labels):
    return np.array([[answer[label] for label in labels] for answer in answers])


@pytest.mark.parametrize("model", MODELS)
def test_mediapipe_gives_the_same_answers_for_the_same_pixels(model, mediapipe, scores_of, flowers):
    labels = read_model_file(flowers / model).labels
    found, expected = as_rows(mediapipe[model]["pixels"], labels), scores_of(INSTALLED)[model]
    assert len(found) == IMAGES
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert np.abs(found - expected).max() <= 1 / 256


@pytest.mark.parametrize("model", MODELS)
def test_mediapipe_on_photographs(model, mediapipe, scores_of, flowers):
    labels = read_model_file(flowers / model).labels
    found, expected = as_rows(mediapipe[model]["photos"], labels), scores_of(INSTALLED)[model]
    assert len(found) == IMAGES
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.96


def test_mediapipe_on_photographs_differs_by_where_it_samples(mediapipe, flowers):
    """At the corners of the pixels, where TensorFlow's resize and ours take their centres."""
    model = flowers / "model_float32.tflite"
    runner, file = Runner(model), read_model_file(model)
    spec = file.card.preprocess
    photos = (flowers / "photos.txt").read_text().splitlines()
    sampled = [sample_at_corners(read_image(p), spec.input_resolution) for p in photos]
    expected = np.stack([runner.run(to_input(pixels, spec)) for pixels in sampled])
    found = as_rows(mediapipe[model.name]["photos"], file.labels)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.99
    assert np.abs(found - expected).mean() < 0.002


def sample_at_corners(pixels, side):
    """Bilinear, target position i at i * scale."""
    for axis in (0, 1):
        position = np.arange(side) * pixels.shape[axis] / side
        first = position.astype(int)
        second = np.minimum(first + 1, pixels.shape[axis] - 1)
        share = (position - first).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        pixels = pixels.take(first, axis) * (1 - share) + pixels.take(second, axis) * share
    return np.rint(pixels).astype(np.uint8)


def test_mediapipe_leaves_out_scores_below_the_threshold_of_the_card(mediapipe):
    answers, kept = mediapipe["model_int8.tflite"]["pixels"], mediapipe[STRICT]["pixels"]
    assert kept == [
        {label: score for label, score in answer.items() if score >= THRESHOLD}
        for answer in answers
    ]
    assert {len(answer) for answer in kept} == {0, 1}
