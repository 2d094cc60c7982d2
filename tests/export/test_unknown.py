"""Unknown images: the measure, the screening form of a file, its card, and what is said of it."""

import csv
import io
import json
import subprocess
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from drawing import draw_folder
from other_interpreters import RUNTIME_MODULES
from places import OTHER_RUNTIMES
from training_fixtures import SIDE, colour_card, colour_network, package
from typer.testing import CliRunner

from kit.errors import ConversionError, DataError, ModelFileError, SpecError
from kit.evaluation import UnknownFigures, evaluate_model
from kit.evaluation.unknown import accepting_threshold, strangeness
from kit.model.model_file import read_model_file
from kit.model.preprocess import to_input
from kit.model.spec import QUANTIZATION_MODES, ModelCard, PreprocessSpec, Screening
from kit.runtime import Answer, Classifier
from kit.runtime.interpreter import Runner
from kit.runtime.self_test import draw_pattern, self_test

pytest_plugins = ["training_fixtures"]


def kit(*arguments):
    from kit.cli.app import app

    return CliRunner().invoke(app, [str(argument) for argument in arguments])


# ---------------------------------------------------------------- the measure


@pytest.fixture(scope="module")
def features():
    """Of 400 images: 3 broad directions, all others narrow; lengths vary without meaning."""
    random = np.random.default_rng(1)
    values = 2 + random.normal(0, 0.05, (400, 12))
    values += random.normal(0, 0.5, (400, 3)) @ random.normal(0, 1, (3, 12))
    return (values * random.uniform(0.5, 2, (400, 1))).astype(np.float32)


def test_familiar_images_are_near_one(features):
    from converters.familiarity import Familiarity

    known = Familiarity.of(features[:300])
    assert known.directions.shape == (11, 12)
    inside = known.unfamiliarity(features[:300])
    assert np.mean(inside**4) == pytest.approx(1)
    assert known.unfamiliarity(3 * features[:10]) == pytest.approx(inside[:10])  # length is nothing
    # A step across the narrow directions, shorter than those between the familiar images.
    step = np.linspace(0.5, -0.5, 12, dtype=np.float32) ** 3 * 4
    assert np.linalg.norm(step) < np.median(np.linalg.norm(np.diff(features, axis=0), axis=1))
    strange = known.unfamiliarity(features[300:] + step)
    assert np.median(strange) > np.quantile(inside, 0.95)


def test_both_distances_are_the_textbook_s(features):
    """With as many directions as there may be: Mahalanobis, of shrunk covariance, and Euclid."""
    from sklearn.covariance import ledoit_wolf

    from converters.familiarity import Familiarity

    known = Familiarity.of(features)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    z = (unit - unit.mean(axis=0)) / unit.std(axis=0)
    inverse = np.linalg.inv(ledoit_wolf(z, assume_centered=True)[0])
    mahalanobis = np.einsum("ij,jk,ik->i", z, inverse, z)
    centres = known.centres * known.centre_step
    centres *= (2 * known.lengths / (centres**2).sum(axis=1))[:, None]  # as they were fitted
    assert len(centres) == len(features) // 8
    squares = ((unit[:, None] - centres[None]) ** 2).sum(axis=2).min(axis=1)
    # k-means: every centre is the mean of what is nearest to it.
    assert squares.sum() < 0.5 * ((unit - unit.mean(axis=0)) ** 2).sum()
    least = 0.01 * ((unit - unit.mean(axis=0)) ** 2).sum(axis=1).mean()
    wanted = (mahalanobis * (squares + least)) ** 0.25
    wanted /= np.mean(wanted**4) ** 0.25
    assert known.unfamiliarity(features) == pytest.approx(wanted, rel=0.02)


