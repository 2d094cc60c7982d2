"""What an epoch of fine-tuning learns from: photographs, through the layers that do not learn.

Those layers never change. They run as a float32 .tflite in the runtime's own interpreter, several
times faster than in Keras. Their output for an unchanged photograph is kept, so that an epoch costs
only the layers that learn.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kit.model.preprocess import Pixels, to_input
from kit.model.spec import SCORES, PreprocessSpec
from kit.runtime.interpreter import Runner, RunnerPool
from kit.runtime.parallel import default_threads, ordered_map
from kit.training.augment import Augmentation
from kit.training.backbones import on_input
from kit.training.fitting import FitSettings, Vectors, image_weights
from kit.training.photographs import Kept, Photographs
from kit.training.teachers import Teachers, blended

if TYPE_CHECKING:
    import keras

PROJECTION = "projection"
"""The name of what is remembered, among outputs and targets."""
_INPUTS, _ANSWERS = "activations", "answers"


def of_teacher(number: int) -> str:
    """The name of a teacher's bottleneck, among outputs and targets."""
    return f"teacher_{number}"


class Activations:
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
def activations_of(
    backbone: keras.Model,
    cut: Any,
    to_tflite: Callable[[keras.Model, PreprocessSpec], bytes],
    classes: int,
    photographs: Photographs,
    *,
    remember: bool,
    teachers: Teachers | None = None,
) -> Iterator[Activations]:
    """What the layers before `cut` make of photographs at their own size; in the same inference
    the whole backbone's bottleneck, if that is to be remembered; and what teachers answer, with
    their bottlenecks.
    """
    import keras

    spec = photographs.spec
    inputs = keras.Input((spec.input_resolution, spec.input_resolution, 3))
    learns_all = cut is backbone.input
    frozen = on_input(inputs, keras.Model(backbone.input, [cut, backbone.output]))
    parts = {_INPUTS: tuple(frozen.outputs[0].shape[1:])}
    wanted = [] if learns_all else [frozen.outputs[0]]
    if remember:
        parts[PROJECTION] = tuple(frozen.outputs[1].shape[1:])
        wanted.append(frozen.outputs[1])
    if wanted:
        flat = [keras.layers.Flatten()(one) for one in wanted]
        joined = keras.layers.Concatenate()(flat) if len(flat) > 1 else flat[0]
        content = to_tflite(keras.Model(inputs, joined), spec)
        runners = RunnerPool(lambda: Runner(content))
    if teachers:
        parts[_ANSWERS] = (classes,)
        for number, width in enumerate(teachers.feature_widths):
            parts[of_teacher(number)] = (width,)

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
            scores, bottlenecks = teachers.answer(read)
            found += [scores, *bottlenecks]
        return np.concatenate(found)

    with tempfile.TemporaryDirectory(prefix="kit-activations-") as folder:
        activations = Activations(photographs, parts, run, Path(folder, "activations"))
        for number, how in enumerate({spec} | (teachers.specs if teachers else set())):
            decoded[how] = photographs.decoded(Path(folder, f"photographs-{number}"), how)
        yield activations


def batches_of(
    photographs: Photographs,
    activations: Activations,
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
        epochs: epochs to draw, each in its own order; None: one epoch in the order given, by the
            labels alone.
        mixup: see kit.training.fine_tune.FineTuneSettings.
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
    further = [name for name in activations.parts if name not in (_INPUTS, _ANSWERS)]
    names = [_INPUTS, SCORES, *further]

    def batch(number: int) -> list[Vectors]:
        epoch, step = divmod(int(number), steps)
        order = np.arange(len(truth))
        if epochs is not None:
            np.random.default_rng((settings.seed, epoch)).shuffle(order)
        chosen = np.array_split(order, steps)[step]
        found = {**activations(chosen, epoch), SCORES: targets[chosen]}
        if _ANSWERS in found and epochs is not None:
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
        # Bottlenecks weigh the same for every class.
        alike = dict.fromkeys(further, tensorflow.ones_like(weight))
        return inputs, values, {SCORES: weight, **alike}

    drawn = range(1) if epochs is None else epochs
    numbers = tensorflow.data.Dataset.range(drawn.start * steps, drawn.stop * steps)
    options = tensorflow.data.Options()
    # There is nothing to tune, and its thread sleeps for longer and longer, up to a minute: whoever
    # has read the last batch waits until it wakes.
    options.autotune.enabled = False
    return numbers.map(as_tensors).prefetch(1).with_options(options)
