"""`kit info`: facts on a .tflite file."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from converters.operators import minimum_runtime, operator_name, runtimes_that_run
from kit.errors import ConversionError, ModelFileError
from kit.model.cost import count_file
from kit.model.model_file import read_model_file
from kit.runtime.interpreter import Runner


def describe_model(
    path: str | os.PathLike[str],
    *,
    input_resolution: int | None = None,
    output_tensor: str | None = None,
) -> dict[str, Any]:
    """Facts on an image classifier, as JSON can hold them.

    Args:
        path: a .tflite file.
        input_resolution: side of the input in pixels, for a file that leaves it open.
        output_tensor: name or number of the output with the scores, for a file that has several.

    Raises ModelFileError or InferenceError where it is no image classifier or cannot be loaded.
    """
    file = read_model_file(path)
    try:
        size = None if input_resolution is None else (input_resolution, input_resolution)
        runner = Runner(file.path, size=size, output_tensor=output_tensor)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    ending = file.endings.get(runner.output_index) if file.card is None else None
    quantization = file.card.quantization if file.card else ""
    try:
        runtime: str | None = minimum_runtime(file.operators, quantization)
    except ConversionError:
        runtime = None
    return {
        "model": str(path),
        "size_bytes": file.size_bytes,
        "input": runner.input.to_json(),
        "output": runner.output.to_json(),
        "output_ends": None if ending is None else asdict(ending),
        "further_outputs": list(runner.further_outputs),
        "operators": [
            {"name": operator_name(code, custom), "version": version}
            for code, custom, version in file.operators
        ],
        **count_file(path).to_json(),
        "minimum_runtime": runtime,
        "runtimes": list(runtimes_that_run(file.operators, quantization)),
        "labels": None if file.labels is None else list(file.labels),
        "metadata": None if file.metadata is None else asdict(file.metadata),
        "card": None if file.card is None else file.card.to_json(),
        "card_version": None if file.card is None else file.card.version,
    }
