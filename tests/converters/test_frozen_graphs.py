"""Frozen TensorFlow 1 graphs: what is found in them, what they answer, what is refused.

Expected scores come from a tf.compat.v1 Session on the graph as it was written.
"""

import shutil

import numpy as np
import pytest
from drawing import coloured
from PIL import Image
from typer.testing import CliRunner

from converters.sources.read import read_source
from converters.sources.source import SourceOptions
from kit.cli.app import app
from kit.errors import ConversionError
from kit.runtime import Classifier
from kit.workflows.convert import ConvertSettings, convert

pytestmark = pytest.mark.tf

SIDE = 32
ONES = (127.5, 127.5, 127.5)
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


# ---------------------------------------------------------------- graphs to read


def constant(random, *shape, scale=0.3):
    import tensorflow as tf

    return tf.constant(random.normal(0, scale, shape).astype(np.float32))


def logits_of(image, classes=3, normalise=None, seed=1):
    """Convolution, depthwise convolution, pooling, dense layer: answers that depend on colours."""
    import tensorflow as tf

    random = np.random.default_rng(seed)
    x = tf.nn.conv2d(image, constant(random, 3, 3, 3, 8, scale=0.5), 2, "SAME")
    if normalise is not None:
        x = normalise(x, random)
    x = tf.nn.relu6(tf.nn.bias_add(x, constant(random, 8)))
    x = tf.nn.depthwise_conv2d(x, constant(random, 3, 3, 8, 1, scale=0.6), [1, 1, 1, 1], "SAME")
    x = tf.compat.v1.nn.avg_pool(tf.nn.relu(x), [1, 8, 8, 1], [1, 8, 8, 1], "VALID")
    x = tf.reshape(x, [-1, 2 * 2 * 8])
    return tf.add(tf.matmul(x, constant(random, 32, classes, scale=0.6)), constant(random, classes))


def final(image, **options):
    import tensorflow as tf

    return tf.nn.softmax(logits_of(image, **options), name="final_result")


def placeholder(name="input", shape=(1, SIDE, SIDE, 3), dtype="float32"):
    import tensorflow as tf

    return tf.compat.v1.placeholder(dtype, shape, name)


def graph_of(build):
    import tensorflow as tf

    with tf.Graph().as_default() as graph:
        build()
        return graph.as_graph_def()


def session_scores(graph, feeds, output="final_result:0"):
    """What TensorFlow 1 answers, one feed at a time."""
    import tensorflow as tf

    with tf.Graph().as_default() as loaded:
        tf.import_graph_def(graph, name="")
        with tf.compat.v1.Session(graph=loaded) as session:
            return np.concatenate([session.run(output, feed).reshape(1, -1) for feed in feeds])


def bend(graph, node, **changes):
    """A node made otherwise than today's TensorFlow writes it."""
    found = next(item for item in graph.node if item.name == node)
    for name, value in changes.items():
        setattr(found, name, value)
    return found


@pytest.fixture
def write(tmp_path):
    """Writes a graph and returns its path."""

    def written(graph, name="graph.pb"):
        graph = graph if hasattr(graph, "node") else graph_of(graph)
        (tmp_path / name).write_bytes(graph.SerializeToString())
        return tmp_path / name

    return written


@pytest.fixture(scope="module")
def pixels():
    random = np.random.default_rng(4)
    return [coloured(random.integers(0, 256, 3), random, SIDE) for _ in range(6)]


def normalised(pixels, mean=127.5, std=127.5):
    return [(image.astype(np.float32)[None] - mean) / std for image in pixels]


def labels_file(tmp_path, count):
    path = tmp_path / "labels.txt"
    path.write_text("".join(f"class {index}\n" for index in range(count)))
    return path


def file_scores(path, pixels, options=None, count=3, mode="float32", **settings):
    """What the converted file answers, by the runtime that ships."""
    labels = labels_file(path.parent, count)
    output = path.with_suffix(".tflite")
    convert(
        path,
        output,
        ConvertSettings(mode, labels=labels, source=options or SourceOptions(), **settings),
    )
    with Classifier.open(output) as classifier:
        return np.stack([classifier.scores(image) for image in pixels])


