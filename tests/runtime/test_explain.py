"""Heat maps: the map looks where the object is, and the overlay shows it there."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from training_fixtures import SIDE, colour_card, colour_network, package

from kit.device.command import main
from kit.errors import ConversionError, ModelFileError
from kit.model.preprocess import to_input
from kit.model.spec import ModelCard, PreprocessSpec
from kit.runtime import Classifier
from kit.runtime.explain import overlay, seen_part
from kit.runtime.interpreter import Runner

pytest_plugins = ["training_fixtures"]

PHOTO = 64
LABELS = ("disc", "none", "ring")
COVER = 20  # pixels


# ---------------------------------------------------------------- drawing


def test_the_overlay_is_hot_where_the_map_is():
    pixels = np.full((40, 60, 3), 128, np.uint8)
    heat = np.zeros((4, 6), np.float32)
    heat[1, 4] = 3
    picture = overlay(pixels, heat)
    assert picture.size == (60, 40) and picture.mode == "RGB"
    change = np.abs(np.asarray(picture).astype(int) - 128).sum(axis=2)
    row, column = np.unravel_index(change.argmax(), change.shape)
    assert 10 <= row < 20 and 40 <= column < 50
    assert change[:, :20].max() == 0
    assert change[30:].max() <= change.max() / 10
    # Shares of the strongest place: three times the evidence is the same picture.
    assert overlay(pixels, 3 * heat).tobytes() == picture.tobytes()


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_no_evidence_leaves_the_photograph(value):
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3)).astype(np.uint8)
    picture = overlay(pixels, np.full((3, 3), value, np.float32))
    assert np.array_equal(np.asarray(picture), pixels)


def test_the_part_that_is_seen():
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    assert seen_part(pixels, PreprocessSpec(8)) is pixels
    assert np.array_equal(seen_part(pixels, PreprocessSpec(8, "crop")), pixels[:, 1:5])
    padded = seen_part(pixels, PreprocessSpec(8, "pad"))
    assert padded.shape == (6, 6, 3)
    assert np.array_equal(padded[1:5], pixels) and not padded[0].any() and not padded[5].any()


# ---------------------------------------------------------------- a model that looks


def scene(random, label, centre_x):
    """A disc, a ring or nothing at a height by chance, on a noisy ground."""
    ground = random.uniform(60, 160, 3)
    pixels = ground + random.normal(0, 12, (PHOTO, PHOTO, 3))
    y, x = np.mgrid[:PHOTO, :PHOTO]
    away = np.hypot(y - random.uniform(16, 48), x - centre_x)
    inside = {"disc": away < 9, "ring": (away < 9) & (away > 5), "none": away < 0}[label]
    pixels[inside] += random.choice([-60, 60])
    return np.clip(pixels, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def looking(tmp_path_factory):
    """A small network trained to tell discs, rings and nothing, as an int8 screening file."""
    import keras

    from converters import convert_model
    from converters.extra_outputs import feature_probe, with_screening_outputs
    from converters.familiarity import Familiarity
    from kit.model.spec import Screening

    layers = keras.layers
    keras.utils.set_random_seed(1)
    random = np.random.default_rng(2)
    truth = np.arange(900) % 3
    photos = [scene(random, LABELS[t], random.uniform(14, 50)) for t in truth]
    spec = PreprocessSpec(PHOTO, mean=(127.5,) * 3, std=(127.5,) * 3)
    inputs = np.stack([to_input(photo, spec) for photo in photos])
    image = keras.Input((PHOTO, PHOTO, 3))
    values = image
    for filters, step in ((12, 2), (24, 2), (24, 1), (32, 1)):
        values = layers.Conv2D(filters, 3, step, padding="same", use_bias=False)(values)
        values = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(values))
    scores = layers.Dense(3, activation="softmax")(layers.GlobalAveragePooling2D()(values))
    model = keras.Model(image, scores)
    model.compile(keras.optimizers.Adam(0.005), "sparse_categorical_crossentropy")
    model.fit(inputs, truth, batch_size=32, epochs=8, verbose=0)
    plain = convert_model(model, "int8", spec, photos[:60])
    probe = Runner(feature_probe(plain))
    quantization = probe.input.quantization
    features = np.stack([probe.run(to_input(p, spec, "uint8", quantization)) for p in photos])
    card = ModelCard("a small one", None, "random", "int8", spec, LABELS)
    path = tmp_path_factory.mktemp("looking") / "model.tflite"
    form = with_screening_outputs(plain, Familiarity.of(features))
    path.write_bytes(package(form, replace(card, screening=Screening(1.5, True))))
    (path.parent / "plain.tflite").write_bytes(package(plain, card))
    return path


def shown(looking, label, centres):
    """Explanations of scenes that are labelled rightly, with their pixels."""
    random = np.random.default_rng(7)
    with Classifier.open(looking) as classifier:
        for centre in centres:
            pixels = scene(random, label, centre)
            found = classifier.explain(pixels)
            if found.classification.categories[0].label == label:
                yield pixels, found


@pytest.mark.tf
@pytest.mark.parametrize("label", ["disc", "ring"])
def test_the_map_moves_with_the_object(looking, label):
    sides = {}
    for side, centre in (("left", 16), ("right", 48)):
        found = [one for _, one in shown(looking, label, [centre] * 30)]
        assert len(found) >= 24  # the network has learned its task
        columns = [one.activation_map.max(axis=0).argmax() / 16 for one in found]
        sides[side] = np.mean(np.array(columns) < 0.5)
    assert sides["left"] >= 0.9 and sides["right"] <= 0.1


@pytest.mark.tf
def test_covering_the_hot_place_costs_more_than_another(looking):
    random = np.random.default_rng(11)
    hot, elsewhere = [], []
    with Classifier.open(looking) as classifier:
        for pixels, found in shown(looking, "disc", np.linspace(16, 48, 40)):
            label = LABELS.index("disc")
            before = classifier.scores(pixels)[label]
            heat = found.activation_map
            row, column = np.unravel_index(heat.argmax(), heat.shape)
            step = PHOTO // len(heat)
            y, x = row * step + step // 2, column * step + step // 2
            hot.append(before - classifier.scores(covered(pixels, y, x))[label])
            while True:  # a place by chance that the first does not touch
                other_y, other_x = random.integers(10, PHOTO - 10, 2)
                if max(abs(other_y - y), abs(other_x - x)) > COVER:
                    break
            elsewhere.append(before - classifier.scores(covered(pixels, other_y, other_x))[label])
    assert len(hot) >= 30
    assert np.mean(hot) > 0.3
    assert np.mean(hot) > 3 * np.mean(elsewhere)


def covered(pixels, y, x):
    """With a square of the photograph's own typical colour over it."""
    copy, half = pixels.copy(), COVER // 2
    copy[max(0, y - half) : y + half, max(0, x - half) : x + half] = np.median(pixels, axis=(0, 1))
    return copy


