"""What a packaged model can be written as: the file itself, C source, ONNX.

It stands on kit.model, and on kit.runtime to compare what it writes.
"""

from converters.targets.table import TARGETS, Target

__all__ = ["TARGETS", "Target"]
