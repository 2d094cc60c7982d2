"""The table of backbones against keras.applications."""

import pytest

from kit.model.spec import PreprocessSpec
from kit.training.backbones import BACKBONES, BackboneChoice, build, choose, every_choice

EVERY = [
    (name, alpha) for name, family in BACKBONES.items() for alpha in sorted(family.feature_widths)
]
EVERYDAY = {("mobilenet_v1", 0.25), ("mobilenet_v2", 0.35), ("mobilenet_v3_small", 0.75)}


def marked(values):
    """Small networks every day, the others on quiet ones."""
    return [
        pytest.param(*value, marks=() if value[:2] in EVERYDAY else pytest.mark.slow)
        for value in values
    ]


@pytest.mark.tf
@pytest.mark.parametrize(("name", "alpha"), marked(EVERY))
def test_feature_width_is_the_network_s(name, alpha):
    choice = choose(name, alpha, BACKBONES[name].minimum_resolution)
    model = build(choice, None)
    side = BACKBONES[name].minimum_resolution
    assert model.input_shape == (None, side, side, 3)
    assert model.output_shape == (None, choice.feature_width)


@pytest.mark.tf
@pytest.mark.parametrize("name", BACKBONES)
def test_every_builder_exists(name):
    import keras

    assert callable(getattr(keras.applications, BACKBONES[name].builder))


class AskedError(Exception):
    """What Keras would download."""


def addresses():
    return [
        (name, alpha, side)
        for name, alpha in EVERY
        for side in BACKBONES[name].pretrained_resolutions
    ]


@pytest.mark.tf
@pytest.mark.parametrize(
    ("name", "alpha", "side"),
    [
        pytest.param(
            *value,
            marks=() if value[:2] in EVERYDAY and value[2] in (96, 128, 224) else pytest.mark.slow,
        )
        for value in addresses()
    ],
)
def test_weights_are_those_that_keras_asks_for(name, alpha, side, monkeypatch):
    import keras
    from keras.src.applications import mobilenet, mobilenet_v2
    from keras.src.utils import file_utils

    def get_file(fname=None, origin=None, **options):
        raise AskedError(fname, origin)

    monkeypatch.setattr(file_utils, "get_file", get_file)
    # The name depends on no block, and to build them all takes a second for each name.
    monkeypatch.setattr(mobilenet, "_depthwise_conv_block", lambda x, *_, **__: x)
    monkeypatch.setattr(mobilenet_v2, "_inverted_res_block", lambda x, *_, **__: x)
    choice = choose(name, alpha, side)
    arguments = dict(BACKBONES[name].options) | ({} if alpha is None else {"alpha": alpha})
    make = getattr(keras.applications, BACKBONES[name].builder)
    with pytest.raises(AskedError) as asked:
        make(input_shape=(side, side, 3), include_top=False, weights="imagenet", **arguments)
    file_name, origin = asked.value.args
    assert choice.weights_address == origin
    assert choice.weights_names[0] == file_name == origin.rsplit("/", 1)[1]


@pytest.mark.parametrize(
    ("name", "alpha", "side", "official", "own"),
    [
        (
            "mobilenet_v1",
            0.25,
            128,
            "mobilenet_2_5_128_tf_no_top.h5",
            "mobilenet_v1_0.25_128_no_top.weights.h5",
        ),
        (
            "mobilenet_v1",
            None,
            None,
            "mobilenet_1_0_224_tf_no_top.h5",
            "mobilenet_v1_1.0_224_no_top.weights.h5",
        ),
        (
            "mobilenet_v2",
            1.4,
            96,
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.4_96_no_top.h5",
            "mobilenet_v2_1.4_96_no_top.weights.h5",
        ),
        (
            "resnet50",
            None,
            100,
            "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "resnet50_224_no_top.weights.h5",
        ),
    ],
)
def test_names_in_a_weights_folder(name, alpha, side, official, own):
    assert choose(name, alpha, side).weights_names == (official, own)


