"""`kit review`: from images with planted errors to corrections that training takes."""

import csv
import hashlib
import json
import re
import shutil
from dataclasses import replace

import pytest
from drawing import draw_folder
from PIL import Image
from training_fixtures import Listener
from typer.testing import CliRunner

from kit.cli.app import app
from kit.data import DataSettings
from kit.errors import DataError, OutputExistsError
from kit.workflows.choose_images import choose_images
from kit.workflows.corrected_tree import write_corrected_tree
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
    assert [one[0] for one in data["images"]][: len(rows)] == [row["path"] for row in rows]
    assert len(data["images"]) == len(data["positions"]) == 80
    blocks = re.findall(r'class="pictures">(.*?)</script>', page)
    pictures = [picture for block in blocks for picture in block.split(" ")]
    assert len(blocks) == 2 and len(pictures) == 80
    assert all(picture.startswith("/9j/") for picture in pictures)  # JPEG
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
            (one.path, one.digest, one.suggested, one.label, " ".join(one.reasons), "Ada")
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
    settings = replace(settings, gallery=False)
    review(images, tmp_path / "out", settings, cache=tmp_path / "cache")
    assert "/9j/" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_what_is_odd_besides_its_label_is_told_with_its_reason(images, settings, tmp_path):
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    Image.new("RGB", (64, 64), (255, 255, 255)).save(folder / "red" / "white.png")
    with Image.open(folder / "red" / "010.png") as image:
        image.resize((48, 48)).save(folder / "blue" / "copy.png")
        framed = Image.new("RGB", (96, 96))
        framed.paste(image.resize((64, 64)), (16, 16))
        framed.save(folder / "red" / "framed.png")
    found = review(folder, tmp_path / "out", settings, cache=tmp_path / "cache")
    reasons = {one.path: one.reasons for one in found.suspects}
    assert {"bright", "flat"} & {*reasons["red/white.png"]}
    assert "copy" in reasons["red/010.png"] and "copy" in reasons["blue/copy.png"]
    assert "cut" in reasons["red/framed.png"]
    with (tmp_path / "out" / "suspects.csv").open(newline="") as file:
        told = {row["path"]: row["reason"] for row in csv.DictReader(file)}
    assert told == {path: " ".join(names) for path, names in reasons.items()}
    doubtful = ["label" in one.reasons or "doubt" in one.reasons for one in found.suspects]
    assert doubtful == sorted(doubtful, reverse=True)


def test_what_stands_in_two_classes_comes_first_and_is_settled(images, settings, tmp_path):
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    shutil.copy(folder / "red" / "020.png", folder / "blue" / "twin.png")
    found = review(folder, tmp_path / "out", settings, cache=tmp_path / "cache")
    twins = {one.path: one for one in found.suspects[:2]}
    assert twins.keys() == {"red/020.png", "blue/twin.png"}
    assert all("twice" in one.reasons for one in twins.values())
    assert twins["blue/twin.png"].suggested == "red"  # nothing has learnt from either
    assert twins["red/020.png"].label_score == twins["blue/twin.png"].suggested_score > 0.5
    assert {one.path for one in found.suspects[2:6]} == WRONG
    assert found.images == 81  # one is in both classes
    table = tmp_path / "corrections.csv"
    table.write_text(f"digest,label\n{twins['red/020.png'].digest},red\n", encoding="utf-8")
    mended = replace(settings, data=DataSettings(corrections=table))
    again = review(folder, tmp_path / "again", mended, cache=tmp_path / "cache")
    assert not any("twice" in one.reasons for one in again.suspects)
    assert again.images == 81


def test_twins_stay_together_also_those_of_a_class_that_has_nothing_else(
    images, settings, tmp_path
):
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    (folder / "violet").mkdir()
    for number in range(20, 24):
        shutil.copy(folder / "red" / f"0{number}.png", folder / "violet" / f"{number}.png")
    listener = Listener()
    found = review(folder, tmp_path / "out", settings, cache=tmp_path / "cache", reporter=listener)
    first = found.suspects[:8]
    assert [one.digest for one in first[::2]] == [one.digest for one in first[1::2]]
    assert all(one.reasons[0] == "twice" and one.part in ("", "train") for one in first)
    of_violet = [one for one in first if one.label == "violet"]
    assert len(of_violet) == 4 and all(one.suggested == "red" for one in of_violet)
    assert not any("the same content is in" in line for line in listener.warned)
    assert any(
        "8 images with the content of an image of another class" in line for line in listener.warned
    )


