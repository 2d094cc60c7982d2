"""Promises against what was confirmed in the field."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from kit.errors import DataError
from kit.evaluation.confirmed import compare_with_promise, kept_text, read_confirmed
from kit.model.spec import OperatingPoint

LABELS = ("well", "ill")
POINT = OperatingPoint("ill", 0.4, 0.6, 0.9, 0.8, 0.95, 100, 100)


def field(random, sensitivity, specificity, count=400):
    """Answers, and what was confirmed."""
    truth = random.random(count) < 0.5
    right = random.random(count) < np.where(truth, sensitivity, specificity)
    answers = [
        (f"{number}.png", "positive" if one == ok else "negative")
        for number, (one, ok) in enumerate(zip(truth, right, strict=True))
    ]
    return answers, {f"{number}.png": LABELS[int(one)] for number, one in enumerate(truth)}


def broken(seed, sensitivity, specificity):
    answers, confirmed = field(np.random.default_rng(seed), sensitivity, specificity)
    return [one.broken_after for one in compare_with_promise(answers, confirmed, LABELS, POINT)]


def test_a_promise_that_holds_is_hardly_ever_called_broken():
    """Just as good as promised, looked at after every image: at most 5 % of 300 fields."""
    found = [broken(seed, 0.9, 0.8) for seed in range(300)]
    for figure in (0, 1):
        assert sum(one[figure] is not None for one in found) <= 0.05 * 300


def test_a_broken_promise_is_noticed():
    found = [broken(seed, 0.7, 0.5) for seed in range(60)]
    assert sum(one[0] is not None and one[0] <= 100 for one in found) >= 57
    assert sum(one[1] is not None and one[1] <= 100 for one in found) >= 57


def test_patients_with_several_images_count_once():
    """Nine in ten patients are right, as promised; of the others all five images are wrong."""
    false_alarms = {"patients": 0, "images": 0}
    for seed in range(300):
        right = np.random.default_rng(seed).random(200) < 0.9
        images = [f"{patient}/{number}" for patient in range(200) for number in range(5)]
        answers = [
            (image, "positive" if right[index // 5] else "negative")
            for index, image in enumerate(images)
        ]
        groups = {image: image.partition("/")[0] for image in images}
        for name, known in (("patients", groups), ("images", None)):
            kept = compare_with_promise(answers, dict.fromkeys(images, "ill"), LABELS, POINT, known)
            false_alarms[name] += kept[0].broken_after is not None
    assert false_alarms["patients"] <= 0.05 * 300 < false_alarms["images"]


def test_a_patient_is_right_where_every_image_is():
    answers = [("a1", "positive"), ("b1", "positive"), ("a2", "negative"), ("c", "negative")]
    answers += [("d1", "negative"), ("d2", "positive"), ("a", "positive")]
    confirmed = dict.fromkeys(("a1", "a2", "b1", "c", "a"), "ill") | {"d1": "well", "d2": "well"}
    groups = {"a1": "a", "a2": "a", "b1": "b", "d1": "d", "d2": "d"}
    sensitivity, specificity = compare_with_promise(answers, confirmed, LABELS, POINT, groups)
    assert (sensitivity.share.correct, sensitivity.share.n) == (2, 4)  # the image a is no group
    assert (specificity.share.correct, specificity.share.n) == (0, 1)


def test_an_image_that_was_answered_again_counts_once():
    answers = [("a", "negative"), ("b", "positive")] * 40 + [("a", "uncertain")]
    confirmed = {"a": "ill", "b": "ill"}
    sensitivity, _ = compare_with_promise(answers, confirmed, LABELS, POINT)
    assert (sensitivity.share.correct, sensitivity.share.n) == (2, 2)


@pytest.mark.parametrize("confidence", [0.0, None])
def test_what_was_not_promised_cannot_be_broken(confidence):
    answers, confirmed = field(np.random.default_rng(1), 0.3, 0.3)
    point = replace(POINT, confidence=confidence)
    kept = compare_with_promise(answers, confirmed, LABELS, point)
    assert [(one.target, one.broken_after) for one in kept] == [(None, None)] * 2
    assert kept_text(kept).count("; nothing was promised of it") == 2


def test_figures_by_hand():
    answers = [("a", "positive"), ("b", "negative"), ("c", "uncertain"), ("d", "unknown")]
    answers += [("e", "positive"), ("f", "negative"), ("g", "positive")]
    confirmed = dict.fromkeys("abcd", "ill") | dict.fromkeys("ef", "well")
    sensitivity, specificity = compare_with_promise(answers, confirmed, LABELS, POINT)
    # Who goes to a person is not missed.
    assert (sensitivity.share.correct, sensitivity.share.n) == (3, 4)
    assert (specificity.share.correct, specificity.share.n) == (1, 2)
    assert "nothing says that it is broken" in kept_text([sensitivity])
    nothing = compare_with_promise(answers, {"a": "ill"}, LABELS, POINT)[1]
    assert "no image to tell it by" in kept_text([nothing])


def test_a_table_as_a_spreadsheet_writes_it(tmp_path):
    path = tmp_path / "confirmed.csv"
    path.write_text("\ufeffimage;truth;by\r\na.png;ill;x\r\nb.png;;\r\na.png;ill;y\r\n", "utf-8")
    assert read_confirmed(path) == ({"a.png": "ill"}, {})
    with pytest.raises(DataError, match=r"line 4: expected one by for a\.png, got x and y"):
        read_confirmed(path, "by")
    path.write_text("image,truth,patient\na,ill,7\nb,well,\na,ill,7\n")
    assert read_confirmed(path, "patient") == ({"a": "ill", "b": "well"}, {"a": "7"})
    with pytest.raises(DataError, match="with the columns image and truth and name"):
        read_confirmed(path, "name")
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "truth"), ("a", "ill"), ("a", "well")])
    with pytest.raises(DataError, match="line 3: expected one truth for a, got ill and well"):
        read_confirmed(path)
    path.write_text("image,label\na,ill\n")
    with pytest.raises(DataError, match="expected a table with the columns image and truth"):
        read_confirmed(path)
    with pytest.raises(DataError, match="expected a table that can be read"):
        read_confirmed(tmp_path / "gone.csv")


def test_what_does_not_fit():
    answers = [("a", "positive")]
    with pytest.raises(DataError, match="expected truths of well, ill, got sick"):
        compare_with_promise(answers, {"a": "sick"}, LABELS, POINT)
    with pytest.raises(DataError, match="expected confirmed images among the 1 that were answered"):
        compare_with_promise(answers, {"b": "ill"}, LABELS, POINT)
