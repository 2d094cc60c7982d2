"""What kit check finds in a data set, and its contact sheet."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from kit.data import DataSettings, SplitSettings, load_dataset
from kit.data.check import KINDS, check_images, draw_contact_sheet, report_text
from kit.errors import DataError, OutputExistsError

pytest.importorskip("imagehash", reason="needs the extra train")
pytest.importorskip("sklearn", reason="needs the extra train")


def scene(seed, size=(96, 80)):
    """An image that is like no other: coarse random blocks, smoothed."""
    blocks = np.random.default_rng(seed).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    return Image.fromarray(blocks).resize(size, Image.Resampling.BICUBIC)


def save(root, path, image, **options):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    image.save(file, **options)
    return file


@pytest.fixture
def sound(tmp_path):
    """Two classes of 100 images in which nothing is wrong."""
    for index in range(100):
        save(tmp_path, f"a/{index}.jpg", scene(index), quality=90)
        save(tmp_path, f"b/{index}.jpg", scene(1000 + index), quality=90)
    return tmp_path


def problems(root, *arguments, **options):
    """Images of every problem by kind."""
    found = {}
    for problem in check_images(root, *arguments, **options).problems:
        found.setdefault(problem.kind, []).append(set(problem.images))
    assert set(found) <= set(KINDS)
    return found


def test_a_sound_data_set(sound):
    report = check_images(sound)
    assert report.problems == ()
    assert (report.images, report.groups) == (200, None)
    a, b = report.classes
    assert (a.label, a.images, b.label, b.images) == ("a", 100, "b", 100)
    assert sum(a.parts.values()) == 100 and set(a.parts) == {"train", "validation", "test"}
    assert (a.width, a.height) == ((96, 96, 96), (80, 80, 80))
    assert (a.formats, a.modes) == ({"JPEG": 100}, {"RGB": 100})
    assert report_text(report).endswith("no problems")
    assert json.loads(json.dumps(report.to_json()))["classes"][0]["width"] == [96, 96, 96]


def test_unreadable_files(sound):
    (sound / "a/broken.jpg").write_bytes((sound / "a/1.jpg").read_bytes()[:500])
    (sound / "a/notes").write_text("not an image")
    (sound / "a/notes.txt").write_text("a side file")
    (sound / "b/gone.jpg").symlink_to(sound / "nowhere")
    found = problems(sound)
    assert sorted(map(min, found.pop("unreadable"))) == [
        "a/broken.jpg",
        "a/notes",
        "b/gone.jpg",
    ]
    assert found == {}
    assert check_images(sound).images == 200


def test_nothing_that_can_be_read(tmp_path):
    for path in ("a/1.jpg", "b/1.jpg"):
        (tmp_path / path).parent.mkdir()
        (tmp_path / path).write_text(path)
    with pytest.raises(DataError, match=r"none can be read: a/1\.jpg: expected an image"):
        check_images(tmp_path)


def test_exact_copies(sound):
    for source, copy in (("a/1.jpg", "a/copy.jpg"), ("a/2.jpg", "b/copy.jpg")):
        (sound / copy).write_bytes((sound / source).read_bytes())
    assert problems(sound) == {
        "copies": [{"a/1.jpg", "a/copy.jpg"}],
        "copies_across_classes": [{"a/2.jpg", "b/copy.jpg"}],
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.resize((48, 40)).resize((192, 160)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.1),
        lambda image: image.convert("L").convert("RGB"),
    ],
    ids=["resized", "brighter", "grey"],
)
def test_near_copies(sound, change):
    with Image.open(sound / "a/3.jpg") as image:
        for copy in ("a/near.jpg", "b/near.jpg"):
            save(sound, copy, change(image), quality=40 if copy[0] == "a" else 60)
    assert problems(sound) == {
        "near_copies_across_classes": [{"a/3.jpg", "a/near.jpg", "b/near.jpg"}]
    }
    (sound / "b/near.jpg").unlink()
    found = problems(sound)
    assert [*found.values()] == [[{"a/3.jpg", "a/near.jpg"}]]
    assert set(found) < {"near_copies", "near_copies_across_parts"}
    assert problems(sound, near_bits=0) == {}


def test_near_copies_in_two_parts(sound):
    seeds = range(20)
    with Image.open(sound / "a/3.jpg") as image:
        save(sound, "a/near.jpg", image, quality=50)
    kinds = {min(problems(sound, split=SplitSettings(0.3, 0.3, seed))): seed for seed in seeds}
    assert set(kinds) == {"near_copies", "near_copies_across_parts"}
    grouped = SplitSettings(0.3, 0.3, kinds["near_copies_across_parts"], r"a/(?:3|(ne)ar)\.jpg")
    assert "near_copies_across_parts" in problems(sound, split=grouped)
    together = SplitSettings(0.3, 0.3, kinds["near_copies_across_parts"], r"a/()(?:3|near)\.jpg")
    assert "near_copies_across_parts" not in problems(sound, split=together)


def test_one_patient_in_two_classes_and_two_given_parts(tmp_path):
    rows = ["path,label,patient,part"]
    parts = ("train", "validation", "test")
    for index in range(90):
        save(tmp_path, f"{index}.jpg", scene(index))
        # Each has a label and part of its own, but for 0 and 1 (classes) and 2 and 32 (parts).
        patient = {1: 0, 32: 2}.get(index, index)
        part = parts[0] if index == 32 else parts[index // 30]
        rows.append(f"{index}.jpg,{'ab'[index % 2]},Jane Doe {patient},{part}")
    table = tmp_path.parent / f"{tmp_path.name}.csv"
    table.write_text("\n".join(rows))
    settings = DataSettings(labels_csv=table, group_column="patient", split_column="part")
    assert problems(tmp_path, settings) == {"groups_across_classes": [{"0.jpg", "1.jpg"}]}
    table.write_text(
        "\n".join(rows).replace("32.jpg,a,Jane Doe 2,train", "32.jpg,a,Jane Doe 2,test")
    )
    report = check_images(tmp_path, settings)
    assert report.groups == 88
    assert [(p.kind, set(p.images)) for p in report.problems] == [
        ("copies_across_parts", {"2.jpg", "32.jpg"}),
        ("groups_across_classes", {"0.jpg", "1.jpg"}),
    ]
    assert "Jane" not in report_text(report) + json.dumps(report.to_json())


def test_small_classes_and_imbalance(tmp_path):
    for label, count in (("many", 110), ("few", 19), ("some", 21)):
        for index in range(count):
            save(tmp_path, f"{label}/{index}.png", scene(hash_of(label, index)))
    report = check_images(tmp_path)
    said = {problem.kind: problem.message for problem in report.problems}
    assert said.pop("few_images").startswith("few has 19")
    assert said.pop("imbalance").startswith("many has 110 images, few 19")
    said.pop("missing_part", None)
    assert said == {}


def hash_of(label, index):
    return sum(map(ord, label)) * 1000 + index


def test_a_class_without_a_part(tmp_path):
    for part, index in (("train", 0), ("train", 1), ("test", 2), ("validation", 3)):
        save(tmp_path, f"{part}/a/{index}.png", scene(hash_of("a", index)))
        if part != "validation":
            save(tmp_path, f"{part}/b/{index}.png", scene(hash_of("b", index)))
    problems = check_images(tmp_path).problems
    (problem,) = (problem for problem in problems if problem.kind == "missing_part")
    assert "images of b in every part, got none in validation" in problem.message


def test_tiny_and_blank_images(sound):
    save(sound, "a/tiny.png", scene(5000, (63, 200)))
    save(sound, "a/black.png", Image.new("RGB", (90, 90)))
    save(sound, "b/white.png", Image.new("RGB", (90, 90), "white"))
    # Blank images are alike, but are no near copies.
    assert problems(sound) == {
        "tiny": [{"a/tiny.png"}],
        "blank": [{"a/black.png"}, {"b/white.png"}],
    }


@pytest.mark.parametrize(
    ("change", "feature"),
    [
        (lambda image: image.convert("L"), "mode L"),
        (lambda image: image.resize((120, 80)), "width"),
        (lambda image: image, "bytes a pixel"),
    ],
)
def test_what_gives_a_class_away(sound, change, feature):
    for index in range(100):
        save(
            sound, f"a/{index}.jpg", change(scene(index)), quality=30 if "bytes" in feature else 90
        )
    report = check_images(sound)
    assert {problem.kind for problem in report.problems} == {"shortcut"}
    said = [problem.message for problem in report.problems]
    assert any(line.startswith(f"a: its {feature} alone tells it") for line in said)


def test_sizes_are_upright(sound):
    tags = Image.Exif()
    tags[0x0112] = 6
    for index in range(100):
        save(sound, f"a/{index}.jpg", scene(index), quality=90, exif=tags)
    assert check_images(sound).classes[0].width == (80, 80, 80)


def test_text_lists_the_first_and_counts_the_rest(sound):
    for index in range(14):
        (sound / f"a/{index} broken.jpg").write_text(str(index))
    text = report_text(check_images(sound), most=4)
    assert "cannot be read (14):" in text
    assert "  and 10 more" in text
    assert text.endswith("14 problems")


def test_bits_that_make_no_sense(sound):
    with pytest.raises(ValueError, match="expected 0 to 255 bits"):
        check_images(sound, near_bits=256)


def rows_of(path, rows, columns):
    """Thumbnails' mean colours, `[rows][columns]`, by the documented places."""
    from kit.data.check import _CAPTION, _GAP, _MARGIN, _THUMBNAIL, _TITLE

    pixels = np.asarray(Image.open(path)).astype(float)
    step = _THUMBNAIL + _GAP
    tops = [_MARGIN + _TITLE + row * step for row in range(rows)]
    lefts = [_MARGIN + _CAPTION + column * step for column in range(columns)]
    return [
        [pixels[t + 20 : t + 92, x + 20 : x + 92].mean((0, 1)).round().tolist() for x in lefts]
        for t in tops
    ]


