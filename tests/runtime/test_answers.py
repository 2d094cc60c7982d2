"""Output tensors to answers, against the file that Kotlin and JavaScript are tested with too."""

import base64
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from places import GOLDEN

from kit.model.model_file import ModelFile
from kit.model.output import to_scores
from kit.model.preprocess import dequantize
from kit.model.spec import (
    ModelCard,
    OperatingPoint,
    PreprocessSpec,
    QuantizationParameters,
    Screening,
)
from kit.runtime.classifier import Answer, Classifier

CASES = json.loads((GOLDEN / "answers.json").read_text(encoding="utf-8"))["cases"]


def classifier_of(case):
    threshold = case["unfamiliarity_threshold"]
    card = ModelCard(
        backbone="mobilenet_v1",
        alpha=0.25,
        weights="none",
        quantization="int8",
        preprocess=PreprocessSpec(224),
        labels=tuple(case["labels"]),
        score_threshold=case["score_threshold"],
        operating_point=case["operating_point"] and OperatingPoint(**case["operating_point"]),
        screening=None if threshold is None else Screening(threshold, activation_map=False),
        output_kind=case["output_kind"],
    )
    file = ModelFile(Path("model.tflite"), 0, (), card, card.labels, None)
    shown = np.ones(len(card.labels), bool)
    return Classifier(
        file,
        card.labels,
        card.preprocess,
        None,
        1,
        case["top_k"],
        card.score_threshold or 0.0,
        shown,
    )


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_golden_answers(case):
    values = np.frombuffer(base64.b64decode(case["output"]), case["dtype"])
    quantization = case["quantization"] and QuantizationParameters(**case["quantization"])
    row = dequantize(values, quantization) if quantization else values
    scores = to_scores(row, case["output_kind"])
    expected = np.frombuffer(base64.b64decode(case["scores"]), np.float32)
    if case["output_kind"] == "scores":
        assert scores.tobytes() == expected.tobytes()
    else:  # libraries differ in the last bit of an exponential
        assert np.abs(scores - expected).max() < 1e-6
        scores = expected
    unfamiliarity = case["unfamiliarity"] and float(
        np.frombuffer(base64.b64decode(case["unfamiliarity"]), np.float32)[0]
    )
    found = classifier_of(case).classification(None, Answer(scores, unfamiliarity))
    assert [vars(category) for category in found.categories] == case["categories"]
    assert found.answer == case["answer"]
    assert found.unknown is case["unknown"]


def test_golden_answers_are_what_their_script_writes():
    where = importlib.util.spec_from_file_location("make_golden", GOLDEN / "make_golden.py")
    module = importlib.util.module_from_spec(where)
    where.loader.exec_module(module)
    assert list(module.answer_cases()) == CASES
