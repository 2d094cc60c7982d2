"""`train`: the run folder, complete or absent."""

import hashlib
import json
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from drawing import draw_folder
from training_fixtures import CLASSES, SIDE, Listener, part_by_definition

from kit.data import SplitSettings
from kit.errors import (
    AccuracyError,
    DataError,
    OutputExistsError,
    TrainingError,
)
from kit.evaluation import Accuracy, Evaluation, evaluate_model
from kit.export.exported import Gates
from kit.export.modes import AUTO_MODES
from kit.export.representative import representative_paths
from kit.model.model_file import read_model_file
from kit.runtime import Classifier
from kit.training.fine_tune import FineTuneSettings
from kit.training.fitting import FitSettings
from kit.workflows.train import TrainSettings, train

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---------------------------------------------------------------- the run folder


def test_files_of_a_run(finished_run):
    assert {
        "model.keras",
        "model_int8.tflite",
        "model_float16.tflite",
        "labels.txt",
        "run.json",
        "misclassified.csv",
        "report.html",
        "logs",
    } <= set(names(finished_run.folder))
    assert not (finished_run.folder / "model_float32.tflite").exists()  # nobody asked for it
    assert names(finished_run.folder.parent) == ["cache", "images", "run"]
    assert (finished_run.folder / "labels.txt").read_text("utf-8").splitlines() == list(CLASSES)
    assert list((finished_run.folder / "logs").rglob("events.out.tfevents*"))


def test_the_record_has_every_image_with_its_part(finished_run):
    record = finished_run.record
    images = finished_run.images
    expected = {
        path.relative_to(images).as_posix(): part_by_definition(digest(path), 0.2, 0.2)
        for path in images.rglob("*.png")
    }
    assert len(expected) == 36 * 5
    assert record["split"] == expected
    assert list(record["left_out"]) == ["red/broken.jpg"]
    assert record["images"] == str(images.resolve())
    assert record["schema_version"] == 1
    assert len(record["history"]) == 4
    assert record["settings"]["split"]["test"] == 0.2


def test_the_record_s_representative_images_are_of_the_train_part_and_every_class(finished_run):
    record = finished_run.record
    chosen = record["representative_dataset"]
    in_train = [path for path, part in record["split"].items() if part == "train"]
    assert len(chosen) == len(set(chosen))
    assert set(chosen) <= set(in_train)
    for name in CLASSES:
        of_class = sum(path.startswith(f"{name}/") for path in in_train)
        share = 20 * of_class / len(in_train)
        assert abs(sum(path.startswith(f"{name}/") for path in chosen) - share) <= 0.5


def test_representative_images_are_chosen_by_share_and_seed():
    from kit.data import Dataset, LabelledImage

    images = tuple(
        LabelledImage(f"{'abc'[label]}/{index}", label, f"{label} {index}")
        for label, count in enumerate((80, 19, 1))
        for index in range(count)
    )
    dataset = Dataset(None, ("a", "b", "c"), images, (), ())
    paths = [image.path for image in images]
    chosen = representative_paths(dataset, paths, 20, seed=1)
    counts = [sum(path.startswith(label) for path in chosen) for label in "abc"]
    assert counts == [16, 4, 1]  # a fifth of each, and one at least
    assert chosen == representative_paths(dataset, paths, 20, seed=1)
    assert set(chosen) != set(representative_paths(dataset, paths, 20, seed=2))
    assert sorted(representative_paths(dataset, paths, 1000, seed=1)) == sorted(paths)


def test_the_card_says_how_it_was_made(finished_run):
    card = read_model_file(finished_run.folder / "model_int8.tflite").card
    record = finished_run.record
    assert card.quantization == "int8"
    assert (card.backbone, card.alpha) == ("mobilenet_v1", 0.25)
    assert card.weights == "small.weights.h5"
    assert card.labels == CLASSES
    assert card.preprocess.input_resolution == SIDE
    assert card.intended_use == "Tests."
    parts = list(record["split"].values())
    assert card.dataset["images"] == {part: parts.count(part) for part in set(parts)}
    assert (card.dataset["seed"], card.dataset["test"]) == (0, 0.2)
    assert card.metrics["test"]["n"] == parts.count("test")
    assert "misclassified" not in card.metrics["test"]
    assert card.minimum_runtime
    assert len(card.golden) == 3
    assert card.versions["python"]


