"""SavedModels of others: signatures, tags and sizes; and what must not run while one is read."""

import shutil

import numpy as np
import pytest
from drawing import coloured

from converters.sources.read import read_source
from converters.sources.source import SourceOptions
from kit.errors import ConversionError
from kit.runtime import Classifier
from kit.workflows.convert import ConvertSettings, convert

pytestmark = pytest.mark.tf

SIDE = 32
ONES = (127.5, 127.5, 127.5)
GIVEN = SourceOptions(mean=ONES, std=ONES)


@pytest.fixture(scope="module")
def pixels():
    random = np.random.default_rng(8)
    return [coloured(random.integers(0, 256, 3), random, SIDE) for _ in range(5)]


def keras_network(side=SIDE, outputs=1):
    import keras

    keras.utils.set_random_seed(3)
    layers = keras.layers
    inputs = keras.Input((side, side, 3))
    x = layers.Conv2D(6, 3, strides=2)(inputs)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.GlobalAveragePooling2D()(x)
    heads = [layers.Dense(3 + n, activation="softmax", name=f"head{n}")(x) for n in range(outputs)]
    model = keras.Model(inputs, heads if outputs > 1 else heads[0])
    model.set_weights([weights * 2 + 0.1 for weights in model.get_weights()])
    return model


def keras_scores(model, pixels, head=None):
    answer = model((np.stack(pixels).astype(np.float32) - 127.5) / 127.5, training=False)
    return np.asarray(answer if head is None else answer[head])


def source_scores(source, pixels):
    spread = [(image - np.array(source.mean)) / np.array(source.std) for image in pixels]
    return source.network.scores(np.stack(spread).astype(np.float32))


def refused(path, match, options=GIVEN):
    with pytest.raises(ConversionError, match=match) as raised:
        read_source(path, options)
    assert "\n" not in str(raised.value)


def module(answer=lambda scores: scores, resource=None, side=SIDE):
    """A tf.Module that scores an image by its mean colour; `answer` is put behind."""
    import tensorflow as tf

    class Scorer(tf.Module):
        def __init__(self):
            super().__init__()
            random = np.random.default_rng(0)
            self.weights = tf.Variable(random.normal(0, 3, (3, 3)).astype(np.float32))
            self.resource = resource

        @tf.function(input_signature=[tf.TensorSpec([None, side, side, 3])])
        def serve(self, image):
            means = tf.reduce_mean(image, [1, 2])
            return {"scores": answer(tf.nn.softmax(tf.matmul(means, self.weights)))}

    return Scorer()


@pytest.fixture
def saved(tmp_path):
    """Saves a module with signatures; its `serve` alone if none are named."""
    import tensorflow as tf

    def written(scorer, **signatures):
        folder = tmp_path / "saved"
        signatures = signatures or {"serving_default": scorer.serve}
        tf.saved_model.save(scorer, folder, signatures=signatures)
        return folder

    return written


# ---------------------------------------------------------------- what is read


def test_an_exported_keras_model(tmp_path, pixels):
    model = keras_network()
    model.export(tmp_path / "saved", verbose=False)
    labels = tmp_path / "labels.txt"
    labels.write_text("a\nb\nc\n")
    settings = ConvertSettings("float32", labels=labels, source=GIVEN)
    convert(tmp_path / "saved", tmp_path / "model.tflite", settings)
    with Classifier.open(tmp_path / "model.tflite") as classifier:
        found = np.stack([classifier.scores(image) for image in pixels])
    expected = keras_scores(model, pixels)
    assert np.ptp(expected, axis=0).max() > 0.05
    assert np.abs(found - expected).max() < 1e-4


def test_a_size_that_is_left_open(tmp_path, pixels):
    model = keras_network(side=None)
    model.export(tmp_path / "saved", verbose=False)
    refused(tmp_path / "saved", "leaves it open: give --input-resolution")
    source = read_source(tmp_path / "saved", SourceOptions(ONES, ONES, input_resolution=SIDE))
    assert source.input_resolution == SIDE
    assert np.abs(source_scores(source, pixels) - keras_scores(model, pixels)).max() < 1e-4


