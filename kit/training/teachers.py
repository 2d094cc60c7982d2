"""Teachers: trained classifiers by whose answers another network learns.

A label says that a photograph is a tulip; a teacher's scores also say how much of a rose it has.
(G. Hinton et al., "Distilling the Knowledge in a Neural Network", 2015. Teacher and student see the
same changed photograph, and the student learns for long: L. Beyer et al., "Knowledge distillation:
A good teacher is patient and consistent", CVPR 2022.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kit.model.preprocess import Pixels
from kit.model.spec import PreprocessSpec
from kit.runtime.interpreter import Runner, RunnerPool
from kit.training.backbones import on_input
from kit.training.fitting import Truth, Vectors

if TYPE_CHECKING:
    import keras

SHARE = 2 / 3
"""Share of the teachers' answer in the target of a labelled photograph that nothing shows through;
the label has the rest."""
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
        model: from input to scores.
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


class Teachers:
    """Several teachers that answer together, by the mean of their scores.

    Args:
        teachers: at least one.
        to_tflite: makes a float32 .tflite that takes uint8 pixels of a model that takes what
            these pixels are by a PreprocessSpec.
    """

    def __init__(
        self,
        teachers: Sequence[Teacher],
        to_tflite: Callable[[keras.Model, PreprocessSpec], bytes],
    ) -> None:
        self._members = [(teacher, _runners(teacher, to_tflite)) for teacher in teachers]

    def answer(self, read: Callable[[PreprocessSpec], Pixels]) -> Vectors:
        """Scores for one photograph.

        Args:
            read: gives the photograph's pixels, uint8 `[side, side, 3]`, as a spec says.

        Returns:
            float32 `[labels]`, summing to 1.
        """
        found = []
        for teacher, runners in self._members:
            with runners.borrowed() as runner:
                found.append(runner.run(read(teacher.spec)).ravel()[list(teacher.columns)])
        answer: Vectors = np.mean(found, axis=0, dtype=np.float32)
        return answer


def _runners(
    teacher: Teacher, to_tflite: Callable[[keras.Model, PreprocessSpec], bytes]
) -> RunnerPool:
    import keras

    # It may read changed photographs smaller than it does in use.
    side = teacher.spec.input_resolution
    content = to_tflite(on_input(keras.Input((side, side, 3)), teacher.model), teacher.spec)
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
