"""The smallest models that name an operator: whether a runtime loads one shows if it has it."""

from ai_edge_litert import schema_py_generated as schema

from converters.model_object import from_bytes, to_bytes


def naming(code, version):
    """A .tflite flatbuffer whose only operator code is this one; no node uses it."""
    operator = schema.OperatorCodeT()
    operator.deprecatedBuiltinCode, operator.builtinCode = min(code, 127), code
    operator.version = version
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = b"x", [1], 0
    graph = schema.SubGraphT()
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor], [0], [0], []
    model = schema.ModelT()
    model.version, model.operatorCodes = 3, [operator]
    model.buffers, model.subgraphs = [schema.BufferT()], [graph]
    return to_bytes(model)


def patched(content, changes):
    """The model with other versions of operators: `{code: version}`."""
    model = from_bytes(content)
    for operator in model.operatorCodes:
        operator.version = changes.get(operator.builtinCode, operator.version)
    return to_bytes(model)
