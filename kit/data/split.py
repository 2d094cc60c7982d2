"""Which part each image belongs to: train, validation or test, for good.

The part follows from a hash of the image's content and the seed, so that moving, renaming and
adding files changes no other image's part, and a copy can't be in two. With groups (patients) the
group's key is hashed instead.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import defaultdict
from dataclasses import dataclass

from kit.data.scan import Dataset
from kit.errors import DataError

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class SplitSettings:
    """How a data set is split.

    Attributes:
        validation: share of the images, 0 to 1.
        test: share of the images, 0 to 1.
        seed: another one gives another split.
        group_regex: searched in each image's path; what its first group (or all of it) matches is
            the group that stays together. Empty: every content by itself.
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
        digest = hashlib.sha256(f"{self.seed}:{key}".encode()).digest()
        position = int.from_bytes(digest[:8], "big") / 2**64
        if position < self.test:
            return "test"
        return "validation" if position < self.test + self.validation else "train"


def split_dataset(dataset: Dataset, settings: SplitSettings) -> dict[str, str]:
    """The part of every image, by its path.

    Raises DataError where the groups' pattern matches no path.
    """
    keys = _keys(dataset, settings.group_regex)
    return {image.path: settings.part(keys[image.path]) for image in dataset.images}


def check_split(dataset: Dataset, split: dict[str, str], settings: SplitSettings) -> None:
    """Raises DataError where a class has no image in some part, with how many more it needs."""
    shares = {"validation": settings.validation, "test": settings.test}
    shares["train"] = 1 - settings.validation - settings.test
    keys = _keys(dataset, settings.group_regex)
    for label, name in enumerate(dataset.labels):
        images = [image for image in dataset.images if image.label == label]
        present = {split[image.path] for image in images}
        for part in PARTS:
            if part not in present:
                units = len({keys[image.path] for image in images})
                # As many as leave a chance of 1 in 20 that chance leaves the part empty again.
                enough = math.ceil(math.log(0.05) / math.log(1 - shares[part]))
                more = max(enough - units, math.ceil(1 / shares[part]))
                kind = "groups" if settings.group_regex else "different images"
                raise DataError(
                    f"expected images of {name} in every part, got none in {part}: it has {units} "
                    f"{kind}, add about {more} more (or try a larger share or another --seed)"
                )


def group_warnings(dataset: Dataset, settings: SplitSettings) -> tuple[str, ...]:
    """What to know about the groups: paths without one stand for themselves."""
    if not settings.group_regex:
        return ()
    pattern = re.compile(settings.group_regex)
    alone = [image.path for image in dataset.images if not pattern.search(image.path)]
    if not alone:
        return ()
    return (
        f"{len(alone)} images do not match the group pattern and stand for themselves, "
        f"such as {alone[0]}",
    )


def _keys(dataset: Dataset, group_regex: str) -> dict[str, str]:
    """What is hashed for each image: its digest, or its group's key."""
    if not group_regex:
        return {image.path: image.digest for image in dataset.images}
    pattern = re.compile(group_regex)
    groups: dict[str, str] = {}
    for image in dataset.images:
        match = pattern.search(image.path)
        if match:
            captured = next((text for text in match.groups() if text is not None), match.group())
            groups[image.path] = f"group:{captured}"
    if not groups:
        raise DataError(
            f"expected the group pattern {group_regex!r} to match the images' paths, it matches "
            f"none, such as {dataset.images[0].path}"
        )
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
