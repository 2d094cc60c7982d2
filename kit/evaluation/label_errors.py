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
TWICE, LABEL, DOUBT = "twice", "label", "doubt"
REASONS: Mapping[str, str] = {
    TWICE: "the very same image has another label, too",
    LABEL: "classifiers are confident of another label",
    DOUBT: "another label scores higher than its own",
}
"""Why a label is in doubt."""


def scores_by_others(
    vectors: npt.NDArray[np.float32],
    truth: Truth,
    members: npt.NDArray[np.int64],
    seed: int = 0,
    teach: npt.NDArray[np.bool_] | None = None,
) -> Scores:
    """What logistic regressions say of each image that saw neither it nor its group.

    Args:
        vectors: bottlenecks, float32 `[images, feature_width]`.
        truth: label indices, int64 `[images]`.
        members: number of each image's group, int64 `[images]`.
        seed: how the images are divided.
        teach: whether anything may learn from each image, bool `[images]`; None: from all.

    Returns:
        float32 `[images, labels]`; 0 for a label that nothing can be learnt about.

    Raises DataError where a label has images to learn from, but in too few groups.
    """
    teach = np.ones(len(truth), bool) if teach is None else teach
    labels = np.unique(truth[teach])
    fewest = min((len(np.unique(members[teach & (truth == label)])) for label in labels), default=0)
    if len(labels) < 2 or fewest < FOLDS:
        raise DataError(
            f"expected 2 labels or more, each with {FOLDS} images (or groups) at least, got "
            f"{len(labels)}, the smallest with {fewest}: add images"
        )
    first = _out_of_fold(vectors, truth, members, teach, teach, seed)
    trusted = teach & ~are_suspects(first, truth, teach)
    return _out_of_fold(vectors, truth, members, teach, trusted, seed + 1)


def are_suspects(
    scores: Scores, truth: Truth, teach: npt.NDArray[np.bool_] | None = None
) -> npt.NDArray[np.bool_]:
    """Whether another label is confident of each image: bool `[images]`.

    Args:
        scores: float `[images, labels]`, by others.
        truth: label indices, int64 `[images]`.
        teach: which images say what is usual, bool `[images]`; None: all.
    """
    teach = np.ones(len(truth), bool) if teach is None else teach
    own = [scores[teach & (truth == label), label] for label in range(scores.shape[1])]
    usual = np.array([values.mean() if len(values) else np.inf for values in own])
    confident = np.where(scores >= usual, scores, -1)
    best = confident.argmax(axis=1)
    return np.asarray((confident.max(axis=1) >= 0) & (best != truth))


def _out_of_fold(
    vectors: npt.NDArray[np.float32],
    truth: Truth,
    members: npt.NDArray[np.int64],
    teach: npt.NDArray[np.bool_],
    trusted: npt.NDArray[np.bool_],
    seed: int,
) -> Scores:
    from sklearn.model_selection import StratifiedGroupKFold

    scores = np.zeros((len(truth), int(truth.max()) + 1), np.float32)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    # Folds are even in what can be learnt from; the rest counts as whatever has most of it.
    strata = np.where(teach, truth, np.bincount(truth[teach]).argmax())
    for others, test in folds.split(vectors, strata, members):
        rest = others[teach[others]]
        learnt = rest[trusted[rest]]
        if len(np.unique(truth[learnt])) < len(np.unique(truth[rest])):
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
