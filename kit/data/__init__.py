"""Labelled images: finding them, and deciding which part each belongs to."""

from kit.choices import PARTS
from kit.data.scan import Dataset, LabelledImage, scan_images, scan_unlabelled
from kit.data.sources import DataSettings, load_dataset
from kit.data.split import SplitSettings, split_dataset

__all__ = [
    "PARTS",
    "DataSettings",
    "Dataset",
    "LabelledImage",
    "SplitSettings",
    "load_dataset",
    "scan_images",
    "scan_unlabelled",
    "split_dataset",
]
