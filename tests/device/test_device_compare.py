"""What tests/device/arm64/compare.py lets pass, and what not."""

import json
import sys

import compare
import pytest

LABELS = ("red", "green", "blue")


def row(image, *scores):
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    categories = [{"index": i, "label": LABELS[i], "score": scores[i]} for i in order]
    return {"image": image, "categories": categories}


RED, BLUE = row("./x.jpg", 0.9, 0.09, 0.01), row("./again/x.jpg", 0.1, 0.2, 0.7)
BROKEN = {"image": "./broken.jpg", "error": "expected an image"}
WANTED = (RED, BLUE, BROKEN)


@pytest.fixture
def compared(data, tmp_path, monkeypatch):
    """Compares rows of the device with rows of this machine."""

    def run(found, wanted=WANTED):
        for name, rows in (("device", found), ("here", wanted)):
            lines = ["self-test passed", *map(json.dumps, rows)]
            (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
        paths = (data / "red_green_blue_float32.tflite", tmp_path / "device", tmp_path / "here")
        monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, paths)])
        compare.main()

    return run


def test_the_same_answers_pass(compared, capsys):
    close = row("./x.jpg", 0.90005, 0.08995, 0.01)
    compared([BROKEN, BLUE, close])  # in any order
    assert (
        "same label on 2 images, largest difference of a score 0.00005" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ((RED, BROKEN), "only one side has again/x.jpg"),
        ((RED, row("./again/x.jpg", 0.9, 0.09, 0.01), BROKEN), "again/x.jpg: expected blue"),
        ((row("./x.jpg", 0.9, 0.08, 0.02), BLUE, BROKEN), "x.jpg: expected green within"),
        ((row("./x.jpg", 0.9, 0.09, float("nan")), BLUE, BROKEN), "got nan"),
        ((row("./x.jpg", 0.9, 0.09), BLUE, BROKEN), "expected scores of 3 labels, got 2"),
        ((row("./x.jpg"), BLUE, BROKEN), "expected scores of 3 labels, got 0"),
        ((BROKEN | {"image": "./x.jpg"}, BLUE, BROKEN), "x.jpg: expected, as here, no error"),
        ((RED, BLUE, row("./broken.jpg", 1, 0, 0)), "broken.jpg: expected, as here, expected an"),
    ],
    ids=["missing", "other-label", "score", "nan", "one-label-less", "none", "error", "no-error"],
)
def test_others_do_not(compared, found, said):
    with pytest.raises(SystemExit) as raised:
        compared(found)
    assert said in str(raised.value.code)


def test_labels_that_both_leave_out_are_missed(compared):
    with pytest.raises(SystemExit, match="expected scores of 3 labels"):
        compared([row("./x.jpg", 0.9, 0.1)], [row("./x.jpg", 0.9, 0.1)])
