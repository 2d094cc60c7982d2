"""Watching a model in the field: alarms where something has shifted, and hardly any otherwise."""

import csv
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from drawing import draw_folder
from PIL import Image, ImageOps
from typer.testing import CliRunner

from kit.cli.app import app
from kit.device.command import main
from kit.device.results import COLUMNS
from kit.errors import DataError, ModelFileError
from kit.evaluation import monitoring as module
from kit.evaluation.monitoring import monitor, monitored_text, reference_of
from kit.model.model_file import read_model_file, with_card_fields
from kit.model.spec import OperatingPoint
from kit.runtime.appearance import Appearance
from kit.runtime.classifier import Answer

pytest_plugins = ["training_fixtures"]

LIMIT = math.log(12 * 5 / 0.05)
MONTHS = [f"2026-{month:02}" for month in range(1, 13)]


def watch(reference, values, months):
    return module._watch("score", list(reference), list(values), months, LIMIT)


def test_years_in_which_nothing_changes_hardly_ever_alarm():
    """200 years of 1,200 images, five values watched: at most 5 % with any alarm at all."""
    alarms = 0
    months = [month for month in MONTHS for _ in range(100)]
    for year in range(200):
        random = np.random.default_rng(year)
        found = [
            watch(draw(80), draw(1200), months)
            for draw in (
                lambda n, random=random: random.beta(8, 1.5, n),
                # As int8 scores: many are equal.
                lambda n, random=random: np.rint(random.beta(8, 1.5, n) * 64) / 64,
                *(lambda n, random=random: random.normal(0.5, 0.1, n) for _ in range(3)),
            )
        ]
        alarms += any(one.alarm is not None for one in found)
    assert alarms <= 0.05 * 200


SHIFTS = {
    "less sure": lambda random, n: random.beta(3, 2, n),
    "surer": lambda random, n: random.beta(20, 1, n),
    "either": lambda random, n: np.where(
        random.random(n) < 0.5, random.beta(60, 2, n), random.beta(4, 2, n)
    ),
}


@pytest.mark.parametrize("shift", SHIFTS)
def test_a_shift_is_noticed_within_100_images_and_dated(shift):
    noticed, dated = 0, []
    for seed in range(40):
        random = np.random.default_rng(seed)
        values = [*random.beta(8, 1.5, 80), *SHIFTS[shift](random, 200)]
        found = watch(random.beta(8, 1.5, 80), values, ["2026-01"] * 280)
        noticed += found.alarm is not None and found.alarm < 180
        dated.append(found.since)
    assert noticed >= 38
    assert abs(np.median([one for one in dated if one is not None]) - 80) < 30


@pytest.mark.tf
def test_ties_are_ties_after_six_decimals_in_one_and_three_in_the_other(model, tmp_path):
    """An int8 file says 0.996094 again and again; its card keeps 0.996."""
    import hashlib

    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    kept = read_model_file(model).card.reference
    order = np.random.default_rng(1).permutation(len(kept["score"]))
    rows = [
        {
            "time": "2026-01-01T00:00:00Z",
            "model": digest[:12],
            "score": f"{kept['score'][index] / 1000 + 0.000094:.6f}",
            "unfamiliarity": f"{kept['unfamiliarity'][index] / 1000 - 0.000094:.6f}",
        }
        for index in order
    ]
    written(tmp_path / "results.csv", rows)
    assert monitor([tmp_path / "results.csv"], model).alarms == ()


def test_a_clock_that_jumps_back_begins_no_month():
    rows = [module.Row(f"2026-{month}-01", {}, "") for month in ("03", "03", "01", "03", "04")]
    assert module._months(rows) == ["2026-03"] * 4 + ["2026-04"]
    rows = [module.Row(time, {}, "") for time in ("1970-01-01", "2026-03-01", "1970-01-02")]
    assert module._months(rows) == ["1970-01", "2026-03", "2026-03"]


def test_what_a_card_keeps_is_small_and_says_how_often_it_answered():
    random = np.random.default_rng(0)
    positive = random.random(5000).astype(np.float32)
    scores = np.stack([1 - positive, positive], axis=1)
    point = OperatingPoint("ill", 0.4, 0.7)
    answers = [
        Answer(row, float(strange), Appearance(*(0.1 + 0.4 * random.random(3))))
        for row, strange in zip(scores, random.gamma(4, 0.25, 5000), strict=True)
    ]
    kept = reference_of(answers, ("well", "ill"), point, 1.5)
    assert len(json.dumps(kept, separators=(",", ":"))) < 2048
    assert {len(kept[name]) for name in module._WATCHED} == {80}
    assert kept["images"] == 5000
    answers = [Answer(row) for row in scores]
    plain = reference_of(answers, ("well", "ill"), point)
    assert "unfamiliarity" not in plain and "brightness" not in plain
    assert plain["answers"] == {
        "positive": int((positive >= np.float32(0.7)).sum()),
        "uncertain": int(((positive >= 0.4) & (positive < np.float32(0.7))).sum()),
    }
    assert kept["answers"]["unknown"] > 0
    assert kept["answers"]["positive"] < plain["answers"]["positive"]
    assert "answers" not in reference_of(answers, ("well", "ill"), None)


