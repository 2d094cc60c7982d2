"""How good a .tflite file is, by the runtime that ships."""

from kit.evaluation.evaluate import evaluate_model
from kit.evaluation.metrics import Accuracy, Agreement, Evaluation, Misclassified

__all__ = ["Accuracy", "Agreement", "Evaluation", "Misclassified", "evaluate_model"]
