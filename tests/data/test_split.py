"""Which part each image belongs to."""

import hashlib
import math

import pytest

from kit.data import Dataset, LabelledImage, SplitSettings, scan_images, split_dataset
from kit.data.split import check_split, group_warnings
from kit.errors import DataError

pytest_plugins = ["training_fixtures"]


def digest_of(content):
    return hashlib.sha256(content.encode()).hexdigest()


def dataset_of(contents, labels=("a", "b")):
    """A data set from path to content; the path's folder is the label."""
    images = tuple(
        LabelledImage(path, labels.index(path.split("/")[0]), digest_of(content))
        for path, content in sorted(contents.items())
    )
    return Dataset(None, labels, images, (), ())


def many(count, label="a"):
    return {f"{label}/{index}.jpg": f"{label} {index}" for index in range(count)}


def test_parts_are_fixed_for_good():
    """Computed by hand from the design's rule: another release must not move an image."""
    settings = SplitSettings(0.2, 0.3, seed=5)
    keys = [f"image {index}" for index in range(40)]
    for key in keys:
        value = int(hashlib.sha256(f"5:{key}".encode()).hexdigest()[:16], 16)
        tenths = 10 * value / 16**16
        expected = "test" if tenths < 3 else "validation" if tenths < 5 else "train"
        assert settings.part(key) == expected
    assert {settings.part(key) for key in keys} == {"train", "validation", "test"}
    # sha256("0:image 17") begins with 002570, of 4 with 2efacc (0.18 of the whole), of 0 with 9ef1.
    parts = [SplitSettings().part(key) for key in ("image 17", "image 4", "image 0")]
    assert parts == ["test", "validation", "train"]


def test_shares_are_kept_approximately():
    settings = SplitSettings(0.15, 0.25)
    parts = [settings.part(digest_of(str(index))) for index in range(10000)]
    for part, share in (("train", 0.6), ("validation", 0.15), ("test", 0.25)):
        # Five standard deviations of a binomial.
        allowed = 5 * math.sqrt(10000 * share * (1 - share))
        assert abs(parts.count(part) - 10000 * share) < allowed