def test_what_was_measured_is_what_ships(finished_run):
    """The file, scored again by the public function, has the figures of card, record, result."""
    path = finished_run.folder / "model_int8.tflite"
    with Classifier.open(path) as classifier:
        again = evaluate_model(classifier, finished_run.images, part="test")
    record = finished_run.record["metrics"]["int8"]
    card = read_model_file(path).card.metrics["test"]
    for stored in (record, card):
        assert stored["accuracy"] == again.evaluation.to_json()["accuracy"]
        assert stored["confusion_matrix"] == again.evaluation.to_json()["confusion_matrix"]
    assert again.evaluation == finished_run.result.evaluations["int8"]
    assert record["size_bytes"] == path.stat().st_size
    assert again.left_out[0][0] == "red/broken.jpg"
    table = (finished_run.folder / "misclassified.csv").read_text("utf-8")
    assert table == again.evaluation.misclassified_csv()


def test_the_keras_model_answers_as_the_float_file(finished_run):
    import keras

    from kit.model.preprocess import fit_pixels
    from kit.runtime.images import read_image

    model = keras.models.load_model(finished_run.folder / "model.keras", compile=False)
    path = finished_run.images / "red" / "003.png"
    with Classifier.open(finished_run.result.files["float16"]) as classifier:
        found = classifier.scores(path)
        pixels = fit_pixels(read_image(path), classifier.preprocess).astype(np.float32)
    assert np.abs(found - np.asarray(model((pixels[None] - 128) / 128))[0]).max() < 0.01


def test_the_result_names_what_it_gave(finished_run):
    result = finished_run.result
    assert result.run == finished_run.folder
    assert set(result.files) == {"int8", "float16"}
    assert all(path.is_file() for path in result.files.values())
    assert set(result.evaluations) == {"float32", "int8", "float16"}
    assert [path for path, _ in result.left_out] == ["red/broken.jpg"]
    assert any("red/broken.jpg" in line for line in finished_run.warned)


# ---------------------------------------------------------------- complete or absent


@pytest.fixture
def again(finished_run, tmp_path):
    """Trains on the same images, with their cached bottlenecks."""

    def run(output=tmp_path / "work" / "run", listener=None, force=False, resume=False, **changes):
        changes = {"quantize": ("float32",), "fitting": FitSettings(epochs=1)} | changes
        settings = replace(finished_run.settings, **changes)
        return train(
            finished_run.images,
            output,
            settings,
            force=force,
            resume=resume,
            cache=finished_run.cache,
            reporter=listener or Listener(),
        )

    (tmp_path / "work").mkdir()
    return run


@pytest.fixture
def older(tmp_path, again):
    folder = tmp_path / "work" / "run"
    folder.mkdir()
    (folder / "older.txt").write_text("older")
    return folder


def test_a_gate_that_is_not_met_leaves_nothing(again, tmp_path):
    gates = Gates(assert_accuracy_at_least=1.0)  # two of the classes are alike
    with pytest.raises(AccuracyError, match="expected an accuracy of at least 1"):
        again(gates=gates)
    assert names(tmp_path / "work") == []


def test_force_replaces_the_older_run_once_the_new_one_is_complete(again, older):
    with pytest.raises(OutputExistsError, match="--force"):
        again()
    again(force=True)
    assert "older.txt" not in names(older)
    assert "model_float32.tflite" in names(older)
    assert names(older.parent) == ["run"]


def test_an_interruption_in_mid_training_leaves_nothing(again, tmp_path):
    listener = Listener(break_off_at="epoch   2")
    with pytest.raises(KeyboardInterrupt):
        again(listener=listener, fitting=FitSettings(epochs=3))
    assert listener.said[-1].startswith("epoch   2")
    assert names(tmp_path / "work") == []


def test_an_interruption_leaves_the_older_run(again, older):
    with pytest.raises(KeyboardInterrupt):
        again(listener=Listener(break_off_at="epoch"), force=True)
    assert names(older) == ["older.txt"]
    assert names(older.parent) == ["run"]


