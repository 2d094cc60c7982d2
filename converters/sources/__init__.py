"""What a model comes from: frozen graphs, SavedModels, Keras files, and label files beside them.

It stands on kit.model and kit.errors.
"""

from converters.sources.read import read_source

__all__ = ["read_source"]
