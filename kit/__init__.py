"""Retrain a MobileNet on a folder of photographs and run it on a small device."""

__version__ = "0.1.0"
