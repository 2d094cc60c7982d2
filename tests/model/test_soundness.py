"""Files without a card: what would end an interpreter is a sentence before."""

import zipfile

import numpy as np
import pytest

from kit.errors import ModelFileError
from kit.model.model_file import digest_of, read_model_file, with_card_fields
from kit.runtime import Classifier

schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="needs the extra train")

from converters.model_object import from_bytes, to_bytes  # noqa: E402

PLAIN = ("plain_float32.tflite", "plain_int8.tflite", "plain_uint8.tflite")


def changed(data, change, name="plain_float32.tflite"):
    model = from_bytes((data / name).read_bytes())
    change(model, model.subgraphs[0])
    return to_bytes(model)


def code_of(model, operator):
    return model.operatorCodes[operator.opcodeIndex].builtinCode


def convolution(model, graph):
    return next(
        op for op in graph.operators if code_of(model, op) == schema.BuiltinOperator.CONV_2D
    )


def constant(model, graph):
    """A tensor with weights."""
    return next(t for t in graph.tensors if model.buffers[t.buffer].data is not None)


def shorter_weights(model, graph):
    buffer = model.buffers[constant(model, graph).buffer]
    buffer.data = buffer.data[:-4]


def larger_shape(model, graph):
    tensor = constant(model, graph)
    tensor.shape = np.array([*tensor.shape[:-1], tensor.shape[-1] + 1], np.int32)


def huge_shape(model, graph):
    graph.tensors[graph.outputs[0]].shape = np.array([1 << 20, 1 << 10], np.int32)


def negative_shape(model, graph):
    graph.tensors[graph.inputs[0]].shape = np.array([1, -16, -16, 3], np.int32)


def no_stride(model, graph):
    convolution(model, graph).builtinOptions.strideW = 0


def other_options(model, graph):
    operator = convolution(model, graph)
    operator.builtinOptions = schema.SoftmaxOptionsT()
    operator.builtinOptionsType = schema.BuiltinOptions.SoftmaxOptions


def tensor_beyond(model, graph):
    operator = convolution(model, graph)
    operator.inputs = [operator.inputs[0], 99]


def operator_beyond(model, graph):
    convolution(model, graph).opcodeIndex = 99


def wrong_order(model, graph):
    graph.operators.reverse()


def fewer_inputs(model, graph):
    operator = convolution(model, graph)
    operator.inputs = operator.inputs[:1]


def writes_to_weights(model, graph):
    operator = convolution(model, graph)
    operator.outputs = [operator.inputs[1]]


def output_of_nothing(model, graph):
    graph.tensors.append(schema.TensorT())
    graph.tensors[-1].shape, graph.tensors[-1].name = np.array([1, 3], np.int32), b"nothing"
    graph.outputs = [len(graph.tensors) - 1]


def buffer_beyond(model, graph):
    constant(model, graph).buffer = 99


def unknown_type(model, graph):
    constant(model, graph).type = 77


CHANGES = {
    shorter_weights: r"expected \d+ bytes for tensor \d+",
    larger_shape: r"expected \d+ bytes for tensor \d+",
    huge_shape: "tensors of a sensible shape",
    negative_shape: "tensors of a sensible shape",
    no_stride: "strides and filters above 0, got",
    other_options: "operators with options of their kind",
    tensor_beyond: r"expected tensors 0 to \d+, got",
    operator_beyond: r"expected operators among \d+",
    wrong_order: "operators in the order of their values",
    fewer_inputs: "operators with all their inputs",
    writes_to_weights: "operators that write to tensors of their own",
    output_of_nothing: "expected outputs that are computed",
    buffer_beyond: r"expected tensors in \d+ buffers",
    unknown_type: "expected tensors of known types",
}


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_is_not_sound(data, tmp_path, change):
    path = tmp_path / "model.tflite"
    path.write_bytes(changed(data, change))
    with pytest.raises(ModelFileError, match=CHANGES[change]) as raised:
        Classifier.open(path, labels=("a", "b", "c"), mean=(0.0,), std=(1.0,))
    assert str(raised.value).startswith(f"{path}: expected")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", [*PLAIN, "any_size.tflite", "three_inputs.tflite"])
def test_sound_files_pass(data, name):
    read_model_file(data / name)


def test_models_of_others_pass(shared):
    for path in sorted((shared / "models").glob("*/*.tflite")):
        assert read_model_file(path).size_bytes


# ---------------------------------------------------------------- the digest


@pytest.fixture
def signed(data, tmp_path):
    """As a kit of today makes it."""
    content = (data / "red_green_blue_int8.tflite").read_bytes()
    with zipfile.ZipFile(data / "red_green_blue_int8.tflite") as archive:
        end = min(info.header_offset for info in archive.infolist())
    path = tmp_path / "signed.tflite"
    path.write_bytes(with_card_fields(content, {"model_sha256": digest_of(content, end)}))
    return path, end


def test_every_changed_byte_of_the_model_is_told(signed):
    path, end = signed
    content = path.read_bytes()
    Classifier.open(path).close()
    for position in range(end):
        changed = bytearray(content)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        with pytest.raises(ModelFileError) as raised:
            read_model_file(path)
        assert "\n" not in str(raised.value)


def test_every_changed_byte_of_labels_and_card_is_told(signed):
    path, _ = signed
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        for info in infos:
            start = content.index(archive.read(info), info.header_offset)
            for position in range(start, start + info.file_size, 7):
                changed = bytearray(content)
                changed[position] ^= 0x01
                path.write_bytes(changed)
                with pytest.raises(ModelFileError, match="damaged one: Bad CRC-32"):
                    read_model_file(path)


def test_a_card_that_is_not_in_the_directory(signed):
    path, _ = signed
    content = bytearray(path.read_bytes())
    last = content.rindex(b"kit.json")
    content[last : last + 8] = b"kit.jsom"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=r"expected kit\.json in the directory|damaged"):
        read_model_file(path)


def test_hints_leave_the_digest_as_it_is(signed):
    from kit.device.benchmark import write_hints
    from kit.model.spec import ThreadHint

    path, _ = signed
    before = read_model_file(path).card.model_sha256
    write_hints(path, [ThreadHint("x", "ai_edge_litert", 2, 1.5)])
    card = read_model_file(path).card
    assert (card.model_sha256, card.hints.threads[0].num_threads) == (before, 2)
