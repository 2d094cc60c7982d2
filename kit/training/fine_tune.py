"""Training the backbone's own layers: the last few, or all of them, on augmented photographs.

The layers before the first one that learns never change. They run as a float32 .tflite in the
runtime's own interpreter, several times faster than in Keras. Their output for an unchanged
photograph is kept, so that an epoch costs only the layers that learn.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kit.model.preprocess import Pixels, to_input
from kit.model.spec import SCORES, PreprocessSpec
from kit.reporting import Reporter, Silent
from kit.runtime.interpreter import Runner, RunnerPool
from kit.runtime.parallel import default_threads, ordered_map
from kit.training.augment import Augmentation
from kit.training.backbones import FIXED_SCALING, FineTuning, on_input
from kit.training.batch_normalization import fused
from kit.training.checkpoint import Checkpoint
from kit.training.defaults import FINE_TUNE_EPOCHS
from kit.training.fitting import (
    FitSettings,
    Further,
    Vectors,
    fit,
    image_weights,
    scores_of,
    seed_everything,
)
from kit.training.photographs import Kept, Photographs
from kit.training.teachers import MIXED, SHARE, Teacher, Teachers, blended

if TYPE_CHECKING:
    import keras

ALL = "all"
MOST = "most"
NONE = "none"

SCREENING_TOLERANCE = 0.05
"""By how much the validation cross-entropy may grow for what the network still knows of other
things, where unknown images are to be told. With twice as much, MobileNet v1 0.25 lost more
accuracy than it told them better, and others had all that they could get by this."""

_MOMENTUM = 0.9
"""Momentum of batch normalisation's moving statistics.

