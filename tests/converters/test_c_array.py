"""Models as C source, and TensorFlow Lite Micro's own interpreter."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from environments import install, new_environment, without_pythonpath
from training_fixtures import package

from converters.extra_outputs import label_weights, with_screening_outputs
from converters.familiarity import Familiarity
from converters.model_object import from_bytes, to_bytes
from converters.targets.c_array import arena_bytes, c_sources, micro_operators, planned_bytes
from kit.errors import ConversionError, ModelFileError
from kit.model.model_file import read_model_file, with_card_fields
from kit.model.preprocess import to_input
from kit.model.spec import Screening
from kit.runtime import Classifier
from kit.runtime.interpreter import Runner

MICRO_PACKAGE = "tflite-micro==0.dev20261023182759"
NEEDED_ARENA = {  # bytes, measured by that package; a slow test measures two of them again
    "plain_float32": 7680,
    "plain_int8": 3136,
    "plain_uint8": 3376,
    "red_green_blue_float32": 7680,
    "red_green_blue_int8": 3344,
}
LABELS = ('say "roses" \\n', "??= ??/ %d */ é1", "玫瑰\x07F \N{TULIP}9")


def source_of(sources, name="model"):
    return sources[f"{name}.h"], sources[f"{name}.c"]


def array_of(sources, name="model"):
    """The bytes of the C array, read as text."""
    numbers = re.search(rf"{name}_data\[\] = {{(.*?)}}", sources[f"{name}.c"], re.DOTALL)[1]
    return bytes(int(number) for number in numbers.split(",") if number.strip())


def macros_of(header):
    return dict(re.findall(r"^#define MODEL_(\w+) (.*)$", header, re.MULTILINE))


def edited(content, change):
    """The model after `change` was at its flatbuffer, as objects."""
    from ai_edge_litert import schema_py_generated as schema

    model = from_bytes(content)
    change(model, schema)
    return to_bytes(model)


@pytest.fixture(scope="module")
def awkward(data):
    """A packaged model with labels that C source may get wrong."""
    path = data / "red_green_blue_int8.tflite"
    return package(path.read_bytes(), replace(read_model_file(path).card, labels=LABELS))


# ---------------------------------------------------------------- what is written


@pytest.mark.parametrize("name", NEEDED_ARENA)
def test_the_array_is_the_model_without_what_the_interpreter_leaves(data, name):
    content = (data / f"{name}.tflite").read_bytes()
    array = array_of(c_sources(content))
    assert len(array) < len(content)
    assert b"kit.json" not in array
    assert b"METADATA" not in array
    whole, bare = Runner(content), Runner(array)
    assert (whole.input, whole.output) == (bare.input, bare.output)
    pixels = np.random.default_rng(1).integers(0, 128, (16, 16, 3)).astype(whole.input.dtype)
    assert np.array_equal(whole.run(pixels), bare.run(pixels))


def test_what_the_header_says(data):
    macros = macros_of(c_sources((data / "red_green_blue_int8.tflite").read_bytes())["model.h"])
    assert macros["INPUT_RESOLUTION"] == "16"
    assert macros["INPUT_TYPE"] == "uint8_t"
    assert float(macros["INPUT_SCALE"].rstrip("f")) == np.float32(2 / 255)
    assert macros["INPUT_ZERO_POINT"] == "127"
    assert macros["MEAN"] == macros["STD"] == "{127.5f, 127.5f, 127.5f}"
    assert (macros["OUTPUT_TYPE"], macros["OUTPUT_COUNT"]) == ("float", "3")
    assert (macros["LABEL_COUNT"], macros["OPERATOR_COUNT"]) == ("3", "6")


@pytest.mark.parametrize(
    ("name", "said", "normalised"),
    [
        ("red_green_blue_float32", "x = (pixel - MEAN) / STD of its channel.", True),
        ("red_green_blue_int8", "round(x / INPUT_SCALE) + INPUT_ZERO_POINT, clamped.", True),
        ("plain_float32", "does not say how pixels become inputs", False),
        ("plain_uint8", "the pixel, 0 to 255, as it is.", False),
        ("plain_int8", "the pixel minus 128.", False),
    ],
)
def test_how_pixels_become_inputs(data, name, said, normalised):
    header = c_sources((data / f"{name}.tflite").read_bytes())["model.h"]
    assert said in header
    assert {"MEAN", "STD"} <= macros_of(header).keys() or not normalised


def test_pixels_of_the_kits_own_scale_go_in_as_they_are(data):
    path = data / "red_green_blue_int8.tflite"
    card = read_model_file(path).card
    spec = replace(card.preprocess, mean=(128.0,) * 3, std=(128.0,) * 3)

    def exact(model, _):
        image = model.subgraphs[0].tensors[model.subgraphs[0].inputs[0]]
        image.quantization.scale, image.quantization.zeroPoint = [1 / 128], [128]

    content = package(edited(path.read_bytes(), exact), replace(card, preprocess=spec))
    header = c_sources(content)["model.h"]
    assert "fit stretch, resize bilinear" in header
    assert "the pixel, 0 to 255, as it is." in header
    assert "MEAN" not in macros_of(header)


def test_the_operating_point(data):
    content = (data / "red_green_blue_int8.tflite").read_bytes()
    assert "POSITIVE" not in c_sources(content)["model.h"]
    point = {"positive": "blue", "negative_below": 0.25, "positive_from": 0.75}
    header = c_sources(with_card_fields(content, {"operating_point": point}))["model.h"]
    macros = macros_of(header)
    assert macros["POSITIVE_INDEX"] == "2"
    assert (macros["NEGATIVE_BELOW"], macros["POSITIVE_FROM"]) == ("0.25f", "0.75f")
    assert "below SCORE_THRESHOLD it is no answer.\n * By the score of label POSITIVE_I" in header


def test_a_model_without_labels(data):
    header, source = source_of(c_sources((data / "plain_int8.tflite").read_bytes()))
    assert macros_of(header)["LABEL_COUNT"] == "0"
    assert "labels" not in header + source


def test_the_same_model_gives_the_same_text(awkward):
    assert c_sources(awkward) == c_sources(awkward)


# ---------------------------------------------------------------- operators and types


def test_operators_to_register(data):
    content = (data / "red_green_blue_int8.tflite").read_bytes()
    expected = ("Conv2D", "Dequantize", "FullyConnected", "Mean", "Quantize", "Softmax")
    assert micro_operators(content) == expected
    header = c_sources(content, "flowers")["flowers.h"]
    assert [f"(resolver).Add{name}();" in header for name in expected] == [True] * 6
    assert "#define FLOWERS_OPERATOR_COUNT 6\n" in header


@pytest.mark.parametrize("name", ["GELU", "RELU_0_TO_1", "PADV2", "AVERAGE_POOL_2D"])
def test_an_operator_by_its_name(data, name):
    def other(model, schema):
        for code in model.operatorCodes:
            if code.builtinCode == schema.BuiltinOperator.SOFTMAX:
                code.builtinCode = getattr(schema.BuiltinOperator, name)
                code.deprecatedBuiltinCode = min(code.builtinCode, 127)

    content = edited((data / "plain_int8.tflite").read_bytes(), other)
    micro_names = {"PADV2": "PadV2", "AVERAGE_POOL_2D": "AveragePool2D"}
    if name in micro_names:
        assert micro_names[name] in micro_operators(content)
        return
    with pytest.raises(ConversionError, match=f"got {name}: choose") as raised:
        c_sources(content)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("image", "weights"), [("UINT8", "UINT8"), ("FLOAT32", "INT8"), ("FLOAT32", "FLOAT16")]
)
def test_types_without_a_kernel(data, image, weights):
    def other(model, schema):
        graph = model.subgraphs[0]
        codes = [code.builtinCode for code in model.operatorCodes]
        for operator in graph.operators:
            if codes[operator.opcodeIndex] == schema.BuiltinOperator.CONV_2D:
                for index, kind in zip(operator.inputs, (image, weights), strict=False):
                    tensor = graph.tensors[index]
                    tensor.type = getattr(schema.TensorType, kind)
                    if kind == "FLOAT16":  # two bytes each
                        wide = schema.BufferT()
                        wide.data = np.repeat(model.buffers[tensor.buffer].data, 2)
                        model.buffers.append(wide)
                        tensor.buffer = len(model.buffers) - 1

    content = edited((data / "plain_int8.tflite").read_bytes(), other)
    with pytest.raises(ConversionError, match=f"got CONV_2D of {image} and {weights}: convert"):
        c_sources(content)


@pytest.mark.parametrize("name", ["", "my-model", "2nd", "_model", "rosé", "model\n"])
def test_a_name_that_c_does_not_have(data, name):
    with pytest.raises(ConversionError, match="expected a name of letters, digits and _"):
        c_sources((data / "plain_int8.tflite").read_bytes(), name)


def test_a_model_that_is_none(data, repackage):
    with pytest.raises(ModelFileError, match=r"^expected a \.tflite model") as raised:
        c_sources(b"no flatbuffer at all")
    assert "/" not in str(raised.value)  # where it was read from is nobody's business
    for reader in (arena_bytes, micro_operators):
        with pytest.raises(ConversionError, match="expected a TensorFlow Lite flatbuffer"):
            reader(b"no flatbuffer at all")
    with pytest.raises(ModelFileError, match="one input and one output"):
        c_sources((data / "three_inputs.tflite").read_bytes())
    two = repackage("red_green_blue_int8.tflite", {"labels.txt": b"a\nb\n", "kit.json": None})
    with pytest.raises(ModelFileError, match="expected 3 labels, one for each score, got 2"):
        c_sources(two.read_bytes())


def test_a_screening_form(data):
    content = (data / "red_green_blue_int8.tflite").read_bytes()
    width = label_weights(content).shape[1]
    known = Familiarity.of(np.random.default_rng(1).normal(2, 1, (60, width)).astype(np.float32))
    card = read_model_file(data / "red_green_blue_int8.tflite").card
    form = package(
        with_screening_outputs(content, known), replace(card, screening=Screening(1.0, True))
    )
    with pytest.raises(ConversionError, match=r"got a screening form, .*: take the plain file"):
        c_sources(form)


# ---------------------------------------------------------------- memory


def test_buffers_that_are_in_use_at_once_lie_apart():
    # Image, quantised image, three layers: the largest first, each as low as it can be.
    sizes = (150528, 150528, 100352, 100352, 200704)
    assert planned_bytes([(size, step, step + 1) for step, size in enumerate(sizes)]) == 401408
    assert planned_bytes([(32, 0, 0), (32, 1, 1)]) == 32
    assert planned_bytes([(32, 0, 1), (32, 1, 1)]) == 64
    assert planned_bytes([(1, 0, 0), (1, 0, 0)]) == 32  # in steps of 16
    assert planned_bytes([(48, 0, 2), (32, 0, 0), (16, 0, 2), (32, 1, 2)]) == 96  # into a gap


@pytest.mark.parametrize("name", NEEDED_ARENA)
def test_the_bound_on_the_arena(data, name):
    bound = arena_bytes((data / f"{name}.tflite").read_bytes())
    assert NEEDED_ARENA[name] <= bound <= 1.5 * NEEDED_ARENA[name]
    assert bound % 16 == 0


# ---------------------------------------------------------------- compiled

MAIN = """
#include <cstdio_or_stdio>
#include "model.h"