def test_a_page_has_its_limit_and_says_so(images, settings, tmp_path, monkeypatch):
    monkeypatch.setattr("kit.workflows.review.MOST_ON_PAGE", 30)
    found = review(images, tmp_path / "out", settings, cache=tmp_path / "cache")
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "The page shows the first 30, and leaves out 50." in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert [one[0] for one in data["images"]][:4] == [one.path for one in found.suspects[:4]]
    assert len(data["images"]) == len(data["positions"]) == 30


# ---------------------------------------------------------------- what to label next


@pytest.fixture
def pool(images, tmp_path):
    """Photographs without labels, two of which are labelled already."""
    folder = draw_folder(tmp_path / "more", {"blue": 30, "red": 30}, seed=9)
    flat = tmp_path / "pool"
    flat.mkdir()
    for path in sorted(folder.rglob("*.png")):
        shutil.move(path, flat / f"{path.parent.name}-{path.name}")
    for name in ("010.png", "011.png"):
        shutil.copy(images / "red" / name, flat / f"known-{name}")
    return flat


def test_chosen_images_are_new_and_can_be_labelled(images, pool, settings, tmp_path):
    listener = Listener()
    found = choose_images(
        images, pool, tmp_path / "out", settings, 7, cache=tmp_path / "cache", reporter=listener
    )
    assert found.of == 60 and len({one.path for one in found.images}) == 7
    assert not any(one.path.startswith("known") for one in found.images)
    assert f"passed over 2 images that {images} has already" in listener.said
    with (tmp_path / "out" / "chosen.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [one.path for one in found.images]
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "7 images to label" in page and "/9j/" in page


def test_results_of_a_device_name_the_images(images, pool, settings, tmp_path):
    names = sorted(path.name for path in pool.iterdir() if not path.name.startswith("known"))
    table = tmp_path / "results.csv"
    rows = [{"image": f"pool/{name}", "label": "red"} for name in [*names, "gone.png"]]
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["image", "label"])
        writer.writeheader()
        writer.writerows(rows)
    listener = Listener()
    arguments = (images, table, tmp_path / "out", settings, 5)
    found = choose_images(*arguments, cache=tmp_path / "cache", reporter=listener)
    assert found.of == 60 and all(one.path.startswith("pool/") for one in found.images)
    assert f"left out 1 image of {table}, no longer there" in listener.warned
    table.write_text("image\nnowhere.png\n")
    with pytest.raises(DataError, match="images that are still there, got none of 1"):
        choose_images(images, table, tmp_path / "other", settings)
    table.write_text("label\nred\n")
    with pytest.raises(DataError, match="with the column image"):
        choose_images(images, table, tmp_path / "other", settings)
    assert not (tmp_path / "other").exists()


def test_what_is_known_already_is_not_chosen(images, settings, tmp_path):
    with pytest.raises(DataError, match=r"expected images that .* does not have, got none"):
        choose_images(images, images, tmp_path / "out", settings, cache=tmp_path / "cache")
    with pytest.raises(ValueError, match="at least 1 image, got 0"):
        choose_images(images, images, tmp_path / "out", settings, 0)


# ---------------------------------------------------------------- corrections for other tools