@pytest.mark.tf
def test_heat_maps_of_any_file(looking):
    from kit.export.heat_maps import HeatMaps

    random = np.random.default_rng(13)
    photo = scene(random, "disc", 20)
    with Classifier.open(looking) as classifier:
        wanted = classifier.explain(photo)
        spec = classifier.preprocess
    for content in (looking.read_bytes(), (looking.parent / "plain.tflite").read_bytes()):
        maps = HeatMaps(content, spec)
        pixels, heat = maps(photo)
        assert np.array_equal(pixels, photo)
        assert heat == pytest.approx(wanted.activation_map, abs=1e-5)
        assert not np.allclose(maps(photo, LABELS.index("none"))[1], heat)


@pytest.mark.tf
def test_no_heat_map_without_pooling(tmp_path):
    import keras

    from converters import convert_model
    from kit.export.heat_maps import HeatMaps

    inputs = keras.Input((SIDE, SIDE, 3))
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(flat))
    spec = colour_card().preprocess
    with pytest.raises(ConversionError, match="pooling"):
        HeatMaps(convert_model(model, "float32", spec), spec)
    assert HeatMaps(convert_model(colour_network(), "float32", spec), spec)


# ---------------------------------------------------------------- the command


@pytest.fixture
def photographs(tmp_path):
    """Two discs, one wide; in two folders of the same file name."""
    random = np.random.default_rng(3)
    paths = []
    for folder, centre in (("a", 16), ("b", 48)):
        path = tmp_path / folder / "disc.png"
        path.parent.mkdir()
        Image.fromarray(scene(random, "disc", centre)).resize((128, 64)).save(path)
        paths.append(path)
    return paths


@pytest.mark.tf
def test_explain_writes_the_overlay(looking, photographs, tmp_path, capsys):
    out = tmp_path / "out.png"
    given = [str(looking), str(photographs[0]), "--explain", str(out)]
    assert main([*given, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["categories"]
    with Image.open(out) as picture:
        assert picture.size == (128, 64) and picture.format == "PNG"  # in its own aspect
    before = out.read_bytes()
    assert main(given) == 1
    assert "expected an output that does not exist yet" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*given, "--force"]) == 0


@pytest.mark.tf
def test_explain_of_several_fills_a_folder(looking, photographs, tmp_path, capsys):
    (tmp_path / "bad.jpg").write_text("no image")
    images = [str(path) for path in (*photographs, tmp_path / "bad.jpg")]
    assert main([str(looking), *images, "--explain", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2 and "bad.jpg: expected an image" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "disc.png",
        "disc_1.png",
    ]


@pytest.mark.tf
def test_names_that_others_would_get_are_passed_over(looking, photographs, tmp_path):
    first, second = photographs
    other = first.rename(first.with_name("disc_2.png"))
    third = tmp_path / "disc.png"
    third.write_bytes(second.read_bytes())
    images = [str(path) for path in (second, other, third)]
    assert main([str(looking), *images, "--explain", str(tmp_path / "out")]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "disc.png",
        "disc_1.png",
        "disc_2.png",
    ]


@pytest.mark.tf
def test_explain_needs_a_map(looking, photographs, tmp_path, capsys):
    out = tmp_path / "out.png"
    given = ["--explain", str(out)]
    assert main([str(looking.parent / "plain.tflite"), str(photographs[0]), *given]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "expected a screening model with an activation map" in err
    assert not out.exists()
    with (
        Classifier.open(looking.parent / "plain.tflite") as classifier,
        pytest.raises(ModelFileError, match="--screening"),
    ):
        classifier.explain(photographs[0])


@pytest.mark.tf
def test_kit_label_explains_too(looking, photographs, tmp_path):
    from typer.testing import CliRunner

    from kit.cli.app import app

    given = [str(looking), str(photographs[0]), "--explain", str(tmp_path / "out.png")]
    done = CliRunner().invoke(app, ["label", *given])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out.png").exists()


@pytest.mark.tf
def test_one_image_goes_into_a_folder_where_one_is_meant(looking, photographs, tmp_path, capsys):
    heat = tmp_path / "heat"
    given = [str(looking), str(photographs[0]), "--explain"]
    assert main([*given, f"{heat}/"]) == 0
    assert main([*given, str(heat), "--force"]) == 0
    assert [path.name for path in heat.iterdir()] == ["disc.png"]
    assert main([*given, str(photographs[1] / "out.png")]) == 1  # in a file, as if it were a folder
    assert capsys.readouterr().err.count("\n") == 1
