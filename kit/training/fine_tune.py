"""Training the backbone's own layers: the last few, or all of them, on augmented photographs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.model.spec import SCORES, PreprocessSpec
from kit.reporting import Reporter, Silent
from kit.training.backbones import FineTuning, on_input
from kit.training.batch_normalization import fused
from kit.training.batches import PROJECTION, activations_of, batches_of, of_teacher
from kit.training.checkpoint import Checkpoint
from kit.training.defaults import FINE_TUNE_EPOCHS
from kit.training.fitting import FitSettings, Further, fit, scores_of, seed_everything
from kit.training.layers import (
    ALL,
    MOST,
    NONE,
    cut_before,
    inferring,
    layers_that_learn,
    set_trainable,
    weighted_layers,
)
from kit.training.photographs import Photographs
from kit.training.sizes import Stage, stages
from kit.training.teachers import BOTTLENECKS, MIXED, SHARE, Teacher, Teachers

if TYPE_CHECKING:
    import keras

SCREENING_TOLERANCE = 0.05
"""By how much the validation cross-entropy may grow for what the network still knows of other
things, where unknown images are to be told. With twice as much, MobileNet v1 0.25 lost more
accuracy than it told them better, and others had all that they could get by this."""


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
            features). 0: none. None: the backbone's own; where teachers answer and nothing is
            tolerated for it, as much less as a label counts beside them.
        interpolate: share of the way from the pretrained network, with the head, to the fine-tuned
            one that is kept, above 0, at most 1 (see kit.training.interpolation). None: the least
            that the validation part tolerates.
        tolerance: how much larger its cross-entropy may be for that, as a share of the least.
        bottlenecks: weight of the teachers' bottlenecks, which the network learns to predict by
            linear projections, all together beside the cross-entropy. 0: it learns their scores
            alone.
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
    bottlenecks: float = BOTTLENECKS

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
        if self.bottlenecks < 0:
            raise ValueError(f"expected a weight of 0 or more, got bottlenecks {self.bottlenecks}")

    def of(self, own: FineTuning, taught: bool = False) -> FineTuneSettings:
        """These settings, with the backbone's own values in place of None.

        Args:
            own: the backbone's.
            taught: whether teachers answer too: more epochs pay then, and mixup costs accuracy.
        """
        fitting, epochs = self.fitting, own.taught_epochs if taught else own.epochs
        # Unless something is tolerated for what the network still knows, accuracy decides.
        beside_teachers = (1 - SHARE) if taught and not self.tolerance else 1.0
        return replace(
            self,
            mixup=(0.0 if taught else own.mixup) if self.mixup is None else self.mixup,
            remember=own.remember * beside_teachers if self.remember is None else self.remember,
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
        train: photographs; they may be read smaller than the backbone's input, and are at first
            (see kit.training.sizes.stages). With teachers, there may be some without a label among
            them.
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
    cut = cut_before(backbone, count)
    rest = keras.Model(cut, backbone.output)
    set_trainable(rest, count)
    inputs = keras.Input((None, None, cut.shape[-1]))
    rest = on_input(inputs, rest, fused)
    bottleneck = rest(inputs) if settings.learn_statistics else inferring(rest)(inputs)
    outputs = {SCORES: scores_of(bottleneck, classes, fitting)}
    further: dict[str, Further] = {}
    if remember:
        outputs[PROJECTION] = _projected(bottleneck)
        further[PROJECTION] = Further(_one_minus_cosine, remember)
    told = teachers if settings.bottlenecks else ()
    for number, teacher in enumerate(told):
        name = of_teacher(number)
        outputs[name] = keras.layers.Dense(teacher.feature_width, use_bias=False, name=name)(
            bottleneck
        )
        further[name] = Further(_one_minus_cosine_of_deviations, settings.bottlenecks / len(told))
    model = keras.Model(inputs, outputs if further else outputs[SCORES])
    if head is not None:
        model.get_layer("scores").set_weights(head.get_layer("scores").get_weights())
    done = len(checkpoint.history) if checkpoint is not None else 0
    planned = stages(train, fitting, taught=bool(teachers), done=done)
    reporter.say(
        f"fine-tuning the last {count} of {len(weighted_layers(backbone))} layers"
        f"{_on_pixels(planned, validation.spec.input_resolution)}"
    )
    converted: dict[PreprocessSpec, bytes] = {}

    def once_a_size(layers: keras.Model, spec: PreprocessSpec) -> bytes:
        """The same layers for the train and the validation part."""
        if spec not in converted:
            converted[spec] = to_tflite(layers, spec)
        return converted[spec]

    frozen = partial(
        activations_of,
        backbone,
        cut,
        once_a_size,
        classes,
        remember=bool(remember),
        teachers=Teachers(teachers, to_tflite, bool(told)) if teachers else None,
    )
    with ExitStack() as stack:
        learnt = [stack.enter_context(frozen(one.photographs)) for one in planned]
        checked = stack.enter_context(frozen(validation))
        batches = [
            batches_of(one.photographs, activations, classes, fitting, one.epochs, mixup)
            for one, activations in zip(planned, learnt, strict=True)
        ]
        joined = batches[0]
        for one in batches[1:]:
            joined = joined.concatenate(one)
        try:
            history = fit(
                model,
                joined,
                batches_of(validation, checked, classes, fitting),
                train.truth,
                classes,
                fitting,
                further=further,
                phase="fine-tuning" if head is not None else "",
                effort=[
                    one.photographs.spec.input_resolution**2 for one in planned for _ in one.epochs
                ],
                checkpoint=checkpoint,
                logs=logs,
                reporter=reporter,
            )
        except tensorflow.errors.OpError as error:
            failures = (one.failure for one in (*learnt, checked) if one.failure)
            raise next(failures, error) from None
    flat = model.get_layer(SCORES)(backbone.output)
    return keras.Model(backbone.input, flat, name="classifier"), history


def _on_pixels(planned: Sequence[Stage], in_use: int) -> str:
    """The end of the line that announces the training."""
    sides = [one.photographs.spec.input_resolution for one in planned]
    if len(sides) > 1:
        return f", on {sides[0]} pixels, and on {sides[1]} from epoch {planned[1].epochs.start + 1}"
    return f", on {sides[0]} pixels" if sides[0] < in_use else ""


def _projected(bottleneck: Any) -> Any:
    """It starts from the identity: the bottleneck is still the pretrained one then."""
    import keras

    layer = keras.layers.Dense(
        bottleneck.shape[-1], use_bias=False, kernel_initializer="identity", name=PROJECTION
    )
    return layer(bottleneck)


def _one_minus_cosine(pretrained: Any, projected: Any) -> Any:
    import keras

    return 1 + keras.losses.cosine_similarity(pretrained, projected)


def _one_minus_cosine_of_deviations(bottleneck: Any, projected: Any) -> Any:
    """After the batch's mean is taken from both: most of a bottleneck is common to all photographs,
    and says nothing of any one."""
    from keras import ops

    return _one_minus_cosine(
        *(one - ops.mean(one, axis=0, keepdims=True) for one in (bottleneck, projected))
    )
