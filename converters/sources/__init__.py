"""What a model comes from: frozen graphs, SavedModels, Keras files, and label files beside them.

It stands on kit.model and kit.errors.
"""

from converters.sources.label_files import read_label_file
from converters.sources.read import read_source

__all__ = ["read_label_file", "read_source"]
