"""Bottlenecks: what the frozen backbone makes of each image, computed once and kept.

(The pooled feature vector, as the retraining tutorials call it; not MobileNet v2's linear
bottleneck.) The backbone runs as a float32 .tflite through the runtime's own interpreter and image
reader, several times faster than Keras' predict, and on the very pixels that the device will see.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.data import Dataset
from kit.errors import ImageError, TrainingError
from kit.files import write_beside
from kit.model.preprocess import Pixels
from kit.model.spec import PreprocessSpec
from kit.reporting import Reporter, Silent
from kit.runtime.interpreter import Runner, RunnerPool
from kit.runtime.parallel import default_threads, ordered_map
from kit.training.augment import DRAWING_VERSION, Augmentation, drawing_for, read_augmented
from kit.training.backbones import BackboneChoice
from kit.training.weights import Weights

CACHE_VARIABLE = "KIT_CACHE_DIR"
_VERSION = 2  # of how bottlenecks are computed; another one never reads them
_BATCH = 4  # images an inference: a few percent faster than one, more is no better
_IMAGES_A_COMMIT = 64  # what an interrupted run may lose


def cache_folder() -> Path:
    """Where bottlenecks are kept; deleting it costs time only."""
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mobilenet-kit"


class BottleneckCache:
    """Bottlenecks of one backbone with one preprocessing, by the digest of the image's content.

    An SQLite file: what is committed survives a kill, and a vector whose checksum does not fit is
    computed again.
    """

    def __init__(self, folder: Path, width: int, reporter: Reporter) -> None:
        self._path = folder / "bottlenecks.sqlite"
        self._width = width
        self._reporter = reporter
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._connection = self._open()
        except (OSError, sqlite3.OperationalError) as error:  # no room, no right, held by another
            raise self._failure(error) from error
        except sqlite3.DatabaseError as error:
            reporter.warn(f"{self._path}: the cache is damaged ({error}): it is rebuilt")
            self._discard()
            self._connection = self._open()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=60)
        try:
            if connection.execute("PRAGMA quick_check").fetchone()[0] != "ok":
                raise sqlite3.DatabaseError("it fails its own check")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS bottlenecks "
                "(digest TEXT PRIMARY KEY, vector BLOB NOT NULL, checksum INTEGER NOT NULL)"
            )
        except BaseException:
            connection.close()
            raise
        return connection

    def _discard(self) -> None:
        for suffix in ("", "-journal", "-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)

    def _failure(self, error: Exception) -> TrainingError:
        return TrainingError(
            f"{self._path}: expected to be able to keep bottlenecks there: {error}: make room, "
            f"or set {CACHE_VARIABLE} to another folder"
        )

    def close(self) -> None:
        self._connection.close()

    def read(self) -> dict[str, npt.NDArray[np.float32]]:
        """All sound vectors, by digest."""
        found, damaged = {}, []
        for digest, vector, checksum in self._connection.execute("SELECT * FROM bottlenecks"):
            if len(vector) == 4 * self._width and zlib.crc32(vector) == checksum:
                found[digest] = np.frombuffer(vector, np.float32)
            else:
                damaged.append((digest,))
        if damaged:
            self._reporter.warn(f"{len(damaged)} damaged bottlenecks are computed again")
            self._connection.executemany("DELETE FROM bottlenecks WHERE digest = ?", damaged)
            self._connection.commit()
        return found

    @contextmanager
    def writing(self) -> Iterator[Callable[[str, npt.NDArray[np.float32]], None]]:
        """Gives a function that keeps a vector; what it got is kept even if work is broken off."""
        waiting: list[tuple[str, bytes, int]] = []

        def commit() -> None:
            try:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO bottlenecks VALUES (?, ?, ?)", waiting
                )
                self._connection.commit()
            except sqlite3.Error as error:
                raise self._failure(error) from error
            waiting.clear()

        def keep(digest: str, vector: npt.NDArray[np.float32]) -> None:
            data = vector.astype(np.float32).tobytes()
            waiting.append((digest, data, zlib.crc32(data)))
            if len(waiting) >= _IMAGES_A_COMMIT:
                commit()

        try:
            yield keep
        finally:
            if waiting:
                commit()


def cache_key(
    choice: BackboneChoice,
    weights: Weights,
    spec: PreprocessSpec,
    augmentation: Augmentation = Augmentation(),
) -> str:
    """Names the cache of everything, besides the image, that a bottleneck depends on."""
    facts: dict[str, Any] = {
        "version": _VERSION,
        "backbone": choice.name,
        "alpha": choice.alpha,
        "weights": weights.digest,
        "preprocess": spec.to_json(),
    }
    if augmentation != Augmentation():
        facts["augmentation"] = {"version": DRAWING_VERSION, **asdict(augmentation)}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def extract_bottlenecks(
    dataset: Dataset,
    choice: BackboneChoice,
    weights: Weights,
    spec: PreprocessSpec,
    make_backbone: Callable[[], bytes],
    *,
    cache: Path | None = None,
    num_threads: int | None = None,
    augmentation: Augmentation = Augmentation(),
    variant: int = 0,
    seed: int = 0,
    reporter: Reporter | None = None,
) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, str]]:
    """The bottleneck of every image, from the cache where it has been computed before.

    Args:
        dataset: the images.
        choice: the backbone.
        weights: what it was loaded with.
        spec: what turns an image into its input.
        make_backbone: gives the backbone as a float32 .tflite that takes uint8 pixels; called only
            when something is to be computed that is not in the cache.
        cache: folder of the caches; default: `cache_folder()`.
        num_threads: default: the cores, at most 4.
        augmentation: how each photograph is changed before; as it is, unless given.
        variant: which of its changed forms.
        seed: seed of the random changes.
        reporter: progress.

    Returns:
        Vectors, float32 `[feature_width]`, by digest; and the reason for each unreadable image, by
        path.

    Raises:
        TrainingError: the cache cannot be written.
    """
    reporter = reporter or Silent()
    root = cache or cache_folder()
    folder = root / cache_key(choice, weights, spec, augmentation)
    suffix = "" if augmentation == Augmentation() else f"-{seed}-{variant}"
    with closing(BottleneckCache(folder, choice.feature_width, reporter)) as kept:
        vectors = {
            name.removesuffix(suffix): vector
            for name, vector in kept.read().items()
            if name.endswith(suffix)
        }
        first_with = {image.digest: image.path for image in reversed(dataset.images)}
        missing = {path: digest for digest, path in first_with.items() if digest not in vectors}
        unreadable: dict[str, str] = {}
        if len(missing) < len(first_with):
            reporter.say(f"{len(first_with) - len(missing)} bottlenecks are in the cache")
        if missing:
            content = _backbone_file(root / cache_key(choice, weights, spec), make_backbone)

            def read(path: str) -> Pixels:
                drawing = drawing_for(missing[path], seed, variant)
                return read_augmented(dataset.root / path, spec, augmentation, drawing)

            results = _run_backbone(content, read, missing, spec, num_threads)
            with kept.writing() as keep:
                for path, result in reporter.track(results, len(missing), "bottlenecks"):
                    if isinstance(result, str):
                        unreadable[missing[path]] = result
                    else:
                        vectors[missing[path]] = result
                        keep(missing[path] + suffix, result)
    reasons = {
        image.path: unreadable[image.digest]
        for image in dataset.images
        if image.digest in unreadable
    }
    return vectors, reasons


def _backbone_file(folder: Path, make_backbone: Callable[[], bytes]) -> bytes:
    """The backbone as .tflite, kept beside the bottlenecks of unchanged photographs, with its
    digest."""
    path, digest_path = folder / "backbone.tflite", folder / "backbone.sha256"
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == digest_path.read_text():
            return content
    except (OSError, UnicodeDecodeError):
        pass
    content = make_backbone()
    write_beside(path, content, force=True)
    write_beside(digest_path, hashlib.sha256(content).hexdigest().encode(), force=True)
    return content


def _run_backbone(
    content: bytes,
    read: Callable[[str], Pixels],
    paths: Iterable[str],
    spec: PreprocessSpec,
    num_threads: int | None,
) -> Iterator[tuple[str, npt.NDArray[np.float32] | str]]:
    runners = RunnerPool(lambda: Runner(content, batch=_BATCH))

    def work(batch: Sequence[str]) -> list[tuple[str, npt.NDArray[np.float32] | str]]:
        side = spec.input_resolution
        pixels = np.zeros((_BATCH, side, side, 3), np.uint8)
        reasons: dict[int, str] = {}
        for index, path in enumerate(batch):
            try:
                pixels[index] = read(path)
            except ImageError as error:
                reasons[index] = str(error)
        with runners.borrowed() as runner:
            vectors = runner.run_batch(pixels)
        return [(path, reasons.get(index, vectors[index])) for index, path in enumerate(batch)]

    names = list(paths)
    batches = [names[start : start + _BATCH] for start in range(0, len(names), _BATCH)]
    for results in ordered_map(work, batches, num_threads or default_threads()):
        yield from results