def test_moving_renaming_and_adding_change_no_part(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for index in range(30):
            (tmp_path / label / f"{index}.jpg").write_text(f"{label}{index}")
    settings = SplitSettings(0.3, 0.3)

    def parts():
        dataset = scan_images(tmp_path)
        split = split_dataset(dataset, settings)
        return {image.digest: split[image.path] for image in dataset.images}

    before = parts()
    assert len(before) == 60
    (tmp_path / "a" / "deep").mkdir()
    for index in range(30):
        (tmp_path / "a" / f"{index}.jpg").rename(tmp_path / "a" / "deep" / f"{index:05d}.png")
    (tmp_path / "b").rename(tmp_path / "c")
    for index in range(30, 60):
        (tmp_path / "a" / f"{index}.jpg").write_text(f"new {index}")
    after = parts()
    assert len(after) == 90
    assert {digest: after[digest] for digest in before} == before
    assert len(set(before.values())) == 3


def test_copies_are_in_one_part():
    contents = {}
    for index in range(200):
        contents[f"a/{index}.jpg"] = contents[f"a/copy/{index}.png"] = str(index)
    split = split_dataset(dataset_of(contents), SplitSettings(0.3, 0.3))
    for index in range(200):
        assert split[f"a/{index}.jpg"] == split[f"a/copy/{index}.png"]
    assert set(split.values()) == {"train", "validation", "test"}


def test_another_seed_gives_another_split():
    dataset = dataset_of(many(300))
    one, other = (split_dataset(dataset, SplitSettings(0.3, 0.3, seed=seed)) for seed in (0, 1))
    changed = sum(one[path] != other[path] for path in one)
    assert 0.5 * 300 < changed < 0.8 * 300  # 1 - (0.4² + 0.3² + 0.3²) = 0.66 by chance


@pytest.mark.parametrize("pattern", [r"person\d+", r"(person\d+)_", r"/(?:person)(\d+)_"])
def test_a_patient_is_never_in_two_parts(pattern):
    contents = {
        f"{'ab'[person % 2]}/person{person}_{index}.jpg": f"{person} {index}"
        for person in range(60)
        for index in range(5)
    }
    split = split_dataset(dataset_of(contents), SplitSettings(0.3, 0.3, group_regex=pattern))
    for person in range(60):
        assert len({part for path, part in split.items() if f"person{person}_" in path}) == 1
    assert set(split.values()) == {"train", "validation", "test"}


def test_groups_do_not_depend_on_content():
    settings = SplitSettings(0.3, 0.3, group_regex=r"p\d+")
    one = split_dataset(dataset_of({f"a/p{i}.jpg": f"{i}" for i in range(50)}), settings)
    other = split_dataset(dataset_of({f"a/p{i}.jpg": f"new {i}" for i in range(50)}), settings)
    assert one == other


@pytest.mark.parametrize("seed", range(20))
def test_a_copy_ties_two_groups(seed):
    contents = {
        "a/p1_1.jpg": "x",
        "a/p1_2.jpg": "shared 1",
        "a/p2_1.jpg": "shared 1",
        "a/p2_2.jpg": "shared 2",
        "a/p3_1.jpg": "shared 2",
        "a/p3_2.jpg": "z",
        "a/alone.jpg": "shared 3",  # without a group, yet tied
        "a/p3_3.jpg": "shared 3",
    }
    settings = SplitSettings(0.33, 0.33, seed, group_regex=r"p\d")
    assert len(set(split_dataset(dataset_of(contents), settings).values())) == 1


def test_a_pattern_of_alternatives():
    """An alternative with a group of its own, as where two clinics name files differently."""
    contents = {f"a/person{i}_{k}.jpg": f"{i}{k}" for i in range(20) for k in range(3)}
    contents |= {f"a/img{i}-{k}.jpg": f"img{i}{k}" for i in range(20) for k in range(3)}
    settings = SplitSettings(0.3, 0.3, group_regex=r"person(\d+)_|img(\d+)-")
    split = split_dataset(dataset_of(contents), settings)
    for index in range(20):
        assert len({split[f"a/person{index}_{k}.jpg"] for k in range(3)}) == 1


def test_a_pattern_that_matches_nothing():
    settings = SplitSettings(group_regex=r"patient(\d+)")
    with pytest.raises(DataError, match=r"'patient\(\\\\d\+\)'.*matches none, such as a/0.jpg"):
        split_dataset(dataset_of(many(3)), settings)


def test_images_without_a_group_are_told_of():
    dataset = dataset_of({"a/p1.jpg": "1", "a/loose.jpg": "2", "a/other.jpg": "3"})
    (warning,) = group_warnings(dataset, SplitSettings(group_regex=r"p\d"))
    assert warning.startswith("2 images do not match")
    assert "a/loose.jpg" in warning
    assert group_warnings(dataset, SplitSettings()) == ()
    assert group_warnings(dataset, SplitSettings(group_regex="a/")) == ()


@pytest.mark.parametrize(
    ("validation", "test"),
    [(0, 0.1), (0.1, 0), (-0.1, 0.1), (0.1, -0.1), (1, 0.1), (0.5, 0.5), (0.9, 0.2)],
)
def test_impossible_shares(validation, test):
    with pytest.raises(ValueError, match="expected shares for validation and test"):
        SplitSettings(validation, test)


def test_shares_that_are_no_number():
    with pytest.raises(ValueError, match="expected shares"):
        SplitSettings(float("nan"), 0.1)


def test_a_bad_pattern():
    with pytest.raises(ValueError, match=r"expected a regular expression for groups, got '\(a'"):
        SplitSettings(group_regex="(a")


def test_a_part_without_images_of_a_class():
    settings = SplitSettings(0.1, 0.1)
    dataset = dataset_of(many(5, "a") | many(200, "b"))
    split = dict.fromkeys((image.path for image in dataset.images), "train")
    for index in range(200):
        split[f"b/{index}.jpg"] = ("train", "validation", "test")[index % 3]
    with pytest.raises(DataError, match=r"images of a in every part, got none in validation.*5 d"):
        check_split(dataset, split, settings)
    split |= {"a/0.jpg": "validation", "a/1.jpg": "test"}
    check_split(dataset, split, settings)
    split |= {f"a/{index}.jpg": "test" for index in (2, 3, 4)}
    with pytest.raises(DataError, match="none in train"):
        check_split(dataset, split, settings)


def test_copies_do_not_count_as_different_images():
    contents = {f"a/{index}.jpg": "the same" for index in range(40)} | many(3, "b")
    dataset = dataset_of(contents)
    split = dict.fromkeys(contents, "train")
    with pytest.raises(DataError, match=r"it has 1 different image: add at least 2 more"):
        check_split(dataset, split, SplitSettings(0.1, 0.1))


def test_missing_groups_are_counted_as_groups():
    contents = {f"a/p{i % 2}_{i}.jpg": str(i) for i in range(40)}
    dataset = dataset_of(contents)
    split = dict.fromkeys(contents, "train")
    with pytest.raises(DataError, match="it has 2 groups: add at least 1 more"):
        check_split(dataset, split, SplitSettings(0.2, 0.2, group_regex=r"p\d"))


def test_real_patients_are_kept_apart(shared):
    folder = shared / "data" / "xray"
    if not folder.is_dir():
        pytest.skip("the test data has no X-rays")
    import csv

    with (folder / "labels.csv").open(newline="", encoding="utf-8") as file:
        patients = {row["path"]: row["patient"] for row in csv.DictReader(file)}
    dataset = scan_images(folder)
    settings = SplitSettings(0.15, 0.15, group_regex=r"(person\d+|IM-\d+|NORMAL2-IM-\d+)")
    split = split_dataset(dataset, settings)
    parts = {}
    for path, part in split.items():
        parts.setdefault(patients[path], set()).add(part)
    several = [p for p in set(patients.values()) if list(patients.values()).count(p) > 1]
    assert len(several) > 20
    assert not [patient for patient in several if len(parts[patient]) > 1]
