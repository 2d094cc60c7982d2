"""Photographs that files are scored on."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kit.data import Dataset
from kit.data.split import cases_of, groups_of
from kit.evaluation.evaluate import truth_of
from kit.evaluation.metrics import Truth


@dataclass(frozen=True)
class ScoringSet:
    """Photographs on which the files of one network are scored and compared.

    Attributes:
        name: the part of a run (`train`, `validation`, `test`), or `images` for photographs that
            the user gave.
        root: their folder.
        paths: relative to the folder.
        truth: int64, the index of each photograph's label; None: they are not labelled.
        groups: the group (patient) of each, for the intervals; None: each stands for itself.
        cases: as groups, with each content once, for what is promised; None: nothing is.
    """

    name: str
    root: Path
    paths: tuple[str, ...]
    truth: Truth | None
    groups: tuple[str, ...] | None = None
    cases: tuple[str, ...] | None = None

    @classmethod
    def of_part(
        cls, dataset: Dataset, part: str, paths: Sequence[str], group_regex: str
    ) -> ScoringSet:
        """A part of a run's images, with their labels and groups."""
        return cls(
            *(part, dataset.root, tuple(paths), truth_of(dataset, paths)),
            groups=groups_of(dataset, paths, group_regex),
            cases=cases_of(dataset, paths, group_regex),
        )

    def without(self, unreadable: Collection[str]) -> ScoringSet:
        """The set without these paths."""
        kept = [index for index, path in enumerate(self.paths) if path not in unreadable]

        def of_kept(values: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if values is None else tuple(values[index] for index in kept)

        return replace(
            self,
            paths=tuple(self.paths[index] for index in kept),
            truth=None if self.truth is None else self.truth[kept],
            groups=of_kept(self.groups),
            cases=of_kept(self.cases),
        )