def test_little_evidence_for_any_label_is_unfamiliar(features):
    """Of two images that are as far away, that one which the last layer finds less in."""
    from converters.familiarity import Familiarity

    weights = np.random.default_rng(2).normal(0, 1, (3, 12))
    weights = weights.astype(np.float16).astype(float)
    distance = Familiarity.of(features)
    known = Familiarity.of(features, weights=weights)
    found = (features @ weights.T).max(axis=1) / np.linalg.norm(features, axis=1)
    assert np.mean(known.unfamiliarity(features) ** 4) == pytest.approx(1)
    ratio = np.log(known.unfamiliarity(features) / distance.unfamiliarity(features))
    assert np.corrcoef(ratio, found)[0, 1] == pytest.approx(-1)
    # A quarter of how far the distances spread.
    spread = np.log(distance.unfamiliarity(features)).std()
    assert ratio.std() == pytest.approx(spread / 4)
    # Features that all have the same evidence, but for a hundred-thousandth, say nothing by it.
    alike = np.concatenate([features, np.full((400, 1), 1e3, np.float32)], axis=1)
    rows = np.eye(13)[[12, 12]]
    assert np.ptp((alike / np.linalg.norm(alike, axis=1, keepdims=True))[:, 12]) > 0
    assert Familiarity.of(alike, weights=rows).sharpness == 0
    for nothing in (np.zeros((1, 12)), np.zeros((3, 12))):
        same = Familiarity.of(features, weights=nothing)
        assert same.unfamiliarity(features) == pytest.approx(distance.unfamiliarity(features))


def test_room_decides_how_many_centres(features):
    from converters.familiarity import Familiarity

    width = features.shape[1]
    for room in (20 * width, 60 * width):
        known = Familiarity.of(features, room)
        used = known.directions.size * 2 + known.centres.size
        assert room - 2 * width < used <= room
    for count in (known.directions, known.centres):
        assert len(count) > 5
    least = Familiarity.of(features, 0)
    assert (len(least.directions), len(least.centres)) == (1, 1)


def test_copies_do_not_count_as_images(features):
    from converters.familiarity import Familiarity

    copies = np.repeat(features[:40], 10, axis=0)
    known = Familiarity.of(copies)
    assert len(known.centres) == 5
    for few in (known, Familiarity.of(np.repeat(features[:2], 10, axis=0))):
        found = few.unfamiliarity(copies)
        assert np.isfinite(found).all() and (found > 0).all()


def test_what_cannot_be_learned_from():
    from converters.familiarity import Familiarity

    with pytest.raises(DataError, match=r"expected at least 20 training images.*got 19"):
        Familiarity.of(np.ones((19, 4), np.float32))
    with pytest.raises(DataError, match="all are alike"):
        Familiarity.of(np.ones((30, 4), np.float32))


def test_the_threshold_accepts_what_it_says():
    values = np.arange(1.0, 41.0)
    assert accepting_threshold(values) == 38  # 38 of 40 are 95 %
    assert accepting_threshold(values[:39]) == 38  # 37 would be 94.9 %


