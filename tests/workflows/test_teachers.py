"""Teachers: whose runs are taken, what is refused, and the students that they give."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawing import draw_folder
from training_fixtures import CLASSES, SIDE, Listener

from kit.data import DataSettings, LabelledImage, SplitSettings, load_dataset, split_dataset
from kit.errors import DataError, OutputExistsError, SpecError, TrainingError, WeightsError
from kit.evaluation import Targets
from kit.model.model_file import read_model_file
from kit.training.fine_tune import FineTuneSettings
from kit.training.fitting import FitSettings
from kit.workflows import teachers as module
from kit.workflows.convert import ConvertSettings, convert
from kit.workflows.options import options_of, train_settings
from kit.workflows.teachers import check_apart, read_teachers, read_unlabelled
from kit.workflows.train import train
from kit.workflows.train_settings import TrainSettings

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf

TUNING = FineTuneSettings(
    2, fitting=FitSettings(epochs=2, learning_rate=0.01, batch_size=16, optimizer="sgd")
)


@pytest.fixture
def teacher_run(finished_run, tmp_path):
    """A copy of a run, to be changed."""
    shutil.copytree(finished_run.folder, tmp_path / "teacher")
    return tmp_path / "teacher"


def rewrite(run, **changes):
    record = json.loads((run / "run.json").read_text("utf-8")) | changes
    kept = {name: value for name, value in record.items() if value is not None}
    (run / "run.json").write_text(json.dumps(kept), "utf-8")


@pytest.fixture
def data(finished_run):
    dataset = load_dataset(finished_run.images)
    dataset = dataset.without({"red/broken.jpg": "damaged"})
    return dataset, split_dataset(dataset, finished_run.settings.split)


# ---------------------------------------------------------------- the runs


def test_a_run_says_what_it_learnt_from(finished_run, data):
    dataset, split = data
    expected = {image.digest for image in dataset.images if split[image.path] != "test"}
    assert finished_run.record["learnt_from"] == sorted(expected)


def test_labels_are_matched_by_name(teacher_run):
    labels = ("red", "grey two", "blue", "green", "grey one")
    (teacher,) = read_teachers([str(teacher_run)], labels)
    assert [CLASSES[column] for column in teacher.columns] == list(labels)
    assert teacher.spec.input_resolution == SIDE
    assert teacher.description.startswith(f"mobilenet_v1 alpha 0.25 at {SIDE} pixels (")
    assert teacher.digest[:12] in teacher.description


@pytest.mark.parametrize("labels", [CLASSES[1:], (*CLASSES, "violet"), ("b", "c", "d", "e", "f")])
def test_other_labels_are_refused(teacher_run, labels):
    with pytest.raises(DataError, match="expected a teacher with the labels"):
        read_teachers([str(teacher_run)], labels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 99}, "of schema version 1 or older, got 99: update mobilenet-kit"),
        ({"learnt_from": None}, "got one of an earlier kit: train it again"),
        ({"card": None}, "expected the record of a run"),
    ],
)
def test_a_record_that_does_not_do(teacher_run, change, said):
    rewrite(teacher_run, **change)
    with pytest.raises(SpecError, match=said):
        read_teachers([str(teacher_run)], CLASSES)


def test_an_incomplete_run_is_refused(teacher_run):
    (teacher_run / "model.keras").unlink()
    with pytest.raises(SpecError, match="expected a complete run as a teacher"):
        read_teachers([str(teacher_run)], CLASSES)
    (teacher_run / "run.json").unlink()
    with pytest.raises(SpecError, match="expected a run folder that kit train wrote"):
        read_teachers([str(teacher_run)], CLASSES)


def test_a_teacher_must_not_know_test_images(teacher_run, data):
    dataset, split = data
    (teacher,) = read_teachers([str(teacher_run)], CLASSES)
    check_apart([teacher], dataset, split, "")
    path = next(path for path, part in split.items() if part == "train")
    with pytest.raises(DataError, match="which learnt from 1 of them or of their groups"):
        check_apart([teacher], dataset, {**split, path: "test"}, "")


def test_a_teacher_must_not_know_test_patients(teacher_run, data):
    """Another image of the same patient is as bad as the image."""
    dataset, split = data
    (teacher,) = read_teachers([str(teacher_run)], CLASSES)
    first, second = (
        next(image for image in dataset.images if split[image.path] == part)
        for part in ("train", "test")
    )
    grouped = replace(
        dataset,
        images=tuple(
            replace(image, group="a patient") if image in (first, second) else image
            for image in dataset.images
        ),
    )
    with pytest.raises(DataError, match="which learnt from 2 of them"):
        check_apart([teacher], grouped, {**split, first.path: "test"}, "")
    with pytest.raises(DataError, match="which learnt from 1 of them or of their groups"):
        check_apart([teacher], grouped, split, "")


# ---------------------------------------------------------------- photographs without a label


def with_more(folder, **settings):
    """Settings of a student that learns from these photographs too."""
    return TrainSettings(
        teachers=("teacher",), fine_tune=TUNING, unlabelled=str(folder), **settings
    )


def test_unlabelled_photographs_that_are_held_out_stay_out(data, tmp_path):
    dataset, split = data
    folder = draw_folder(tmp_path / "more", {"some": 3, "deeper/some": 2}, seed=99)
    of = {
        part: [path for path, one in split.items() if one == part] for part in set(split.values())
    }
    for number, path in enumerate([of["test"][0], of["validation"][0], *of["train"][:4]]):
        shutil.copy(dataset.root / path, folder / f"copy {number}.png")
    listener = Listener()
    found = read_unlabelled(with_more(folder), dataset, split, listener)
    assert len(found) == 5
    assert all(isinstance(image, LabelledImage) and image.label == -1 for image in found)
    assert all((dataset.root / image.path).is_file() for image in found)
    assert "left out 2 of the photographs" in listener.warned[0]
    assert "left out 4 of the photographs" in listener.warned[1]


def test_unlabelled_photographs_of_held_out_groups_stay_out(data, tmp_path):
    dataset, split = data
    pattern = r"patient(\d+)"
    folder = draw_folder(tmp_path / "more", {"patient1": 2, "patient2": 1, "others": 3}, seed=98)
    learnt, tested = (
        next(path for path, one in split.items() if one == part) for part in ("train", "test")
    )
    named = {learnt: "patient2", tested: "patient1"}
    dataset = replace(
        dataset,
        images=tuple(
            replace(image, path=named.get(image.path, image.path)) for image in dataset.images
        ),
    )
    split = {named.get(path, path): part for path, part in split.items()}
    listener = Listener()
    settings = with_more(folder, split=SplitSettings(group_regex=pattern))
    found = read_unlabelled(settings, dataset, split, listener)
    assert sorted(Path(image.path).parent.name for image in found) == ["others"] * 3 + ["patient2"]
    assert "left out 2 of the photographs" in listener.warned[0]
    assert listener.warned[1].startswith("3 of the photographs in ")
    assert "have no known group" in listener.warned[1]
    assert len(listener.warned) == 2


def test_a_table_says_nothing_of_groups_of_unlabelled_photographs(data, tmp_path):
    dataset, split = data
    dataset = replace(
        dataset, images=tuple(replace(image, group="a patient") for image in dataset.images)
    )
    folder = draw_folder(tmp_path / "more", {"some": 3}, seed=97)
    table = DataSettings(labels_csv=tmp_path / "labels.csv", group_column="patient")
    listener = Listener()
    assert len(read_unlabelled(with_more(folder, data=table), dataset, split, listener)) == 3
    assert listener.warned[0].startswith("3 of the photographs in ")
    assert "have no known group" in listener.warned[0]


def test_a_folder_with_nothing_new_is_refused(data):
    dataset, split = data
    with pytest.raises(DataError, match="expected photographs beside the labelled ones, none of"):
        read_unlabelled(with_more(dataset.root / "blue"), dataset, split, Listener())


def test_a_folder_that_is_not_there(data, tmp_path):
    with pytest.raises(DataError, match="expected a folder with images, nothing there"):
        read_unlabelled(with_more(tmp_path / "gone"), *data, Listener())
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="expected a folder of images, found none"):
        read_unlabelled(with_more(tmp_path / "empty"), *data, Listener())


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"teacher": ["run"]}, "expected layers of the backbone that learn from a teacher"),
        ({"recipe": "max", "fine_tune": "none"}, "expected layers of the backbone that learn"),
        ({"recipe": "best", "unlabelled": "more"}, "got none: give --teacher RUN or --recipe max"),
        ({"recipe": "max", "weights": "none"}, "expected pretrained weights with --recipe max"),
    ],
)
def test_settings_that_do_not_go_together(given, said):
    with pytest.raises(ValueError, match=said):
        train_settings(**given)


def test_a_given_teacher_comes_before_those_of_the_recipe():
    assert train_settings("max").own_teachers
    given = train_settings("max", teacher=["run"])
    assert given.teachers == ("run",) and not given.own_teachers


def test_a_student_learns_for_longer():
    epochs = [
        options_of(train_settings("best", alpha=0.25, **more))["fine_tune_epochs"]
        for more in ({}, {"teacher": ["run"]}, {"teacher": ["run"], "fine_tune_epochs": 5})
    ]
    assert epochs == [24, 96, 5]


# ---------------------------------------------------------------- whole trainings


@pytest.fixture
def taught(finished_run, tmp_path):
    """Trains a student of a finished run, in a folder of its own."""

    def run(
        output=tmp_path / "work" / "run",
        images=finished_run.images,
        listener=None,
        resume=False,
        force=False,
        **changes,
    ):
        settings = replace(
            finished_run.settings,
            quantize=("int8",),
            fine_tune=TUNING,
            teachers=(str(finished_run.folder),),
        )
        return train(
            *(images, output, replace(settings, **changes)),
            resume=resume,
            force=force,
            cache=finished_run.cache,
            reporter=listener or Listener(),
        )

    (tmp_path / "work").mkdir()
    return run


def test_unlabelled_photographs_that_cannot_be_read_are_no_photographs(taught, tmp_path):
    more = tmp_path / "more"
    more.mkdir()
    (more / "half.png").write_bytes(b"\x89PNG\r\n\x1a\n, and no more")
    with pytest.raises(DataError, match="expected photographs, none could be read"):
        taught(unlabelled=str(more))
    assert list((tmp_path / "work").iterdir()) == []


def test_unlabelled_photographs_of_a_group_that_moves_to_the_test_part_stay_out(taught, tmp_path):
    split = SplitSettings(0.2, 0.2, group_regex=r"patient(\d+)")
    numbers = {
        part: [number for number in range(300) if split.part(f"group:{number}") == part]
        for part in ("train", "validation", "test")
    }
    # With one validation group, which stays, the nearest train group moves.
    chosen = [*numbers["train"][:6], numbers["validation"][0], numbers["test"][0]]
    folders = {f"{label}/patient{number}": 2 for label in CLASSES for number in chosen}
    images = draw_folder(tmp_path / "images", folders, seed=55)
    for path in images.glob(f"*/patient{numbers['test'][0]}/*"):
        path.write_bytes(path.read_bytes()[:40] + str(path).encode())  # scanned, not read
    nearest = min(chosen[:6], key=lambda number: split.distance(f"group:{number}", "test"))
    more = draw_folder(tmp_path / "more", {f"patient{nearest}": 3, "patient999": 2}, seed=56)
    listener = Listener(break_off_at="2 photographs without a label")
    with pytest.raises(KeyboardInterrupt):
        taught(images=images, listener=listener, split=split, unlabelled=str(more))
    assert any(line.startswith("left out 3 of the photographs") for line in listener.warned)


@pytest.mark.slow
def test_card_report_and_record_name_the_teachers(taught, finished_run, tmp_path):
    more = draw_folder(tmp_path / "more", {"blue": 5, "red": 4}, seed=77)
    result = taught(unlabelled=str(more), weights="none")  # every layer learns, whatever comes out
    (description,) = (one.description for one in read_teachers([finished_run.folder], CLASSES))
    card = read_model_file(result.files["int8"]).card
    assert card.teachers == (description,)
    assert card.dataset["unlabelled"] == 9
    record = json.loads((result.run / "run.json").read_text("utf-8"))
    assert record["card"]["teachers"] == [description]
    assert set(record["learnt_from"]) > set(finished_run.record["learnt_from"])
    assert len(record["learnt_from"]) == len(finished_run.record["learnt_from"]) + 9
    assert "teachers it learnt from</" in result.report.read_text("utf-8")
    assert description in result.report.read_text("utf-8")
    # It can be a teacher itself, and be converted again.
    assert read_teachers([str(result.run)], CLASSES)
    again = tmp_path / "again.tflite"
    convert(result.run, again, ConvertSettings())
    assert read_model_file(again).card.teachers == (description,)


@pytest.mark.slow
def test_a_resumed_student_is_the_uninterrupted_one(taught, tmp_path):
    import keras

    more = str(draw_folder(tmp_path / "more", {"blue": 5, "red": 4}, seed=77))
    uninterrupted = tmp_path / "uninterrupted"
    taught(uninterrupted, unlabelled=more)
    run = tmp_path / "work" / "run"
    with pytest.raises(KeyboardInterrupt):
        taught(listener=Listener(break_off_at="fine-tuning   2"), unlabelled=more)
    with pytest.raises(TrainingError, match="expected the checkpoint of this run"):
        taught(resume=True)  # without the unlabelled photographs it is another
    taught(resume=True, unlabelled=more)
    for found, expected in zip(
        *(
            keras.models.load_model(one / "model.keras").get_weights()
            for one in (run, uninterrupted)
        ),
        strict=True,
    ):
        assert np.array_equal(found, expected)


@pytest.fixture
def small_max(finished_run, monkeypatch, small_backbone, tmp_path):
    """`--recipe max` with one small teacher: `small_max(...)` trains."""
    planned = module._Planned("mobilenet_v1", 0.25, SIDE, milliseconds=1.0)
    monkeypatch.setattr(module, "_PLANNED", (planned,))
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=SIDE,
        weights=str(small_backbone.weights.path),
        split=finished_run.settings.split,
        fitting=FitSettings(epochs=1, learning_rate=0.01, batch_size=16),
        fine_tune=TUNING,
        representative_images=20,
        own_teachers=True,
    )

    def run(output=tmp_path / "work" / "run", listener=None, **arguments):
        changes = {"settings": settings} | arguments
        return train(
            *(finished_run.images, output),
            cache=finished_run.cache,
            reporter=listener or Listener(),
            **changes,
        )

    run.settings = settings
    (tmp_path / "work").mkdir()
    return run


@pytest.mark.slow
def test_max_fits_its_teachers_first_and_goes_on_at_any_stage(small_max, tmp_path):
    work = tmp_path / "work"
    whole = small_max(tmp_path / "whole" / "run")
    teacher = f"run.teachers/mobilenet_v1-0.25-{SIDE}"
    assert (tmp_path / "whole" / teacher / "model_int8.tflite").is_file()
    # Both fine-tune: the first time is the teacher's, the second the student's.
    for times, left in (
        (1, {"run.teachers"}),
        (2, {"run.teachers", "run.checkpoint"}),
    ):
        with pytest.raises(KeyboardInterrupt):
            small_max(listener=_BrokenOff("fine-tuning   2", times), resume=times > 1)
        assert {path.name for path in work.iterdir()} == left
    with pytest.raises(OutputExistsError, match="--resume goes on with it, --force trains it anew"):
        small_max()
    listener = Listener()
    result = small_max(listener=listener, resume=True)
    assert f"{work / teacher} is complete" in listener.said
    assert result.files["int8"].stat().st_size == whole.files["int8"].stat().st_size
    first, second = (
        json.loads((run / "run.json").read_text("utf-8")) for run in (whole.run, result.run)
    )
    assert first["history"] == second["history"]
    assert first["metrics"] == second["metrics"]
    assert second["settings"]["teachers"] == [str(work / teacher)]
    other = replace(small_max.settings, fitting=replace(small_max.settings.fitting, epochs=2))
    shutil.rmtree(result.run)
    with pytest.raises(SpecError, match="expected a teacher of these images and settings"):
        small_max(settings=other, resume=True)
    again = _BrokenOff("epoch   1", 1)
    with pytest.raises(KeyboardInterrupt):
        small_max(settings=other, resume=True, force=True, listener=again)
    assert f"{work / teacher} is complete" not in again.said


class _BrokenOff(Listener):
    """Breaks off when it hears a line for the n-th time."""

    def __init__(self, line, times):
        super().__init__()
        self._line, self._times = line, times

    def say(self, line):
        super().say(line)
        self._times -= line.startswith(self._line)
        if not self._times:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"alpha": 0.3}, ValueError, "expected an alpha of"),
        ({"targets": Targets("mauve", 0.9)}, DataError, "expected --positive to be one of"),
        ({"targets": Targets("red", 0.99)}, DataError, "expected at least 299 positive images"),
        ({"unlabelled": "gone"}, DataError, "expected a folder with images, nothing there"),
        ({"fine_tune": FineTuneSettings(40)}, ValueError, "expected at most 27 layers"),
        (
            {"screening": True, "split": SplitSettings(validation=0.05)},
            DataError,
            "expected at least 20",
        ),
    ],
)
def test_what_is_wrong_with_the_student_is_told_before_its_teachers_learn(
    small_max, tmp_path, wrong, error, said
):
    listener = Listener()
    with pytest.raises(error, match=said):
        small_max(settings=replace(small_max.settings, **wrong), listener=listener)
    assert listener.said == []
    assert list((tmp_path / "work").iterdir()) == []


def test_one_file_has_no_weights_for_a_student_and_its_teachers(finished_run, small_max, tmp_path):
    settings = replace(small_max.settings, alpha=0.5, backbone="mobilenet_v2")
    with pytest.raises(ValueError, match=r"weights of several networks .* got the file"):
        module.fit_teachers(
            *(train, finished_run.images, tmp_path / "work" / "run", settings),
            **{"force": False, "resume": False, "cache": None, "reporter": Listener()},
        )


@pytest.mark.parametrize("parts", [("run",), ("red", "deeper", "run")])
def test_no_run_goes_among_the_images(taught, finished_run, parts):
    """The next training would take it for a class."""
    with pytest.raises(OutputExistsError, match="taken for images there: choose another"):
        taught(finished_run.images.joinpath(*parts))
    assert not finished_run.images.joinpath(*parts).exists()


def test_teachers_do_not_go_among_the_images(small_max, finished_run):
    """Their folders would be taken for classes."""
    listener = Listener()
    output = finished_run.images / "run"
    with pytest.raises(OutputExistsError, match="expected an output outside of"):
        small_max(output, listener=listener)
    assert listener.said == []
    assert not Path(f"{output}.teachers").exists()


def test_no_output_replaces_what_a_student_learns_from(taught, finished_run, tmp_path):
    for name in ("teacher", "more"):
        (tmp_path / "project" / name).mkdir(parents=True)
    for changes in (
        {"teachers": (str(tmp_path / "project" / "teacher"),)},
        {"unlabelled": str(tmp_path / "project" / "more")},
        {"data": DataSettings(labels_csv=tmp_path / "project" / "labels.csv")},
        {"data": DataSettings(corrections=tmp_path / "project" / "corrections.csv")},
    ):
        with pytest.raises(OutputExistsError, match="expected an output that does not replace"):
            taught(tmp_path / "project", force=True, **changes)
    assert len(list((tmp_path / "project").iterdir())) == 2


@pytest.mark.parametrize("otherwise", [(), ("none",)])
def test_max_tells_first_what_it_will_do_and_what_it_lacks(
    finished_run, small_backbone, tmp_path, otherwise
):
    """A folder that has the student's weights, and none of the teachers'."""
    folder = tmp_path / "weights"
    folder.mkdir()
    name = next(one for one in small_backbone.choice.weights_names if one.endswith(".weights.h5"))
    shutil.copy(small_backbone.weights.path, folder / name)
    weights = ",".join([str(folder), *otherwise])
    settings = train_settings("max", alpha=0.25, input_resolution=SIDE, weights=weights)
    listener = Listener()
    with pytest.raises(WeightsError, match="--recipe max trains mobilenet_v2 alpha"):
        train(finished_run.images, tmp_path / "run", settings, reporter=listener)
    assert listener.said[0].startswith(
        "the teachers are trained first, each as a run of its own in"
    )
    assert not (tmp_path / "run.teachers").exists()