def source_scores(source, pixels):
    """What the network that was read answers."""
    spread = [(image - np.array(source.mean)) / np.array(source.std) for image in pixels]
    return source.network.scores(np.stack(spread).astype(np.float32))


def spread_of(scores):
    return np.abs(scores - scores.mean(axis=0)).max()


def refused(path, match, options=None):
    with pytest.raises(ConversionError, match=match) as raised:
        read_source(path, options)
    assert "\n" not in str(raised.value)


# ---------------------------------------------------------------- inputs and normalisation


def inception(sub=128.0, mul=1 / 128, bytes_in="constant"):
    """The start of the tutorial's Inception v3 graph: JPEG bytes to normalised pixels."""
    import tensorflow as tf

    def build():
        if bytes_in == "constant":
            content = tf.constant(b"", name="DecodeJpeg/contents")
        else:
            content = placeholder("DecodeJpeg/contents", (), "string")
        x = tf.io.decode_jpeg(content, channels=3, name="DecodeJpeg")
        x = tf.expand_dims(tf.cast(x, tf.float32, name="Cast"), 0, name="ExpandDims")
        size = tf.constant([SIDE, SIDE], name="ResizeBilinear/size")
        x = tf.raw_ops.ResizeBilinear(images=x, size=size, name="ResizeBilinear")
        x = tf.raw_ops.Sub(x=x, y=tf.constant(sub), name="Sub")
        final(tf.raw_ops.Mul(x=x, y=tf.constant(mul, tf.float32), name="Mul"))

    return build


@pytest.mark.parametrize("bytes_in", ["constant", "placeholder"])
def test_a_graph_that_starts_with_a_jpeg(write, pixels, bytes_in):
    path = write(inception(bytes_in=bytes_in))
    source = read_source(path)
    assert (source.input_resolution, source.mean, source.std) == (SIDE, (128.0,) * 3, (128.0,) * 3)
    assert any("decoding and resizing in the graph are left out" in line for line in source.remarks)
    graph = graph_of(inception(bytes_in=bytes_in))
    # The decoder's output can be fed as the tutorials' distortion graphs did.
    expected = session_scores(graph, [{"DecodeJpeg:0": image} for image in pixels])
    assert spread_of(expected) > 0.02  # or it would not matter what goes in
    assert np.abs(file_scores(path, pixels) - expected).max() < 1e-4


def test_flags_override_what_the_graph_says(write):
    path = write(inception())
    given = read_source(path, SourceOptions(mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0)))
    assert (given.mean, given.std) == ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    for name in ("Mul", "Mul:0"):
        assert read_source(path, SourceOptions(input_tensor=name)).mean == (128.0,) * 3
    before = read_source(path, SourceOptions(input_tensor="ResizeBilinear"))
    assert (before.mean, before.std) == ((0.0,) * 3, (1.0,) * 3)
    assert before.input_resolution == SIDE
    refused(
        path, "input resolution, 32, got --input-resolution 64", SourceOptions(input_resolution=64)
    )
    refused(
        path,
        "--input-tensor to be a node of the graph, got 'input'",
        SourceOptions(None, None, None, "input"),
    )
    refused(path, "--output-tensor to be a node", SourceOptions(output_tensor="softmax:0"))


def test_a_graph_that_starts_behind_the_normalisation(write, pixels):
    """As strip_unused and optimize_for_inference leave Inception v3: a placeholder named Mul."""
    import tensorflow as tf

    def build():
        image = placeholder("Mul", (1, SIDE, SIDE, 3))
        mixed = tf.identity(image, name="mixed_10/join")
        final(mixed)

    source = read_source(write(build))
    assert (source.mean, source.std) == ((128.0,) * 3, (128.0,) * 3)
    expected = session_scores(graph_of(build), [{"Mul:0": x} for x in normalised(pixels, 128, 128)])
    assert np.abs(source_scores(source, pixels) - expected).max() < 1e-4


def test_a_placeholder_without_a_word_on_normalisation(write):
    path = write(lambda: final(placeholder()))
    refused(path, "does not say: give --mean and --std")
    assert read_source(path, SourceOptions(mean=ONES, std=ONES)).mean == ONES