def test_figures_by_hand():
    known, unknown = np.arange(20.0), np.array([5.0, 30.0, 31.0, 32.0])
    figures = UnknownFigures.of("unfamiliarity", known, unknown, 25.0)
    # Of 80 pairs the 14 known images above 5 win one each, and the equal one half.
    assert figures.auroc.value == pytest.approx((80 - 14 - 0.5) / 80)
    data = figures.to_json()
    assert (data["known"], data["unknown"], data["measure"]) == (20, 4, "unfamiliarity")
    assert data["threshold_at_95"] == 18
    assert data["false_acceptance_at_95"] == 0.25
    own = data["at_file_threshold"]
    assert own["known_accepted"]["value"] == 1 and own["known_accepted"]["n"] == 20
    assert own["unknown_accepted"]["value"] == 0.25
    assert "at_file_threshold" not in UnknownFigures.of("x", known, unknown).to_json()
    grouped = UnknownFigures.of("x", known, unknown, groups=[str(i // 5) for i in range(20)])
    assert grouped.auroc.method == "group bootstrap"
    assert grouped.auroc.value == figures.auroc.value


def test_a_plain_file_is_judged_by_its_largest_score():
    answers = [Answer(np.array([0.25, 0.75], np.float32)), Answer(np.array([1, 0], np.float32))]
    name, values = strangeness(answers)
    assert name == "1 - largest score"
    assert values.tolist() == [0.25, 0]
    named = strangeness([replace(answer, unfamiliarity=2.0) for answer in answers])
    assert named[0] == "unfamiliarity" and named[1].tolist() == [2, 2]


# ---------------------------------------------------------------- the card


def test_a_card_of_a_screening_model_to_json_and_back():
    card = replace(colour_card(), screening=Screening(1.5, True))
    assert ModelCard.from_json(json.loads(json.dumps(card.to_json()))) == card
    older = json.loads(json.dumps(colour_card().to_json()))
    del older["screening"]
    assert ModelCard.from_json(older).screening is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unfamiliarity_threshold": None}, "unfamiliarity_threshold from 0 up, got None"),
        ({"unfamiliarity_threshold": -1}, "from 0 up, got -1"),
        ({"activation_map": 1}, "activation_map to be bool"),
    ],
)
def test_a_wrong_card(changes, said):
    data = replace(colour_card(), screening=Screening(1.5, True)).to_json()
    data["screening"] = {**data["screening"], **changes}
    with pytest.raises(SpecError, match=said):
        ModelCard.from_json(json.loads(json.dumps(data)))


def test_no_number_is_unknown():
    assert Screening(1.5, False).is_unknown(float("nan"))
    assert Screening(1.5, False).is_unknown(1.51) and not Screening(1.5, False).is_unknown(1.5)


# ---------------------------------------------------------------- the file


@pytest.fixture(scope="module")
def network(small_backbone):
    """A small MobileNet with a head of 5 labels, its spec, and pixels to look at."""
    import keras

    from converters.network import of_keras

    keras.utils.set_random_seed(3)
    scores = keras.layers.Dense(5, activation="softmax")(small_backbone.model.output)
    model = keras.Model(small_backbone.model.input, scores)
    random = np.random.default_rng(5)
    pixels = [random.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8) for _ in range(40)]
    return of_keras(model, SIDE), small_backbone.spec, pixels


@pytest.fixture(scope="module")
def converted(network):
    """`converted(mode)`: the network as a plain file."""
    from converters.tflite import convert_network

    of, spec, pixels = network
    float32 = convert_network(of, "float32", spec)

    @cache
    def made(mode):
        if mode == "float32":
            return float32
        return convert_network(of, mode, spec, pixels[:20], float32)

    return made


def run(runner, pixels, spec):
    return runner.run(to_input(pixels, spec, runner.input.dtype, runner.input.quantization))


def features_of(plain, network):
    from converters.extra_outputs import feature_probe

    probe = Runner(feature_probe(plain))
    return np.stack([run(probe, pixels, network[1]) for pixels in network[2]])


def form_of(plain, network):
    from converters.extra_outputs import label_weights, with_screening_outputs
    from converters.familiarity import Familiarity

    features = features_of(plain, network)
    known = Familiarity.of(features, weights=label_weights(plain))
    return with_screening_outputs(plain, known), known.unfamiliarity(features)


@pytest.mark.tf
@pytest.mark.parametrize("mode", QUANTIZATION_MODES)
def test_the_file_computes_what_was_fitted_and_keeps_its_scores(network, converted, mode):
    plain = converted(mode)
    form, wanted = form_of(plain, network)
    before, after = Runner(plain), Runner(form)
    assert before.further_outputs == ()
    assert after.further_outputs == ("unfamiliarity", "activation_map")
    found, sums = [], []
    for pixels in network[2]:
        scores = run(after, pixels, network[1])
        assert np.array_equal(run(before, pixels, network[1]), scores)
        found.append(after.further("unfamiliarity").item())
        # The mean of the map over the places is the logit, but for the bias and the labels' mean.
        sums.append(after.further("activation_map").mean(axis=(0, 1, 2)))
        assert after.further("activation_map").shape == (1, 1, 1, 5)
    assert found == pytest.approx(wanted, rel=2e-3, abs=2e-3)
    assert np.abs(np.sum(sums, axis=1)).max() < 0.05


