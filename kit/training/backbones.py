"""The table of backbones: widths, resolutions, scaling, pretrained weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kit.model.spec import PreprocessSpec

if TYPE_CHECKING:
    import keras

MEAN = STD = (128.0, 128.0, 128.0)
"""Every backbone gets (pixel - 128) / 128.

The published weights were trained with (pixel - 127.5) / 127.5. Half a grey level is nothing to a
network, but with 128 a uint8 input of scale 1/128 and zero point 128 is exact: the quantised model
sees the very numbers that the head was trained on.
"""

_MAXIMUM_RESOLUTION = 1024
FIXED_SCALING = "caffe_scaling"
"""Name of a layer that is part of the preprocessing: it never learns."""
_IMAGENET_MEAN_BGR = (103.939, 116.779, 123.68)
_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/"


@dataclass(frozen=True)
class FineTuning:
    """What a family's layers learn best with, by measurement (docs/explanation/training-runs.md).

    Attributes:
        learning_rate: rate at the start of stochastic gradient descent with batches of 32.
        epochs: passes over the training images.
        taught_epochs: the same where teachers answer too (see kit.training.teachers).
        mixup, remember: see kit.training.fine_tune.FineTuneSettings.
    """

    learning_rate: float = 0.01
    epochs: int = 24
    taught_epochs: int = 48
    mixup: float = 0.0
    remember: float = 10.0


@dataclass(frozen=True)
class Backbone:
    """One family of networks in keras.applications.

    Attributes:
        builder: name of the function in keras.applications.
        feature_widths: length of the bottleneck, for each valid alpha; the key None for a network
            without a width multiplier.
        pretrained_resolutions: resolutions that weights exist for; the first is the default.
        minimum_resolution: smallest input that the network can take.
        weights_address: address of the official file without the top, with {alpha}, {v1_alpha} and
            {resolution} to fill in.
        options: further arguments of the builder.
        unconvertible: quantisation modes that TensorFlow Lite has no operators for.
        scaling: `tf` where weights expect -1 to 1, `caffe` where they expect BGR less ImageNet's
            mean, which a first layer then computes.
        fine_tuning: measured for MobileNet v1 and v2.
        fine_tuning_of_width: settings for alphas that do better with others.
    """

    builder: str
    feature_widths: Mapping[float | None, int]
    pretrained_resolutions: tuple[int, ...]
    minimum_resolution: int
    weights_address: str
    options: Mapping[str, Any]
    scaling: str = "tf"
    unconvertible: tuple[str, ...] = ()
    fine_tuning: FineTuning = FineTuning()
    fine_tuning_of_width: Mapping[float | None, FineTuning] = field(default_factory=dict)

    @property
    def default_alpha(self) -> float | None:
        return 1.0 if 1.0 in self.feature_widths else None


_V2_WIDTHS: Mapping[float | None, int] = {
    0.35: 1280,
    0.5: 1280,
    0.75: 1280,
    1.0: 1280,
    1.3: 1664,
    1.4: 1792,
}
_V3 = "mobilenet_v3/weights_mobilenet_v3_{size}_224_{{alpha}}_float_no_top_v2.h5"


def _v3(size: str, widths: Mapping[float | None, int], minimalistic: bool) -> Backbone:
    file_size = size.lower() + ("_minimalistic" if minimalistic else "")
    return Backbone(
        builder=f"MobileNetV3{size}",
        feature_widths=widths,
        pretrained_resolutions=(224,),
        minimum_resolution=32,
        weights_address=_ADDRESS + _V3.format(size=file_size),
        # Its own rescaling layer would scale twice.
        options={"minimalistic": minimalistic, "include_preprocessing": False},
        # Only the minimalistic ones do without HARD_SWISH, which has no 16-bit form.
        unconvertible=() if minimalistic else ("int16x8",),
        fine_tuning=FineTuning(
            learning_rate=0.005, epochs=20, taught_epochs=40
        ),  # as v2, whose blocks it has
    )


BACKBONES: Mapping[str, Backbone] = {
    "mobilenet_v1": Backbone(
        builder="MobileNet",
        feature_widths={0.25: 256, 0.5: 512, 0.75: 768, 1.0: 1024},
        pretrained_resolutions=(224, 192, 160, 128),
        minimum_resolution=32,
        weights_address=_ADDRESS + "mobilenet/mobilenet_{v1_alpha}_{resolution}_tf_no_top.h5",
        options={},
        fine_tuning=FineTuning(learning_rate=0.03, epochs=40, mixup=0.2),
        # So narrow a network learns little by heart from labels, and mixup costs it accuracy. From
        # teachers it goes on learning.
        fine_tuning_of_width={0.25: FineTuning(learning_rate=0.03, taught_epochs=96)},
    ),
    "mobilenet_v2": Backbone(
        builder="MobileNetV2",
        feature_widths=_V2_WIDTHS,
        pretrained_resolutions=(224, 192, 160, 128, 96),
        minimum_resolution=32,
        weights_address=_ADDRESS
        + "mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_"
        + "{alpha}_{resolution}_no_top.h5",
        options={},
        # A part of the way back (kit.training.interpolation) does more for it, at no cost.
        fine_tuning=FineTuning(learning_rate=0.005, epochs=20, taught_epochs=40, remember=0.0),
    ),
    "mobilenet_v3_small": _v3("Small", {0.75: 432, 1.0: 576}, minimalistic=False),
    "mobilenet_v3_large": _v3("Large", {0.75: 720, 1.0: 960}, minimalistic=False),
    "mobilenet_v3_small_minimalistic": _v3("Small", {1.0: 576}, minimalistic=True),
    "mobilenet_v3_large_minimalistic": _v3("Large", {1.0: 960}, minimalistic=True),
    "inception_v3": Backbone(
        builder="InceptionV3",
        feature_widths={None: 2048},
        pretrained_resolutions=(299,),
        minimum_resolution=75,
        weights_address=_ADDRESS
        + "inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
        options={},
    ),
    "resnet50": Backbone(
        builder="ResNet50",
        feature_widths={None: 2048},
        pretrained_resolutions=(224,),
        minimum_resolution=32,
        weights_address=_ADDRESS + "resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        options={},
        scaling="caffe",
    ),
}


@dataclass(frozen=True)
class BackboneChoice:
    """A backbone at one width and resolution; built by `choose`, which checks it.

    Attributes:
        name: key in BACKBONES.
        alpha: width multiplier; None where the network has none.
        input_resolution: side of the input, in pixels.
    """

    name: str
    alpha: float | None
    input_resolution: int

    def __str__(self) -> str:
        alpha = "" if self.alpha is None else f" alpha {self.alpha:g}"
        return f"{self.name}{alpha} at {self.input_resolution} pixels"

    @property
    def family(self) -> Backbone:
        return BACKBONES[self.name]

    @property
    def feature_width(self) -> int:
        return self.family.feature_widths[self.alpha]

    @property
    def fine_tuning(self) -> FineTuning:
        return self.family.fine_tuning_of_width.get(self.alpha, self.family.fine_tuning)

    @property
    def pretrained_resolution(self) -> int:
        """Resolution of the weights that training starts from: the nearest one, in ratio."""
        return min(
            self.family.pretrained_resolutions,
            key=lambda side: abs(math.log(side / self.input_resolution)),
        )

    @property
    def weights_address(self) -> str:
        """Where Keras publishes the weights."""
        alpha = 1.0 if self.alpha is None else self.alpha
        v1_alpha = {1.0: "1_0", 0.75: "7_5", 0.5: "5_0", 0.25: "2_5"}.get(alpha, "")
        return self.family.weights_address.format(
            alpha=alpha, v1_alpha=v1_alpha, resolution=self.pretrained_resolution
        )

    @property
    def weights_names(self) -> tuple[str, ...]:
        """File names that a weights folder may have them under."""
        parts = [self.name, str(self.alpha or ""), str(self.pretrained_resolution)]
        own = "_".join(part for part in parts if part) + "_no_top.weights.h5"
        return (self.weights_address.rsplit("/", 1)[1], own)

    def preprocess(self, fit: str = "stretch", resize: str = "bilinear") -> PreprocessSpec:
        return PreprocessSpec(self.input_resolution, fit=fit, resize=resize, mean=MEAN, std=STD)


def choose(
    name: str, alpha: float | None = None, input_resolution: int | None = None
) -> BackboneChoice:
    """Checks a backbone's name, width multiplier and resolution, and fills in the defaults.

    Raises:
        ValueError: one of them is not valid; the message lists the valid ones.
    """
    family = BACKBONES.get(name)
    if family is None:
        raise ValueError(f"expected a backbone of {', '.join(BACKBONES)}, got {name!r}")
    alpha = family.default_alpha if alpha is None else alpha
    if alpha not in family.feature_widths:
        widths = ", ".join(str(width) for width in family.feature_widths if width is not None)
        valid = f"an alpha of {widths} for {name}" if widths else f"no alpha, {name} has none"
        raise ValueError(f"expected {valid}, got {alpha}")
    side = family.pretrained_resolutions[0] if input_resolution is None else input_resolution
    if not family.minimum_resolution <= side <= _MAXIMUM_RESOLUTION:
        pretrained = ", ".join(str(value) for value in sorted(family.pretrained_resolutions))
        raise ValueError(
            f"expected an input resolution of {family.minimum_resolution} to "
            f"{_MAXIMUM_RESOLUTION} for {name} (pretrained at {pretrained}), got {side}"
        )
    return BackboneChoice(name, alpha, side)


def taking_pixels(backbone: keras.Model, spec: PreprocessSpec) -> keras.Model:
    """The backbone with its normalisation inside, so that bottlenecks need none before it.

    The interpreter scales pixels faster than numpy does, and to the same numbers: dividing by 128
    is exact.

    Returns:
        A model from uint8 `[batch, side, side, 3]`, RGB, 0 to 255, to the bottleneck.
    """
    import keras

    if spec.mean is None or spec.std is None or not spec.is_uniform():
        raise ValueError(f"expected one mean and std for all channels, got {spec.mean}, {spec.std}")
    scale, offset = 1 / spec.std[0], -spec.mean[0] / spec.std[0]
    pixels = keras.Input(backbone.input.shape[1:], dtype="uint8")
    return keras.Model(pixels, backbone(keras.layers.Rescaling(scale, offset)(pixels)))


def on_input(
    inputs: Any,
    network: keras.Model,
    instead: Callable[[keras.layers.Layer], keras.layers.Layer] = lambda layer: layer,
) -> keras.Model:
    """The same layers, with the same weights, on an input of another size.

    Args:
        inputs: Keras tensor.
        network: what it goes through.
        instead: what takes the place of a layer; it must use the same variables.
    """
    import keras

    return keras.models.clone_model(network, input_tensors=inputs, clone_function=instead)


def every_choice(name: str) -> tuple[BackboneChoice, ...]:
    """Every width and resolution of a backbone that pretrained weights exist for.

    Raises ValueError for an unknown backbone.
    """
    family = choose(name).family
    return tuple(
        BackboneChoice(name, alpha, side)
        for alpha in family.feature_widths
        for side in family.pretrained_resolutions
    )


def build(choice: BackboneChoice, weights_file: str | None) -> keras.Model:
    """The network from input to bottleneck.

    Args:
        choice: which one.
        weights_file: Keras h5 weights without the top; None for random values.

    Returns:
        A model from float32 `[batch, side, side, 3]`, RGB, (pixel - 128) / 128, to float32
        `[batch, feature_width]`.

    Raises:
        ValueError, OSError: the weights do not fit; `kit.training.weights` explains.
    """
    import keras
    import numpy as np

    side, family = choice.input_resolution, choice.family
    arguments = dict(family.options)
    if choice.alpha is not None:
        arguments["alpha"] = choice.alpha
    make = getattr(keras.applications, family.builder)
    network = make(
        input_shape=(side, side, 3), include_top=False, weights=None, pooling="avg", **arguments
    )
    if weights_file is not None:
        network.load_weights(weights_file)
    if family.scaling == "tf":
        return network
    # A 1x1 convolution that undoes (pixel - 128) / 128, turns RGB to BGR and subtracts the mean,
    # as Keras' caffe mode (keras.applications.imagenet_utils) wants it.
    inputs = keras.Input((side, side, 3))
    scaling = keras.layers.Conv2D(3, 1, name=FIXED_SCALING)
    scaled = make(
        input_tensor=scaling(inputs), include_top=False, weights=None, pooling="avg", **arguments
    )
    kernel = np.diag(np.array(STD, np.float32))[:, ::-1].reshape(1, 1, 3, 3)
    bias = np.array(MEAN, np.float32) - np.array(_IMAGENET_MEAN_BGR, np.float32)
    scaled.set_weights([kernel, bias, *network.get_weights()])
    return keras.Model(inputs, scaled.output, name=network.name)
