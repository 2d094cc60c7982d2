"""Many images on all cores: decoding, preprocessing and inference overlap."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

Item = TypeVar("Item")
Result = TypeVar("Result")


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def default_threads() -> int:
    """Cores that this process may use, at most 4: more make a small network slower."""
    return min(4, usable_cores())


def ordered_map(
    work: Callable[[Item], Result], items: Iterable[Item], num_threads: int
) -> Iterator[Result]:
    """`map` over threads, results in order, never more than a few items ahead of the reader.

    Each thread takes an image from file to scores by itself: decoder, numpy and interpreter all
    release Python's lock, and no image waits in a queue between stages. An exception of `work`,
    or the reader's going away, cancels what has not started.
    """
    from concurrent.futures import ThreadPoolExecutor  # one image alone needs none

    executor = ThreadPoolExecutor(num_threads, thread_name_prefix="kit")
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            pending.append(executor.submit(work, item))
            if len(pending) > 4 * num_threads:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
