"""Keras models to quantised TensorFlow Lite files, and what is packaged with them."""

from converters.packaging import add_metadata
from converters.tflite import convert_model
from kit.model.model_file import append_files

__all__ = ["add_metadata", "append_files", "convert_model"]