def test_an_existing_output_is_told_before_any_work(tmp_path):
    (tmp_path / "run").mkdir()
    with pytest.raises(OutputExistsError):
        train(tmp_path / "no images here", tmp_path / "run")


def test_too_few_images_are_told_before_any_work(tmp_path):
    draw_folder(tmp_path / "images", {"blue": 2, "red": 60})
    settings = TrainSettings(weights=str(tmp_path / "no weights"))
    with pytest.raises(DataError, match="images of blue in every part, got none in"):
        train(tmp_path / "images", tmp_path / "run", settings)
    assert names(tmp_path) == ["images"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"quantize": ("int4",)}, "expected quantisation modes of float32, .*got int4"),
        ({"quantize": ()}, "at least one quantisation mode"),
        ({"representative_images": 0}, "at least 1 representative image, got 0"),
    ],
)
def test_impossible_settings(wrong, said):
    with pytest.raises(ValueError, match=said):
        TrainSettings(**wrong)


def exported(accuracy):
    from kit.export.exported import Exported

    scores = np.zeros((100, 2), np.float32)
    scores[: round(100 * accuracy), 0] = 1
    scores[round(100 * accuracy) :, 1] = 1
    evaluation = Evaluation.of(scores, np.zeros(100, int), ("a", "b"), ["x"] * 100)
    assert evaluation.accuracy == Accuracy.of(round(100 * accuracy), 100)
    return Exported("", b"", None, evaluation, None)


def test_gates():
    files = {"float32": exported(0.9), "int8": exported(0.87), "int16x8": exported(0.95)}
    Gates().check(files, ["int8"])
    Gates(max_accuracy_drop=0.04, assert_accuracy_at_least=0.87).check(files, ["int8", "int16x8"])
    just = {"float32": exported(0.95), "int8": exported(0.94)}
    Gates(max_accuracy_drop=0.01).check(just, ["int8"])
    with pytest.raises(AccuracyError, match=r"int8 to lose at most 0\.0200 .* lost 0\.0300"):
        Gates(max_accuracy_drop=0.02).check(files, ["int16x8", "int8"])
    with pytest.raises(AccuracyError, match=r"at least 0\.9000, int8 has 0\.8700"):
        Gates(assert_accuracy_at_least=0.9).check(files, ["int16x8", "int8"])
    Gates(assert_accuracy_at_least=0.9).check(files, ["int16x8"])


# ---------------------------------------------------------------- fine-tuning, interrupted

TUNING = FineTuneSettings(
    2, fitting=FitSettings(epochs=2, learning_rate=0.01, batch_size=32, optimizer="sgd")
)


def network_of(folder):
    import keras

    return keras.models.load_model(folder / "model.keras", compile=False).get_weights()


