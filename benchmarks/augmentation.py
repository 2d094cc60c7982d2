"""How many photographs a second the kit changes, and how many a row of Keras' layers changes.

This compares kit.training.augment.augment, which uses one affine transform and recolours in
threads, with layers of keras.layers that make the same changes one after the other, on batches in a
tf.data pipeline, as tutorials do it.

The comparison is fair because both get the same decoded photographs in memory, a quarter larger
than the result, may use the same cores, give uint8 of the same size, and take turns. The layers
have been traced before. There is a layer for each change that the kit is asked for: mirroring,
turning, cropping with scaling (RandomTranslation, RandomZoom, Resizing), contrast, saturation,
brightness, noise. The layers that recolour come after Resizing, where there are fewer pixels. The
kit draws from a separate generator for each photograph, and the time for that counts too.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from common import (
    argument_parser,
    cores,
    interleave,
    machine_facts,
    median,
    median_ratio,
    report,
    spread,
    timed,
)

KIT = "kit, threads"
KIT_ALONE = "kit, one thread"
KERAS = "keras.layers in tf.data"
_BATCH = 32


def layers_like(change: Any, side: int) -> Any:
    """A row of Keras' layers that changes float32 pixels, 0 to 255, as an Augmentation does."""
    import keras

    found = []
    if change.mirror or change.flip:
        both = change.mirror and change.flip
        mode = "horizontal_and_vertical" if both else "horizontal" if change.mirror else "vertical"
        found.append(keras.layers.RandomFlip(mode))
    if change.rotation:
        turn = change.rotation / 360
        found.append(keras.layers.RandomRotation(turn, fill_mode="reflect"))
    if change.smallest_crop < 1:
        # A crop of a share of the area: nearer by up to its square root, and off the middle.
        nearer = math.sqrt(change.smallest_crop)
        found.append(keras.layers.RandomTranslation((1 - nearer) / 2, (1 - nearer) / 2, "reflect"))
        found.append(keras.layers.RandomZoom((nearer - 1, 0), (nearer - 1, 0), "reflect"))
    found.append(keras.layers.Resizing(side, side))
    if change.contrast:
        found.append(keras.layers.RandomContrast(change.contrast, value_range=(0, 255)))
    if change.saturation:
        # Its factor 0.5 leaves the picture as it is; 0 is grey.
        bounds = (0.5 - change.saturation / 2, 0.5 + change.saturation / 2)
        found.append(keras.layers.RandomSaturation(bounds, value_range=(0, 255)))
    if change.brightness:
        found.append(keras.layers.RandomBrightness(change.brightness, value_range=(0, 255)))
    if change.noise:
        found.append(keras.layers.Rescaling(1 / 255))  # this layer's noise is of 1 at most
        found.append(keras.layers.GaussianNoise(change.noise / 255))
        found.append(keras.layers.Rescaling(255))
    return found


def keras_pass(photographs: Any, change: Any, side: int, threads: int) -> Callable[[], None]:
    """Runs all photographs through the layers once; the pipeline is built beforehand."""
    import tensorflow

    layers = layers_like(change, side)

    def changed(pixels: Any) -> Any:
        values = tensorflow.cast(pixels, tensorflow.float32)
        for layer in layers:
            values = layer(values, training=True)
        return tensorflow.saturate_cast(tensorflow.round(values), tensorflow.uint8)

    pipeline = (
        tensorflow.data.Dataset.from_tensor_slices(photographs)
        .batch(_BATCH)
        .map(changed, num_parallel_calls=threads)
        .prefetch(1)
    )

    def run() -> None:
        shapes = {tuple(batch.shape[1:]) for batch in pipeline}
        assert shapes == {(side, side, 3)}

    return run


def main() -> None:
    from kit.training.augment import AUGMENTATIONS

    parser = argument_parser(__doc__)
    names = [name for name in AUGMENTATIONS if name != "none"]
    parser.add_argument("--side", type=int, default=224, help="of the result in pixels (224)")
    parser.add_argument("--count", type=int, default=320, help="photographs to take (320)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (5)")
    parser.add_argument("--augment", nargs="+", choices=names, default=names, help="(all)")
    options = parser.parse_args()

    import numpy as np
    import tensorflow

    from kit.data import scan_images
    from kit.model.preprocess import fit_pixels
    from kit.model.spec import PreprocessSpec
    from kit.runtime.images import read_image
    from kit.runtime.parallel import default_threads, ordered_map
    from kit.training.augment import augment, drawing_for

    dataset = scan_images(options.images)
    images = spread(dataset, options.count)
    threads = default_threads()
    tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
    larger = replace(PreprocessSpec(options.side), input_resolution=round(1.25 * options.side))

    def read(path: Path) -> Any:
        return fit_pixels(read_image(path, larger.input_resolution), larger)

    paths = [dataset.root / image.path for image in images]
    photographs = np.stack(list(ordered_map(read, paths, threads)))
    rows, results = [], {}
    for name in options.augment:
        change = AUGMENTATIONS[name]

        def changed(index: int, change: Any = change) -> Any:
            drawing = drawing_for(images[index].digest, 0, 0)
            return augment(photographs[index], change, options.side, drawing)

        def kit_pass(num_threads: int, changed: Callable[[int], Any] = changed) -> None:
            for pixels in ordered_map(changed, range(len(photographs)), num_threads):
                assert pixels.shape == (options.side, options.side, 3)

        by_layers = keras_pass(photographs, change, options.side, threads)
        contestants = {
            KIT: lambda kit_pass=kit_pass: timed(lambda: kit_pass(threads)),
            KIT_ALONE: lambda kit_pass=kit_pass: timed(lambda: kit_pass(1)),
            KERAS: lambda by_layers=by_layers: timed(by_layers),
        }
        interleave(contestants, 1)  # traces the layers
        seconds = interleave(contestants, options.rounds)
        rates = {key: len(photographs) / median(values) for key, values in seconds.items()}
        ratios = {key: median_ratio(seconds[KERAS], values) for key, values in seconds.items()}
        rows += [[name, key, f"{rates[key]:.0f}", f"{ratios[key]:.2f}"] for key in contestants]
        results[name] = {"images_per_second": rates, "ratio": ratios, "seconds": seconds}
    report(
        "augmentation",
        machine_facts(),
        [f"N={len(photographs)}, {options.side} pixels", "by", "images/s", "of Keras' layers"],
        rows,
        {
            "side": options.side,
            "images": len(photographs),
            "threads": threads,
            "cores": cores(),
            **results,
        },
    )


if __name__ == "__main__":
    main()