@pytest.mark.tf
def test_unfamiliarity_and_the_map_share_the_weights(network, converted):
    """They are stored once, so that evidence costs a few operators and no constants."""
    from converters.extra_outputs import label_weights, with_screening_outputs
    from converters.familiarity import Familiarity

    plain = converted("int8")
    features, weights = features_of(plain, network), label_weights(plain)
    with_it, without = (
        len(with_screening_outputs(plain, Familiarity.of(features, weights=own)))
        for own in (weights, None)
    )
    constants = 2 * weights.size
    assert 0 < with_it - without < 2500
    assert constants > 2500, "or this would show nothing"


@pytest.mark.tf
def test_the_map_adds_up_to_the_logits():
    from converters import convert_model
    from converters.extra_outputs import has_activation_map, with_activation_map

    content = convert_model(colour_network(), "float32", colour_card().preprocess)
    assert has_activation_map(content)
    runner = Runner(with_activation_map(content))
    pixels = draw_pattern(0)[:SIDE, :SIDE]
    spec = colour_card().preprocess
    scores = run(runner, pixels, spec)
    found = runner.further("activation_map")
    assert found.shape == (1, SIDE, SIDE, 3)
    logits = np.exp(found.mean(axis=(0, 1, 2)))
    assert logits / logits.sum() == pytest.approx(scores, abs=1e-3)
    # Red is 4 times its channel there, less the mean over the labels, which is that of the grey.
    image = to_input(pixels, spec)
    assert found[0, ..., 2] == pytest.approx(4 * (image[..., 0] - image.mean(axis=2)), abs=0.02)


@pytest.mark.tf
def test_networks_without_a_feature_vector_or_pooling():
    import keras

    from converters import convert_model
    from converters.extra_outputs import feature_probe, has_activation_map, with_activation_map

    layers, spec = keras.layers, PreprocessSpec(SIDE, mean=(0.0,) * 3, std=(255.0,) * 3)
    inputs = keras.Input((SIDE, SIDE, 3))

    def file(outputs):
        return convert_model(keras.Model(inputs, outputs), "float32", spec)

    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3)(inputs))
    hidden = layers.Dense(7, activation="relu")(pooled)
    between = file(layers.Dense(3, activation="softmax")(hidden))
    assert Runner(feature_probe(between)).output_width == 7
    assert not has_activation_map(between)
    with pytest.raises(ConversionError, match="expected global average pooling right before"):
        with_activation_map(between)
    flat = file(
        layers.Dense(3, activation="softmax")(layers.Flatten()(layers.Conv2D(6, 3)(inputs)))
    )
    with pytest.raises(ConversionError, match=r"at most 4096 features.*got 5400"):
        feature_probe(flat)
    headless = file(layers.Softmax()(layers.GlobalMaxPooling2D()(inputs)))
    with pytest.raises(ConversionError, match="expected a dense last layer"):
        feature_probe(headless)
    # A head that is a convolution over one place, and its pooling keeps both axes.
    kept = layers.GlobalAveragePooling2D(keepdims=True)(layers.Conv2D(6, 3)(inputs))
    logits = layers.Reshape((3,))(layers.Conv2D(3, 1)(kept))
    content = file(layers.Softmax()(logits))
    assert Runner(feature_probe(content)).output.shape == (1, 6)
    assert has_activation_map(content)


# ---------------------------------------------------------------- training to labelling


@pytest.fixture(scope="module")
def screened(small_backbone, tmp_path_factory):
    """A run with screening forms, its images, and images of something else."""
    from kit.data import SplitSettings
    from kit.evaluation import Targets
    from kit.training.fitting import FitSettings
    from kit.workflows.train import TrainSettings, train

    base = tmp_path_factory.mktemp("screened")
    images = draw_folder(base / "images", {"blue": 80, "red": 80}, seed=6)
    draw_folder(base / "others", {"green": 12}, seed=8)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=SIDE,
        weights=str(small_backbone.weights.path),
        quantize=("int8", "float32"),
        split=SplitSettings(0.3, 0.2),
        fitting=FitSettings(epochs=6, learning_rate=0.01, batch_size=16),
        targets=Targets("red", sensitivity=0.9, confidence=0.0),
        screening=True,
    )
    return base, images, train(images, base / "run", settings, cache=base / "cache")


