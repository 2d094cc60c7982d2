import json
from dataclasses import replace

import pytest

from kit.errors import SpecError
from kit.model.spec import (
    CARD_SCHEMA_VERSION,
    GoldenCheck,
    ModelCard,
    PreprocessSpec,
    check_schema_version,
    load_json,
)

SPEC = PreprocessSpec(96, "pad", "antialias", mean=(1.0, 2.5, 3.0), std=(4.0, 5.0, 6.0))
CARD = ModelCard(
    backbone="mobilenet_v2",
    alpha=0.35,
    weights="imagenet",
    quantization="int8",
    preprocess=SPEC,
    labels=("roses", "Gänseblümchen", "薔薇 1"),
    minimum_runtime="2.14.0",
    golden=(GoldenCheck(1, "ab" * 32, (0.25, 0.5, 0.25), 0.03),),
    temperature=1.25,
    score_threshold=0.5,
    dataset={"fingerprint": "f", "counts": [1, 2, 3]},
    metrics={"test": {"accuracy": 0.9, "n": 10}},
    intended_use="a test",
    versions={"python": "3.11"},
    created="2025-01-01T00:00:00+00:00",
)


def through_json(data):
    return json.loads(json.dumps(data))


def test_round_trips():
    assert PreprocessSpec.from_json(through_json(SPEC.to_json())) == SPEC
    plain = PreprocessSpec(128)
    assert PreprocessSpec.from_json(through_json(plain.to_json())) == plain
    assert ModelCard.from_json(through_json(CARD.to_json())) == CARD
    bare = ModelCard("x", None, "none", "float32", plain, ("a",))
    assert ModelCard.from_json(through_json(bare.to_json())) == bare


def test_the_json_is_what_other_languages_read():
    assert SPEC.to_json() == {
        "input_resolution": 96,
        "fit": "pad",
        "resize": "antialias",
        "mean": (1.0, 2.5, 3.0),
        "std": (4.0, 5.0, 6.0),
        "channel_order": "RGB",
        "orientation": "applied",
    }
    data = through_json(CARD.to_json())
    assert data["schema_version"] == 1  # older readers take it
    assert data["preprocess"]["mean"] == [1.0, 2.5, 3.0]
    assert data["golden"] == [
        {"pattern": 1, "digest": "ab" * 32, "scores": [0.25, 0.5, 0.25], "tolerance": 0.03}
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"preprocess": replace(PreprocessSpec(96), input_width=64)},
        {"preprocess": replace(PreprocessSpec(96), channels=1)},
        {"preprocess": replace(PreprocessSpec(96), layout="NCHW")},
        {"output_kind": "logits"},
    ],
)
def test_a_card_that_older_readers_would_misread_is_of_version_2(changes):
    card = replace(CARD, **changes)
    data = through_json(card.to_json())
    assert data["schema_version"] == CARD_SCHEMA_VERSION == 2
    assert ModelCard.from_json(data) == card


def test_a_rectangular_input():
    spec = PreprocessSpec(96, input_width=160)
    assert (spec.height, spec.width, spec.longer_side, spec.size) == (96, 160, 160, "96x160")
    assert (PreprocessSpec(96).width, PreprocessSpec(96).size) == (96, "96")
    assert PreprocessSpec(96, input_width=96).is_plain()


def test_optional_fields_of_a_card_may_be_missing():
    data = through_json(CARD.to_json())
    kept = ("schema_version", "backbone", "weights", "quantization", "preprocess", "labels")
    card = ModelCard.from_json({name: data[name] for name in kept})
    assert (card.alpha, card.golden, card.temperature, card.metrics) == (None, (), None, {})


def test_unknown_fields_are_passed_over():
    data = {**through_json(CARD.to_json()), "later": [1]}
    assert ModelCard.from_json(data) == CARD


MISSING = object()
HUGE = int("9" * 400)

