"""Models that others made, with what their own tests expect of them."""

import pytest

from kit.errors import InferenceError, ModelFileError
from kit.model.labels import read_labels
from kit.runtime import Classifier

NORMALISED = {"mean": (127.5,), "std": (127.5,)}


@pytest.fixture(scope="module")
def models(shared):
    return shared / "models"


@pytest.mark.parametrize(
    "name, image, index, least, measured",
    [
        ("mobilenet_v1_0.25_128_quant.tflite", "cat.bmp", 283, 0.25, 0.320),
        ("mobilenet_v2_1.0_224_quant.tflite", "cat.bmp", 286, 0.7, 0.801),
        ("mobilenet_v2_1.0_224_quant.tflite", "parrot.jpg", 89, 0.9, None),
        ("mobilenet_v2_1.0_224_quant.tflite", "grace_hopper.bmp", 653, 0.8, None),
    ],
)
def test_coral(models, name, image, index, least, measured):
    labels = read_labels(models / "coral" / "imagenet_labels.txt")
    assert len(labels) == 1001 and labels[0] == "background"
    with Classifier.open(models / "coral" / name, top_k=3) as classifier:
        assert classifier.labels == labels  # appended to the file, the same list
        assert classifier.preprocess.resize == "bilinear"
        answer = classifier.classify(models / "coral" / image)
    scores = {category.index: category.score for category in answer.categories}
    assert scores[index] >= least
    if measured is not None:
        assert scores[index] == pytest.approx(measured, abs=0.02)
    assert answer.categories[0].label == labels[answer.categories[0].index]


@pytest.mark.parametrize(
    "name, index, measured",
    [
        ("mobilenet_v1_0.25_128_quant.tflite", 283, 0.117),
        ("mobilenet_v2_1.0_224_quant.tflite", 286, 0.789),
    ],
)
def test_coral_with_antialiasing(models, name, index, measured):
    # Shows that the resize method reaches the model, and that it matters to the small one.
    with Classifier.open(models / "coral" / name, resize="antialias") as classifier:
        scores = classifier.scores(models / "coral" / "cat.bmp")
    assert scores[index] == pytest.approx(measured, abs=0.03)


def test_a_recurrent_network_is_no_image_classifier(models):
    with pytest.raises(ModelFileError, match=r"got an input of \[1, 28, 28\]"):
        Classifier.open(models / "coral" / "keras_lstm_mnist_ptq.tflite", labels=["x"] * 10)


def test_an_operator_that_no_runtime_has(models):
    # An unknown custom operator: refused when the interpreter is built, before any image.
    path = models / "coral" / "model_invoking_error.tflite"
    with pytest.raises(InferenceError, match="it has a custom one: convert it again without") as it:
        Classifier.open(path, labels=["x"])
    assert "fake-op-double" in str(it.value)
    assert "\n" not in str(it.value)


def test_a_float_model_without_metadata(models):
    path = models / "tflite-support" / "mobilenet_v1_0.25_224_1_default_1.tflite"
    with pytest.raises(ModelFileError, match="labels for its 1001 scores"):
        Classifier.open(path, **NORMALISED)
    labels = read_labels(models / "coral" / "imagenet_labels.txt")
    with pytest.raises(ModelFileError, match="how its float input is normalised"):
        Classifier.open(path, labels=labels)
    with Classifier.open(path, labels=labels, top_k=1, **NORMALISED) as classifier:
        (best,) = classifier.classify(models / "tflite-support" / "burger.jpg").categories
    assert (best.index, best.label) == (934, "cheeseburger")
    assert best.score == pytest.approx(0.988, abs=0.01)


def test_the_same_weights_with_metadata_need_no_arguments(models):
    path = models / "tflite-support" / "mobilenet_v1_0.25_224_1_metadata_1.tflite"
    with Classifier.open(path, top_k=1) as classifier:
        assert classifier.preprocess.mean == classifier.preprocess.std == (127.5,) * 3
        (best,) = classifier.classify(models / "tflite-support" / "burger.jpg").categories
    assert (best.index, best.label) == (934, "cheeseburger")
    assert best.score == pytest.approx(0.988, abs=0.01)


def test_automl_on_flowers(models, shared):
    flowers = shared / "data" / "flowers"
    if not flowers.is_dir():
        pytest.skip("KIT_TEST_DATA has no data/flowers")
    path = models / "tflite-support" / "automl_labeler_model.tflite"
    with Classifier.open(path, top_k=1) as classifier:
        assert classifier.labels == ("daisy", "dandelion", "roses", "sunflowers", "tulips")
        paths = sorted(p for label in classifier.labels for p in (flowers / label).iterdir())[::16]
        answers = list(classifier.classify_files(paths))
    right = sum(
        answer.categories[0].label == path.parent.name
        for answer, path in zip(answers, paths, strict=True)
    )
    assert len(paths) > 150
    # 0.854 was measured on 185 other photographs: three standard errors of both samples.
    assert right / len(paths) == pytest.approx(0.854, abs=0.11)


@pytest.mark.parametrize("cut", [1, 100, 5_000])
def test_truncated(models, tmp_path, cut):
    name = "tflite-support/automl_labeler_model.tflite"
    path = tmp_path / "cut.tflite"
    path.write_bytes((models / name).read_bytes()[:-cut])
    with pytest.raises(ModelFileError, match="truncated"):
        Classifier.open(path)


def test_one_scene_in_every_orientation_has_one_label(models, shared):
    paths = [shared / "images" / "exif" / f"Landscape_{number}.jpg" for number in range(1, 9)]
    # The nine files were compressed one by one, so their pixels differ a little. This model is sure
    # enough of the scene; Coral's MobileNet v2 wavers between labels of 0.2 each.
    path = models / "tflite-support" / "mobilenet_v1_0.25_224_1_metadata_1.tflite"
    with Classifier.open(path, top_k=1) as classifier:
        found = {answer.categories[0].label for answer in classifier.classify_files(paths)}
    assert found == {"sundial"}