@pytest.mark.slow
def test_a_resumed_run_is_the_uninterrupted_one(again, tmp_path):
    """Head, last layers and temperature to the bit, in a folder that has all of it."""
    uninterrupted = tmp_path / "uninterrupted"
    again(uninterrupted, fine_tune=TUNING)
    run = tmp_path / "work" / "run"
    with pytest.raises(KeyboardInterrupt):
        again(run, Listener(break_off_at="fine-tuning   2"), fine_tune=TUNING)
    assert names(run.parent) == ["run.checkpoint"]
    again(run, fine_tune=TUNING, resume=True)
    assert names(run.parent) == ["run"]
    assert names(run) == names(uninterrupted)
    records = [
        json.loads((folder / "run.json").read_text("utf-8")) for folder in (run, uninterrupted)
    ]
    for name in ("history", "metrics", "settings", "split"):
        assert records[0][name] == records[1][name]
    assert records[0]["card"]["temperature"] == records[1]["card"]["temperature"]
    for found, expected in zip(network_of(run), network_of(uninterrupted), strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.slow
def test_a_checkpoint_waits_for_its_own_run(again, tmp_path):
    """Another command leaves it alone until it has something to put in its place."""
    with pytest.raises(KeyboardInterrupt):
        again(listener=Listener(break_off_at="fine-tuning   2"), fine_tune=TUNING)
    kept = tmp_path / "work" / "run.checkpoint"
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    again(force=True)  # the head alone, which needs none
    with pytest.raises(TrainingError, match="expected the checkpoint of this run"):
        again(fitting=FitSettings(epochs=2), fine_tune=TUNING, resume=True, force=True)
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


def test_resume_without_a_checkpoint_is_a_run(again, tmp_path):
    again(resume=True)
    assert names(tmp_path / "work") == ["run"]


# ---------------------------------------------------------------- real photographs


@pytest.mark.slow
def test_flowers_are_told_apart(shared, tmp_path, monkeypatch):
    """300 photographs, a tenth of the set: far above chance, and int8 as good as float32."""
    monkeypatch.setenv("KIT_WEIGHTS_DIR", str(shared / "weights"))
    for folder in sorted((shared / "data" / "flowers").iterdir()):
        (tmp_path / "flowers" / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:60]:
            (tmp_path / "flowers" / folder.name / path.name).symlink_to(path)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=128,
        quantize=("int8", "int16x8"),
        split=SplitSettings(0.2, 0.3),
    )
    listener = Listener()
    result = train(
        tmp_path / "flowers", tmp_path / "run", settings, cache=tmp_path / "c", reporter=listener
    )
    accuracies = {mode: e.accuracy for mode, e in result.evaluations.items()}
    assert accuracies["float32"].n > 60
    assert accuracies["float32"].low > 0.5  # chance is 0.2
    for mode in ("int8", "int16x8"):
        assert accuracies[mode].value > accuracies["float32"].value - 0.06
    record = json.loads((tmp_path / "run" / "run.json").read_text("utf-8"))
    assert record["metrics"]["int8"]["agreement_with_float32"] > 0.88
    assert "imagenet" in record["card"]["weights"].lower()


@pytest.mark.slow
def test_training_from_random_values_gives_the_same_model_again(tmp_path, own_cache):
    images = draw_folder(tmp_path / "images", {"blue": 30, "green": 30, "red": 30})
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=SIDE,
        weights="none",
        quantize=("int8",),
        split=SplitSettings(0.2, 0.2),
        fitting=FitSettings(epochs=2, batch_size=16),
    )
    results = [
        train(images, tmp_path / name, replace(settings, weights=weights))
        for name, weights in (("one", "none"), ("two", f"{tmp_path},none"))
    ]
    scores = []
    for result in results:
        # Also where no weights were found, in what might have some by the next time.
        assert tomllib.loads((result.run / "settings.toml").read_text())["weights"] == "none"
        with Classifier.open(result.files["int8"]) as classifier:
            scores.append(classifier.scores(images / "red" / "000.png"))
    assert np.array_equal(*scores)


def test_a_mode_that_the_backbone_lacks_is_refused_before_anything_starts(tmp_path):
    settings = TrainSettings(backbone="mobilenet_v3_small", alpha=1.0, quantize=("int16x8",))
    with pytest.raises(ValueError, match="mobilenet_v3_small can be converted to, got int16x8"):
        train(tmp_path / "nothing here", tmp_path / "run", settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_auto_writes_the_file_that_it_chose(small_backbone, tmp_path):
    images = draw_folder(tmp_path / "images", {"blue": 36, "green": 36, "red": 36}, seed=2)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=SIDE,
        weights=str(small_backbone.weights.path),
        quantize=("auto",),
        split=SplitSettings(0.2, 0.2),
        fitting=FitSettings(epochs=4, learning_rate=0.01, batch_size=16),
    )
    listener = Listener()
    result = train(images, tmp_path / "run", settings, cache=tmp_path / "c", reporter=listener)
    (mode,) = result.files
    assert mode in AUTO_MODES
    assert result.files[mode].name == f"model_{mode}.tflite"
    assert any(line.startswith(f"auto: {mode}, which loses at most 0.01") for line in listener.said)
    lost = result.evaluations["float32"].accuracy.value - result.evaluations[mode].accuracy.value
    assert lost <= 0.01


def test_auto_stands_alone():
    with pytest.raises(ValueError, match="expected auto alone"):
        TrainSettings(quantize=("auto", "int8"))