def test_several_outputs_are_listed(tmp_path, pixels):
    model = keras_network(outputs=2)
    model.export(tmp_path / "saved", verbose=False)
    refused(tmp_path / "saved", "it has 2: output_0, output_1: choose one with --output-tensor")
    for head in (0, 1):
        options = SourceOptions(ONES, ONES, output_tensor=f"output_{head}")
        source = read_source(tmp_path / "saved", options)
        expected = keras_scores(model, pixels, head)
        assert np.abs(source_scores(source, pixels) - expected).max() < 1e-4


def test_a_signature_of_another_name_if_there_is_but_one(saved, pixels):
    scorer = module()
    source = read_source(saved(scorer, classify=scorer.serve), GIVEN)
    spread = (np.stack(pixels).astype(np.float32) - 127.5) / 127.5
    expected = np.asarray(scorer.serve(spread)["scores"])
    assert np.abs(source_scores(source, pixels) - expected).max() < 1e-4


def test_without_a_signature_to_serve(saved, tmp_path):
    import tensorflow as tf

    scorer = module()
    refused(
        saved(scorer, one=scorer.serve, two=scorer.serve), "'serving_default', it has one, two:"
    )
    tf.saved_model.save(tf.Module(), tmp_path / "none")
    refused(tmp_path / "none", r"'serving_default', it has none: save it again with signatures")


@pytest.mark.parametrize("tags", [["serve"], []])
@pytest.mark.parametrize("train_too", [True, False])
def test_a_module_of_tensorflow_1(tmp_path, pixels, tags, train_too):
    """Those of TensorFlow Hub have no tags, and a second graph for training."""
    folder = tmp_path / "saved"
    expected = save_as_tensorflow_1(folder, tags, train_too=train_too, pixels=pixels)
    found = source_scores(read_source(folder, GIVEN), pixels)
    assert np.abs(found - expected).max() < 1e-4


def save_as_tensorflow_1(folder, tags=("serve",), train_too=False, start=None, pixels=()):
    """Writes a model as TensorFlow 1 did; returns what it answers."""
    import tensorflow as tf

    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        image = v1.placeholder("float32", [None, SIDE, SIDE, 3], "image")
        weights = np.random.default_rng(0).normal(0, 3, (3, 3)).astype(np.float32)
        weights = v1.get_variable("weights", initializer=weights, use_resource=False)
        scores = tf.nn.softmax(tf.matmul(tf.reduce_mean(image, [1, 2]), weights))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(folder))
        signature = v1.saved_model.predict_signature_def({"image": image}, {"scores": scores})
        signatures = {"serving_default": signature}
        begin = None if start is None else start()
        builder.add_meta_graph_and_variables(session, list(tags), signatures, main_op=begin)
        if train_too:
            noisy = v1.saved_model.predict_signature_def({"image": image}, {"scores": 1 - scores})
            builder.add_meta_graph([*tags, "train"], {"serving_default": noisy})
        builder.save()
        feeds = [(np.stack(pixels) - 127.5) / 127.5] if len(pixels) else []
        return np.concatenate([session.run(scores, {image: feed}) for feed in feeds] or [[]])


# ---------------------------------------------------------------- what must not run


def by_python(folder):
    import tensorflow as tf

    def touch(scores):
        (folder / "marker").touch()
        return scores

    return lambda scores: tf.py_function(touch, [scores], tf.float32)


def by_numpy(folder):
    import tensorflow as tf

    def touch(scores):
        (folder / "marker").touch()
        return scores

    return lambda scores: tf.numpy_function(touch, [scores], tf.float32)


def by_writing(folder):
    import tensorflow as tf

    def answer(scores):
        tf.io.write_file(f"{folder}/marker", "written")
        return scores

    return answer


def by_reading(folder):
    import tensorflow as tf

    return lambda scores: scores + tf.strings.to_number(tf.io.read_file(f"{folder}/number"))