def test_a_corrected_tree_for_other_tools(images, tmp_path):
    wrong = images / "red" / "blue-000.png"
    digest = hashlib.sha256(wrong.read_bytes()).hexdigest()
    out = hashlib.sha256((images / "red" / "005.png").read_bytes()).hexdigest()
    table = tmp_path / "corrections.csv"
    table.write_text(f"digest,label\n{digest},blue\n{out},exclude\n")
    asked = ["review", str(images), "--apply", "--output", str(tmp_path / "tree")]
    done = CliRunner().invoke(app, [*asked, "--corrections", str(table)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "tree" / "blue" / "blue-000.png").read_bytes() == wrong.read_bytes()
    assert not (tmp_path / "tree" / "red" / "blue-000.png").exists()
    assert not (tmp_path / "tree" / "red" / "005.png").exists()
    assert wrong.exists()
    # broken.png goes along: nothing is decoded here.
    assert len(list((tmp_path / "tree").rglob("*.png"))) == 80
    assert "80 images, 0 of them linked" in done.output
    linked = tmp_path / "linked"
    done = CliRunner().invoke(app, [*asked[:-1], str(linked), "--link"])
    assert "81 images, 81 of them linked" in done.output
    assert (linked / "red" / "005.png").samefile(images / "red" / "005.png")


def test_names_that_meet_in_one_folder_are_told_apart(tmp_path):
    images = draw_folder(tmp_path / "images", {"blue": 3, "red": 3}, seed=1)
    digests = [
        hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(images.glob("red/*"))
    ]
    table = tmp_path / "corrections.csv"
    table.write_text("digest,label\n" + "".join(f"{one},blue\n" for one in digests[:2]))
    settings = DataSettings(corrections=table)
    found = write_corrected_tree(images, tmp_path / "tree", settings)
    assert found.images == 6
    assert len(list((tmp_path / "tree" / "blue").iterdir())) == 5
    with pytest.raises(DataError, match="expected a folder outside of"):
        write_corrected_tree(images, images / "tree")
    with pytest.raises(OutputExistsError, match="which it is or holds"):
        write_corrected_tree(images, tmp_path, force=True)
    assert images.exists()
    with pytest.raises(OutputExistsError):
        write_corrected_tree(images, tmp_path / "tree")


@pytest.mark.parametrize("label", ["../up", "/root", "..", "a/b", "a\\b"])
def test_a_label_that_is_no_folder_writes_nothing(tmp_path, label):
    images = draw_folder(tmp_path / "images", {"blue": 3, "red": 3}, seed=1)
    digest = hashlib.sha256((images / "red" / "000.png").read_bytes()).hexdigest()
    table = tmp_path / "corrections.csv"
    table.write_text(f"digest,label\n{digest},{label}\n")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match="names of folders"):
        write_corrected_tree(images, tmp_path / "tree", DataSettings(corrections=table))
    assert sorted(tmp_path.rglob("*")) == before


def test_parts_and_folders_below_a_class_stay(tmp_path):
    drawn = draw_folder(tmp_path / "drawn", {"blue": 4, "red": 4}, seed=1)
    images = tmp_path / "images"
    for part in ("train", "test"):
        for label in ("blue", "red"):
            (images / part / label / "patient-1").mkdir(parents=True)
    for number, path in enumerate(sorted(drawn.rglob("*.png"))):
        part = ("train", "test")[number % 2]
        shutil.copy(path, images / part / path.parent.name / "patient-1" / path.name)
    write_corrected_tree(images, tmp_path / "tree")
    found = {path.relative_to(tmp_path / "tree") for path in (tmp_path / "tree").rglob("*.png")}
    assert found == {path.relative_to(images) for path in images.rglob("*.png")}


def test_an_output_that_holds_what_is_read_is_refused(images, settings, tmp_path):
    (tmp_path / "project").mkdir()
    named = DataSettings(corrections=tmp_path / "project" / "corrections.csv")
    for run in (
        lambda output, data: review(images, output, replace(settings, data=data), force=True),
        lambda output, data: choose_images(
            *(images, tmp_path / "more", output, replace(settings, data=data)), force=True
        ),
        lambda output, data: write_corrected_tree(images, output, data, force=True),
    ):
        for output, data in (
            (images, DataSettings()),
            (images.parent, DataSettings()),
            (tmp_path / "project", named),
        ):
            with pytest.raises(OutputExistsError, match="which it is or holds"):
                run(output, data)
    with pytest.raises(OutputExistsError, match="which it is or holds"):
        choose_images(images, tmp_path / "project" / "more", tmp_path / "project", force=True)
    assert len(list(images.rglob("*.png"))) == 81
    assert (tmp_path / "project").is_dir()


def test_names_are_hidden_with_the_pictures(images, settings, tmp_path):
    from dataclasses import replace

    found = review(
        images, tmp_path / "out", replace(settings, gallery=False), cache=tmp_path / "cache"
    )
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert '"image 1"' in page
    assert not any(one.path in page for one in found.suspects)
