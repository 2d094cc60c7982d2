"""Photographs decoded once for all backbones of one resolution.

Decoding and resizing a photograph takes longer than a small MobileNet does for it. The pixels at
the input resolution are the same for every backbone that wants that resolution, so they are kept
in a temporary folder, as uncompressed files under the digests of their photographs, until each
backbone has made its bottlenecks of them. The cache of bottlenecks is that of every training,
which then finds them there.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from kit.data import Dataset, LabelledImage
from kit.errors import ImageError
from kit.model.preprocess import fit_pixels
from kit.model.spec import PreprocessSpec
from kit.reporting import Reporter
from kit.runtime.images import read_image
from kit.runtime.parallel import default_threads, ordered_map
from kit.training.backbones import BackboneChoice
from kit.training.bottlenecks import BottleneckCache, cache_folder, cache_key
from kit.training.learning import BackboneSource
from kit.training.weights import Weights, load_backbone

DECODED_PREFIX = ".decoded-"


@dataclass(frozen=True)
class SharedTask:
    """What `share_bottlenecks` needs; it can be pickled.

    Attributes:
        dataset: the photographs.
        backbones: at one input resolution, with their weights.
        spec: how photographs become their input.
        folder: where the temporary folder is made; it takes 3 * side * side bytes a photograph.
        cache: folder of bottlenecks; None: the default.
    """

    dataset: Dataset
    backbones: tuple[tuple[BackboneChoice, Weights], ...]
    spec: PreprocessSpec
    folder: Path
    cache: Path | None


def share_bottlenecks(task: SharedTask, reporter: Reporter) -> None:
    """Puts the bottlenecks of all backbones into the cache; each photograph is decoded once.

    A photograph that cannot be read is passed over: each training leaves it out, and says why.

    Raises:
        TrainingError: the cache cannot be written.
        WeightsError: the weights do not fit.
        OSError: there is no room for the decoded photographs.
    """
    wanted = _wanted_by_several(task, reporter)
    if not wanted:
        return
    with tempfile.TemporaryDirectory(prefix=DECODED_PREFIX, dir=task.folder) as name:
        decoded = decode(task.dataset, wanted, task.spec, Path(name), reporter)
        for choice, weights in task.backbones:
            backbone = load_backbone(choice, weights)
            BackboneSource(backbone, choice, weights, task.spec, task.cache).bottlenecks(
                decoded, reporter
            )


def _wanted_by_several(task: SharedTask, reporter: Reporter) -> list[LabelledImage]:
    """A photograph of each content that more than one backbone has no bottleneck of."""
    missing: Counter[str] = Counter()
    first_with = {image.digest: image for image in reversed(task.dataset.images)}
    for choice, weights in task.backbones:
        folder = (task.cache or cache_folder()) / cache_key(choice, weights, task.spec)
        with closing(BottleneckCache(folder, choice.feature_width, reporter)) as cache:
            missing.update(first_with.keys() - cache.read().keys())
    return [image for digest, image in first_with.items() if missing[digest] > 1]


def decode(
    dataset: Dataset,
    images: Sequence[LabelledImage],
    spec: PreprocessSpec,
    folder: Path,
    reporter: Reporter,
) -> Dataset:
    """The photographs at the input resolution, under the digests of the originals.

    Reading and fitting such a file gives these very pixels again.
    """
    from PIL import Image

    def work(image: LabelledImage) -> LabelledImage | None:
        try:
            pixels = read_image(dataset.root / image.path, spec.input_resolution)
        except ImageError:
            return None
        name = f"{image.digest}.ppm"
        Image.fromarray(fit_pixels(pixels, spec)).save(folder / name)
        return replace(image, path=name)

    results = ordered_map(work, images, default_threads())
    found = [image for image in reporter.track(results, len(images), "decoding") if image]
    return replace(dataset, root=folder, images=tuple(found))