def by_printing(folder):
    import tensorflow as tf

    def answer(scores):
        tf.print("printed", output_stream=f"file://{folder}/marker")
        return scores

    return answer


def by_saving(folder):
    import tensorflow as tf

    def answer(scores):
        tf.raw_ops.SaveV2(
            prefix=f"{folder}/marker", tensor_names=["a"], shape_and_slices=[""], tensors=[scores]
        )
        return scores

    return answer


EVIL = [
    (by_python, "EagerPyFunc"),
    (by_numpy, "PyFunc"),
    (by_writing, "WriteFile"),
    (by_reading, "ReadFile"),
    (by_printing, "PrintV2"),
    (by_saving, "SaveV2"),
]


@pytest.mark.parametrize("unsafe", [True, False])
@pytest.mark.parametrize(("evil", "op"), EVIL, ids=[op for _, op in EVIL])
def test_a_signature_that_acts_outside_is_refused(saved, tmp_path, evil, op, unsafe):
    folder = saved(module(evil(tmp_path)))
    before = sorted(tmp_path.iterdir())
    match = f"expected a model that only computes on its input, got {op} "
    refused(folder, match, SourceOptions(ONES, ONES, unsafe=unsafe))
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("evil", "op"),
    [(by_writing, "WriteFile"), (by_printing, "PrintV2"), (by_saving, "SaveV2")],
    ids=["WriteFile", "PrintV2", "SaveV2"],
)
def test_what_would_run_while_it_is_loaded_is_refused(saved, tmp_path, evil, op):
    """A table's initialiser runs before anything is asked of the model."""
    import tensorflow as tf

    class Table(tf.saved_model.experimental.TrackableResource):
        def _create_resource(self):
            return tf.raw_ops.VarHandleOp(dtype=tf.float32, shape=[])

        def _initialize(self):
            evil(tmp_path)(tf.constant(1.0))

    folder = saved(module(resource=Table()))
    for marker in tmp_path.glob("marker*"):
        marker.unlink()
    refused(folder, f"expected a model that only computes on its input, got {op} ")
    assert not list(tmp_path.glob("marker*"))


def test_what_tensorflow_1_would_run_while_it_is_loaded_is_refused(tmp_path):
    import tensorflow as tf

    def start():
        scores = tf.constant(1.0)
        with tf.control_dependencies(
            [
                tf.raw_ops.SaveV2(
                    prefix=f"{tmp_path}/marker",
                    tensor_names=["a"],
                    shape_and_slices=[""],
                    tensors=[scores],
                )
            ]
        ):
            return tf.no_op()

    save_as_tensorflow_1(tmp_path / "saved", start=start)
    refused(tmp_path / "saved", "only computes on its input, got SaveV2 ")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_printing_to_the_terminal_is_no_harm(saved, pixels):
    import tensorflow as tf

    def answer(scores):
        tf.print("scores", scores[0, 0])
        return scores

    assert read_source(saved(module(answer)), GIVEN).network.output_width == 3


def test_a_custom_operator_is_named_and_its_library_never_loaded(saved):
    import tensorflow as tf
    from tensorflow.core.protobuf import saved_model_pb2

    folder = saved(module(lambda scores: tf.identity(scores, name="odd")))
    file = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    found = [
        node
        for function in model.meta_graphs[0].graph_def.library.function
        for node in function.node_def
        if node.name == "odd"
    ]
    for node in found:
        node.op = "MyCustomOp"
    file.write_bytes(model.SerializeToString())
    assert found
    refused(folder, "expected TensorFlow's own operators, got a custom one, MyCustomOp 'odd'")


# ---------------------------------------------------------------- damaged and other folders