# ---------------------------------------------------------------- a device's results


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tmp_path_factory.mktemp("monitoring")


@pytest.fixture(scope="module")
def model(small_backbone, base):
    """A screening file with an operating point."""
    from kit.data import SplitSettings
    from kit.evaluation import Targets
    from kit.training.fitting import FitSettings
    from kit.workflows.train import TrainSettings, train

    images = draw_folder(base / "images", {"blue": 120, "red": 120}, seed=6)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=small_backbone.choice.input_resolution,
        weights=str(small_backbone.weights.path),
        split=SplitSettings(0.4, 0.2),
        fitting=FitSettings(epochs=3, learning_rate=0.01, batch_size=16),
        targets=Targets("red", sensitivity=0.8),
        screening=True,
    )
    return train(images, base / "run", settings, cache=base / "cache").screening_files["int8"]


@pytest.fixture(scope="module")
def field(base):
    """More images of the same kind, which nobody learnt from, in the order in which they came."""
    drawn = draw_folder(base / "drawn", {"blue": 60, "red": 60}, seed=77)
    order = np.random.default_rng(5).permutation(120)
    for number, path in zip(order, sorted(drawn.rglob("*.png")), strict=True):
        place = base / "field" / path.parent.name / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        path.rename(place)
    return base / "field"


def labelled(model, folder, results):
    """Labels a folder's images in the order of their names."""
    paths = sorted(folder.rglob("*.png"), key=lambda path: path.name)
    assert main([str(model), *map(str, paths), "--output", str(results)]) == 0


@pytest.mark.tf
def test_the_same_source_and_a_changed_one(model, field, tmp_path, capsys):
    results = tmp_path / "results.csv"
    labelled(model, field, results)
    found = monitor([results], model)
    assert len(found.rows) == 120
    assert [watch.name for watch in found.watches] == list(module._WATCHED)
    assert found.alarms == ()
    done = CliRunner().invoke(app, ["monitor", str(results), "--model", str(model)])
    assert done.exit_code == 0, done.stderr
    assert "unfamiliarity: nothing says that it has shifted" in done.stdout
    inverted = tmp_path / "inverted"
    for path in sorted(field.rglob("*.png")):
        place = inverted / path.relative_to(field)
        place.parent.mkdir(parents=True, exist_ok=True)
        ImageOps.invert(Image.open(path)).save(place)
    labelled(model, inverted, results)
    found = monitor([results], model)
    assert {watch.name for watch in found.alarms} >= {"unfamiliarity"}
    alarm = next(watch for watch in found.watches if watch.name == "unfamiliarity")
    assert 120 <= alarm.alarm < 220
    assert abs(alarm.since - 120) < 60  # about
    page = tmp_path / "monitor.html"
    asked = ["monitor", str(results), "--model", str(model), "--output", str(page)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 1
    assert "unfamiliarity: HAS SHIFTED since about" in done.stdout
    assert done.stdout.endswith(f"{page}\n")
    text = page.read_text(encoding="utf-8")
    assert "These images have shifted" in text and text.count("<svg") == 2
    assert "<b>unfamiliarity</b> has shifted since about" in text
    assert not re.search(r"<script|https?://(?!www.w3.org)", text)
    again = CliRunner().invoke(app, asked)
    assert again.exit_code == 1 and "--force" in again.stderr
    rates = {rate.answer: rate for rate in found.rates}
    assert set(rates) == {"positive", "uncertain", "unknown"}
    assert rates["unknown"].share.value > rates["unknown"].reference.value
    done = CliRunner().invoke(
        app, ["monitor", str(results), "--model", str(model), "--format", "json"]
    )
    facts = json.loads(done.stdout)
    assert facts["images"] == 240
    assert "shifted" in monitored_text(found).lower()


@pytest.mark.tf
def test_what_was_confirmed_is_held_to_the_promise(model, field, tmp_path):
    results, confirmed = tmp_path / "results.csv", tmp_path / "confirmed.csv"
    labelled(model, field, results)
    with results.open(newline="") as file:
        answers = list(csv.DictReader(file))
    with confirmed.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "truth"))
        writer.writerows((row["image"], Path(row["image"]).parent.name) for row in answers)
    asked = ["monitor", str(results), "--model", str(model), "--confirmed", str(confirmed)]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.stdout
    assert "sensitivity" in done.stdout and "0.8 was promised, and nothing says" in done.stdout
    # Somebody finds that all of them are ill.
    with confirmed.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "truth"))
        writer.writerows((row["image"], "red") for row in answers)
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 1
    assert "THE PROMISE IS BROKEN" in done.stdout
    # They were all of one patient, which says little.
    with confirmed.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "truth", "patient"))
        writer.writerows((row["image"], "red", "7") for row in answers)
    done = CliRunner().invoke(app, [*asked, "--group-column", "patient"])
    assert done.exit_code == 0, done.stdout
    assert "N=1)" in done.stdout
    alone = CliRunner().invoke(app, [*asked[:4], "--group-column", "patient"])
    assert alone.exit_code == 2 and "expected --confirmed beside --group-column" in alone.stderr


