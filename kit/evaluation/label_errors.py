"""Images whose label is probably wrong, by what classifiers say that have not learnt from them.

An image is a suspect if another label scores at least as high as that label does for its own images
on average (C. Northcutt, L. Jiang and I. Chuang, "Confident Learning: Estimating Uncertainty in
Dataset Labels", JAIR 2021). Wrong labels also mislead the classifiers that look for them, so these
are fitted a second time, without the suspects of the first. (The package `cleanlab` does the like;
its licence, the AGPL, does not go with this project's.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from kit.errors import DataError
from kit.evaluation.metrics import Scores, Truth

FOLDS = 5
_STRENGTH = 10.0
"""Inverse of the regularisation, over the number of images. Of 3 to 20, all found planted errors
about as well, with 200 flowers and with 2,934."""
_ITERATIONS, _TOLERANCE = 100, 1e-2  # closer takes five times as long, and finds as many
LABEL, DOUBT = "label", "doubt"
REASONS: Mapping[str, str] = {
    LABEL: "classifiers are confident of another label",
    DOUBT: "another label scores higher than its own",
}
"""Why a label is in doubt."""


def scores_by_others(
    vectors: npt.NDArray[np.float32], truth: Truth, members: npt.NDArray[np.int64], seed: int = 0
) -> Scores:
    """What logistic regressions say of each image that saw neither it nor its group.

    Args:
        vectors: bottlenecks, float32 `[images, feature_width]`.
        truth: label indices, int64 `[images]`, from 0 without a gap.
        members: number of each image's group, int64 `[images]`.
        seed: how the images are divided.

    Returns:
        float32 `[images, labels]`.

    Raises DataError where a label has too few groups.
    """
    labels = int(truth.max()) + 1
    fewest = min(len(np.unique(members[truth == label])) for label in range(labels))
    if labels < 2 or fewest < FOLDS:
        raise DataError(
            f"expected 2 labels or more, each with {FOLDS} images (or groups) at least, got "
            f"{labels}, the smallest with {fewest}: add images"
        )
    first = _out_of_fold(vectors, truth, members, np.ones(len(truth), bool), seed)
    return _out_of_fold(vectors, truth, members, ~are_suspects(first, truth), seed + 1)


def are_suspects(scores: Scores, truth: Truth) -> npt.NDArray[np.bool_]:
    """Whether another label is confident of each image: bool `[images]`.

    Args:
        scores: float `[images, labels]`, by others.
        truth: label indices, int64 `[images]`.
    """
    labels = scores.shape[1]
    usual = np.array([scores[truth == label, label].mean() for label in range(labels)])
    confident = np.where(scores >= usual, scores, -1)
    best = confident.argmax(axis=1)
    return np.asarray((confident.max(axis=1) >= 0) & (best != truth))


def _out_of_fold(
    vectors: npt.NDArray[np.float32],
    truth: Truth,
    members: npt.NDArray[np.int64],
    trusted: npt.NDArray[np.bool_],
    seed: int,
) -> Scores:
    from sklearn.model_selection import StratifiedGroupKFold

    scores = np.zeros((len(truth), int(truth.max()) + 1), np.float32)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for rest, test in folds.split(vectors, truth, members):
        learnt = rest[trusted[rest]]
        if len(np.unique(truth[learnt])) < scores.shape[1]:
            learnt = rest  # a label of few images, all of them suspects: they are all there is
        scores[test] = scores_by(vectors[learnt], truth[learnt], vectors[test], scores.shape[1])
    return scores


def scores_by(
    vectors: npt.NDArray[np.float32], truth: Truth, others: npt.NDArray[np.float32], labels: int
) -> Scores:
    """What a classifier of labelled images says of others: float32 `[others, labels]`.

    Args:
        vectors, others: bottlenecks, float32 `[images, feature_width]`.
        truth: label indices of the labelled ones, int64 `[images]`.
        labels: how many there are; one without an image has the score 0.
    """
    model = classifier(len(truth)).fit(vectors, truth)
    scores = np.zeros((len(others), labels), np.float32)
    scores[:, model[-1].classes_] = model.predict_proba(others)
    return scores


def classifier(images: int) -> Any:
    """A logistic regression to be fitted to the bottlenecks of so many images."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=_STRENGTH / images, max_iter=_ITERATIONS, tol=_TOLERANCE)
    return make_pipeline(StandardScaler(), regression)