WRONG_SPECS = [
    ("input_resolution", MISSING, r"preprocess\.input_resolution, it is missing"),
    ("input_resolution", "224", r"preprocess\.input_resolution to be int, got str"),
    ("input_resolution", 224.0, r"preprocess\.input_resolution to be int, got float"),
    ("input_resolution", True, r"preprocess\.input_resolution to be int, got bool"),
    ("input_resolution", None, r"to be int, got NoneType"),
    ("input_resolution", 0, r"input_resolution of 1 to 4096, got 0"),
    ("input_resolution", 4097, r"input_resolution of 1 to 4096, got 4097"),
    ("fit", MISSING, r"preprocess\.fit, it is missing"),
    ("fit", "squeeze", r"fit to be one of stretch, crop, pad, got 'squeeze'"),
    ("fit", 3, r"preprocess\.fit to be str, got int"),
    ("resize", MISSING, r"preprocess\.resize, it is missing"),
    ("resize", "cubic", r"resize to be one of bilinear, antialias, got 'cubic'"),
    ("resize", [], r"preprocess\.resize to be str, got list"),
    ("mean", MISSING, r"preprocess\.mean, it is missing"),
    ("mean", 127.5, r"preprocess\.mean to be list or null, got float"),
    ("mean", [1, 2], r"preprocess\.mean to have 3 numbers, got 2"),
    ("mean", [1, 2, "3"], r"preprocess\.mean to be a list of numbers"),
    ("mean", [1, 2, True], r"preprocess\.mean to be a list of numbers"),
    ("mean", [1, 2, float("nan")], r"finite numbers in preprocess\.mean"),
    ("mean", [1, 2, HUGE], r"finite numbers in preprocess\.mean"),
    ("mean", None, r"mean and std together, got one of them"),
    ("std", MISSING, r"preprocess\.std, it is missing"),
    ("std", [1, 0, 1], r"std without zeros"),
    ("std", [1, float("inf"), 1], r"finite numbers in preprocess\.std"),
    ("std", None, r"mean and std together, got one of them"),
    ("channel_order", "BGR", r"preprocess\.channel_order 'RGB'"),
    ("channel_order", 3, r"preprocess\.channel_order to be str"),
    ("orientation", "ignored", r"preprocess\.orientation 'applied'"),
]


def changed(data, name, value):
    data = through_json(data)
    if value is MISSING:
        del data[name]
    else:
        data[name] = value
    return data


@pytest.mark.parametrize("name, value, message", WRONG_SPECS)
def test_wrong_preprocessing(name, value, message):
    with pytest.raises(SpecError, match=message):
        PreprocessSpec.from_json(changed(SPEC.to_json(), name, value))


GOOD = {"pattern": 0, "digest": "", "scores": [1, 0, 0], "tolerance": 0.1}

