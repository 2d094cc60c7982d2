"""A model that others made in the form that every runtime takes: one image, one row of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.model_object import from_bytes, to_bytes

if TYPE_CHECKING:
    from kit.runtime.interpreter import Runner


def in_plain_form(flatbuffer: bytes, runner: Runner) -> bytes:
    """The model with one output and the shapes of one image; its weights and operators stay.

    What it leaves open is fixed as the runner has it, a batch of another size becomes one image if
    its operators let it, and outputs besides the row are no outputs any more.

    Args:
        flatbuffer: the model.
        runner: of the same model, with plain kernels.
    """
    model = from_bytes(flatbuffer)
    graph = model.subgraphs[0]
    image = graph.tensors[graph.inputs[0]]
    is_plain = list(image.shape) == list(runner.input.shape) and not _is_open(image)
    if is_plain and len(graph.outputs) == 1:
        return flatbuffer
    for index, shape in runner.tensor_shapes().items():
        if index < len(graph.tensors):  # kernels add their own behind
            tensor = graph.tensors[index]
            tensor.shape, tensor.shapeSignature = shape, None
    graph.outputs = [runner.output_index]
    for signature in model.signatureDefs or []:
        signature.outputs = [
            entry for entry in signature.outputs if entry.tensorIndex == runner.output_index
        ]
    return to_bytes(model)


def _is_open(tensor: object) -> bool:
    signature = getattr(tensor, "shapeSignature", None)
    return signature is not None and any(length < 0 for length in signature)
