"""A model that others made in the form that every runtime takes: one image, one row of scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from converters.model_object import from_bytes, to_bytes
from kit.errors import InferenceError
from kit.quiet import quiet_native

if TYPE_CHECKING:
    from kit.runtime.interpreter import Runner


def in_plain_form(flatbuffer: bytes, runner: Runner) -> bytes:
    """The model with one output and the shapes of one image; its weights and operators stay.

    What it leaves open is fixed as the runner has it, a batch of another size becomes one image if
    its operators let it, and outputs besides the row are no outputs any more.

    Args:
        flatbuffer: the model.
        runner: of the same model.

    Raises InferenceError where the interpreter fails.
    """
    model = from_bytes(flatbuffer)
    graph = model.subgraphs[0]
    wanted = list(runner.input.shape)
    image = graph.tensors[graph.inputs[0]]
    if len(graph.outputs) == 1 and list(image.shape) == wanted and not _is_open(image):
        return flatbuffer
    for index, shape in _shapes(flatbuffer, wanted).items():
        if index < len(graph.tensors):
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


def _shapes(flatbuffer: bytes, wanted: list[int]) -> dict[int, list[int]]:
    """The shape of every tensor for an input of this shape, as the plain kernels find it."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        with quiet_native:
            interpreter = Interpreter(
                model_content=flatbuffer,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], wanted)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError, MemoryError) as error:
        raise InferenceError(f"expected a model that takes {wanted}, it fails: {error}") from error
    return {
        int(detail["index"]): [int(length) for length in detail["shape"]]
        for detail in interpreter.get_tensor_details()
    }
