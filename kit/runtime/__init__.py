"""All that a device needs: numpy, Pillow for image files, and one TensorFlow Lite interpreter.

from kit.runtime import Classifier

with Classifier.open("model_int8.tflite") as classifier:
    for category in classifier.classify("photo.jpg").categories:
        print(category.label, category.score)
"""

from kit.runtime.classifier import (
    Answer,
    Category,
    Classification,
    Classifier,
    Explanation,
    Failure,
)

__all__ = ["Answer", "Category", "Classification", "Classifier", "Explanation", "Failure"]