RESOLVER

int main(void) {
  const MODEL_INPUT_TYPE pixel = (MODEL_INPUT_TYPE)255;
  const float mean[] = MODEL_MEAN, std[] = MODEL_STD;
  unsigned long checksum = 0;
  unsigned int i;
  for (i = 0; i < model_data_len; ++i) checksum = (checksum * 31 + model_data[i]) % 1000003;
  printf("%u %lu %d\\n", model_data_len, checksum, (int)((unsigned long long)model_data % 16));
  for (i = 0; i < MODEL_LABEL_COUNT; ++i) {
    const char* c;
    for (c = model_labels[i]; *c; ++c) printf("%02x", (unsigned)(unsigned char)*c);
    printf("\\n");
  }
  printf("%d %.9g %d %d %.9g %.9g\\n", MODEL_INPUT_RESOLUTION, (double)MODEL_INPUT_SCALE,
         MODEL_INPUT_ZERO_POINT, (int)pixel, (double)mean[0], (double)std[2]);
  printf("%d %.9g %d\\n", MODEL_OUTPUT_COUNT, (double)MODEL_OUTPUT_SCALE, MODEL_OUTPUT_ZERO_POINT);
  printf("%d %d\\n", MODEL_ARENA_BYTES, MODEL_OPERATOR_COUNT);
  REGISTER
  return 0;
}
"""
C_FLAGS = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic")
CXX_FLAGS = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-pedantic")


@pytest.mark.parametrize("language", ["C", "C++"])
def test_firmware_reads_what_python_wrote(awkward, language, tmp_path):
    for compiler in ("gcc", "g++"):
        if shutil.which(compiler) is None:
            pytest.skip(f"there is no {compiler}")
    sources = c_sources(awkward)
    operators = micro_operators(awkward)
    for name, text in sources.items():
        (tmp_path / name).write_text(text, "utf-8")
    methods = "".join(f'void Add{name}() {{ std::puts("{name}"); }} ' for name in operators)
    text = MAIN
    for word, c, cxx in (
        ("cstdio_or_stdio", "stdio.h", "cstdio"),
        ("RESOLVER", "", f"struct Resolver {{ {methods}}};"),
        ("REGISTER", "", "Resolver resolver; MODEL_ADD_OPERATORS(resolver);"),
    ):
        text = text.replace(word, c if language == "C" else cxx)
    main = tmp_path / ("main.c" if language == "C" else "main.cpp")
    main.write_text(text, "utf-8")
    command = ("gcc", *C_FLAGS) if language == "C" else ("g++", *CXX_FLAGS)
    for tool in (
        ("gcc", *C_FLAGS, "-c", "model.c", "-o", "model.o"),
        (*command, "-c", main.name, "-o", "main.o"),
        (command[0], "model.o", "main.o", "-o", "main"),
    ):
        done = subprocess.run(tool, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    printed = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True)
    lines = printed.stdout.splitlines()

    array = array_of(sources)
    checksum = 0
    for byte in array:
        checksum = (checksum * 31 + byte) % 1000003
    assert lines[0] == f"{len(array)} {checksum} 0"
    assert tuple(bytes.fromhex(line).decode() for line in lines[1:4]) == LABELS
    assert lines[4] == f"16 {np.float32(2 / 255):.9g} 127 255 127.5 127.5"
    assert lines[5] == "3 1 0"
    assert lines[6] == f"{arena_bytes(awkward)} {len(operators)}"
    assert lines[7:] == (list(operators) if language == "C++" else [])


# ---------------------------------------------------------------- TensorFlow Lite Micro itself

RUN_MICRO = """
import sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime
model, images, arena, scores = sys.argv[1:]
interpreter = runtime.Interpreter.from_file(model, arena_size=int(arena))
rows = []
for image in np.load(images):
    interpreter.set_input(image[None], 0)
    interpreter.invoke()
    rows.append(interpreter.get_output(0)[0])