@pytest.mark.tf
def test_training_writes_screening_forms(screened):
    _, images, result = screened
    for mode in ("int8", "float32"):
        path = result.screening_files[mode]
        assert path == result.run / f"model_{mode}_screening.tflite"
        plain, card = (read_model_file(p).card for p in (result.files[mode], path))
        assert plain.screening is None and card.screening.activation_map
        assert card.operating_point == plain.operating_point
        accepted = card.metrics["unknown"]["validation"]
        assert (
            accepted["accepted"] >= 0.95 and accepted["n"] == card.dataset["images"]["validation"]
        )
        assert card.metrics["unknown"]["test"]["n"] == card.dataset["images"]["test"]
        files = sorted(images.rglob("*.png"))[::7]
        with Classifier.open(result.files[mode]) as one, Classifier.open(path) as other:
            for file in files:
                assert np.array_equal(one.scores(file), other.scores(file))
            assert all(check.passed for check in self_test(other))


@pytest.mark.tf
def test_unknown_images_are_told(screened):
    base, images, result = screened
    path = result.screening_files["int8"]
    with Classifier.open(path) as classifier:
        found = evaluate_model(
            classifier, images, part="test", unknown_images=base / "others"
        ).unknown
        threshold = classifier.file.card.screening.unfamiliarity_threshold
        green = classifier.classify(base / "others" / "green" / "000.png")
        red = min(
            classifier.classify_files(sorted((images / "red").glob("*.png"))),
            key=lambda one: one.unfamiliarity,
        )
    assert found.measure == "unfamiliarity"
    assert found.auroc.value > 0.95
    assert found.at_file_threshold.threshold == threshold
    assert green.unknown and green.answer == "unknown" and green.unfamiliarity > threshold
    assert red.unknown is False and red.answer in ("positive", "negative")
    assert len(green.categories) == 2  # the nearest are still there


@pytest.mark.tf
def test_evaluate_from_the_command_line(screened, tmp_path):
    base, images, result = screened
    given = ("evaluate", result.screening_files["int8"], images, "--part", "test")
    others = ("--unknown-images", base / "others")
    told = json.loads(kit(*given, *others, "--format", "json").stdout)
    facts = told["unknown"]
    assert told["answered_known"] == facts["at_file_threshold"]["known_accepted"]
    assert "not answered unknown: " in kit(*given).stdout
    assert facts["auroc"] > 0.95 and facts["unknown"] == 12
    assert facts["false_acceptance_at_95"] < 0.5
    assert "unknown images, by unfamiliarity:" in kit(*given, *others).stdout
    assert "unknown" not in json.loads(kit(*given, "--format", "json").stdout)
    plain = ("evaluate", result.files["int8"], images, "--part", "test", *others)
    told = json.loads(kit(*plain, "--format", "json").stdout)
    assert "answered_known" not in told
    facts = told["unknown"]
    assert facts["measure"] == "1 - largest score" and "at_file_threshold" not in facts
    missing = kit(*given, "--unknown-images", tmp_path / "none")
    assert missing.exit_code == 1 and "expected a folder of images of something" in missing.stderr
    (tmp_path / "empty").mkdir()
    empty = kit(*given, "--unknown-images", tmp_path / "empty")
    assert empty.exit_code == 1 and "none could be read" in empty.stderr