@pytest.mark.parametrize("names", ["MobilenetV1/Conv", "MobilenetV2/Conv", "InceptionV3/Conv"])
def test_slim_networks_are_known_by_their_names(write, names):
    import tensorflow as tf

    def build():
        with tf.name_scope("module"), tf.name_scope(names):
            final_scores = tf.nn.softmax(logits_of(image))
        tf.identity(final_scores, name="final_result")

    with tf.Graph().as_default() as graph:
        image = placeholder()
        build()
    source = read_source(write(graph.as_graph_def()))
    assert (source.mean, source.std) == (ONES, ONES)


@pytest.mark.parametrize(
    ("levels", "inside", "mean", "std"),
    [
        (1, lambda x: x * 2.0 - 1.0, 127.5, 127.5),  # TensorFlow Hub's modules
        (1, lambda x: (x - 0.5) * 2.0, 127.5, 127.5),
        (255, lambda x: x / 127.5 - 1.0, 127.5, 127.5),
        (255, lambda x: (x - 127.5) * (1 / 127.5), 127.5, 127.5),
        (255, lambda x: x * (1 / 255), 0, 255),
        (255, lambda x: x - np.array([123.68, 116.78, 103.94], np.float32), None, 1),
    ],
)
def test_normalisation_inside_the_graph(write, pixels, levels, inside, mean, std):
    def build():
        final(inside(placeholder()))

    source = read_source(write(build))
    expected_mean = (123.68, 116.78, 103.94) if mean is None else (mean,) * 3
    assert source.mean == pytest.approx(expected_mean, rel=1e-5)
    assert source.std == pytest.approx((std,) * 3, rel=1e-5)
    feeds = [{"input:0": image.astype(np.float32)[None] * (levels / 255)} for image in pixels]
    expected = session_scores(graph_of(build), feeds)
    assert np.abs(source_scores(source, pixels) - expected).max() < 1e-4


@pytest.mark.parametrize("options", [SourceOptions(), SourceOptions(**PLAIN)])
def test_a_placeholder_of_bytes(write, pixels, options):
    import tensorflow as tf

    def build():
        image = placeholder(dtype="uint8")
        final(tf.cast(image, tf.float32) / 127.5 - 1.0)

    source = read_source(write(build), options)
    expected = session_scores(graph_of(build), [{"input:0": image[None]} for image in pixels])
    assert np.abs(source_scores(source, pixels) - expected).max() < 1e-4


def test_a_resolution_that_is_left_open(write, pixels):
    def build():
        final(placeholder(shape=(None, None, None, 3)) / 127.5 - 1.0)

    path = write(build)
    refused(path, "leaves it open: give --input-resolution")
    source = read_source(path, SourceOptions(input_resolution=SIDE))
    assert source.input_resolution == SIDE
    feeds = [{"input:0": image.astype(np.float32)[None]} for image in pixels]
    expected = session_scores(graph_of(build), feeds)
    assert np.abs(source_scores(source, pixels) - expected).max() < 1e-4


def test_control_dependencies_do_not_hide_the_normalisation(write):
    import tensorflow as tf

    def build():
        image = placeholder()
        with tf.control_dependencies([image]):
            offset = tf.constant(127.5, name="offset")
        with tf.control_dependencies([tf.no_op()]):
            x = tf.subtract(image, offset)
        final(x / 127.5)

    assert read_source(write(build)).mean == ONES


# ---------------------------------------------------------------- outputs


def test_logits_get_a_softmax(write, pixels):
    import tensorflow as tf

    def build():
        tf.identity(logits_of(placeholder() / 127.5 - 1.0), name="logits")

    source = read_source(write(build))
    assert any("a softmax is added" in line for line in source.remarks)
    feeds = [{"input:0": image.astype(np.float32)[None]} for image in pixels]
    logits = session_scores(graph_of(build), feeds, "logits:0")
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(source_scores(source, pixels) - expected).max() < 1e-4