def test_damaged_folders(saved, tmp_path):
    folder = saved(module())
    file = folder / "saved_model.pb"
    whole = file.read_bytes()
    for content, match in (
        (whole[: len(whole) // 2], "expected a sound SavedModel"),
        (b"", "expected a sound SavedModel, got one without a graph"),
        (b"some text\n", "expected a sound SavedModel"),
    ):
        file.write_bytes(content)
        refused(folder, match)
    file.write_bytes(whole)
    data = next((folder / "variables").glob("*.data*"))
    data.write_bytes(data.read_bytes()[:20])
    refused(folder, "expected a sound SavedModel")
    shutil.rmtree(folder / "variables")
    refused(folder, "expected a sound SavedModel")


def test_folders_that_are_nothing(tmp_path):
    refused(tmp_path, "expected a run folder, a SavedModel's folder or a file of .* got something")
    refused(tmp_path / "none", "expected a run folder or a model to convert, nothing is there")
    (tmp_path / "folder.h5").mkdir()
    refused(tmp_path / "folder.h5", "got something else")


def test_a_model_that_takes_no_image(saved):
    import tensorflow as tf

    class Numbers(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 4])])
        def serve(self, numbers):
            return {"scores": tf.nn.softmax(numbers)}

    refused(saved(Numbers()), r"expected an input \[batch, side, side, 3\] for an RGB image, got ")


# ---------------------------------------------------------------- random layers


def tutorial(*random_layers):
    """As the official image classification tutorial ends: augmentation inside, logits."""
    import keras

    keras.utils.set_random_seed(4)
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.Sequential([getattr(layers, name)(*given) for name, given in random_layers]),
            layers.Rescaling(1 / 255),
            layers.Conv2D(8, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(5),
        ]
    )


RANDOM_LAYERS = (
    (("RandomFlip", ("horizontal",)), ("RandomRotation", (0.1,)), ("RandomZoom", (0.1,))),
    (("RandomContrast", (0.2,)), ("RandomBrightness", (0.2,))),
    (("RandomTranslation", (0.1, 0.1)), ("GaussianNoise", (0.1,))),
)


@pytest.mark.parametrize(
    ("layers", "form"),
    [
        *((layers, "exported") for layers in RANDOM_LAYERS),
        *((RANDOM_LAYERS[0], form) for form in ("model.keras", "model.h5")),
    ],
)
def test_random_layers_fall_away(layers, form, tmp_path, pixels):
    model = tutorial(*layers)
    path = tmp_path / form
    if form == "exported":
        model.export(path, verbose=False)
    else:
        model.save(path)
    source = read_source(path, SourceOptions())
    assert (source.mean, source.std) == ((0.0,) * 3, (255.0,) * 3)
    logits = np.asarray(model(np.stack(pixels).astype(np.float32), training=False), np.float64)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected = powers / powers.sum(axis=1, keepdims=True)
    assert np.abs(source_scores(source, pixels) - expected).max() < 1e-5
    said = any("random layers are left out" in line for line in source.remarks)
    assert said == (form == "exported")


def test_a_random_number_that_reaches_the_answer_is_refused(tmp_path):
    import tensorflow as tf

    class Noisy(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([1, SIDE, SIDE, 3], tf.float32)])
        def __call__(self, image):
            means = tf.reduce_mean(image, [1, 2])
            return tf.nn.softmax(means + tf.random.stateless_uniform([1, 3], [1, 2]))

    model = Noisy()
    tf.saved_model.save(model, str(tmp_path / "noisy"), signatures=model.__call__)
    refused(tmp_path / "noisy", "got a random number: .*Save the model for inference")


def test_a_state_that_the_answer_needs_is_refused(tmp_path):
    import tensorflow as tf

    class Counting(tf.Module):
        def __init__(self):
            super().__init__()
            self.count = tf.Variable(0.0)

        @tf.function(input_signature=[tf.TensorSpec([1, SIDE, SIDE, 3], tf.float32)])
        def __call__(self, image):
            self.count.assign_add(1.0)
            return tf.nn.softmax(tf.reduce_mean(image, [1, 2]) * self.count)

    model = Counting()
    tf.saved_model.save(model, str(tmp_path / "counting"), signatures=model.__call__)
    refused(tmp_path / "counting", "expected a model whose answers leave it as it is")
