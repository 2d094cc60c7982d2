"""Every exception that the kit raises on purpose.

KitError
├── DataError               the labelled images: folders, labels, splits
├── ImageError              one image that cannot be read
├── CameraError             a camera that is missing or gives no frames
├── SpecError               a PreprocessSpec or ModelCard with wrong or missing fields
├── ModelFileError          a .tflite file, or what is appended to it
├── LabelFileError          a file of labels that cannot be read or contradicts itself
├── InferenceError          the interpreter refuses or fails to run a model
├── WeightsError            pretrained weights that cannot be had or do not fit
├── TrainingError           training cannot start, or its result is refused
├── ConversionError         a model that cannot be converted or packaged
├── AccuracyError           a converted model below what was asked for
├── DeploymentError         a folder for a device that cannot be made
├── OutputExistsError       an output that is in the way
└── MissingDependencyError  a package that an extra brings

An ImageWarning is no error: the image was read, and the warning says how.

Wrong arguments to a function stay ValueError. A message says in one line what was expected, what
arrived, and what to do about it.
"""

import errno


class KitError(Exception):
    """Base class: catch this to catch everything that the kit reports about its input."""


class DataError(KitError):
    """The labelled images cannot be used as they are."""


class ImageError(KitError):
    """An image cannot be read; the message names no path, the caller knows it."""


class ImageWarning(UserWarning):
    """An image was read, but not all that its file says could be followed."""


class CameraError(KitError):
    """There is no camera, nothing to read it with, or it gives no frames."""


class SpecError(KitError):
    """A PreprocessSpec or ModelCard has wrong or missing fields."""


class ModelFileError(KitError):
    """A .tflite file, or what is appended to it, is damaged or does not fit together."""


class LabelFileError(KitError):
    """A file of labels cannot be read, or does not say one label for each score."""


class InferenceError(KitError):
    """The interpreter refuses a model, or fails while it runs it."""


class WeightsError(KitError):
    """Pretrained weights are missing, damaged or of another network."""


class TrainingError(KitError):
    """Training cannot start, or what it gave is refused."""


class ConversionError(KitError):
    """A model cannot be converted, or the result cannot be packaged."""


class AccuracyError(KitError):
    """A converted model is less accurate than was asked for; nothing was kept."""


class DeploymentError(KitError):
    """What a device needs cannot be put together for it."""


class OutputExistsError(KitError):
    """The output exists and overwriting was not asked for."""


class MissingDependencyError(KitError):
    """A package is missing; the message has the line that installs it."""


def one_line(error: BaseException) -> str:
    """What an exception says, in one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def in_words(error: BaseException) -> str:
    """The same for a command's user, with what to do about a full disk."""
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}expected room on the disk, it is full: make room and run again"
    return one_line(error)
