"""TFLite Metadata into a flatbuffer.

As the TFLite Metadata documentation and metadata_schema.fbs 1.5.0 define it; field numbers are
that schema's. MediaPipe Tasks, ML Kit and the Task Library read the same.
"""

from __future__ import annotations

from converters.model_object import from_bytes, to_bytes, weighted_operators
from kit.errors import ConversionError
from kit.model.model_file import LABELS_NAME
from kit.model.spec import (
    ACTIVATION_MAP,
    SCORES,
    UNFAMILIARITY,
    ModelCard,
    PreprocessSpec,
    Screening,
)

_FLOAT32, _FLOAT16, _UINT8, _INT16, _INT8 = 0, 1, 3, 7, 9  # TensorType in schema.fbs
_QUANTIZATIONS = {  # by the type of a layer's input and of its weights
    (_FLOAT32, _FLOAT32): "float32",
    (_FLOAT32, _INT8): "dynamic",
    (_FLOAT32, _UINT8): "dynamic",
    (_UINT8, _UINT8): "int8",
    (_INT8, _INT8): "int8",
    (_INT16, _INT8): "int16x8",
}
_FURTHER_OUTPUTS = {
    UNFAMILIARITY: "how unlike the training images: 1 is typical, unknown is above ",
    ACTIVATION_MAP: "what each place adds to the logit of each label",
}
_OUTPUTS = {
    "scores": "after softmax, 0 to 1",
    "logits": "logits: a softmax makes scores of them",
    "probability": "probability of the second label, 0 to 1",
    "logit": "logit of the second label: a sigmoid makes a probability of it",
    "independent_scores": "a sigmoid for each label, 0 to 1",
}
_METADATA_NAME = b"TFLITE_METADATA"
_AXIS_LABELS = 2  # AssociatedFileType.TENSOR_AXIS_LABELS
_IMAGE_PROPERTIES = 2  # ContentProperties
_FEATURE_PROPERTIES = 1
_RGB, _GREYSCALE = 1, 2  # ColorSpaceType
_NORMALIZATION = 1  # ProcessUnitOptions
_SCORE_THRESHOLD = 3


def add_metadata(flatbuffer: bytes, card: ModelCard) -> bytes:
    """The model with TFLite Metadata that says its normalisation and where its labels are.

    Raises ConversionError where `flatbuffer` is no TensorFlow Lite model.
    """
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = from_bytes(flatbuffer)
    content = np.frombuffer(_metadata(card), np.uint8)
    for entry in model.metadata or []:
        if entry.name == _METADATA_NAME:
            model.buffers[entry.buffer].data = content
            return to_bytes(model)
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = content
    model.buffers.append(buffer)
    entry.name, entry.buffer = _METADATA_NAME, len(model.buffers) - 1
    model.metadata = [*(model.metadata or []), entry]
    return to_bytes(model)


def quantization_of(flatbuffer: bytes) -> str:
    """The quantisation mode of a model that others made, by the tensors of its layers.

    Raises ConversionError where it has no layer with weights, or a mixture that has no name.
    """
    model = from_bytes(flatbuffer)
    tensors = model.subgraphs[0].tensors
    if any(tensor.type == _FLOAT16 for tensor in tensors):
        return "float16"
    layers = weighted_operators(model)
    if not layers:
        raise ConversionError("expected layers with weights, the model has none")
    kinds = [tuple(tensors[index].type for index in layer.inputs[:2]) for layer in layers]
    modes = {_QUANTIZATIONS.get(kind, "") for kind in kinds}
    if modes == {"int8", "float32"} and kinds[-1] == (_FLOAT32, _FLOAT32):
        return "int8_float_head"
    if len(modes) == 2 and "dynamic" in modes and "float32" in modes:
        return "dynamic"  # the converter leaves small weights as they are
    mode = modes.pop() if len(modes) == 1 else ""
    if not mode:
        raise ConversionError(
            f"expected layers of one quantisation, got tensors of types {sorted(set(kinds))}"
        )
    return mode


