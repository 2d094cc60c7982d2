"""Bottlenecks are computed once, right, and survive what befalls a cache."""

import shutil
import sqlite3
from dataclasses import replace

import numpy as np
import pytest
from drawing import coloured, draw_folder
from PIL import Image
from training_fixtures import Listener

from kit.data import scan_images
from kit.errors import TrainingError
from kit.model.preprocess import fit_pixels
from kit.training import augment
from kit.training.augment import AUGMENTATIONS
from kit.training.bottlenecks import cache_key, extract_bottlenecks

pytest_plugins = ["training_fixtures"]
pytestmark = pytest.mark.tf


@pytest.fixture
def images(tmp_path):
    return draw_folder(tmp_path / "images", {"blue": 50, "red": 50})


@pytest.fixture
def extract(small_backbone, tmp_path, images):
    """Extracts, and says how many it computed: `extract(...)` gives vectors, reasons, listener."""

    def run(listener=None, backbone=None, **changes):
        backbone = backbone or small_backbone
        listener = listener or Listener()
        arguments = {
            "choice": backbone.choice,
            "weights": backbone.weights,
            "spec": backbone.spec,
            "make_backbone": lambda: backbone.content,
        } | changes
        vectors, reasons = extract_bottlenecks(
            scan_images(images), **arguments, cache=tmp_path / "cache", reporter=listener
        )
        return vectors, reasons, listener

    return run


def computed(listener):
    return sum(total for what, total in listener.tracked if what == "bottlenecks")


def database(tmp_path):
    (path,) = (tmp_path / "cache").glob("*/bottlenecks.sqlite")
    return path


def same(one, other):
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_equal_to_the_keras_network(extract, images, small_backbone):
    vectors, reasons, _ = extract()
    dataset = scan_images(images)
    pixels = []
    for image in dataset.images:
        with Image.open(images / image.path) as opened:
            pixels.append(fit_pixels(np.asarray(opened.convert("RGB")), small_backbone.spec))
    expected = np.asarray(small_backbone.model((np.stack(pixels).astype(np.float32) - 128) / 128))
    found = np.stack([vectors[image.digest] for image in dataset.images])
    assert reasons == {}
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < 1e-3
    # No wonder if all were alike; they are not.
    assert np.abs(expected - expected.mean(axis=0)).max() > 0.05


def test_the_second_time_nothing_is_computed(extract, images):
    first, _, listener = extract()
    assert computed(listener) == 100
    (images / "red" / "000.png").rename(images / "red" / "renamed.png")

    def never():
        raise AssertionError("the backbone is not needed")

    second, _, listener = extract(make_backbone=never)
    assert computed(listener) == 0
    assert same(first, second)


def test_ten_more_images_compute_ten(extract, images, monkeypatch):
    first, _, _ = extract()
    draw_folder(images / "more", {"red": 10}, seed=9)
    shutil.move(images / "more" / "red", images / "red" / "more")
    (images / "more").rmdir()
    read, real = [], augment.read_image

    def counting(path, *arguments):
        read.append(path)
        return real(path, *arguments)

    monkeypatch.setattr(augment, "read_image", counting)
    second, _, listener = extract()
    assert computed(listener) == len(read) == 10
    assert all("more" in path.parts for path in read)
    assert len(second) == 110
    assert same(first, {digest: second[digest] for digest in first})


class Interrupting(Listener):
    """Breaks off after some items."""

    def __init__(self, after):
        super().__init__()
        self._after = after

    def track(self, items, total, what):
        for count, item in enumerate(items):
            if count == self._after:
                raise KeyboardInterrupt
            yield item


def test_an_interrupted_run_goes_on_where_it_was(extract):
    with pytest.raises(KeyboardInterrupt):
        extract(Interrupting(37))
    resumed, _, listener = extract()
    assert computed(listener) == 100 - 37
    assert len(resumed) == 100


def test_a_cache_of_garbage_is_built_anew(extract, tmp_path):
    first, _, _ = extract()
    database(tmp_path).write_bytes(b"this is no database" * 1000)
    second, _, listener = extract()
    assert any("the cache is damaged" in line for line in listener.warned)
    assert computed(listener) == 100
    assert same(first, second)
    _, _, listener = extract()
    assert computed(listener) == 0


