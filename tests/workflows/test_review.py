"""`kit review`: from images with planted errors to corrections that training takes."""

import csv
import json
import re
import shutil

import pytest
from drawing import draw_folder
from training_fixtures import Listener
from typer.testing import CliRunner

from kit.cli.app import app
from kit.errors import OutputExistsError
from kit.workflows.review import review
from kit.workflows.train_settings import TrainSettings

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Two of each colour lie in the other's folder."""
    folder = draw_folder(tmp_path_factory.mktemp("review"), {"blue": 40, "red": 40}, seed=6)
    for index in ("000", "001"):
        for label, other in (("blue", "red"), ("red", "blue")):
            shutil.move(folder / label / f"{index}.png", folder / other / f"{label}-{index}.png")
    (folder / "red" / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def settings(small_backbone):
    return TrainSettings(
        alpha=0.25,
        input_resolution=small_backbone.choice.input_resolution,
        weights=str(small_backbone.weights.path),
    )


WRONG = {
    f"{other}/{label}-{index}.png"
    for index in ("000", "001")
    for label, other in (("blue", "red"), ("red", "blue"))
}


def test_misplaced_images_come_first(images, settings, tmp_path):
    listener = Listener()
    found = review(images, tmp_path / "out", settings, cache=tmp_path / "cache", reporter=listener)
    assert {one.path for one in found.suspects[:4]} == WRONG
    assert all(one.suggested == one.path.split("/")[1].split("-")[0] for one in found.suspects[:4])
    assert found.images == 80 and found.accuracy > 0.9
    assert any("broken.png" in line for line in listener.warned)
    with (tmp_path / "out" / "suspects.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [one.path for one in found.suspects]
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert [one["path"] for one in data["suspects"]] == [row["path"] for row in rows]
    assert all(one["picture"].startswith("/9j/") for one in data["suspects"])  # JPEG
    assert not re.search(r'(src|href)="|https?://', page)
    with pytest.raises(OutputExistsError):
        review(images, tmp_path / "out", settings, cache=tmp_path / "cache")


def test_what_was_found_is_what_training_corrects(images, settings, tmp_path):
    found = review(images, tmp_path / "out", settings, cache=tmp_path / "cache")
    table = tmp_path / "corrections.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "digest", "label", "was", "reason", "by"))
        writer.writerows(
            (one.path, one.digest, one.suggested, one.label, one.reason, "Ada")
            for one in found.suspects[:4]
        )
    asked = ["check", str(images), "--corrections", str(table)]
    done = CliRunner().invoke(app, asked)
    assert "4 labels corrected and no images left out by corrections.csv" in done.output
    from kit.workflows.options import train_settings

    mended = train_settings(
        alpha=0.25,
        input_resolution=settings.input_resolution,
        weights=settings.weights,
        corrections=table,
    )
    again = review(images, tmp_path / "again", mended, cache=tmp_path / "cache")
    assert WRONG.isdisjoint(one.path for one in again.suspects)


def test_no_pictures_where_they_are_not_wanted(images, settings, tmp_path):
    from dataclasses import replace

    settings = replace(settings, gallery=False)
    review(images, tmp_path / "out", settings, cache=tmp_path / "cache")
    assert "/9j/" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