class _Tables:
    """Tables of metadata_schema.fbs in a flatbuffer; the fields are given by their numbers."""

    def __init__(self) -> None:
        import flatbuffers

        self.builder = flatbuffers.Builder(1024)

    def table(self, *fields: tuple[int, str, int | float]) -> int:
        self.builder.StartObject(8)
        for number, kind, value in fields:
            if kind == "offset":
                self.builder.PrependUOffsetTRelativeSlot(number, value, 0)
            elif kind == "byte":
                self.builder.PrependUint8Slot(number, value, 0)
            elif kind == "real":
                self.builder.PrependFloat32Slot(number, value, 0.0)
        return int(self.builder.EndObject())

    def text(self, value: str) -> int:
        return int(self.builder.CreateString(value))

    def vector(self, *offsets: int) -> int:
        self.builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.builder.PrependUOffsetTRelative(offset)
        return int(self.builder.EndVector())

    def reals(self, values: tuple[float, ...]) -> int:
        self.builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.builder.PrependFloat32(value)
        return int(self.builder.EndVector())

    def union(self, kind: int, value: int) -> int:
        """A process unit or the properties of a content: which kind it is, and its table."""
        return self.table((0, "byte", kind), (1, "offset", value))


def _metadata(card: ModelCard) -> bytes:
    build = _Tables()
    table, text, vector = build.table, build.text, build.vector
    image = _image_table(build, card.preprocess)
    outputs = [_scores_table(build, card), *_further_tables(build, card.screening)]
    graph = table((2, "offset", vector(image)), (3, "offset", vector(*outputs)))
    width = "" if card.alpha is None else f" {card.alpha:g}"
    name = f"{card.backbone}{width} {card.preprocess.size} {card.quantization}"
    root = table(
        (0, "offset", text(name)),
        (1, "offset", text(f"Image classifier: {', '.join(card.labels[:20])}")),
        (2, "offset", text(card.created)),
        (3, "offset", vector(graph)),
        (7, "offset", text("1.0.0")),
    )
    build.builder.Finish(root, b"M001")
    return bytes(build.builder.Output())


def _image_table(build: _Tables, spec: PreprocessSpec) -> int:
    """TensorMetadata of the input, with its normalisation."""
    units = []
    if spec.mean is not None and spec.std is not None:
        means, stds = build.reals(spec.mean), build.reals(spec.std)
        options = build.table((0, "offset", means), (1, "offset", stds))
        units.append(build.union(_NORMALIZATION, options))
    colours = "RGB" if spec.channels == 3 else "grey"
    described = f"{colours}, {spec.size} pixels{' square' * spec.is_square()}, fit: {spec.fit}"
    colour_space = _GREYSCALE if spec.channels == 1 else _RGB
    return build.table(
        (0, "offset", build.text("image")),
        (1, "offset", build.text(described)),
        (3, "offset", build.union(_IMAGE_PROPERTIES, build.table((0, "byte", colour_space)))),
        (4, "offset", build.vector(*units)),
    )


def _scores_table(build: _Tables, card: ModelCard) -> int:
    """TensorMetadata of the scores, with the labels' file and the threshold."""
    labels = build.table(
        (0, "offset", build.text(LABELS_NAME)),
        (1, "offset", build.text("a label for each score")),
        (2, "byte", _AXIS_LABELS),
    )
    thresholds = []
    if card.score_threshold is not None:
        options = build.table((0, "real", card.score_threshold))
        thresholds.append(build.union(_SCORE_THRESHOLD, options))
    return build.table(
        (0, "offset", build.text(SCORES)),
        (1, "offset", build.text(_OUTPUTS[card.output_kind])),
        (3, "offset", build.union(_FEATURE_PROPERTIES, build.table())),
        (4, "offset", build.vector(*thresholds)),
        (6, "offset", build.vector(labels)),
    )


def _further_tables(build: _Tables, screening: Screening | None) -> list[int]:
    """TensorMetadata of a screening form's further outputs."""
    if screening is None:
        return []
    said = dict(_FURTHER_OUTPUTS)
    said[UNFAMILIARITY] += f"{screening.unfamiliarity_threshold:g}"
    if not screening.activation_map:
        del said[ACTIVATION_MAP]
    return [
        build.table(
            (0, "offset", build.text(name)),
            (1, "offset", build.text(description)),
            (3, "offset", build.union(_FEATURE_PROPERTIES, build.table())),
        )
        for name, description in said.items()
    ]