def test_a_truncated_cache_is_built_anew(extract, tmp_path):
    first, _, _ = extract()
    content = database(tmp_path).read_bytes()
    database(tmp_path).write_bytes(content[: len(content) // 2])
    second, _, _ = extract()
    assert same(first, second)


def test_a_flipped_bit_costs_one_image(extract, tmp_path):
    first, _, _ = extract()
    content = bytearray(database(tmp_path).read_bytes())
    vector = first[sorted(first)[40]].tobytes()
    assert content.count(vector) == 1
    content[content.index(vector) + 500] ^= 0x40
    database(tmp_path).write_bytes(content)
    second, _, listener = extract()
    assert any(line.startswith("1 damaged bottlenecks") for line in listener.warned)
    assert computed(listener) == 1
    assert same(first, second)


def test_a_damaged_page_never_gives_another_vector(extract, tmp_path):
    first, _, _ = extract()
    sound = database(tmp_path).read_bytes()
    random = np.random.default_rng(0)
    for page in range(0, len(sound), 4096 * 7):
        content = bytearray(sound)
        content[page : page + 4096] = random.bytes(4096)
        database(tmp_path).write_bytes(content)
        assert same(first, extract()[0])


def test_a_damaged_backbone_file_is_made_again(extract, images, tmp_path, small_backbone):
    extract()
    (kept,) = (tmp_path / "cache").glob("*/backbone.tflite")
    kept.write_bytes(b"garbage")
    shutil.copy(images / "red" / "000.png", images / "red" / "copy.png")
    made = []

    def make():
        made.append(1)
        return small_backbone.content

    extract(make_backbone=make)
    assert made == []  # a copy of a known image needs no network
    draw_folder(images, {"green": 3}, seed=4)
    extract(make_backbone=make)
    assert made == [1]
    assert kept.read_bytes() == small_backbone.content


def test_other_circumstances_have_another_cache(small_backbone):
    choice, weights, spec = small_backbone.choice, small_backbone.weights, small_backbone.spec
    keys = [
        cache_key(choice, weights, spec),
        cache_key(choice, replace(weights, digest="0" * 64), spec),
        cache_key(choice, weights, replace(spec, fit="crop")),
        cache_key(choice, weights, replace(spec, resize="antialias")),
        cache_key(choice, weights, replace(spec, input_resolution=64)),
        cache_key(choice, weights, replace(spec, mean=(0.0, 0.0, 0.0))),
        cache_key(replace(choice, alpha=0.5), weights, spec),
        cache_key(replace(choice, name="mobilenet_v2"), weights, spec),
        cache_key(choice, weights, spec, AUGMENTATIONS["photo"]),
        cache_key(choice, weights, spec, AUGMENTATIONS["xray"]),
    ]
    assert len(set(keys)) == len(keys)
    # Where the file lies and what it is called makes no difference.
    moved = replace(weights, path=None, description="elsewhere")
    assert cache_key(choice, moved, spec) == keys[0]


def test_another_spec_is_computed_anew(extract, small_backbone):
    first, _, _ = extract()
    other, _, listener = extract(spec=replace(small_backbone.spec, resize="antialias"))
    assert computed(listener) == 100
    assert not same(first, other)
    _, _, listener = extract()
    assert computed(listener) == 0


def test_unreadable_images_are_named_with_their_copies(extract, images):
    for name in ("broken.jpg", "copy of broken.jpg"):
        (images / "red" / name).write_bytes(b"\xff\xd8\xff\xe0 cut off")
    (images / "blue" / "notes.jpg").write_text("no image")
    (images / "blue" / "empty.png").write_bytes(b"")
    vectors, reasons, listener = extract()
    assert set(reasons) == {
        "red/broken.jpg",
        "red/copy of broken.jpg",
        "blue/notes.jpg",
        "blue/empty.png",
    }
    assert "an empty file" in reasons["blue/empty.png"]
    assert computed(listener) == 103
    assert len(vectors) == 100
    _, reasons, listener = extract()
    assert len(reasons) == 4  # what could not be read is tried again
    assert computed(listener) == 3


def test_copies_are_computed_once(extract, images):
    shutil.copy(images / "red" / "000.png", images / "red" / "zzz.png")
    _, _, listener = extract()
    assert computed(listener) == 100


def test_formats_other_than_jpeg(extract, images):
    random = np.random.default_rng(2)
    (images / "green").mkdir()
    for index, suffix in enumerate(("bmp", "gif", "webp", "tiff", "jpeg", "PNG", "ppm")):
        picture = Image.fromarray(coloured((40, 200, 50), random))
        picture.save(images / "green" / f"{index}.{suffix}")
    Image.fromarray(coloured((9, 9, 9), random)).convert("L").save(images / "green" / "grey.png")
    vectors, reasons, _ = extract()
    assert reasons == {}
    assert len(vectors) == 108


def test_the_cache_folder_is_where_the_user_says(extract, small_backbone, images, own_cache):
    extract_bottlenecks(
        scan_images(images),
        small_backbone.choice,
        small_backbone.weights,
        small_backbone.spec,
        lambda: small_backbone.content,
    )
    key = cache_key(small_backbone.choice, small_backbone.weights, small_backbone.spec)
    assert (own_cache / key / "bottlenecks.sqlite").is_file()


def test_a_cache_folder_that_cannot_be_made(extract, tmp_path):
    (tmp_path / "cache").write_text("a file is in the way")
    with pytest.raises(TrainingError, match="KIT_CACHE_DIR"):
        extract()


def test_a_cache_that_cannot_be_opened(extract, monkeypatch):
    """As in a folder without permission to write."""

    def connect(*arguments, **options):
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(TrainingError, match=r"unable to open database file.*KIT_CACHE_DIR"):
        extract()


def test_a_cache_that_another_process_holds_is_not_thrown_away(extract, tmp_path, monkeypatch):
    extract()
    before = database(tmp_path).read_bytes()
    real = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: real(path, timeout=0.1))
    other = real(database(tmp_path))
    try:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrainingError):
            extract()
    finally:
        other.close()
    assert database(tmp_path).read_bytes() == before