@pytest.mark.tf
def test_labelling_says_unknown(screened, capsys):
    from kit.device.command import main

    base, _, result = screened
    green = str(base / "others" / "green" / "000.png")
    path = str(result.screening_files["int8"])
    assert main([path, green]) == 0
    assert ": unknown (nearest: " in capsys.readouterr().out
    assert main([path, green, "--format", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["unknown"] is True and told["answer"] == "unknown" and told["categories"]
    assert main([path, green, str(base / "none.png"), "--format", "csv"]) == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0])[-3:] == ["unknown", "unfamiliarity", "answer"]
    assert rows[0]["answer"] == "unknown" and rows[0]["unknown"] == "True"
    assert float(rows[0]["unfamiliarity"]) > 1
    assert rows[-1]["error"] and rows[-1]["unknown"] == ""
    assert main([path, green, "--score-threshold", "1"]) == 0
    assert "unknown (nearest: nothing above the threshold)" in capsys.readouterr().out
    # A plain file tells nothing of the unknown.
    assert main([str(result.files["int8"]), green, "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("image,rank,index,label,score,error,answer\n")
    assert main([str(result.files["int8"]), green, "--format", "json"]) == 0
    assert "unknown" not in json.loads(capsys.readouterr().out)


@pytest.mark.tf
def test_info_tells_of_it(screened):
    _, _, result = screened
    said = kit("info", result.screening_files["int8"]).stdout
    assert "screening       unknown from an unfamiliarity above " in said
    facts = json.loads(kit("info", result.screening_files["int8"], "--format", "json").stdout)
    assert facts["further_outputs"] == ["unfamiliarity", "activation_map"]
    plain = kit("info", result.files["int8"])
    assert plain.exit_code == 0 and "screening" not in plain.stdout


@pytest.mark.tf
def test_a_run_is_converted_to_a_screening_form(screened, tmp_path):
    from ai_edge_litert import schema_py_generated as schema

    _, _, result = screened
    made = tmp_path / "x.tflite"
    done = kit("convert", result.run, "--output", made, "--screening", "--target-runtime", "2.14")
    assert done.exit_code == 0, done.output
    path = tmp_path / "x_screening.tflite"
    card = read_model_file(path).card
    trained = read_model_file(result.screening_files["int8"]).card
    assert card.screening == trained.screening
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    assert len(model.subgraphs) == 1
    names = [model.subgraphs[0].tensors[i].name for i in model.subgraphs[0].outputs]
    assert names == [b"scores", b"unfamiliarity", b"activation_map"]
    again = kit("convert", result.run, "--output", tmp_path / "x.tflite", "--screening")
    assert again.exit_code == 1 and "expected an output that does not exist yet" in again.stderr
    wrong = kit("convert", result.run, "--output", tmp_path / "y", "--screening", "--target", "c")
    assert wrong.exit_code == 2 and "expected --screening with --target tflite" in wrong.stderr
    wrong = kit("convert", result.run, "--compare", "--screening")
    assert wrong.exit_code == 2 and "expected --screening with --output" in wrong.stderr


@pytest.mark.slow
@pytest.mark.tf
def test_other_sources_need_photographs(small_backbone, screened, tmp_path):
    _, images, result = screened
    labels = tmp_path / "labels.txt"
    labels.write_text("blue\nred\n")
    given = ("convert", result.run / "model.keras", "--labels", labels, "--quantize", "float32")
    mean = ("--mean", "127.5", "--std", "127.5", "--screening")
    done = kit(*given, *mean, "--output", tmp_path / "a.tflite")
    assert done.exit_code == 1
    assert "expected photographs of what the model knows" in done.stderr
    assert not (tmp_path / "a.tflite").exists()
    done = kit(*given, *mean, "--images", images, "--output", tmp_path / "a.tflite")
    assert done.exit_code == 1 and "20 to choose the threshold on, got 64 and 16" in done.stderr
    more = draw_folder(tmp_path / "more", {"blue": 100, "red": 100}, seed=9)
    done = kit(*given, *mean, "--images", more, "--output", tmp_path / "a.tflite")
    assert done.exit_code == 0, done.output
    assert read_model_file(tmp_path / "a_screening.tflite").card.screening is not None


@pytest.mark.tf
def test_too_few_images_are_told_before_training(small_backbone, tmp_path):
    from kit.workflows.train import TrainSettings, train

    images = draw_folder(tmp_path / "images", {"blue": 40, "red": 40}, seed=6)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=SIDE,
        weights=str(small_backbone.weights.path),
        screening=True,
    )
    with pytest.raises(DataError, match="20 to choose the threshold on, got"):
        train(images, tmp_path / "run", settings, cache=tmp_path / "cache")
    assert not (tmp_path / "run").exists()


@pytest.mark.tf
def test_a_card_and_its_file_must_agree(screened, colour_flatbuffer, tmp_path):
    _, _, result = screened
    card = replace(colour_card(), screening=Screening(1.0, True))
    path = tmp_path / "no_outputs.tflite"
    path.write_bytes(package(colour_flatbuffer, card))
    with pytest.raises(ModelFileError, match="expected the outputs scores, unfamiliarity, act"):
        Classifier.open(path)
    content = result.screening_files["float32"].read_bytes()
    path.write_bytes(package(content, replace(colour_card(), labels=("blue", "red"))))
    with pytest.raises(ModelFileError, match="expected the outputs scores, as its card says"):
        Classifier.open(path)


@pytest.mark.tf
def test_metadata_names_every_output(screened):
    from kit.model.flatbuffer import Table

    _, _, result = screened
    content = result.screening_files["int8"].read_bytes()
    model = Table.root(content, b"TFL3")
    buffers = list(model.tables(4))
    entry = next(item for item in model.tables(6) if item.text(0) == "TFLITE_METADATA")
    root = Table.root(bytes(buffers[entry.integer(1, "<I")].data(0)), b"M001")
    graph = next(root.tables(3))
    assert [t.text(0) for t in graph.tables(3)] == ["scores", "unfamiliarity", "activation_map"]
    assert read_model_file(result.screening_files["int8"]).metadata.labels_name == "labels.txt"


@pytest.mark.tf
@pytest.mark.slow
@pytest.mark.parametrize("name", ["tflite-runtime 2.14", "ai-edge-litert 1.0"])
def test_other_runtimes_give_the_same_scores_for_both_forms(
    network,
    converted,
    tmp_path,
    python_of,
    name,
):
    files = []
    for mode in QUANTIZATION_MODES:
        plain = converted(mode)
        form, _ = form_of(plain, network)
        for kind, content in (("plain", plain), ("form", form)):
            files.append(f"{mode}_{kind}.tflite")
            (tmp_path / files[-1]).write_bytes(content)
    spec = network[1]
    np.savez(tmp_path / "pixels.npz", pixels=np.stack(network[2]), mean=spec.mean, std=spec.std)
    script = [OTHER_RUNTIMES / "score_pixels.py", RUNTIME_MODULES[name], "pixels.npz", "out.npz"]
    done = subprocess.run(
        [python_of(name), *script, *files], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = np.load(tmp_path / "out.npz")
    for mode in QUANTIZATION_MODES:
        one, other = found[f"{mode}_plain.tflite"], found[f"{mode}_form.tflite"]
        assert np.array_equal(one, other), mode
        assert len(one) == len(network[2])


@pytest.mark.tf
@pytest.mark.slow
def test_flowers_and_everyday_photographs(shared, flowers_cache, tmp_path):
    """Of the smallest usual model, int8: as good as its float32 file, and small."""
    from kit.workflows.train import TrainSettings, train

    images = shared / "data" / "flowers"
    settings = TrainSettings(alpha=0.25, quantize=("int8", "float32"), screening=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KIT_WEIGHTS_DIR", str(shared / "weights"))
        result = train(images, tmp_path / "run", settings, cache=flowers_cache)
    found = {}
    for mode, path in result.screening_files.items():
        growth = path.stat().st_size / result.files[mode].stat().st_size
        assert growth <= 1.15, (mode, growth)
        with Classifier.open(path) as classifier:
            found[mode] = evaluate_model(
                classifier, images, part="test", unknown_images=shared / "data" / "everyday"
            ).unknown.auroc.value
    assert found["int8"] > 0.95
    assert abs(found["int8"] - found["float32"]) < 0.01
