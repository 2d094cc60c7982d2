"""Retrain a MobileNet on a folder of photographs and run it on a small device.

    import kit

    result = kit.train("photos/", "run/", kit.train_settings("best", alpha=0.25))
    with kit.Classifier.open(result.files["int8"]) as classifier:
        print(classifier.classify("rose.jpg").categories[0])

The names below are the public face; each is imported when it is first used. On a device, where
only numpy, Pillow and an interpreter are installed, `Classifier` is the one to use.
"""

from typing import TYPE_CHECKING

from kit.lazy import exports

if TYPE_CHECKING:
    from kit.data.check import check_images as check_images
    from kit.data.sources import load_dataset as load_dataset
    from kit.errors import KitError as KitError
    from kit.evaluation.evaluate import evaluate_model as evaluate_model
    from kit.export.exported import Gates as Gates
    from kit.runtime.classifier import Classifier as Classifier
    from kit.workflows.convert import ConvertSettings as ConvertSettings
    from kit.workflows.convert import convert as convert
    from kit.workflows.cross_validate import cross_validate as cross_validate
    from kit.workflows.describe import describe_model as describe_model
    from kit.workflows.options import train_settings as train_settings
    from kit.workflows.package import PackageSettings as PackageSettings
    from kit.workflows.package import package_model as package_model
    from kit.workflows.train import train as train
    from kit.workflows.train_settings import TrainSettings as TrainSettings

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "Classifier": "kit.runtime.classifier",
        "ConvertSettings": "kit.workflows.convert",
        "Gates": "kit.export.exported",
        "KitError": "kit.errors",
        "PackageSettings": "kit.workflows.package",
        "TrainSettings": "kit.workflows.train_settings",
        "check_images": "kit.data.check",
        "convert": "kit.workflows.convert",
        "cross_validate": "kit.workflows.cross_validate",
        "describe_model": "kit.workflows.describe",
        "evaluate_model": "kit.evaluation.evaluate",
        "load_dataset": "kit.data.sources",
        "package_model": "kit.workflows.package",
        "train": "kit.workflows.train",
        "train_settings": "kit.workflows.options",
    },
)