def test_one_sigmoid_becomes_two_scores(write, pixels):
    import tensorflow as tf

    def build():
        tf.sigmoid(logits_of(placeholder() / 127.5 - 1.0, classes=1), name="final_result")

    path = write(build)
    feeds = [{"input:0": image.astype(np.float32)[None]} for image in pixels]
    second = session_scores(graph_of(build), feeds)
    found = file_scores(path, pixels, count=2)
    assert np.abs(found - np.concatenate([1 - second, second], axis=1)).max() < 1e-4


def test_sigmoids_of_many_stay_as_they_are(write, pixels):
    import tensorflow as tf

    def build():
        tf.sigmoid(logits_of(placeholder() / 127.5 - 1.0), name="final_result")

    feeds = [{"input:0": image.astype(np.float32)[None]} for image in pixels]
    expected = session_scores(graph_of(build), feeds)
    assert np.abs(expected.sum(axis=1) - 1).max() > 0.1
    assert np.abs(source_scores(read_source(write(build)), pixels) - expected).max() < 1e-4


def test_several_outputs_are_listed(write):
    import tensorflow as tf

    def build():
        scores = final(placeholder() / 127.5 - 1.0)
        tf.identity(scores, name="again")
        tf.reduce_mean(scores, name="mean")

    path = write(build)
    refused(path, "expected one output, the graph has 2: again, mean: .* --output-tensor")
    assert (
        read_source(path, SourceOptions(output_tensor="final_result:0")).network.output_width == 3
    )


def test_an_output_that_does_not_depend_on_the_image(write):
    import tensorflow as tf

    def build():
        final(placeholder() / 127.5 - 1.0)
        tf.nn.softmax(tf.constant([[1.0, 2.0]]), name="fixed")

    refused(
        write(build),
        "got a graph without inputs: choose another --output-tensor",
        SourceOptions(output_tensor="fixed"),
    )


def test_an_output_that_is_no_scores(write):
    import tensorflow as tf

    def build():
        tf.nn.relu(logits_of(placeholder() / 127.5 - 1.0), name="features")

    refused(write(build), r"expected scores \(Softmax, Sigmoid\) or logits .*got Relu 'features'")


# ---------------------------------------------------------------- old operators


def normalising(x, random):
    import tensorflow as tf

    values = (
        random.normal(size=8),
        random.uniform(0.1, 1, 8),
        random.normal(size=8),
        random.normal(size=8),
    )
    parts = [tf.constant(value, tf.float32, name=f"norm/{i}") for i, value in enumerate(values)]
    tf.identity(x, name="norm/x")
    return tf.identity(tf.nn.batch_normalization(x, *parts, 0.001), name="normalised")


def test_batch_normalisation_of_2015(write, pixels):
    """Of the first Inception v3 graphs; TensorFlow refuses its operator in newer ones."""

    def build():
        final(placeholder() / 127.5 - 1.0, normalise=normalising)

    graph = graph_of(build)
    feeds = [{"input:0": image.astype(np.float32)[None]} for image in pixels]
    expected = session_scores(graph, feeds)
    node = bend(graph, "normalised", op="BatchNormWithGlobalNormalization")
    del node.input[:]
    node.input.extend(["norm/x", *(f"norm/{index}" for index in range(4))])
    node.attr["variance_epsilon"].f = 0.001
    node.attr["scale_after_normalization"].b = True
    graph.versions.producer = 8
    path, options = write(graph), SourceOptions(output_tensor="final_result")
    assert np.abs(file_scores(path, pixels, options) - expected).max() < 1e-4
    bend(graph, "norm/0", op="Neg").input.append("norm/1")
    refused(write(graph), "BatchNormWithGlobalNormalization 'normalised' of values that", options)


def small(change=None, **options):
    """A network whose normalisation is inside; `change` is put before its softmax."""
    import tensorflow as tf

    def build():
        logits = logits_of(placeholder() / 127.5 - 1.0, **options)
        tf.nn.softmax(logits if change is None else change(logits), name="final_result")

    return build


def feeds_of(pixels):
    return [{"input:0": image.astype(np.float32)[None]} for image in pixels]


def old_concat(x):
    import tensorflow as tf

    return tf.raw_ops.Concat(concat_dim=1, values=[x[:, :2], x[:, 2:]])


def training_quantised(x):
    import tensorflow as tf

    return tf.quantization.fake_quant_with_min_max_vars(x, -6.0, 6.0)


