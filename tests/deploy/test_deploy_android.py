import re
import shlex
import shutil
import stat
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from places import ROOT

import kit.deploy.android
from kit.deploy.android import deploy_android
from kit.errors import KitError, ModelFileError
from kit.model.model_file import read_model_file, with_card_fields

APP = ROOT / "android_demo"


@pytest.fixture
def app(tmp_path):
    """What of the app's folder is looked at."""
    folder = tmp_path / "android_demo"
    (folder / "gradle").mkdir(parents=True)
    shutil.copy(APP / "build-apk.sh", folder)
    shutil.copy(APP / "gradle/libs.versions.toml", folder / "gradle")
    return folder


def refused(model, app, kind=ModelFileError):
    with pytest.raises(kind) as caught:
        deploy_android(model, app)
    message = str(caught.value)
    assert "\n" not in message and "expected" in message
    return message


def test_a_model_is_put_in(data, app):
    model = data / "red_green_blue_int8.tflite"
    found = deploy_android(model, app)
    assert found.asset == app / "app/src/main/assets/model.tflite"
    assert found.asset.read_bytes() == model.read_bytes()
    assert found.size_bytes == model.stat().st_size
    build, install = found.commands
    assert Path(build) == app / "build-apk.sh"
    assert Path(build).stat().st_mode & stat.S_IXUSR
    assert install.startswith("adb install -r ") and install.endswith(".apk")


@pytest.mark.parametrize("given", [".", "../it's an app", "absolute"])
def test_the_commands_run_from_any_folder(data, app, monkeypatch, given):
    app = app.rename(app.with_name("it's an app"))
    monkeypatch.chdir(app)
    found = deploy_android(
        data / "red_green_blue_int8.tflite", app if given == "absolute" else given
    )
    build, install = map(shlex.split, found.commands)
    assert build == [str(app.resolve() / "build-apk.sh")]
    assert install == ["adb", "install", "-r", str(app.resolve() / "app/target/kit-label.apk")]


def test_names_that_the_app_uses_too(data, app):
    found = deploy_android(data / "red_green_blue_int8.tflite", app)
    store = (APP / "app/src/main/kotlin/mobilenetkit/demo/ModelStore.kt").read_text("utf-8")
    assert f'const val ASSET = "{found.asset.name}"' in store
    apk = found.commands[1].split()[-1]
    assert Path(apk).name in (APP / "build-apk.sh").read_text("utf-8")
    assert "android_demo/app/src/main/assets/*.tflite" in (APP / "../.gitignore").read_text("utf-8")


def test_another_replaces_it_and_a_bad_one_does_not(data, app):
    first, second = data / "red_green_blue_int8.tflite", data / "red_green_blue_float32.tflite"
    deploy_android(first, app)
    asset = deploy_android(second, app).asset
    assert asset.read_bytes() == second.read_bytes()
    refused(data / "plain_int8.tflite", app)
    assert asset.read_bytes() == second.read_bytes()
    assert [path.name for path in asset.parent.iterdir()] == [asset.name]


def test_files_without_a_card(data, app):
    assert "has none" in refused(data / "plain_int8.tflite", app)


def test_other_files(app, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(100))
    assert "another kind of file" in refused(tmp_path / "photo.jpg", app)
    refused(tmp_path / "absent.tflite", app)


def test_a_damaged_file(data, app, tmp_path):
    content = (data / "red_green_blue_int8.tflite").read_bytes()
    (tmp_path / "cut.tflite").write_bytes(content[: len(content) // 2])
    refused(tmp_path / "cut.tflite", app, KitError)
    assert not (app / "app").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"minimum_runtime": "9.1.0"}, "it needs 9.1.0"),
        ({"golden": "other"}, "scores that its card promises"),
    ],
)
def test_cards_that_do_not_fit(data, app, tmp_path, changes, said):
    model = data / "red_green_blue_int8.tflite"
    if "golden" in changes:
        (first, *others) = read_model_file(model).card.golden
        wrong = replace(first, scores=(1.0, 0.0, 0.0))
        changes = {"golden": [vars(wrong), *map(vars, others)]}
    (tmp_path / "m.tflite").write_bytes(with_card_fields(model.read_bytes(), changes))
    assert said in refused(tmp_path / "m.tflite", app)


def test_too_large(data, app, monkeypatch):
    monkeypatch.setattr(kit.deploy.android, "_LARGEST_BYTES", 1000)
    assert "smaller network" in refused(data / "red_green_blue_int8.tflite", app)


def test_no_app(data, tmp_path):
    assert "--app" in refused(data / "red_green_blue_int8.tflite", tmp_path, ValueError)


def test_both_builds_take_the_same_versions():
    """Gradle's version catalogue and Maven's pom.xml name the same libraries and levels."""
    versions = tomllib.loads((APP / "gradle/libs.versions.toml").read_text("utf-8"))["versions"]
    root, app = ((APP / name).read_text("utf-8") for name in ("pom.xml", "app/pom.xml"))
    for name in ("kotlin", "tensorflow-lite", "junit", "json"):
        assert f"<{name}.version>{versions[name]}</{name}.version>" in root
    for name in ("min-sdk", "target-sdk"):
        assert f"<{name}>{versions[name]}</{name}>" in app


def test_no_network_for_the_app():
    manifest = (APP / "app/src/main/AndroidManifest.xml").read_text("utf-8")
    asked = re.findall(r'<uses-permission android:name="([\w.]+)"', manifest)
    assert asked == ["android.permission.CAMERA"]
