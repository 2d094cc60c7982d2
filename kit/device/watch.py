"""Labelling into a results file: a folder once, or one that is watched for what arrives.

Nothing is moved, renamed or deleted. Which images are done, the results file knows; so every run
goes on where the last one ended, however it ended.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from kit.device.results import FileState, ResultsFile, file_state
from kit.errors import KitError
from kit.runtime.classifier import Classifier, Failure
from kit.runtime.paths import images_below

LOOK_SECONDS = 1.0
"""Between two looks at the folder; where a look takes long, four times as long as it."""
PATIENCE_SECONDS = 30.0
"""An image that seems unfinished is given this long to change, then gets its row as it is."""
_TAIL_BYTES = 512


@dataclass(frozen=True)
class Tally:
    """The counts of one run.

    Attributes:
        labelled: images that got a row with a label.
        failed: images that got one with an error.
        skipped: images that had a row already.
    """

    labelled: int
    failed: int
    skipped: int


def label_into(classifier: Classifier, images: Iterable[str], results: ResultsFile) -> Tally:
    """Labels files that have no row yet, on all cores.

    Args:
        classifier: the model.
        images: paths.
        results: where rows go.

    Raises:
        InferenceError: the model fails when it runs.
        OSError: the results cannot be written.
    """
    labelled = failed = skipped = 0
    states: deque[FileState | None] = deque()

    def fresh() -> Iterator[str]:
        nonlocal skipped
        for image in images:
            path = os.path.abspath(image)
            if results.is_own(path):
                continue
            state = file_state(path)
            if results.claim(path, state):
                states.append(state)
                yield path
            else:
                skipped += 1

    for result in classifier.classify_files(fresh()):
        results.append(result, str(result.image), states.popleft())
        if isinstance(result, Failure):
            failed += 1
        else:
            labelled += 1
    return Tally(labelled, failed, skipped)


@dataclass
class _Arrival:
    """A file without a row: how it looked, since when, and whether it was tried like that."""

    state: FileState
    since: float
    tried: bool = False


def watch(
    classifier: Classifier,
    folder: str | os.PathLike[str],
    results: ResultsFile,
    *,
    patience: float = PATIENCE_SECONDS,
    say: Callable[[str], None] = lambda line: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> NoReturn:
    """Labels images as they arrive in a folder or below it; ends by an exception only.

    A file is labelled when its size and time of change are the same in two looks. One that does
    not decode, or that ends in zeros, may still be on its way, in a copy that stalls: it gets its
    row when it has not changed for `patience`, and another if it changes after all.

    Args:
        classifier: the model.
        folder: what is watched; hidden files and folders are not.
        results: where rows go; it may be in the folder.
        patience: seconds.
        say: takes a line when the watch begins, when the folder cannot be read any more, and when
            it can again.
        sleep: waits so many seconds.
        clock: seconds, never going back.

    Raises:
        KitError: there is no such folder, or it cannot be read at the start.
        InferenceError: the model fails when it runs.
        OSError: the results cannot be written.
    """
    folder = os.path.abspath(folder)
    if not os.path.isdir(folder):
        raise KitError(f"{folder}: expected a folder to watch, found none: make it first")
    next(images_below(folder), None)
    say(f"watching {folder}; {results.path} has rows of {results.found} images")
    waiting: dict[str, _Arrival] = {}
    lost = False
    while True:
        began = clock()
        try:
            waiting = _look(folder, results, waiting, began)
        except KitError as error:
            if not lost:
                say(f"warning: {error}; it is looked for until then")
            waiting, lost = {}, True
        else:
            if lost:
                say(f"{folder} can be read again")
            lost = False
        looked = clock()
        ready = [path for path, file in waiting.items() if _is_ready(file, began, patience)]
        for path, result in zip(ready, classifier.classify_files(ready), strict=True):
            file = waiting[path]
            unfinished = isinstance(result, Failure) or _ends_in_zeros(path)
            if file_state(path) != file.state:
                continue  # changed while it was read: the next look sees how
            file.tried = True
            if not unfinished or clock() - file.since >= patience:
                results.append(result, path, file.state)
        results.sync()
        sleep(max(LOOK_SECONDS, 4 * (looked - began)))


def _look(
    folder: str, results: ResultsFile, before: dict[str, _Arrival], now: float
) -> dict[str, _Arrival]:
    """Files without a row, in order."""
    found = {}
    for path in images_below(folder):
        state = file_state(path)
        if state is None or results.is_own(path) or results.has(path, state):
            continue
        seen = before.get(path)
        same = seen is not None and seen.state == state
        found[path] = seen if seen is not None and same else _Arrival(state, now)
    return found


def _ends_in_zeros(path: str) -> bool:
    """As a copy does that makes the file as long as it will be, then fills it: a JPEG decodes."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return not any(file.read(_TAIL_BYTES))
    except OSError:  # gone, or to be read no more
        return True


def _is_ready(file: _Arrival, now: float, patience: float) -> bool:
    """Seen unchanged, and either not tried like that or for the last time."""
    unchanged = now - file.since
    return unchanged >= patience if file.tried else unchanged > 0
