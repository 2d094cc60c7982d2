"""What each quantisation costs: bytes, accuracy, and how often the answer stays float32's.

Each network is trained once on 30 % of the images. Its files, one for each quantisation, then
answer for the 60 % that nothing has seen. Its int8 file as TensorFlow's converter alone would have
made it (`plain`, without the kit's corrected biases) answers for them too. All are compared with
float32's answers for the same images, so the interval of the drop is that of paired answers.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from common import argument_parser, machine_facts, report, verdict

if TYPE_CHECKING:
    from kit.export.exported import Exported

PLAIN = "int8, plain"
MOST_DROP_POINTS = {"int8": 0.7}
LEAST_AGREEMENT = {"int8": 0.97}
NETWORKS = (
    "mobilenet_v1/0.25/128",
    "mobilenet_v1/0.25/160",
    "mobilenet_v1/0.25/192",
    "mobilenet_v1/0.25/224",
    "mobilenet_v1/0.5/224",
    "mobilenet_v2/0.35/128",
    "mobilenet_v2/0.35/224",
)


def measure(images: Path, network: str, work: Path) -> dict[str, Any]:
    """Figures of each quantisation of one network."""
    from kit.data import SplitSettings
    from kit.errors import ConversionError
    from kit.model.spec import QUANTIZATION_MODES
    from kit.workflows.convert import ConvertSettings, export_source, open_source
    from kit.workflows.train import TrainSettings, train

    backbone, alpha, side = network.split("/")
    settings = TrainSettings(
        backbone=backbone,
        alpha=float(alpha),
        input_resolution=int(side),
        quantize=("float32",),
        split=SplitSettings(validation=0.1, test=0.6),
    )
    run = train(images, work / "run", settings, cache=work / "cache", force=True).run
    exporter = open_source(run, ConvertSettings())
    made: dict[str, Exported] = {}
    for mode in QUANTIZATION_MODES:
        try:
            made[mode] = exporter.export(mode)
        except ConversionError as error:
            print(f"{network} {mode}: {error}")
    with patch("converters.tflite.corrected_biases", lambda quantized, *_: quantized):
        made[PLAIN] = export_source(run, ConvertSettings("int8"))
    return {mode: figures(made, mode) for mode in made}


def figures(made: Mapping[str, Exported], mode: str) -> dict[str, Any]:
    """Of one file, against the float32 file."""
    found, reference = made[mode].evaluation, made["float32"].evaluation
    agreement = made[mode].agreement
    assert found and reference and agreement  # a run's test part is labelled
    n = found.accuracy.n
    wrong = {miss.image for miss in found.misclassified}
    wrong_before = {miss.image for miss in reference.misclassified}
    lost, gained = len(wrong - wrong_before), len(wrong_before - wrong)
    drop = (lost - gained) / n
    return {
        "size_bytes": len(made[mode].content),
        "accuracy": found.accuracy,
        "drop_points": 100 * drop,
        "drop_half_interval": 196 * math.sqrt(max(0.0, (lost + gained) / n - drop**2) / n),
        "agreement": agreement.top_1,
        "largest_difference": agreement.largest_difference,
    }


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--networks",
        nargs="+",
        default=list(NETWORKS),
        help=f"backbone/alpha/input_resolution ({' '.join(NETWORKS)})",
    )
    options = parser.parse_args()
    rows, results = [], {}
    for network in options.networks:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(options.images, network, Path(folder))
        for mode, item in found.items():
            reached = [
                verdict(item["drop_points"], at_most=MOST_DROP_POINTS.get(mode)),
                verdict(item["agreement"], at_least=LEAST_AGREEMENT.get(mode)),
            ]
            rows.append(
                [
                    network,
                    mode,
                    f"{item['size_bytes'] / 1e3:.0f}",
                    str(item["accuracy"]),
                    f"{item['drop_points']:.2f} ± {item['drop_half_interval']:.2f}",
                    f"{item['agreement']:.4f}",
                    f"{item['largest_difference']:.3f}",
                    ", ".join(filter(None, reached)),
                ]
            )
        results[network] = {
            mode: {**item, "accuracy": item["accuracy"].to_json()} for mode, item in found.items()
        }
    report(
        "quantization",
        machine_facts(),
        [
            "network",
            "quantization",
            "kB",
            "accuracy",
            "drop, points",
            "same answer",
            "largest difference",
            "to reach",
        ],
        rows,
        results,
    )


if __name__ == "__main__":
    main()
