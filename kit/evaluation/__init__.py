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
from kit.evaluation.monitoring import Monitored, monitor
from kit.evaluation.on_site import Adjusted, adjust_on_site
from kit.evaluation.ranking import Auc, Ranking, RocCurve, rank_labels
from kit.evaluation.subgroups import Gap, Subgroup, compare_subgroups
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
    "Adjusted",
    "Agreement",
    "Auc",
    "Calibration",
    "Evaluation",
    "Gap",
    "Misclassified",
    "Monitored",
    "Operation",
    "Ranking",
    "ReliabilityBin",
    "RocCurve",
    "Subgroup",
    "Targets",
    "ThresholdFigures",
    "UnknownFigures",
    "adjust_on_site",
    "choose_operating_point",
    "compare_subgroups",
    "evaluate_model",
    "fit_temperature",
    "logits_of",
    "monitor",
    "rank_labels",
    "reliability",
    "scaled_head",
    "threshold_table",
]
