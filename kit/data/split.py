"""Which part each image belongs to: train, validation or test, for good.

The part follows from a hash of the image's content and the seed, so that moving, renaming and
adding files changes no other image's part, and a copy can't be in two. With groups (patients) the
group's key is hashed instead. A part that the folders or a table give is kept; a part that they
give to no image is drawn from train by the same hash.

A class may be so small that chance leaves one of its parts empty. Then the image (or group) whose
hash is nearest to that part goes there: by content again, and no other image moves.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf

from kit.choices import PARTS
from kit.data.scan import Dataset
from kit.errors import DataError
from kit.filenames import text_bytes
from kit.reporting import counted


@dataclass(frozen=True)
class SplitSettings:
    """How a data set is split.

    Attributes:
        validation: share of the images, 0 to 1.
        test: share of the images, 0 to 1.
        seed: another one gives another split.
        group_regex: searched in each image's path; what its first group (or all of it) matches is
            the group that stays together, whatever group the image has. Empty: the images' own
            groups, and every content by itself.
    """

    validation: float = 0.1
    test: float = 0.1
    seed: int = 0
    group_regex: str = ""

    def __post_init__(self) -> None:
        if not (0 < self.validation < 1 and 0 < self.test < 1 and self.validation + self.test < 1):
            raise ValueError(
                "expected shares for validation and test above 0 and together below 1, "
                f"got {self.validation} and {self.test}"
            )
        try:
            re.compile(self.group_regex)
        except re.error as error:
            raise ValueError(
                f"expected a regular expression for groups, got {self.group_regex!r}: {error}"
            ) from error

    def part(self, key: str) -> str:
        """The part of a content's digest, or of a group's key."""
        position = self._position(key)
        return next(part for part, (_, end) in self._ranges().items() if position < end)

    def distance(self, key: str, part: str) -> float:
        """How far a key's hash is from those of a part, 0 to 1."""
        position = self._position(key)
        start, end = self._ranges()[part]
        return max(start - position, position - end, 0.0)

    def mark(self, key: str) -> str:
        """What a card keeps of a key that was moved: too short to tell a patient's id by."""
        return hashlib.sha256(text_bytes(f"{self.seed}:moved:{key}")).hexdigest()[:5]

    def _position(self, key: str) -> float:
        """0 to 1, evenly."""
        digest = hashlib.sha256(text_bytes(f"{self.seed}:{key}")).digest()
        return int.from_bytes(digest[:8], "big") / 2**64

    def _ranges(self) -> dict[str, tuple[float, float]]:
        """The positions of each part."""
        second = self.test + self.validation
        return {"test": (0.0, self.test), "validation": (self.test, second), "train": (second, inf)}