def dropout(x):
    import tensorflow as tf

    keep = tf.compat.v1.placeholder_with_default(tf.constant(1.0), (), "keep_prob")
    return x / keep


def checked(x):
    import tensorflow as tf

    return tf.raw_ops.CheckNumerics(tensor=tf.stop_gradient(x), message="odd")


def function_call(x):
    import tensorflow as tf

    return tf.function(lambda y: tf.nn.relu(y + 2.0))(x)


@pytest.mark.parametrize(
    "change", [old_concat, dropout, checked, function_call], ids=lambda change: change.__name__
)
def test_operators_of_the_tutorials(write, pixels, change):
    graph = graph_of(small(change))
    expected = session_scores(graph, feeds_of(pixels))
    assert np.abs(file_scores(write(graph), pixels) - expected).max() < 1e-4


def test_training_quantised_graphs(write, pixels):
    """TensorFlow-Slim's: activations go through FakeQuantWithMinMaxVars, the last one too."""
    import tensorflow as tf

    def build():
        logits = training_quantised(logits_of(training_quantised(placeholder() / 127.5 - 1.0)))
        tf.nn.softmax(logits)
        tf.identity(training_quantised(tf.nn.softmax(logits)), name="final_result")

    graph = graph_of(build)
    expected = session_scores(graph, feeds_of(pixels))
    options = SourceOptions(output_tensor="final_result")
    found = file_scores(write(graph), pixels, options)
    assert np.abs(found - expected).max() < 1e-4


def unknown(x):
    import tensorflow as tf

    return tf.identity(x, name="odd")


def test_an_unknown_operator_is_named(write):
    graph = graph_of(small(unknown))
    bend(graph, "odd", op="MyCustomOp")
    refused(write(graph), "a custom operator: MyCustomOp 'odd'")


def conditional(x):
    import tensorflow as tf

    training = tf.compat.v1.placeholder_with_default(False, (), "is_training")
    return tf.cond(training, lambda: x * 2, lambda: x)


def loop(x):
    import tensorflow as tf

    return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * 2), (0, x))[1]


@pytest.mark.parametrize("change", [conditional, loop], ids=lambda change: change.__name__)
@pytest.mark.parametrize("old", [True, False])
def test_control_flow_is_named(write, change, old):
    import tensorflow as tf

    switch = tf.compat.v1.disable_control_flow_v2 if old else tf.compat.v1.enable_control_flow_v2
    was = tf.compat.v1.control_flow_v2_enabled()
    try:
        switch()
        graph = graph_of(small(change))
    finally:
        (tf.compat.v1.enable_control_flow_v2 if was else tf.compat.v1.disable_control_flow_v2)()
    named = "Merge|StatelessIf" if change is conditional else "Enter|Exit|StatelessWhile"
    # The ends that a loop of today leaves do depend on the image, so the output has to be chosen.
    options = None if old or change is conditional else SourceOptions(output_tensor="final_result")
    refused(write(graph), f"control flow: ({named}) ", options)


def test_old_eight_bit_graphs_are_refused_with_the_reason(write):
    import tensorflow as tf

    def quantised(x):
        x, least, most = tf.quantization.quantize(x, -1.0, 1.0, tf.quint8)
        return tf.quantization.dequantize(x, least, most)

    refused(write(small(quantised)), "of the old quantize_graph tool, .* Convert the float graph")


def test_a_second_input_is_named(write):

    def keep(x):
        return x / placeholder("keep_prob", ())

    refused(write(small(keep)), "expected one input|second input", None)
    options = SourceOptions(input_tensor="input", mean=ONES, std=ONES)
    refused(write(small(keep)), "a second input: Placeholder 'keep_prob'", options)


def test_an_unfrozen_graph(write):
    import tensorflow as tf

    def variable(x):
        ones = tf.compat.v1.ones_initializer()
        return x * tf.compat.v1.get_variable("scale", (3,), initializer=ones, use_resource=False)

    def build():
        small(variable)()
        tf.compat.v1.global_variables_initializer()
        tf.compat.v1.train.Saver()

    for built in (build, small(variable)):
        refused(write(built), "expected a frozen graph, got one with variables: VariableV2 'scale'")


