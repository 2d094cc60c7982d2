"""A packaged model as ONNX, by tf2onnx, checked by ONNX Runtime."""

from __future__ import annotations

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from kit.errors import ConversionError, MissingDependencyError
from kit.model.model_file import CARD_NAME, LABELS_NAME, read_model_file
from kit.model.output import to_scores
from kit.model.preprocess import fit_pixels, to_input
from kit.model.spec import ModelCard
from kit.quiet import quiet_native

_OPSET = 17


def onnx_model(model: bytes) -> bytes:
    """The ONNX file; the card and the labels go into its metadata, as `kit.json` and `labels.txt`.

    Args:
        model: a packaged .tflite.

    Raises:
        ConversionError: it has no card, tf2onnx lacks an operator, or ONNX Runtime does not give
            the scores of the golden checks.
        MissingDependencyError: the extra `onnx` is not installed.
    """
    try:
        import onnx
        import onnxruntime
        from tf2onnx.convert import from_tflite
    except ImportError as error:
        raise MissingDependencyError(
            f"expected the packages that make ONNX files, {error.name} is missing: "
            "pip install 'mobilenet-kit[onnx]'"
        ) from error
    with tempfile.TemporaryDirectory(prefix="kit-") as folder:
        path = Path(folder, "model.tflite")
        path.write_bytes(model)
        card = read_model_file(path).card
        if card is None:
            raise ConversionError("expected a packaged model, it has no card: kit package adds one")
        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        try:
            with quiet_native:
                made, _ = from_tflite(str(path), opset=_OPSET)
                properties = {CARD_NAME: _json(card), LABELS_NAME: "\n".join(card.labels)}
                onnx.helper.set_model_props(made, properties)
                content = bytes(made.SerializeToString())
                session = onnxruntime.InferenceSession(content)
        except MemoryError:
            raise
        except Exception as error:  # tf2onnx raises whatever an unknown operator leads to
            reason = " ".join(str(error).split())
            raise ConversionError(
                f"expected a model that ONNX can hold, {card.quantization} fails: {reason:.200}: "
                "take --quantize float32 or int8"
            ) from error
    _check(session, card)
    return content


def _json(card: ModelCard) -> str:
    return json.dumps(card.to_json(), ensure_ascii=False)


def _check(session: Any, card: ModelCard) -> None:
    """Raises ConversionError unless ONNX Runtime answers the golden checks as the card says."""
    from kit.runtime.self_test import draw_pattern

    image = session.get_inputs()[0]
    dtype = "uint8" if "uint8" in image.type else "float32"
    for golden in card.golden:
        pixels = fit_pixels(draw_pattern(golden.pattern), card.preprocess)
        # Eight-bit input takes pixels as they are, to within a level.
        tensor = pixels if dtype == "uint8" else to_input(pixels, card.preprocess)
        row = np.asarray(session.run(None, {image.name: tensor[None]})[0], np.float32).reshape(-1)
        scores = to_scores(row, card.output_kind)
        difference = float(np.abs(scores - np.array(golden.scores)).max())
        if not difference <= golden.tolerance:
            raise ConversionError(
                f"expected ONNX Runtime to answer as the .tflite file within {golden.tolerance:g}, "
                f"scores differ by {difference:.4f}; nothing was kept: choose another --quantize"
            )