def split_dataset(
    dataset: Dataset, settings: SplitSettings, moved: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The part of every image, by its path.

    Args:
        dataset: the images.
        settings: how they are split.
        moved: of an earlier split of these or other images, `moved_keys`, to repeat it; None: a
            part that would be empty gets what is nearest.

    Raises DataError where the groups' pattern matches no path.
    """
    keys = group_keys(dataset, settings.group_regex)
    split, fixed, drawn = _by_hash(dataset, settings, keys)
    if moved is None:
        return _without_empty_parts(dataset, split, keys, settings, drawn, fixed)
    again = {path: moved.get(settings.mark(key)) for path, key in keys.items() if key not in fixed}
    return {path: again.get(path) or part for path, part in split.items()}


def moved_keys(
    dataset: Dataset, split: Mapping[str, str], settings: SplitSettings
) -> dict[str, str]:
    """The part of each key that is not where its hash says, by the key's mark."""
    keys = group_keys(dataset, settings.group_regex)
    drawn, _, _ = _by_hash(dataset, settings, keys)
    return {settings.mark(keys[path]): part for path, part in split.items() if drawn[path] != part}


def _by_hash(
    dataset: Dataset, settings: SplitSettings, keys: Mapping[str, str]
) -> tuple[dict[str, str], set[str], Sequence[str]]:
    """The parts by hash or as given; the keys whose part is given; the parts that are drawn."""
    given = {image.path: image.part for image in dataset.images if image.part is not None}
    if not given:
        return {path: settings.part(key) for path, key in keys.items()}, set(), PARTS
    # What belongs together with a given image goes where that is; with two of them, train first.
    follows = {
        keys[path]: part
        for wanted in reversed(PARTS)
        for path, part in given.items()
        if part == wanted
    }
    missing = {*PARTS} - {*given.values()}
    split = {}
    for image in dataset.images:
        key = keys[image.path]
        part = image.part or follows.get(key, "train")
        drawn = settings.part(key)
        split[image.path] = drawn if part == "train" and drawn in missing else part
    fixed = {keys[path] for path, part in given.items() if part != "train"}
    return split, fixed, sorted(missing)


def _without_empty_parts(
    dataset: Dataset,
    split: Mapping[str, str],
    keys: Mapping[str, str],
    settings: SplitSettings,
    drawn: Sequence[str],
    fixed: Collection[str] = (),
) -> dict[str, str]:
    """The split with an image of every class in each of the parts that were drawn, if it can be.

    What moves is the key that is nearest to the empty part, and leaves no other part of any class
    empty. `fixed` keys stay.
    """
    parts = {keys[path]: part for path, part in split.items()}
    of_class: dict[int, set[str]] = defaultdict(set)
    classes: dict[str, set[int]] = defaultdict(set)
    for image in dataset.images:
        of_class[image.label].add(keys[image.path])
        classes[keys[image.path]].add(image.label)
    counts = Counter((label, parts[key]) for label, own in of_class.items() for key in own)
    moved: set[str] = set()
    for label in sorted(of_class):
        for part in drawn:
            if counts[label, part]:
                continue
            free = [
                key
                for key in of_class[label] - {*fixed} - moved
                # Each of its classes keeps another key where it is.
                if all(counts[of, parts[key]] > 1 for of in classes[key])
            ]
            if free:
                nearest = min(free, key=lambda key: (settings.distance(key, part), key))
                for of in classes[nearest]:
                    counts[of, parts[nearest]] -= 1
                    counts[of, part] += 1
                parts[nearest] = part
                moved.add(nearest)
    return {path: parts[keys[path]] if keys[path] in moved else split[path] for path in split}


def check_split(dataset: Dataset, split: dict[str, str], settings: SplitSettings) -> None:
    """Raises DataError where a class has no image in some part, with how many more it needs."""
    keys = group_keys(dataset, settings.group_regex)
    grouped = bool(_groups(dataset, settings.group_regex))
    given = given_parts(dataset)
    for label, name in enumerate(dataset.labels):
        images = [image for image in dataset.images if image.label == label]
        present = {split[image.path] for image in images}
        for part in PARTS:
            if part in present:
                continue
            if part in given or (given and part == "train"):
                raise DataError(
                    f"expected images of {name} in every part, got none in {part} of the parts "
                    "that the folders or the table give: give it some, or give no parts"
                )
            units = len({keys[image.path] for image in images})
            kind = "group" if grouped else "different image"
            remedy = f"add at least {len(PARTS) - units} more"
            if units >= len(PARTS):  # of groups that are needed by several classes
                remedy = "add groups that are of one class alone, or choose another --seed"
            raise DataError(
                f"expected images of {name} in every part, got none in {part}: it has "
                f"{counted(units, kind)}: {remedy}"
            )


def given_parts(dataset: Dataset) -> list[str]:
    """The parts that folders or a table give to some image, in the order of PARTS."""
    given = {image.part for image in dataset.images}
    return [part for part in PARTS if part in given]


def group_warnings(dataset: Dataset, settings: SplitSettings) -> tuple[str, ...]:
    """What to know about groups and given parts before trusting the figures."""
    warnings = []
    if settings.group_regex:
        pattern = re.compile(settings.group_regex)
        alone = [
            image.path
            for image in dataset.images
            if image.group is None and not pattern.search(image.path)
        ]
        if alone:
            warnings.append(
                f"{len(alone)} images do not match the group pattern and stand for themselves, "
                f"such as {alone[0]}"
            )
    given = given_parts(dataset)
    if given and (missing := [part for part in PARTS if part not in given]):
        warnings.append(f"no images are given for {' and '.join(missing)}: drawn from train")
    if leaks := torn_apart(dataset, settings):
        first, second = leaks[0][0], leaks[0][-1]
        warnings.append(
            f"LEAK: {len(leaks)} groups (or contents) stand in more than one given part, such as "
            f"{first} and {second}: figures on them promise too much; give each one part"
        )
    return tuple(warnings)


def torn_apart(dataset: Dataset, settings: SplitSettings) -> list[tuple[str, ...]]:
    """Paths of every group or content whose images are given more than one part.

    The first and the last path of each have different parts.
    """
    keys = group_keys(dataset, settings.group_regex)
    by_key = defaultdict(list)
    for image in dataset.images:
        if image.part is not None:
            by_key[keys[image.path]].append((PARTS.index(image.part), image.path))
    together = (sorted(found) for found in by_key.values())
    return [tuple(path for _, path in found) for found in together if found[0][0] != found[-1][0]]


def group_members(dataset: Dataset, settings: SplitSettings) -> list[tuple[str, ...]]:
    """Paths of the images of each group, without the groups' keys; none where there are none."""
    members = defaultdict(list)
    for path, group in _groups(dataset, settings.group_regex).items():
        members[group].append(path)
    return [tuple(paths) for paths in members.values()]


def _groups(dataset: Dataset, group_regex: str) -> dict[str, str]:
    """As named_groups; raises DataError where the pattern matches no path."""
    pattern = re.compile(group_regex)
    paths = [image.path for image in dataset.images]
    if group_regex and paths and not any(map(pattern.search, paths)):
        raise DataError(
            f"expected the group pattern {group_regex!r} to match the images' paths, it matches "
            f"none, such as {paths[0]}"
        )
    return named_groups(dataset, group_regex)


def named_groups(dataset: Dataset, group_regex: str) -> dict[str, str]:
    """The group's key of each image that has a group, by path."""
    groups = {
        image.path: f"group:{image.group}" for image in dataset.images if image.group is not None
    }
    if not group_regex:
        return groups
    pattern = re.compile(group_regex)
    matched: dict[str, str] = {}
    for image in dataset.images:
        match = pattern.search(image.path)
        if match:
            captured = next((text for text in match.groups() if text is not None), match.group())
            matched[image.path] = f"group:{captured}"
    return groups | matched


def group_keys(dataset: Dataset, group_regex: str) -> dict[str, str]:
    """What is hashed for each image: its digest, or its group's key."""
    groups = _groups(dataset, group_regex)
    # A copy in two groups ties them together, so that it can't stand in two parts.
    tied: dict[str, str] = {}

    def root(key: str) -> str:
        while key in tied:
            key = tied[key]
        return key

    by_digest = defaultdict(set)
    for image in dataset.images:
        by_digest[image.digest].add(groups.get(image.path, image.digest))
    for keys in by_digest.values():
        first, *others = sorted({root(key) for key in keys})
        tied.update(dict.fromkeys(others, first))
    return {image.path: root(groups.get(image.path, image.digest)) for image in dataset.images}


def has_groups(keys: Mapping[str, str]) -> bool:
    """Whether any of these keys, as of group_keys, is a group's and not a content's."""
    return any(key.startswith("group:") for key in keys.values())


def cases_of(dataset: Dataset, paths: Iterable[str], group_regex: str) -> tuple[str, ...]:
    """What each of these images is a case of: its group, or its content, so that copies are one."""
    keys = group_keys(dataset, group_regex)
    return tuple(keys[path] for path in paths)


def groups_of(dataset: Dataset, paths: Iterable[str], group_regex: str) -> tuple[str, ...] | None:
    """As cases_of; None where no image has a group, since copies alone leave intervals as they are.

    What is promised rests on cases_of instead.
    """
    keys = group_keys(dataset, group_regex)
    return tuple(keys[path] for path in paths) if has_groups(keys) else None
