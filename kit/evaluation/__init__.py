"""How good a .tflite file is, by the runtime that ships."""

from kit.evaluation.calibration import (
    Calibration,
    ReliabilityBin,
    fit_temperature,
    logits_of,
    reliability,
    scaled_head,
)
from kit.evaluation.evaluate import evaluate_model
from kit.evaluation.metrics import Accuracy, Agreement, Evaluation, Misclassified
from kit.evaluation.ranking import Auc, Ranking, RocCurve, rank_labels
from kit.evaluation.thresholds import (
    Operation,
    Targets,
    ThresholdFigures,
    choose_operating_point,
    threshold_table,
)
from kit.evaluation.unknown import UnknownFigures

__all__ = [
    "Accuracy",
    "Agreement",
    "Auc",
    "Calibration",
    "Evaluation",
    "Misclassified",
    "Operation",
    "Ranking",
    "ReliabilityBin",
    "RocCurve",
    "Targets",
    "ThresholdFigures",
    "UnknownFigures",
    "choose_operating_point",
    "evaluate_model",
    "fit_temperature",
    "logits_of",
    "rank_labels",
    "reliability",
    "scaled_head",
    "threshold_table",
]
