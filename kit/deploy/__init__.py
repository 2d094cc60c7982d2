"""A model file to the place where it runs, with the lines that start it there."""
