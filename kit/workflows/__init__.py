"""What a command does, as one function that a notebook can call too.

Each stands on the packages below and prints nothing: a kit.reporting.Reporter is told of progress.
"""