def test_a_fixed_batch_of_another_size(write, pixels):
    def build():
        final(placeholder(shape=(4, SIDE, SIDE, 3)) / 127.5 - 1.0)

    source = read_source(write(build))
    feeds = [{"input:0": np.repeat(image[None], 4, 0)} for image in pixels]
    expected = session_scores(graph_of(build), feeds).reshape(len(pixels), 4, 3)[:, 0]
    assert np.abs(source_scores(source, pixels) - expected).max() < 1e-4


def test_a_batch_that_the_graph_insists_on(write):
    import tensorflow as tf

    def build():
        image = placeholder(shape=(4, SIDE, SIDE, 3)) / 127.5 - 1.0
        final(tf.reshape(image, [4, SIDE, SIDE, 3]))

    refused(write(build), "expected a graph that TensorFlow can run from 'sub' to")


def test_channels_first(write, pixels):
    import tensorflow as tf

    def outside():
        final(tf.transpose(placeholder(shape=(1, 3, SIDE, SIDE)), [0, 2, 3, 1]) / 127.5 - 1.0)

    path = write(outside)
    refused(path, r"expected an input \[batch, side, side, 3\] .*got input \[1, 3, 32, 32\]: ")
    refused(path, r"got \[1, 3, 32, 32\]: .*channels last", SourceOptions(input_tensor="input"))

    def inside(order="NCHW"):
        random = np.random.default_rng(1)
        x = placeholder() / 127.5 - 1.0
        x = tf.transpose(x, [0, 3, 1, 2]) if order == "NCHW" else x
        x = tf.nn.conv2d(x, constant(random, 3, 3, 3, 8), 2, "SAME", data_format=order)
        x = tf.reduce_mean(tf.nn.relu(x), [2, 3] if order == "NCHW" else [1, 2])
        tf.nn.softmax(tf.matmul(x, constant(random, 8, 3, scale=2)), name="final_result")

    # Not every processor's TensorFlow runs channels first; what is meant is the same.
    expected = session_scores(graph_of(lambda: inside("NHWC")), feeds_of(pixels))
    try:
        found = file_scores(write(inside), pixels)
    except ConversionError as error:
        assert "TF_ENABLE_ONEDNN_OPTS=1" in str(error) and "\n" not in str(error)
        pytest.skip("TensorFlow runs channels last only on this processor, and says so")
    assert np.abs(found - expected).max() < 1e-4


def test_a_size_that_is_not_square(write):
    def build():
        final(placeholder(shape=(1, SIDE, 2 * SIDE, 3)) / 127.5 - 1.0)

    source = read_source(write(build), SourceOptions())
    assert (source.input_resolution, source.input_width) == (SIDE, 2 * SIDE)
    assert "32 by 64 pixels" in source.remarks[0]


# ---------------------------------------------------------------- what must not run


def write_file(x, folder):
    import tensorflow as tf

    contents = tf.strings.as_string(tf.reduce_sum(x))
    with tf.control_dependencies(
        [tf.raw_ops.WriteFile(filename=f"{folder}/out", contents=contents)]
    ):
        return tf.identity(x)


def read_file(x, folder):
    import tensorflow as tf

    # Named as the node where the network begins, which is not looked at.
    content = tf.raw_ops.ReadFile(filename=f"{folder}/secret", name="sub")
    return x * tf.strings.to_number(content)


def python(x, folder):
    import tensorflow as tf

    return tf.compat.v1.py_func(lambda y: y, [x], tf.float32)


def number(x, folder):
    import tensorflow as tf

    return x + tf.random.uniform([3], seed=1)


