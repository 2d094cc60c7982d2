"""What a model comes from: frozen graphs, SavedModels, Keras files, and label files beside them."""
