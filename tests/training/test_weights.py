"""Pretrained weights: found, described, refused, fetched. Nothing here reaches a network."""

import hashlib
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest

from kit.errors import WeightsError
from kit.training.backbones import choose
from kit.training.weights import find_weights, load_backbone, pull_weights

pytest_plugins = ["training_fixtures"]

V1 = choose("mobilenet_v1", 0.25, 128)
OFFICIAL, OWN = "mobilenet_2_5_128_tf_no_top.h5", "mobilenet_v1_0.25_128_no_top.weights.h5"
ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet/" + OFFICIAL


@pytest.fixture
def folder(tmp_path, monkeypatch):
    path = tmp_path / "weights"
    path.mkdir()
    monkeypatch.setenv("KIT_WEIGHTS_DIR", str(path))
    return path


@pytest.fixture
def downloads(tmp_path, monkeypatch):
    """Stands in for Keras' download: addresses asked for; those in `missing` fail."""
    import keras

    made = SimpleNamespace(asked=[], missing=set())

    def get_file(fname=None, origin=None, **options):
        made.asked.append(origin)
        print("Downloading data from", origin)
        name = origin.rsplit("/", 1)[1]
        if name in made.missing or "everything" in made.missing:
            raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] Name unknown")
        path = tmp_path / "keras" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"weights of " + name.encode())
        return str(path)

    monkeypatch.setattr(keras.utils, "get_file", get_file)
    return made


@pytest.mark.parametrize("name", [OFFICIAL, OWN])
def test_both_names_are_found_in_the_folder(folder, name):
    (folder / name).write_bytes(b"some weights")
    weights = find_weights(V1, "imagenet")
    assert weights.path == folder / name
    assert weights.description == f"ImageNet ({name})"
    assert weights.digest == hashlib.sha256(b"some weights").hexdigest()


def test_another_resolution_says_what_it_starts_from(folder):
    (folder / OWN).write_bytes(b"some weights")
    weights = find_weights(choose("mobilenet_v1", 0.25, 96), "imagenet")
    assert weights.description == f"ImageNet ({OWN}), trained at 128 pixels"


