"""One combination of a sweep, from photographs to its run folder; wherever that is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kit.data import Dataset
from kit.errors import KitError
from kit.quiet import quiet_native
from kit.reporting import Reporter
from kit.sweep.shared_bottlenecks import SharedTask, share_bottlenecks
from kit.training.weights import Weights
from kit.workflows.train import TrainSettings, train


@dataclass(frozen=True)
class TrainingTask:
    """What `train_combination` needs; it can be pickled.

    Attributes:
        dataset: the photographs; its root is absolute.
        output: the run folder to write.
        settings: settings of this one combination.
        weights: weights that it starts from.
        cache: folder of bottlenecks; None: the default.
        shared: what to do before, for all combinations of this resolution; None: nothing. It is
            done here because this process has TensorFlow loaded, which takes seconds.
    """

    dataset: Dataset
    output: Path
    settings: TrainSettings
    weights: Weights
    cache: Path | None
    shared: SharedTask | None = None

    @property
    def images(self) -> Path:
        return self.dataset.root


def train_combination(task: TrainingTask, reporter: Reporter) -> None:
    """One combination, from photographs to its run folder; raises as kit.workflows.train.train.

    Fine-tuning goes on where it was broken off.
    """
    with quiet_native:
        import keras
    keras.backend.clear_session()  # the last combination's names and graphs, if there was one
    if task.shared is not None:
        try:
            share_bottlenecks(task.shared, reporter)
        except (KitError, OSError) as error:
            reporter.warn(f"each backbone decodes the photographs by itself: {error}")
    train(
        task.images,
        task.output,
        task.settings,
        resume=True,
        cache=task.cache,
        weights=task.weights,
        reporter=reporter,
    )