def test_a_contact_sheet_has_a_row_for_each_class(tmp_path):
    colours = {"blue": (0, 0, 200), "green": (0, 200, 0), "中文": (200, 0, 0)}
    for label, colour in colours.items():
        for index in range(6):
            image = Image.new("RGB", (60 + index, 60), colour)
            save(tmp_path / "images", f"{label}/{index}.png", image)
    (tmp_path / "images/blue/broken.png").write_bytes(b"no image")
    dataset = load_dataset(tmp_path / "images")
    path = draw_contact_sheet(dataset, tmp_path / "sheet.png", columns=7)
    found = rows_of(path, 3, 7)
    for row, colour in zip(found, colours.values(), strict=True):
        assert row[:6] == [list(colour)] * 6
        assert row[6] == [255, 255, 255]
    with Image.open(path) as image:
        assert image.format == "PNG"
        caption = np.asarray(image.convert("L"))[56:100, 16:200]
    assert caption.min() < 80  # its name is written
    with pytest.raises(OutputExistsError):
        draw_contact_sheet(dataset, path)


def test_the_choice_is_seeded(sound, tmp_path):
    dataset = load_dataset(sound)
    sheets = [
        draw_contact_sheet(dataset, tmp_path / f"{n}.png", columns=5, seed=seed).read_bytes()
        for n, seed in enumerate((0, 0, 1))
    ]
    assert sheets[0] == sheets[1] != sheets[2]
    with pytest.raises(ValueError, match="expected 1 to 100 images"):
        draw_contact_sheet(dataset, tmp_path / "x.png", columns=0)