@pytest.mark.parametrize(
    ("acts", "op"),
    [
        (write_file, "WriteFile"),
        (read_file, "ReadFile"),
        (python, "PyFunc"),
        (number, "RandomUniform"),
    ],
)
def test_what_acts_outside_the_graph_is_refused(write, tmp_path, acts, op):
    """In the graph, or in a function that it calls."""
    import tensorflow as tf

    def called(x):
        body = tf.function(lambda y: acts(y, tmp_path), input_signature=[tf.TensorSpec([1, 3])])
        call = body.get_concrete_function()
        return tf.raw_ops.PartitionedCall(args=[x], Tout=[tf.float32], f=call)[0]

    refused(write(small(called)), f"acts outside the graph: {op} ")
    if acts is write_file:  # nothing but the order of evaluation hangs on it, so it is left out
        read_source(write(small(lambda x: acts(x, tmp_path))))
    else:
        refused(write(small(lambda x: acts(x, tmp_path))), f"acts outside the graph: {op} ")
    assert [path.name for path in tmp_path.iterdir()] == ["graph.pb"]


def test_a_function_that_calls_another_is_looked_into(write, tmp_path):
    import tensorflow as tf

    def called(x):
        spec = [tf.TensorSpec([1, 3])]
        inner = tf.function(lambda y: read_file(y, tmp_path), input_signature=spec)
        outer = tf.function(lambda y: inner(y) * 2, input_signature=spec)
        return outer(x)

    refused(write(small(called)), "acts outside the graph: ReadFile ")


# ---------------------------------------------------------------- files that are no graphs


def test_files_that_are_no_frozen_graph(write, tmp_path):
    import tensorflow as tf

    path = tmp_path / "other.pb"
    for content, match in (
        (b"", "got a file without nodes"),
        (b"graph of a text file\n", "expected a frozen TensorFlow graph"),
        (write(small()).read_bytes()[:-40], "expected a frozen TensorFlow graph"),
    ):
        path.write_bytes(content)
        refused(path, match)
    module = tf.Module()
    module.call = tf.function(lambda x: x, input_signature=[tf.TensorSpec([1])])
    tf.saved_model.save(module, tmp_path / "saved")
    shutil.copy(tmp_path / "saved" / "saved_model.pb", path)
    refused(path, "the folder of a SavedModel")


# ---------------------------------------------------------------- the command