@pytest.mark.parametrize(
    ("name", "side", "expected"),
    [
        ("mobilenet_v1", 32, 128),
        ("mobilenet_v1", 143, 128),  # the geometric mean of 128 and 160 is 143.1
        ("mobilenet_v1", 144, 160),
        ("mobilenet_v1", 1024, 224),
        ("mobilenet_v2", 110, 96),  # of 96 and 128 it is 110.9
        ("mobilenet_v2", 111, 128),
        ("inception_v3", 128, 299),
    ],
)
def test_another_resolution_starts_from_the_nearest_weights(name, side, expected):
    assert choose(name, None, side).pretrained_resolution == expected


def test_defaults():
    assert choose("mobilenet_v1") == BackboneChoice("mobilenet_v1", 1.0, 224)
    assert choose("inception_v3") == BackboneChoice("inception_v3", None, 299)
    assert choose("resnet50") == BackboneChoice("resnet50", None, 224)


def test_an_unknown_backbone_lists_the_known():
    with pytest.raises(ValueError, match="got 'mobilenet_v9'") as raised:
        choose("mobilenet_v9")
    assert all(name in str(raised.value) for name in BACKBONES)


def test_an_invalid_alpha_lists_the_valid():
    with pytest.raises(ValueError, match=r"alpha of 0\.25, 0\.5, 0\.75, 1\.0 for mobi.*got 0\.3"):
        choose("mobilenet_v1", 0.3)
    with pytest.raises(ValueError, match=r"no alpha, resnet50 has none, got 0\.5"):
        choose("resnet50", 0.5)


@pytest.mark.parametrize(
    ("name", "side", "valid"),
    [
        ("mobilenet_v1", 31, r"32 to 1024 for mobilenet_v1 \(pretrained at 128, 160, 192, 224\)"),
        ("mobilenet_v2", 1025, r"32 to 1024 for mobilenet_v2 \(pretrained at 96, 128, "),
        ("inception_v3", 74, "75 to 1024"),
        ("mobilenet_v1", 0, "32 to 1024"),
    ],
)
def test_an_invalid_resolution_lists_the_valid(name, side, valid):
    with pytest.raises(ValueError, match=f"{valid}.*got {side}"):
        choose(name, None, side)


def test_every_choice_is_one_that_weights_exist_for():
    # As Keras publishes them: 4 widths at 4 sizes, 6 at 5, 2 at 1, and single files.
    counts = {"mobilenet_v1": 16, "mobilenet_v2": 30, "mobilenet_v3_large": 2, "inception_v3": 1}
    for name, count in counts.items():
        choices = every_choice(name)
        assert len({choice.weights_address for choice in choices}) == count
        assert all(choice.input_resolution == choice.pretrained_resolution for choice in choices)
    with pytest.raises(ValueError, match="expected a backbone"):
        every_choice("lenet")


def test_preprocessing_of_a_choice():
    spec = choose("mobilenet_v2", 0.35, 96).preprocess("crop", "antialias")
    assert (spec.input_resolution, spec.fit, spec.resize) == (96, "crop", "antialias")
    assert spec.mean == spec.std == (128.0, 128.0, 128.0)
    assert isinstance(spec, PreprocessSpec)


@pytest.mark.tf
@pytest.mark.slow
def test_resnet_scales_as_keras_does(tmp_path):
    import keras
    import numpy as np

    keras.utils.set_random_seed(3)
    original = keras.applications.ResNet50(
        input_shape=(64, 64, 3), include_top=False, weights=None, pooling="avg"
    )
    original.save_weights(tmp_path / "resnet.weights.h5")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)
    expected = original(keras.applications.resnet50.preprocess_input(pixels.copy()))
    ours = build(choose("resnet50", None, 64), str(tmp_path / "resnet.weights.h5"))
    found = ours((pixels - 128) / 128)
    assert np.asarray(expected).std() > 1e-3
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    wrong = ours((pixels[..., ::-1] - 128) / 128)  # the order of channels must matter
    assert not np.allclose(wrong, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