def test_many_classes_and_long_names_stay_within_the_sheet(tmp_path):
    for index in range(70):
        name = f"{index:02d} {'a very long name of a class ' * 4}".strip()
        save(tmp_path / "images", f"{name}/1.png", scene(index, (20, 20)))
    path = draw_contact_sheet(load_dataset(tmp_path / "images"), tmp_path / "sheet.png", columns=2)
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape[0] < 8000
    gutter = pixels[60:, 16 + 190 - 6 : 16 + 190]  # between the captions and the first column
    assert gutter.min() == 255


def test_shared_x_rays(shared):
    folder = shared / "data" / "xray"
    if not folder.is_dir():
        pytest.skip("the test data has no X-rays")
    settings = DataSettings(labels_csv=Path(folder, "labels.csv"), group_column="patient")
    report = check_images(folder, settings)
    assert (report.images, report.groups) == (843, 667)
    found = {problem.kind: set(problem.images) for problem in report.problems}
    # Their provenance says that the classes differ in compression; the copy was found by this.
    assert found == {
        "shortcut": set(),
        "copies": {
            "PNEUMONIA/person1430_bacteria_3695.jpg",
            "PNEUMONIA/person1430_bacteria_3696.jpg",
        },
    }


def test_copies_of_shared_x_rays_are_found_and_no_others(shared, tmp_path):
    folder = shared / "data" / "xray"
    if not folder.is_dir():
        pytest.skip("the test data has no X-rays")
    for label in ("NORMAL", "PNEUMONIA"):
        for number, path in enumerate(sorted((folder / label).iterdir())[:120]):
            with Image.open(path) as image:
                save(tmp_path, f"{label}/{path.name}", image, quality=90)
                if number < 10:
                    width, height = image.size
                    inner = image.crop((3, 3, width - 3, height - 3)).resize((200, 160))
                    copy = ImageEnhance.Brightness(inner).enhance(1.2)
                    save(tmp_path, f"{label}/copy_{path.name}", copy, quality=40)
    near = [p for p in check_images(tmp_path).problems if p.kind.startswith("near_copies")]
    assert len(near) == 20
    for problem in near:
        first, second = sorted(problem.images, key=lambda path: "copy_" in path)
        assert second == first.replace("/", "/copy_")