# ---------------------------------------------------------------- changed forms


def test_changed_forms_are_computed_once_for_each_variant_and_seed(extract, tmp_path):
    plain, _, _ = extract()
    drawn = {}
    for which in ((0, 0), (1, 0), (10, 0), (1, 1), (0, 1)):
        variant, seed = which
        found, reasons, listener = extract(
            augmentation=AUGMENTATIONS["photo"], variant=variant, seed=seed
        )
        assert reasons == {}
        assert computed(listener) == 100
        assert found.keys() == plain.keys()
        drawn[which] = found
    for one in drawn:
        for other in (drawn[key] for key in drawn if key != one):
            assert not any(np.array_equal(drawn[one][key], other[key]) for key in plain)
        again, _, listener = extract(
            augmentation=AUGMENTATIONS["photo"], variant=one[0], seed=one[1]
        )
        assert computed(listener) == 0
        assert same(again, drawn[one])
    again, _, listener = extract()
    assert computed(listener) == 0
    assert same(again, plain)


def test_a_changed_form_is_the_network_s_answer_to_it(extract, images, small_backbone):
    found, _, _ = extract(augmentation=AUGMENTATIONS["any-direction"], variant=2, seed=5)
    chosen = scan_images(images).images[::25]
    pixels = [
        augment.read_augmented(
            images / image.path,
            small_backbone.spec,
            AUGMENTATIONS["any-direction"],
            augment.drawing_for(image.digest, 5, 2),
        )
        for image in chosen
    ]
    expected = np.asarray(small_backbone.model((np.stack(pixels).astype(np.float32) - 128) / 128))
    assert np.abs(np.stack([found[i.digest] for i in chosen]) - expected).max() < 1e-3


def test_an_image_s_changed_form_does_not_depend_on_the_others(extract, images):
    first, _, _ = extract(augmentation=AUGMENTATIONS["photo"], variant=1)
    (images / "blue" / "000.png").rename(images / "red" / "another place.png")
    for path in sorted(images.glob("blue/*.png"))[::2]:
        path.unlink()
    for cache in images.parent.glob("cache/*"):
        shutil.rmtree(cache)
    fewer, _, listener = extract(augmentation=AUGMENTATIONS["photo"], variant=1)
    assert 0 < computed(listener) < 100
    # Another neighbour in the inference's batch may round otherwise; another drawing would not.
    assert all(np.abs(fewer[key] - first[key]).max() < 1e-4 for key in fewer)
