"""A packaged file: what stands in it, and how a photograph becomes its input.

PreprocessSpec and ModelCard (spec), their one implementation (preprocess), the `.tflite` file and
what is appended to it (model_file), a reader of its flatbuffer, and its multiply-adds (cost). The
package stands on kit.errors alone: the standard library, and numpy where pixels are computed.
"""

from typing import TYPE_CHECKING

from kit.lazy import exports

if TYPE_CHECKING:
    from kit.model.model_file import ModelFile as ModelFile
    from kit.model.model_file import read_model_file as read_model_file
    from kit.model.preprocess import fit_pixels as fit_pixels
    from kit.model.preprocess import to_input as to_input
    from kit.model.spec import ModelCard as ModelCard
    from kit.model.spec import PreprocessSpec as PreprocessSpec

__getattr__, __dir__, __all__ = exports(
    __name__,
    {
        "ModelCard": "kit.model.spec",
        "ModelFile": "kit.model.model_file",
        "PreprocessSpec": "kit.model.spec",
        "fit_pixels": "kit.model.preprocess",
        "read_model_file": "kit.model.model_file",
        "to_input": "kit.model.preprocess",
    },
)