np.save(scores, rows)
interpreter.print_allocations()
"""


@pytest.fixture(scope="module")
def micro(tmp_path_factory):
    """Python that runs TensorFlow Lite Micro: scores, and the arena that it needed, in bytes."""
    folder = tmp_path_factory.mktemp("micro")
    python = new_environment(folder / "env")
    missing = install(python, MICRO_PACKAGE)
    if missing:
        pytest.skip(f"pip cannot install {MICRO_PACKAGE}: {missing}")

    def run(array, images, arena):
        (folder / "model.tflite").write_bytes(array)
        np.save(folder / "images.npy", images)
        files = [folder / "model.tflite", folder / "images.npy", str(arena), folder / "scores.npy"]
        done = subprocess.run(
            [python, "-c", RUN_MICRO, *files],
            capture_output=True,
            text=True,
            env=without_pythonpath(),
        )
        assert done.returncode == 0, done.stderr
        needed = int(re.search(r"Arena allocation total (\d+)", done.stderr)[1])
        return np.load(folder / "scores.npy"), needed

    return run


def check_in_micro(micro, path, pixels):
    """The array runs in an arena of the bound and answers as the file does; returns the need."""
    content = path.read_bytes()
    array, bound = array_of(c_sources(content)), arena_bytes(content)
    with Classifier.open(path) as classifier:
        spec = classifier.preprocess
    # XNNPACK rounds elsewhere; without it TensorFlow Lite's kernels compute the same.
    runner = Runner(content, plain_kernels=True)
    dtype, quantization = runner.input.dtype, runner.input.quantization
    images = np.stack([to_input(image, spec, dtype, quantization) for image in pixels])
    expected = np.stack([runner.run(image) for image in images])
    found, needed = micro(array, images, bound)
    difference = np.abs(found - expected).max()
    print(f"{path.name} at {spec.input_resolution} pixels: array of {len(array)} bytes,")
    print(f"arena of {needed}, bound {bound}; largest difference {difference:.6f}, N={len(pixels)}")
    assert needed <= bound <= 1.5 * needed
    assert difference <= 2 / 256
    clear = np.sort(expected)[:, -1] - np.sort(expected)[:, -2] > 4 / 256
    assert clear.any()
    assert np.array_equal(found.argmax(axis=1)[clear], expected.argmax(axis=1)[clear])
    return needed


@pytest.mark.slow
@pytest.mark.parametrize("name", ["red_green_blue_float32", "red_green_blue_int8"])
def test_small_models_in_micro(micro, data, name):
    random = np.random.default_rng(4)
    pixels = random.integers(0, random.integers(1, 256, (20, 1, 1, 3)), (20, 16, 16, 3))
    path = data / f"{name}.tflite"
    needed = check_in_micro(micro, path, pixels.astype(np.uint8))
    assert needed == NEEDED_ARENA[name]


@pytest.mark.slow
@pytest.mark.tf
@pytest.mark.parametrize("side", [96, 128])
def test_a_mobilenet_in_micro(micro, shared, tmp_path, monkeypatch, side):
    from kit.runtime.images import read_image
    from kit.training.fitting import FitSettings
    from kit.workflows.demo import draw_images
    from kit.workflows.train import TrainSettings, train

    monkeypatch.setenv("KIT_WEIGHTS_DIR", str(shared / "weights"))
    draw_images(tmp_path / "photos", 40, seed=3)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=side,
        quantize=("int8", "int16x8"),
        fitting=FitSettings(epochs=5),
        representative_images=30,
    )
    result = train(tmp_path / "photos", tmp_path / "run", settings, cache=tmp_path / "cache")
    images = sorted((tmp_path / "photos").glob("*/*"))[::3]
    pixels = [read_image(image, side) for image in images]
    for path in result.files.values():
        check_in_micro(micro, path, pixels)
