"""Keras models to quantised TensorFlow Lite files, and what is packaged with them."""

from converters.packaging import add_metadata, append_files
from converters.tflite import convert_model

__all__ = ["add_metadata", "append_files", "convert_model"]