def kit(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command(write, tmp_path, pixels):
    path = write(lambda: final(placeholder()))
    labels, output = labels_file(tmp_path, 3), tmp_path / "out.tflite"
    photos = tmp_path / "photos"
    photos.mkdir()
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(photos / f"{index}.png")
    arguments = ("convert", path, "--output", output, "--labels", labels)
    result = kit(*arguments, "--mean", 127.5, "--std", 127.5, "--representative-images", photos)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("int8: ")
    assert "frozen graph: input input, 32 pixels; output final_result" in result.stderr
    assert "frozen graph: normalisation as given" in result.stderr
    with Classifier.open(output) as classifier:
        assert classifier.labels == ("class 0", "class 1", "class 2")
        assert classifier.file.card.quantization == "int8"
        found = np.stack([classifier.scores(image) for image in pixels])
    feeds = [{"input:0": x} for x in normalised(pixels)]
    expected = session_scores(graph_of(lambda: final(placeholder())), feeds)
    assert np.abs(found - expected).max() < 0.25 * np.ptp(expected, axis=0).max()


def test_errors_of_the_command_are_one_line_and_leave_nothing(write, tmp_path):
    path = write(lambda: final(placeholder()))
    labels = labels_file(tmp_path, 3)
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("a\nb\n")
    before = sorted(tmp_path.iterdir())
    given = ("--mean", 127.5, "--std", 127.5)
    for code, flags, said in (
        (1, ("--labels", labels, *given), "expected representative images for int8, got none"),
        (1, ("--labels", labels), "give --mean and --std"),
        (1, given, f"got none: --labels FILE (is it {labels}?)"),
        (1, ("--labels", wrong, *given), "wrong.txt: expected 3 labels, one for each score, got 2"),
        (1, ("--labels", labels, *given, "--output-tensor", "x"), "--output-tensor to be a node"),
        (2, ("--labels", labels, "--mean", 127.5), "expected mean and std together"),
        (1, ("--labels", labels, "--mean", 1, "--std", 0), "expected a std without zeros"),
    ):
        result = kit("convert", path, "--output", tmp_path / "out.tflite", *flags)
        assert result.exit_code == code, result.stderr
        assert result.stdout == ""
        *progress, line = result.stderr.strip().splitlines()
        assert line.startswith("kit: ")
        assert said in line
        assert not any("Traceback" in earlier for earlier in progress)
    assert sorted(tmp_path.iterdir()) == before


# ---------------------------------------------------------------- a graph of 2017


@pytest.fixture(scope="module")
def folder(shared):
    return shared / "graphs" / "glasses_mobilenet_0.25_224"


@pytest.fixture(scope="module")
def everyday(shared):
    """Photographs of many kinds, as pixels of 224."""
    from kit.model.preprocess import fit_pixels
    from kit.model.spec import PreprocessSpec
    from kit.runtime.images import read_image

    paths = sorted((shared / "data" / "everyday").glob("*.jpg"))
    paths += [
        p
        for kind in sorted((shared / "data" / "flowers").iterdir())
        for p in sorted(kind.iterdir())[:6]
    ]
    spec = PreprocessSpec(224)
    return [fit_pixels(read_image(path, 224), spec) for path in paths]


@pytest.mark.parametrize(
    ("name", "labels", "output", "width"),
    [
        ("retrained_graph.pb", "retrained_labels.txt", "final_result:0", 2),
        ("base/frozen_graph.pb", "base/labels.txt", "MobilenetV1/Predictions/Reshape_1:0", 1001),
        ("base/quantized_graph.pb", "base/labels.txt", "MobilenetV1/Predictions/Reshape_1:0", 1001),
    ],
)
def test_a_real_graph_answers_as_in_tensorflow(
    folder, everyday, tmp_path, name, labels, output, width
):
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef.FromString((folder / name).read_bytes())
    feeds = [{"input:0": x} for x in normalised(everyday[::8])]
    expected = session_scores(graph, feeds, output)
    made = tmp_path / "model.tflite"
    convert(folder / name, made, ConvertSettings("float32", labels=folder / labels))
    with Classifier.open(made) as classifier:
        assert len(classifier.labels) == width
        found = np.stack([classifier.scores(image) for image in everyday[::8]])
    assert spread_of(expected) > 0.1
    assert np.abs(found - expected).max() < 1e-4


@pytest.fixture(scope="module")
def base(folder, shared, tmp_path_factory):
    """Converts the ImageNet graph, each mode once."""
    made = {}

    def converted(mode):
        if mode not in made:
            made[mode] = tmp_path_factory.mktemp("base") / f"{mode}.tflite"
            settings = ConvertSettings(
                mode,
                labels=folder / "base" / "labels.txt",
                representative_images=shared / "data" / "everyday",
            )
            convert(folder / "base" / "frozen_graph.pb", made[mode], settings)
        return made[mode]

    return converted


def test_the_base_graph_knows_cats(base, shared):
    cat = shared / "models" / "coral" / "cat.bmp"
    for mode in ("float32", "int8"):
        with Classifier.open(base(mode), top_k=3) as classifier:
            best = classifier.classify(cat).categories
        assert {category.index for category in best} == {286, 282, 283}
        assert sum(category.score for category in best) > 0.95


def all_scores(path, pixels):
    with Classifier.open(path) as classifier:
        return np.stack([classifier.scores(image) for image in pixels])


@pytest.mark.parametrize(
    ("mode", "agreement", "distance"),
    [("int8", 0.8, 0.3), ("int16x8", 0.85, 0.2), ("dynamic", 0.88, 0.12), ("float16", 0.94, 0.05)],
)
def test_quantised_files_of_the_base_graph(base, everyday, mode, agreement, distance):
    """The scores' distance is the sum over all classes, 2 at most."""
    expected = all_scores(base("float32"), everyday)
    found = all_scores(base(mode), everyday)
    assert np.mean(found.argmax(axis=1) == expected.argmax(axis=1)) >= agreement
    assert np.abs(found - expected).sum(axis=1).mean() < distance
    # A zero point that is off by a quarter of the range would fail both.
    shifted = [np.clip(p.astype(int) + 64, 0, 255).astype(np.uint8) for p in everyday]
    broken = all_scores(base("float32"), shifted)
    assert np.mean(broken.argmax(axis=1) == expected.argmax(axis=1)) < agreement
    assert np.abs(broken - expected).sum(axis=1).mean() > distance
