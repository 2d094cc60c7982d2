"""Labelled images: finding them in folders, and deciding which part each belongs to."""

from kit.data.scan import Dataset, LabelledImage, scan_images
from kit.data.split import PARTS, SplitSettings, split_dataset

__all__ = [
    "PARTS",
    "Dataset",
    "LabelledImage",
    "SplitSettings",
    "scan_images",
    "split_dataset",
]