@pytest.mark.tf
def test_a_device_says_the_same(model, field, tmp_path, capsys):
    results = tmp_path / "results.csv"
    labelled(model, field, results)
    capsys.readouterr()
    assert main([str(model), "--monitor", str(results)]) == 0
    assert capsys.readouterr().out == monitored_text(monitor([results], model)) + "\n"
    assert main([str(model), "--monitor", str(results), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 120
    with pytest.raises(SystemExit):
        main([str(model), str(field), "--monitor", str(results)])
    assert "expected --monitor alone" in capsys.readouterr().err


def written(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows({**dict.fromkeys(COLUMNS, ""), **row} for row in rows)


@pytest.mark.tf
def test_rows_that_do_not_count_are_told(model, field, tmp_path):
    results = tmp_path / "results.csv"
    labelled(model, field, results)
    whole = results.read_text()
    row = whole.splitlines()[1].split(",")
    other = ",".join([*row[:4], "000000000000", *row[5:]])
    results.write_text(whole + other + "\n" + ",".join(row[:7]) + "\n")
    found = monitor([results], model)
    assert (len(found.rows), found.others, found.torn) == (120, 1, 1)
    assert "1 rows are of other models" in monitored_text(found)
    written(tmp_path / "other.csv", [{"model": "000000000000", "score": "0.5"}] * 3)
    with pytest.raises(DataError, match="got 3 of other models and 0 failures"):
        monitor([tmp_path / "other.csv"], model)
    (tmp_path / "no.csv").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="expected a results file of kit-label --output"):
        monitor([tmp_path / "no.csv"], model)
    with pytest.raises(DataError, match="expected a results file that can be read"):
        monitor([tmp_path / "gone.csv"], model)


@pytest.fixture
def plain(data, tmp_path):
    """A model with an operating point that keeps scores alone."""
    changes = {
        "operating_point": {"positive": "red", "negative_below": 0.01, "positive_from": 0.5},
        "reference": {"images": 3, "score": [965, 965, 965]},
    }
    path = tmp_path / "plain.tflite"
    content = (data / "red_green_blue_float32.tflite").read_bytes()
    path.write_bytes(with_card_fields(content, changes))
    return path


@pytest.mark.parametrize("hidden", [("--deny", "red"), ("--score-threshold", "0.99")])
def test_what_is_not_shown_is_watched_too(plain, photos, tmp_path, hidden):
    results = tmp_path / "results.csv"
    images = [str(photos / f"{name}.png") for name in ("red", "green")]
    assert main([str(plain), *images, "--output", str(results), *hidden]) == 0
    assert main([str(plain), str(photos / "none.png"), "--output", str(results)]) == 1
    found = monitor([results], plain)
    assert (len(found.rows), found.failed) == (2, 1)
    assert [row.answer for row in found.rows] == ["positive", "uncertain"]
    (watch,) = found.watches
    assert watch.name == "score" and watch.values == pytest.approx((0.965, 0.965), abs=2e-3)


def test_answers_of_an_earlier_kit_without_a_score_count_as_answers(plain, tmp_path):
    results = tmp_path / "results.csv"
    row = {"time": "2026-01-01T00:00:00Z", "model": read_model_file(plain).digest[:12]}
    rows = [{**row, "answer": "positive"}, {**row, "answer": "positive", "score": "0.7"}]
    written(results, rows)
    found = monitor([results], plain)
    assert (len(found.rows), found.failed) == (2, 0)
    assert found.watches[0].values == pytest.approx((math.nan, 0.7), nan_ok=True)
    written(results, rows[:1])
    with pytest.raises(DataError, match="expected rows with the score of their image, got 1"):
        monitor([results], plain)


@pytest.mark.tf
def test_a_model_that_keeps_nothing(colour_file, tmp_path):
    written(tmp_path / "results.csv", [])
    with pytest.raises(ModelFileError, match="expected a model whose card keeps what it said"):
        monitor([tmp_path / "results.csv"], colour_file)


@pytest.mark.tf
def test_what_was_set_up_on_site_is_what_is_compared_with(model, field, tmp_path):
    from kit.evaluation.on_site import adjust_on_site

    new = tmp_path / "new.tflite"
    new.write_bytes(adjust_on_site(model, field, "Ward 3").content)
    card = read_model_file(new).card
    assert card.reference["images"] == 120
    assert card.reference != read_model_file(model).card.reference
    assert card.reference["answers"]["unknown"] == 6  # 5 % of 120