Keras' 0.99 and 0.999 are for thousands of steps in an epoch. Here an epoch may have ten, and
validation would see the old network's statistics for a long time.
"""
_INPUTS, _PROJECTION, _ANSWERS = "activations", "projection", "answers"


@dataclass(frozen=True)
class FineTuneSettings:
    """How the backbone's layers are trained, after the head.

    Attributes:
        layers: how many of the last convolutions learn; `all`; `most`: those that work on maps
            of a quarter of the input's side or less, since the few before cost more than half of
            an epoch; or `none`.
        learn_statistics: whether batch normalisation takes each batch's statistics while it
            learns, and follows them; otherwise it keeps the pretrained ones, and its scale and
            offset learn like other weights.
        fitting: epochs, learning rate and further settings of the fit.
        mixup: parameter of the beta distribution by which images of a batch are mixed in pairs,
            what the frozen layers make of them and their labels alike (H. Zhang et al., "mixup",
            ICLR 2018; V. Verma et al., "Manifold Mixup", ICML 2019); 0 mixes none. None: the
            backbone's own, as for the fitting's epochs and rate.
        remember: weight of the remembering term beside the cross-entropy: 1 minus the cosine of
            the pretrained bottleneck of the same changed photograph and a linear projection of the
            one that learns (Z. Li and D. Hoiem, "Learning without Forgetting", TPAMI 2017, by
            features). With teachers a third of it counts, as much as a label does. 0: none. None:
            the backbone's own.
        interpolate: share of the way from the pretrained network, with the head, to the fine-tuned
            one that is kept, above 0, at most 1 (see kit.training.interpolation). None: the least
            that the validation part tolerates.
        tolerance: how much larger its cross-entropy may be for that, as a share of the least.
    """

    layers: int | str = NONE
    learn_statistics: bool = True
    fitting: FitSettings = field(
        default_factory=lambda: FitSettings(
            epochs=FINE_TUNE_EPOCHS,
            learning_rate=None,
            batch_size=32,
            optimizer="sgd",
            schedule="cosine",
        )
    )
    mixup: float | None = 0.0
    remember: float | None = 0.0
    interpolate: float | None = None
    tolerance: float = 0.0

    def __post_init__(self) -> None:
        named = self.layers in (ALL, MOST, NONE)
        if not (named or (isinstance(self.layers, int) and self.layers > 0)):
            raise ValueError(
                f"expected {ALL}, {MOST}, {NONE} or a number of layers above 0, got {self.layers!r}"
            )
        if self.mixup is not None and not 0 <= self.mixup < 100:
            raise ValueError(f"expected a mixup from 0 to below 100, got {self.mixup}")
        if self.remember is not None and not 0 <= self.remember < 1000:
            raise ValueError(f"expected a remember from 0 to below 1000, got {self.remember}")
        if self.interpolate is not None and not 0 < self.interpolate <= 1:
            raise ValueError(
                f"expected a share above 0 and at most 1 for interpolate, got {self.interpolate}"
            )
        if self.tolerance < 0:
            raise ValueError(f"expected a tolerance of 0 or more, got {self.tolerance}")

    def of(self, own: FineTuning, taught: bool = False) -> FineTuneSettings:
        """These settings, with the backbone's own values in place of None.

        Args:
            own: the backbone's.
            taught: whether teachers answer too: more epochs pay then, and mixup costs accuracy.
        """
        fitting, epochs = self.fitting, own.taught_epochs if taught else own.epochs
        return replace(
            self,
            mixup=(0.0 if taught else own.mixup) if self.mixup is None else self.mixup,
            remember=own.remember if self.remember is None else self.remember,
            fitting=replace(
                fitting,
                epochs=epochs if fitting.epochs is None else fitting.epochs,
                learning_rate=(
                    own.learning_rate if fitting.learning_rate is None else fitting.learning_rate
                ),
            ),
        )


def fine_tune(
    backbone: keras.Model,
    head: keras.Model | None,
    train: Photographs,
    validation: Photographs,
    classes: int,
    settings: FineTuneSettings,
    to_tflite: Callable[[keras.Model, PreprocessSpec], bytes],
    *,
    teachers: Sequence[Teacher] = (),
    checkpoint: Checkpoint | None = None,
    logs: Path | None = None,
    reporter: Reporter | None = None,
) -> tuple[keras.Model, list[dict[str, Any]]]:
    """Trains the last layers of a backbone together with the softmax layer on top.

    Args:
        backbone: from input to bottleneck; its weights change.
        head: trained model from bottleneck to scores; None: the softmax layer starts anew.
        train: photographs; they may be read smaller than the backbone's input. With teachers, there
            may be some without a label among them.
        validation: labelled photographs at the size of the backbone's input, not augmented.
        classes: how many labels there are.
        settings: how many layers, and how.
        to_tflite: makes a float32 .tflite that takes uint8 pixels of a model that takes what
            these pixels are by a PreprocessSpec.
        teachers: who answers for the training photographs too; see kit.training.teachers.
        checkpoint: see kit.training.checkpoint.
        logs: folder for TensorBoard's event files.
        reporter: gets a line each epoch.

    Returns:
        A model from input to scores, and the epochs' figures (see kit.training.fitting.fit).

    Raises:
        DataError: a photograph cannot be read any more.
        TrainingError: the cross-entropy is not finite, or the checkpoint does not fit.
        ValueError: the backbone has fewer layers than should learn, or a setting is None.
    """
    import keras
    import tensorflow

    reporter = reporter or Silent()
    fitting = settings.fitting
    mixup, remember = settings.mixup, settings.remember
    if fitting.epochs is None or mixup is None or remember is None:
        raise ValueError("expected epochs, mixup and remember, got none: take FineTuneSettings.of")
    seed_everything(fitting.seed)
    if teachers:
        train = replace(train, mixed=MIXED)
    count = layers_that_learn(backbone, settings.layers)
    cut = _cut(backbone, count)
    rest = keras.Model(cut, backbone.output)
    _set_trainable(rest, count)
    inputs = keras.Input((None, None, cut.shape[-1]))
    rest = on_input(inputs, rest, fused)
    bottleneck = rest(inputs) if settings.learn_statistics else _inferring(rest)(inputs)
    outputs = {SCORES: scores_of(bottleneck, classes, fitting)}
    further: dict[str, Further] = {}
    if remember:
        outputs[_PROJECTION] = _projected(bottleneck)
        # As much less as a label counts beside teachers.
        weight = remember * (1 - SHARE) if teachers else remember
        further[_PROJECTION] = Further(_one_minus_cosine, weight)
    model = keras.Model(inputs, outputs if further else outputs[SCORES])
    if head is not None:
        model.get_layer("scores").set_weights(head.get_layer("scores").get_weights())
    side = train.spec.input_resolution
    smaller = f", on {side} pixels" if side < validation.spec.input_resolution else ""
    reporter.say(f"fine-tuning the last {count} of {len(_weighted(backbone))} layers{smaller}")
    frozen = partial(_activations_of, backbone, cut, to_tflite, classes, remember=bool(further))
    done = len(checkpoint.history) if checkpoint is not None else 0
    with (
        frozen(train, teachers=teachers) as learnt,
        frozen(validation) as checked,
    ):
        try:
            history = fit(
                model,
                _batches(train, learnt, classes, fitting, range(done, fitting.epochs), mixup),
                _batches(validation, checked, classes, fitting),
                train.truth,
                classes,
                fitting,
                further=further,
                phase="fine-tuning" if head is not None else "",
                checkpoint=checkpoint,
                logs=logs,
                reporter=reporter,
            )
        except tensorflow.errors.OpError as error:
            raise learnt.failure or checked.failure or error from None
    flat = model.get_layer(SCORES)(backbone.output)
    return keras.Model(backbone.input, flat, name="classifier"), history


def _projected(bottleneck: Any) -> Any:
    """It starts from the identity: the bottleneck is still the pretrained one then."""
    import keras

    layer = keras.layers.Dense(
        bottleneck.shape[-1], use_bias=False, kernel_initializer="identity", name=_PROJECTION
    )
    return layer(bottleneck)


def _one_minus_cosine(pretrained: Any, projected: Any) -> Any:
    import keras

    return 1 + keras.losses.cosine_similarity(pretrained, projected)


def _weighted(model: keras.Model) -> list[Any]:
    """Convolutions and dense layers, from input to output; batch normalisation goes with them."""
    return [
        layer for layer in model.layers if hasattr(layer, "kernel") and layer.name != FIXED_SCALING
    ]


def layers_that_learn(backbone: keras.Model, layers: int | str) -> int:
    """How many of the last layers `FineTuneSettings.layers`, not `none`, means for this backbone.

    Raises ValueError where it has fewer.
    """
    weighted = _weighted(backbone)
    if layers == ALL:
        return len(weighted)
    if layers == MOST:
        side = backbone.input.shape[1] / 4
        # From the first on: the padding before a layer that halves makes its input a pixel larger.
        small = [layer.input.shape[1] <= side for layer in weighted]
        return len(weighted) - small.index(True)
    assert isinstance(layers, int)
    if layers > len(weighted):
        raise ValueError(
            f"expected at most {len(weighted)} layers, which {backbone.name} has, got {layers}: "
            f"give a lower --fine-tune, or {ALL}"
        )
    return layers


def _cut(backbone: keras.Model, layers: int) -> Any:
    """The Keras tensor before the last `layers` layers, which everything passes through."""
    weighted = _weighted(backbone)
    order = {layer.name: position for position, layer in enumerate(backbone.layers)}
    first = order[weighted[-layers].name]
    reach = [
        max((order.get(node.operation.name, 0) for node in layer._outbound_nodes), default=0)
        for layer in backbone.layers
    ]
    for position in range(first - 1, 0, -1):
        # A shortcut from before must not pass it by.
        if all(end <= position for end in reach[:position]):
            return backbone.layers[position].output
    return backbone.input


def _inferring(network: keras.Model) -> keras.layers.Layer:
    """Calls it as in use, also while it learns: batch normalisation keeps its statistics.

    (`training=False`, given where a network is put into another, is overridden by what `fit` says.)
    """
    import keras

    class Inferring(keras.layers.Layer):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def call(self, values: Any) -> Any:
            return self.network(values, training=False)

    return Inferring()


def _set_trainable(rest: keras.Model, layers: int) -> None:
    import keras

    learning = _weighted(rest)[-layers:]
    learns: dict[str, bool] = {}
    for layer in rest.layers:
        before = [
            learns.get(tensor._keras_history.operation.name, False)
            for tensor in layer._inbound_nodes[0].input_tensors
        ]
        # Batch normalisation goes with its convolution, whatever stands beside that.
        own = layer in learning if hasattr(layer, "kernel") else bool(before) and all(before)
        layer.trainable = learns[layer.name] = own
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = _MOMENTUM


class _Activations:
    """What networks that do not learn make of photographs, kept on disk as far as there is room.

    Args:
        photographs: the photographs to run the networks on.
        parts: shapes of what they make of one photograph, by name.
        run: function from a photograph's index and the epoch to the parts in their order, flat,
            float32 `[sum of their sizes]`.
        room: file that holds the outputs that are kept.
    """

    def __init__(
        self,
        photographs: Photographs,
        parts: Mapping[str, tuple[int, ...]],
        run: Callable[[int, int], Vectors],
        room: Path,
    ) -> None:
        self.failure: Exception | None = None  # of the last call; TensorFlow hides it in its own
        self.parts = parts
        self._run = run
        size = sum(map(math.prod, parts.values()))
        self._same = photographs.augmentation == Augmentation()  # in every epoch
        # In half precision: a thousandth of a value, less than augmentation or int8 change.
        count = len(photographs.images) if self._same else 0
        self._kept = Kept(room, count, (size,), np.float16)

    def __call__(self, indices: npt.NDArray[np.int64], epoch: int) -> dict[str, Vectors]:
        """The parts by name, float32 `[len(indices), *shape]` each."""

        def work(index: int) -> Vectors:
            if not self._same:
                return self._run(index, epoch)
            return self._kept.row(index, partial(self._run, index, epoch)).astype(np.float32)

        try:
            rows = np.stack(list(ordered_map(work, map(int, indices), default_threads())))
        except Exception as error:
            self.failure = error
            raise
        ends = np.cumsum([math.prod(shape) for shape in self.parts.values()])
        return {
            name: flat.reshape(-1, *shape)
            for (name, shape), flat in zip(
                self.parts.items(), np.split(rows, ends[:-1], axis=1), strict=True
            )
        }


@contextmanager
def _activations_of(
    backbone: keras.Model,
    cut: Any,
    to_tflite: Callable[[keras.Model, PreprocessSpec], bytes],
    classes: int,
    photographs: Photographs,
    *,
    remember: bool,
    teachers: Sequence[Teacher] = (),
) -> Iterator[_Activations]:
    """What the layers before `cut` make of photographs at their own size; in the same inference
    the whole backbone's bottleneck, if that is to be remembered; and what teachers answer.
    """
    import keras

    spec = photographs.spec
    inputs = keras.Input((spec.input_resolution, spec.input_resolution, 3))
    learns_all = cut is backbone.input
    frozen = on_input(inputs, keras.Model(backbone.input, [cut, backbone.output]))
    parts = {_INPUTS: tuple(frozen.outputs[0].shape[1:])}
    wanted = [] if learns_all else [frozen.outputs[0]]
    if remember:
        parts[_PROJECTION] = tuple(frozen.outputs[1].shape[1:])
        wanted.append(frozen.outputs[1])
    if wanted:
        flat = [keras.layers.Flatten()(one) for one in wanted]
        joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
        content = to_tflite(keras.Model(inputs, joined), spec)
        runners = RunnerPool(lambda: Runner(content))
    if teachers:
        parts[_ANSWERS] = (classes,)
        together = Teachers(teachers, to_tflite)

    decoded: dict[PreprocessSpec, Kept] = {}

    def decode(index: int, how: PreprocessSpec) -> Pixels:
        return decoded[how].row(index, partial(photographs.decode, index, how))

    def run(index: int, epoch: int) -> Vectors:
        @cache  # teachers may want the same pixels
        def read(how: PreprocessSpec) -> Pixels:
            return photographs.read(index, epoch, how, decode)

        found = [to_input(read(spec), spec).ravel()] if learns_all else []
        if wanted:
            with runners.borrowed() as runner:
                found.append(runner.run(read(spec)).ravel())
        if teachers:
            found.append(together.answer(read))
        return np.concatenate(found)

    with tempfile.TemporaryDirectory(prefix="kit-activations-") as folder:
        activations = _Activations(photographs, parts, run, Path(folder, "activations"))
        for number, how in enumerate({spec, *(teacher.spec for teacher in teachers)}):
            decoded[how] = photographs.decoded(Path(folder, f"photographs-{number}"), how)
        yield activations


def _batches(
    photographs: Photographs,
    activations: _Activations,
    classes: int,
    settings: FitSettings,
    epochs: range | None = None,
    mixup: float = 0.0,
) -> Any:
    """A tf.data.Dataset of batches (activations, targets, weights), the last two by output.

    Not Keras' PyDataset: that becomes a tf.data generator, which makes the C library hand every
    freed tensor back to the system (M_TRIM_THRESHOLD); training then takes three times as long.

    Args:
        photographs: source of the labels.
        activations: source of the inputs.
        classes: how many labels there are.
        settings: batch_size, class_weights and seed are used.
        epochs: epochs to draw, each in its own order; None: one epoch in the order given.
        mixup: see FineTuneSettings.
    """
    import tensorflow

    truth = photographs.truth
    targets = np.equal.outer(truth, np.arange(classes)).astype(np.float32)
    weights = np.ones(len(truth), np.float32)
    if settings.class_weights and epochs is not None:
        labelled = truth >= 0
        weights[labelled] = image_weights(truth[labelled], classes)
    steps = settings.steps(len(truth))
    shapes = {**activations.parts, SCORES: (classes,)}
    names = [name for name in (_INPUTS, SCORES, _PROJECTION) if name in shapes]

    def batch(number: int) -> list[Vectors]:
        epoch, step = divmod(int(number), steps)
        order = np.arange(len(truth))
        if epochs is not None:
            np.random.default_rng((settings.seed, epoch)).shuffle(order)
        chosen = np.array_split(order, steps)[step]
        found = {**activations(chosen, epoch), SCORES: targets[chosen]}
        if _ANSWERS in found:
            # A label does not say what else shows through.
            whole = [photographs.showing_through(int(index), epoch) is None for index in chosen]
            known = np.where(whole, truth[chosen], -1)
            found[SCORES] = blended(found[SCORES], found[_ANSWERS], known)
        values = [found[name] for name in names] + [weights[chosen]]
        if not mixup:
            return values
        first = np.float32(np.random.default_rng((settings.seed, epoch, step)).beta(mixup, mixup))
        return [first * one + (1 - first) * one[::-1] for one in values]

    def as_tensors(number: Any) -> tuple[Any, Any, Any]:
        found = tensorflow.numpy_function(batch, [number], [tensorflow.float32] * (len(names) + 1))
        values = {
            name: tensorflow.ensure_shape(value, (None, *shapes[name]))
            for name, value in zip(names, found, strict=False)
        }
        weight = tensorflow.ensure_shape(found[-1], (None,))
        inputs = values.pop(_INPUTS)
        if len(values) == 1:
            return inputs, values[SCORES], weight
        # What is remembered weighs the same for every class.
        return inputs, values, {SCORES: weight, _PROJECTION: tensorflow.ones_like(weight)}

    drawn = epochs or range(1)
    numbers = tensorflow.data.Dataset.range(drawn.start * steps, drawn.stop * steps)
    options = tensorflow.data.Options()
    # There is nothing to tune, and its thread sleeps for longer and longer, up to a minute: whoever
    # has read the last batch waits until it wakes.
    options.autotune.enabled = False
    return numbers.map(as_tensors).prefetch(1).with_options(options)
