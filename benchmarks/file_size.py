"""Size of the files that ship, against the bare ones and against the parameters alone.

This compares each file of a run (model, labels, card, metadata, checks) with two sizes. The first
is what TensorFlow's own converter makes of the run's model.keras, which is the model and nothing
else. The second is the number of parameters times their bits; no file that stores each parameter as
it is can be smaller.

The comparison is fair because both files are the same network in the same mode. The converter's
int8 file is calibrated on random pixels, which changes its numbers but not how many there are.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import argument_parser, machine_facts, report, verdict

MOST_SHARE, MOST_BYTES = 0.03, 8 * 1024
"""More than the bare file: whichever is more."""
_BITS = {"float32": 32, "float16": 16, "dynamic": 8, "int8": 8}


def bare_size(model: Any, mode: str) -> int:
    """Bytes of TensorFlow's own conversion."""
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if mode != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode == "int8":
        random = np.random.default_rng(0)

        def representative_dataset() -> Iterator[list[Any]]:
            for _ in range(10):
                yield [random.uniform(-1, 1, (1, *model.input.shape[1:])).astype(np.float32)]

        converter.representative_dataset = representative_dataset
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
    return len(converter.convert())


def main() -> None:
    parser = argument_parser(__doc__, images=False)
    parser.add_argument("--run", type=Path, required=True, help="a run folder of kit train")
    options = parser.parse_args()
    import keras

    from kit.model.cost import count_file

    model = keras.models.load_model(options.run / "model.keras", compile=False)
    rows: list[list[str]] = []
    results: dict[str, Any] = {}
    for mode, bits in _BITS.items():
        path = options.run / f"model_{mode}.tflite"
        if not path.exists():
            continue
        size, bare = path.stat().st_size, bare_size(model, mode)
        parameters = count_file(path).parameters * bits // 8
        allowed = max(MOST_SHARE * bare, MOST_BYTES)
        rows.append(
            [
                mode,
                f"{size:,}".replace(",", " "),
                f"{bare:,}".replace(",", " "),
                f"{size - bare:+,}".replace(",", " "),
                f"{size / bare:.3f}",
                f"{size / parameters:.3f}",
                f"{verdict(size - bare, at_most=round(allowed))} bytes more",
            ]
        )
        results[mode] = {"size": size, "bare": bare, "parameters_bytes": parameters}
    if not rows:
        sys.exit(f"{options.run}: expected files model_MODE.tflite of {', '.join(_BITS)}")
    report(
        "file_size",
        machine_facts(),
        ["", "bytes", "bare", "more", "of bare", "of parameters times bits", "to reach"],
        rows,
        {"files": results, "to_reach": {"share": MOST_SHARE, "bytes": MOST_BYTES}},
    )


if __name__ == "__main__":
    main()
