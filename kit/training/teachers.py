"""Teachers: trained classifiers that another network learns from.

A label says that a photograph is a tulip; a teacher's scores also say how much of a rose it has.
(G. Hinton et al., "Distilling the Knowledge in a Neural Network", 2015. Teacher and student see the
same changed photograph, and the student learns for long: L. Beyer et al., "Knowledge distillation:
A good teacher is patient and consistent", CVPR 2022.) A few scores say little, so a student also
learns to predict its teachers' bottlenecks (A. Romero et al., "FitNets: Hints for Thin Deep Nets",
ICLR 2015, there with features from the middle of a network, here with the last ones).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kit.model.preprocess import Pixels
from kit.model.spec import SCORES, PreprocessSpec
from kit.runtime.interpreter import Runner, RunnerPool
from kit.training.backbones import on_input
from kit.training.fitting import Truth, Vectors

if TYPE_CHECKING:
    import keras

SHARE = 2 / 3
"""Share of the teachers' answer in the target of a labelled photograph that nothing shows through;
the label has the rest."""
BOTTLENECKS = 3.0
"""Weight of the teachers' bottlenecks, all together, beside the cross-entropy. A student that
learns them has a lower cross-entropy on photographs that it did not see."""
MIXED = 0.5
"""Share of the changed photographs that another one shows through while teachers answer: the target
is what they say of both. It keeps a student from learning the photographs by heart (Beyer et al.
2022 mix all of theirs)."""


@dataclass(frozen=True)
class Teacher:
    """A trained classifier that another one learns from.

    Attributes:
        description: what it is, for report and card.
        digest: SHA-256 of its network's file, in hexadecimal.
        model: from input to scores, by a layer of that name.
        spec: the preprocessing that turns photographs into its input.
        columns: for each label of the student, the place of its score among the teacher's.
        learnt_from: digests of the photographs that decided on its weights, and on those of its own
            teachers.
    """

    description: str
    digest: str
    model: keras.Model
    spec: PreprocessSpec
    columns: tuple[int, ...]
    learnt_from: frozenset[str]

    @property
    def feature_width(self) -> int:
        """The length of its bottleneck."""
        return int(self.model.get_layer(SCORES).kernel.shape[0])


class Teachers:
    """Several teachers: the mean of their scores, and the bottleneck of each.

    Args:
        teachers: at least one.
        to_tflite: makes a float32 .tflite that takes uint8 pixels of a model that takes what
            these pixels are by a PreprocessSpec.
        bottlenecks: whether they give their bottlenecks beside their scores.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        to_tflite: Callable[[keras.Model, PreprocessSpec], bytes],
        bottlenecks: bool,
    ) -> None:
        self._bottlenecks = bottlenecks
        self._members = [(teacher, _runners(teacher, to_tflite)) for teacher in teachers]

    @property
    def feature_widths(self) -> tuple[int, ...]:
        """The lengths of the bottlenecks that they give."""
        if not self._bottlenecks:
            return ()
        return tuple(teacher.feature_width for teacher, _ in self._members)

    @property
    def specs(self) -> frozenset[PreprocessSpec]:
        """How they read photographs."""
        return frozenset(teacher.spec for teacher, _ in self._members)

    def answer(self, read: Callable[[PreprocessSpec], Pixels]) -> tuple[Vectors, list[Vectors]]:
        """What they make of one photograph.

        Args:
            read: gives the photograph's pixels, uint8 `[side, side, 3]`, as a spec says.

        Returns:
            The mean of the scores, float32 `[labels]`, summing to 1, and the bottleneck of each
            teacher that gives one, float32 `[feature_width]`.
        """
        scores, bottlenecks = [], []
        for teacher, runners in self._members:
            with runners.borrowed() as runner:
                found = runner.run(read(teacher.spec)).ravel()
            own, bottleneck = np.split(found, [len(teacher.columns)])
            scores.append(own[list(teacher.columns)])
            if self._bottlenecks:
                bottlenecks.append(bottleneck)
        return np.mean(scores, axis=0, dtype=np.float32), bottlenecks


def _runners(
    teacher: Teacher, to_tflite: Callable[[keras.Model, PreprocessSpec], bytes]
) -> RunnerPool:
    import keras

    # It may read changed photographs smaller than it does in use.
    side = teacher.spec.input_resolution
    own = teacher.model
    both = keras.layers.Concatenate()([own.output, own.get_layer(SCORES).input])
    inputs = keras.Input((side, side, 3))
    content = to_tflite(on_input(inputs, keras.Model(own.input, both)), teacher.spec)
    return RunnerPool(lambda: Runner(content))


def blended(targets: Vectors, answers: Vectors, truth: Truth) -> Vectors:
    """What a network should answer, between the labels and its teachers.

    Args:
        targets: one-hot labels, float32 `[images, labels]`.
        answers: the teachers' scores, of the same shape.
        truth: label indices, int64 `[images]`; below 0 for a photograph without a label, or one
            that another shows through: the target is the teachers' answer alone.

    Returns:
        float32 `[images, labels]`.
    """
    share = np.where(truth < 0, 1.0, SHARE)[:, None]
    return ((1 - share) * targets + share * answers).astype(np.float32)