def test_a_folder_that_is_none(tmp_path, monkeypatch):
    monkeypatch.setenv("KIT_WEIGHTS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(WeightsError, match=r"expected KIT_WEIGHTS_DIR to name a folder, got .*now"):
        find_weights(V1, "imagenet")


@pytest.mark.tf
@pytest.mark.parametrize("with_folder", [True, False])
def test_missing_weights_say_what_to_fetch_and_where_to_put_it(
    folder, downloads, monkeypatch, with_folder
):
    if not with_folder:
        monkeypatch.delenv("KIT_WEIGHTS_DIR")
    (folder / "mobilenet_2_5_224_tf_no_top.h5").write_bytes(b"of another resolution")
    downloads.missing.add("everything")
    with pytest.raises(WeightsError) as raised:
        find_weights(V1, "imagenet")
    message = str(raised.value)
    assert ADDRESS in message
    assert "KIT_WEIGHTS_DIR" in message
    assert "--weights none" in message
    assert "Name unknown" in message
    assert "\n" not in message
    assert downloads.asked == [ADDRESS]


@pytest.mark.tf
def test_keras_downloads_what_the_folder_lacks(folder, downloads, capsys):
    weights = find_weights(V1, "imagenet")
    assert capsys.readouterr().out == ""  # which belongs to results
    assert weights.path.read_bytes() == b"weights of " + OFFICIAL.encode()
    assert weights.description == f"ImageNet ({OFFICIAL})"


def test_a_given_file(tmp_path):
    path = tmp_path / "mine.h5"
    path.write_bytes(b"mine")
    weights = find_weights(V1, str(path))
    assert (weights.path, weights.description) == (path, "mine.h5")
    assert weights.digest == hashlib.sha256(b"mine").hexdigest()
    with pytest.raises(WeightsError, match=r"an h5 file or a folder of them, got .*gone\.h5: no"):
        find_weights(V1, str(tmp_path / "gone.h5"))


def test_a_folder_is_named_and_never_called_imagenet(tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(WeightsError, match=rf"other: expected a file {OFFICIAL} or {OWN}"):
        find_weights(V1, str(other))
    (other / OWN).write_bytes(b"others")
    weights = find_weights(V1, str(other))
    assert (weights.path, weights.description) == (other / OWN, f"other/{OWN}")


def test_sources_are_asked_in_turn(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / OWN).write_bytes(b"others")
    asked = f"{tmp_path / 'gone.h5'},{other},none"
    assert find_weights(V1, asked) == replace(find_weights(V1, str(other)), source=1)
    (folder / OWN).write_bytes(b"some weights")
    assert find_weights(V1, f"imagenet,{other}") == find_weights(V1, "imagenet")
    assert find_weights(choose("mobilenet_v1", 0.5, 128), asked).source == 2
    with pytest.raises(WeightsError, match=r"gone\.h5: no such file; .*gone\.too: no such file"):
        find_weights(V1, f"{tmp_path / 'gone.h5'},{tmp_path / 'gone.too'}")


def test_a_path_with_a_comma(tmp_path):
    path = tmp_path / "mine,too.h5"
    path.write_bytes(b"mine")
    assert find_weights(V1, str(path)).path == path


def test_random_values_depend_on_the_seed_alone():
    one, same, other = (find_weights(V1, "none", seed) for seed in (1, 1, 2))
    assert one == same
    assert one.digest != other.digest
    assert one.path is None
    assert one.description == "random values"


@pytest.mark.tf
def test_random_networks_are_reproducible():
    import numpy as np

    choice = choose("mobilenet_v1", 0.25, 32)
    one, same, other = (
        load_backbone(choice, find_weights(choice, "none", seed)).get_weights()
        for seed in (1, 1, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, same, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.tf
def test_weights_of_a_file_are_those_of_the_network(small_backbone):
    import numpy as np

    loaded = load_backbone(small_backbone.choice, small_backbone.weights)
    for ours, theirs in zip(loaded.get_weights(), small_backbone.model.get_weights(), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.tf
def test_weights_of_another_width_are_refused(small_backbone):
    wider = choose("mobilenet_v1", 0.5, 32)
    weights = find_weights(wider, str(small_backbone.weights.path))
    with pytest.raises(WeightsError, match=r"small\.weights\.h5: expected .*_v1 at alpha 0\.5"):
        load_backbone(wider, weights)


@pytest.mark.tf
@pytest.mark.parametrize("damage", ["garbage", "truncated", "empty"])
@pytest.mark.parametrize("suffix", [".weights.h5", ".h5"])
def test_damaged_weights_are_refused(small_backbone, tmp_path, damage, suffix):
    sound = small_backbone.weights.path.read_bytes()
    path = tmp_path / f"damaged{suffix}"
    path.write_bytes({"garbage": b"x" * 5000, "truncated": sound[:40000], "empty": b""}[damage])
    with pytest.raises(WeightsError, match=r"damaged.*: expected weights of mobilenet") as raised:
        load_backbone(small_backbone.choice, find_weights(small_backbone.choice, str(path)))
    assert "\n" not in str(raised.value)


@pytest.mark.tf
def test_weights_of_another_backbone_are_refused(small_backbone):
    other = choose("mobilenet_v2", 0.35, 32)
    with pytest.raises(WeightsError, match=r"expected weights of mobilenet_v2 at alpha 0\.35"):
        load_backbone(other, find_weights(other, str(small_backbone.weights.path)))


@pytest.mark.tf
def test_pull_fills_a_folder(tmp_path, downloads):
    target = tmp_path / "deep" / "folder"
    target.mkdir(parents=True)
    (target / "mobilenet_v1_0.25_160_no_top.weights.h5").write_bytes(b"by our own name")
    choices = [choose("mobilenet_v1", 0.25, side) for side in (128, 160, 224)]
    done = pull_weights(choices, target)
    assert done == {
        OFFICIAL: "fetched",
        "mobilenet_v1_0.25_160_no_top.weights.h5": "there",
        "mobilenet_2_5_224_tf_no_top.h5": "fetched",
    }
    assert (target / OFFICIAL).read_bytes() == b"weights of " + OFFICIAL.encode()
    assert {path.name for path in target.iterdir()} == set(done)
    assert set(pull_weights(choices, str(target)).values()) == {"there"}
    assert len(downloads.asked) == 2


@pytest.mark.tf
def test_pull_keeps_what_it_has_when_a_download_fails(tmp_path, downloads):
    downloads.missing.add("mobilenet_2_5_160_tf_no_top.h5")
    choices = [choose("mobilenet_v1", 0.25, side) for side in (128, 160, 224)]
    with pytest.raises(WeightsError, match=r"mobilenet_2_5_160_tf_no_top\.h5"):
        pull_weights(choices, tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [OFFICIAL]


@pytest.mark.tf
@pytest.mark.parametrize("error", [OSError(28, "No space left"), KeyboardInterrupt()])
def test_pull_leaves_no_partial_file(tmp_path, downloads, monkeypatch, error):
    def copyfile(source, target):
        target.write_bytes(b"half")
        raise error

    monkeypatch.setattr(shutil, "copyfile", copyfile)
    with pytest.raises(type(error)):
        pull_weights([V1], tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.tf
def test_official_weights_load(shared, monkeypatch):
    """Trained weights tell photographs apart; a loading that fits by shape alone would not."""
    import numpy as np
    from PIL import Image

    folder = shared / "weights"
    if not (folder / "mobilenet_2_5_224_tf_no_top.h5").is_file():
        pytest.skip("the test data has no weights")
    monkeypatch.setenv("KIT_WEIGHTS_DIR", str(folder))
    features = []
    for side, name in ((224, "mobilenet_2_5_224_tf_no_top.h5"), (128, OWN)):
        choice = choose("mobilenet_v1", 0.25, side)
        weights = find_weights(choice, "imagenet")
        assert weights.path.name == name
        model = load_backbone(choice, weights)
        photos = []
        for label in ("daisy", "roses"):
            for path in sorted((shared / "data" / "flowers" / label).iterdir())[:6]:
                with Image.open(path) as image:
                    photos.append(np.asarray(image.convert("RGB").resize((side, side))))
        features.append(np.asarray(model((np.stack(photos).astype(np.float32) - 128) / 128)))
    for values in features:
        unit = values / np.linalg.norm(values, axis=1, keepdims=True)
        alike = unit @ unit.T
        within = (alike[:6, :6].sum() - 6 + alike[6:, 6:].sum() - 6) / 60
        assert within > alike[:6, 6:].mean() + 0.05