WRONG_CARDS = [
    ("schema_version", MISSING, r"card\.schema_version, it is missing"),
    ("schema_version", 3, r"schema version 2 or older, got 3: update mobilenet-kit"),
    ("schema_version", "1", r"card\.schema_version to be int, got str"),
    ("backbone", MISSING, r"card\.backbone, it is missing"),
    ("backbone", 1, r"card\.backbone to be str, got int"),
    ("alpha", "0.5", r"card\.alpha to be int or float or null, got str"),
    ("alpha", True, r"card\.alpha to be int or float or null, got bool"),
    ("alpha", HUGE, r"finite numbers in card\.alpha"),
    ("weights", None, r"card\.weights to be str"),
    ("quantization", MISSING, r"card\.quantization, it is missing"),
    ("quantization", "int4", r"quantization to be one of float32.*got 'int4'"),
    ("preprocess", MISSING, r"card\.preprocess, it is missing"),
    ("preprocess", [], r"card\.preprocess to be dict, got list"),
    ("labels", MISSING, r"card\.labels, it is missing"),
    ("labels", "a,b", r"card\.labels to be list, got str"),
    ("labels", ["a", 2, "c"], r"card\.labels to be a list of text"),
    ("labels", [], r"at least one label, got none"),
    ("labels", ["a", "b\nc", "d"], r"one line of text, got 'b\\nc'"),
    ("labels", ["a", "", "d"], r"one line of text, got ''"),
    ("labels", ["a", "b"], r"expected 2 golden scores, one for each label, got 3"),
    ("minimum_runtime", 2.14, r"card\.minimum_runtime to be str, got float"),
    ("golden", {}, r"card\.golden to be list, got dict"),
    ("golden", ["x"], r"card\.golden to be a JSON object, got str"),
    ("golden", [{**GOOD, "pattern": "0"}], r"card\.golden\.pattern to be int"),
    ("golden", [{**GOOD, "digest": None}], r"card\.golden\.digest to be str"),
    ("golden", [{**GOOD, "scores": [1]}], r"expected 3 golden scores.*got 1"),
    ("golden", [{**GOOD, "scores": [1, 0, None]}], r"card\.golden\.scores to be a list of numbers"),
    ("golden", [{**GOOD, "tolerance": None}], r"card\.golden\.tolerance to be int or float"),
    ("golden", [{**GOOD, "tolerance": float("inf")}], r"finite numbers in card\.golden\.tolerance"),
    ("golden", [{"pattern": 0}], r"card\.golden\.digest, it is missing"),
    ("temperature", "1", r"card\.temperature to be int or float or null, got str"),
    ("score_threshold", [], r"card\.score_threshold to be int or float or null, got list"),
    ("score_threshold", float("nan"), r"finite numbers in card\.score_threshold"),
    ("dataset", [], r"card\.dataset to be dict, got list"),
    ("metrics", "good", r"card\.metrics to be dict, got str"),
    ("intended_use", None, r"card\.intended_use to be str"),
    ("versions", [], r"card\.versions to be dict, got list"),
    ("created", 0, r"card\.created to be str, got int"),
]


@pytest.mark.parametrize("name, value, message", WRONG_CARDS)
def test_wrong_card(name, value, message):
    data = changed(CARD.to_json(), name, value)
    with pytest.raises(SpecError, match=message) as raised:
        ModelCard.from_json(data)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", [None, [], "x", 3])
def test_not_an_object(data):
    with pytest.raises(SpecError, match="to be a JSON object, got"):
        ModelCard.from_json(data)
    with pytest.raises(SpecError, match="to be a JSON object, got"):
        PreprocessSpec.from_json(data)


def test_wrong_python_values():
    with pytest.raises(SpecError, match="mean and std together"):
        PreprocessSpec(96, mean=(1.0, 1.0, 1.0))
    with pytest.raises(SpecError, match="one of float32"):
        replace(CARD, quantization="FLOAT")
    with pytest.raises(SpecError, match="one line of text"):
        replace(CARD, labels=("a", " ", "c"))


def test_equal_labels_are_allowed():
    # ImageNet has two cranes.
    assert replace(CARD, labels=("crane", "crane", "x")).labels == ("crane", "crane", "x")


def test_grey_means_all_channels_alike():
    assert PreprocessSpec(8).is_uniform()
    assert PreprocessSpec(8, mean=(1.0, 1.0, 1.0), std=(2.0, 2.0, 2.0)).is_uniform()
    assert not PreprocessSpec(8, mean=(1.0, 1.0, 1.0), std=(2.0, 2.0, 2.1)).is_uniform()
    assert not SPEC.is_uniform()


def test_schema_version():
    check_schema_version("run.json", 1)
    with pytest.raises(SpecError, match=r"run\.json of schema version 1 or older, got 9"):
        check_schema_version("run.json", 9)


@pytest.mark.parametrize(
    "text",
    ["", "{", b"\xff\xfe\xfd", "[" * 100_000, "9" * 5000],
    ids=["empty", "open", "binary", "deep", "long"],
)
def test_what_is_not_json(text):
    with pytest.raises(SpecError, match=r"expected JSON in kit\.json"):
        load_json(text, "kit.json")
