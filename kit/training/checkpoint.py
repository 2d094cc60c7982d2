"""Where training stands after each epoch, so that a crash costs an epoch and no more."""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kit.errors import TrainingError
from kit.files import write_beside

if TYPE_CHECKING:
    import keras

_STATE = "state.json"
_VERSION = 5


class Checkpoint:
    """A folder with the last epoch's weights, the optimizer's state, the best epoch's weights.

    After each epoch new weight files are written beside the old ones, then `state.json` is
    replaced, which names them, then what it does not name is deleted: whenever the process ends,
    the folder holds one whole epoch.

    Args:
        folder: it is made with the first epoch.
        facts: everything that the weights depend on; another run's checkpoint is refused.
        resume: go on from what the folder holds, if there is any; otherwise it is left alone until
            the first epoch replaces it.

    Raises:
        TrainingError: the folder holds another run's checkpoint, or is damaged.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = folder
        self._key = hashlib.sha256(
            json.dumps({"version": _VERSION, **facts}, sort_keys=True, default=str).encode()
        ).hexdigest()
        self._state = self._read() if resume else None

    @property
    def exists(self) -> bool:
        """Whether the folder holds a checkpoint, of whatever run."""
        return (self.folder / _STATE).exists()

    @property
    def history(self) -> list[dict[str, float]]:
        """The figures of every epoch so far."""
        return list(self._state["history"]) if self._state else []

    def restore(self, model: keras.Model) -> list[Any]:
        """Puts the last epoch's weights and optimizer state into a compiled model.

        Returns the best epoch's weights, as `keras.Model.get_weights` gives them.
        """
        model.optimizer.build(model.trainable_variables)
        try:
            last, best = self._arrays("last"), self._arrays("best")
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise self._damaged(error) from error
        for arrays, variables in ((last, _variables(model)), (best, model.weights)):
            if [array.shape for array in arrays] != [tuple(one.shape) for one in variables]:
                raise self._damaged("its arrays are another network's")
        for variable, value in zip(_variables(model), last, strict=True):
            variable.assign(value)
        return best

    def save(self, model: keras.Model, best: list[Any], history: list[dict[str, float]]) -> None:
        """Keeps an epoch's weights and optimizer state."""
        self.folder.mkdir(parents=True, exist_ok=True)
        epoch = len(history)
        last = [np.asarray(variable) for variable in _variables(model)]
        contents = {"last": last, "best": best}
        # Another run's file, which its state may still name, must not be replaced before it.
        names = {kind: f"{kind}-{self._key[:8]}-{epoch}.npz" for kind in contents}
        for kind, arrays in contents.items():
            partial = self.folder / f"partial-{kind}.npz"
            np.savez(partial, *arrays)
            partial.replace(self.folder / names[kind])
        state = {"key": self._key, "files": names, "history": history}
        write_beside(self.folder / _STATE, json.dumps(state).encode(), force=True)
        self._state = state
        for path in self.folder.glob("*.npz"):
            if path.name not in names.values():
                path.unlink()

    def discard(self) -> None:
        """Deletes what was kept, once the run is complete; what this run did not keep stays."""
        if self._state is None:
            return
        for name in (_STATE, *self._state["files"].values()):
            (self.folder / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # somebody put something else into it
            self.folder.rmdir()
        self._state = None

    def _arrays(self, kind: str) -> list[Any]:
        assert self._state is not None
        path = self.folder / self._state["files"][kind]
        # Opened here: of a damaged file numpy leaves its own open.
        with path.open("rb") as file, np.load(file) as stored:
            return [stored[f"arr_{index}"] for index in range(len(stored.files))]

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / _STATE
        if not path.exists():
            return None
        try:
            state: dict[str, Any] = json.loads(path.read_text("utf-8"))
            key, *_ = (state[name] for name in ("key", "files", "history"))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(error) from error
        if key != self._key:
            raise TrainingError(
                f"{self.folder}: expected the checkpoint of this run, got one of other images or "
                "settings: give the same ones again, or delete the folder"
            )
        return state

    def _damaged(self, reason: object) -> TrainingError:
        return TrainingError(
            f"{self.folder}: expected a checkpoint that can be read, got a damaged one "
            f"({reason}): delete the folder and train again"
        )


def _variables(model: keras.Model) -> list[Any]:
    """All that decides how training goes on: weights, what dropout draws next, the optimizer."""
    return [*model.variables, *model.optimizer.variables]
