"""`kit deploy web` and `kit serve`: the page in a browser, against what Python says."""

import hashlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from drawing import draw_folder
from PIL import Image
from places import ROOT
from training_fixtures import colour_card, package
from typer.testing import CliRunner

from kit.choices import WEB_LANGUAGES
from kit.cli.app import app
from kit.deploy import web as module
from kit.deploy.serve import open_server, told
from kit.deploy.web import deploy_web
from kit.device.command import main
from kit.errors import DeploymentError, ModelFileError, OutputExistsError
from kit.workflows.package import PackageSettings, package_model

pytest_plugins = ["training_fixtures"]
WEB = ROOT / "web"
CHROMIUM = os.environ.get("KIT_CHROMIUM", "/usr/bin/chromium")


@pytest.fixture
def built(tmp_path, monkeypatch):
    """The page as `make web` leaves it, but for what it does."""
    folder = tmp_path / "built"
    (folder / "site").mkdir(parents=True)
    (folder / "single").mkdir()
    for path in (WEB / "public").iterdir():
        shutil.copy(path, folder / "site")
    (folder / "site" / "page.js").write_text("start()")
    (folder / "site" / "service_worker.js").write_text('JSON.parse("__MANIFEST__")')
    for name in ("litert.js", "litert.wasm.packed"):
        (folder / "site" / name).write_text(name)
    (folder / "single" / "page.js").write_text("all('</script>')")
    monkeypatch.setattr(module, "files", lambda name: tmp_path)
    folder.rename(tmp_path / "web_files")
    return tmp_path / "web_files"


@pytest.fixture
def model(colour_flatbuffer, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(package(colour_flatbuffer, replace(colour_card(), model_sha256="")))
    return path


@pytest.mark.tf
def test_a_site_has_the_very_model_and_knows_its_files(built, model, tmp_path):
    site = tmp_path / "site"
    title = 'Tulips & "roses" </script>'
    deploy_web(model, site, title=title, language="fr")
    assert (site / "model.tflite").read_bytes() == model.read_bytes()
    page = (site / "index.html").read_text()
    assert '<html lang="fr">' in page
    settings = re.search(r'id="settings">(.*?)</script>', page)[1]
    assert json.loads(settings)["title"] == title
    assert json.loads((site / "manifest.webmanifest").read_text())["name"] == title
    manifest = worker_manifest(site)
    stored = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    # The page itself under "./": a server may redirect from its name.
    assert set(manifest["files"]) == {"./", *stored - {"service_worker.js", "index.html"}}


def worker_manifest(site):
    text = (site / "service_worker.js").read_text()
    return json.loads(json.loads(re.fullmatch(r"JSON\.parse\((.*)\)", text)[1]))


@pytest.mark.tf
def test_every_change_is_a_new_version(built, model, tmp_path):
    versions = set()
    for title in ("one", "other"):
        deploy_web(model, tmp_path / "site", title=title, force=True)
        versions.add(worker_manifest(tmp_path / "site")["version"])
    deploy_web(model, tmp_path / "same", title="other")
    versions.add(worker_manifest(tmp_path / "same")["version"])
    assert len(versions) == 2


@pytest.mark.tf
def test_a_single_file_asks_for_nothing(built, model, tmp_path):
    output = tmp_path / "one.html"
    deploy_web(model, output, single_file=True)
    page = output.read_text()
    assert not re.search(r'(src|href)="', page)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert "'self'" not in policy and "default-src 'none'" in policy
    assert r"all('<\/script>')" in page
    for name in ("model.tflite", "litert.js", "litert.wasm.packed"):
        assert page.count(f'id="{name}"') == 1


@pytest.mark.tf
def test_mistakes(built, model, tmp_path):
    site = tmp_path / "site"
    with pytest.raises(ValueError, match="expected a language of en, fr, es, got 'xx'"):
        deploy_web(model, site, language="xx")
    plain = tmp_path / "plain.tflite"
    plain.write_bytes((ROOT / "tests/files/plain_int8.tflite").read_bytes())
    with pytest.raises(ModelFileError, match="expected a model with a card"):
        deploy_web(plain, site)
    whole = tmp_path / "int8.tflite"
    settings = PackageSettings(labels=tmp_path / "labels.txt")
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    package_model(ROOT / "tests/files/plain_int8.tflite", whole, settings)
    with pytest.raises(ModelFileError, match="which LiteRT for browsers has, got int8 and int8"):
        deploy_web(whole, site)
    site.mkdir()
    (site / "mine").touch()
    with pytest.raises(OutputExistsError):
        deploy_web(model, site)
    assert [path.name for path in site.iterdir()] == ["mine"]
    for output, single_file in ((whole.parent, False), (whole, True)):
        with pytest.raises(OutputExistsError, match="which it is or holds"):
            deploy_web(whole, output, single_file=single_file, force=True)
    assert whole.is_file()
    shutil.rmtree(built)
    with pytest.raises(DeploymentError, match="make web builds it"):
        deploy_web(model, site, force=True)


def test_languages_are_those_of_the_page():
    texts = (WEB / "src" / "texts.ts").read_text(encoding="utf-8")
    known = re.search(r"LANGUAGES = \{(.*?)\}", texts)[1]
    assert tuple(re.findall(r"(\w+):", known)) == WEB_LANGUAGES


@pytest.fixture
def site(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("<h1>labels</h1>")
    (folder / "a.wasm").write_bytes(b"wasm")
    return folder


@pytest.mark.parametrize("https", [False, True])
def test_a_page_is_served(site, https):
    context = ssl._create_unverified_context() if https else None
    with (
        open_server(site, 0, https=https) as server,
        socket.create_connection(("localhost", server.server_port)),  # who says nothing stops none
    ):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            base = f"http{'s' if https else ''}://localhost:{server.server_port}/"
            with urllib.request.urlopen(base, context=context, timeout=20) as answer:
                assert answer.read() == b"<h1>labels</h1>"
            with urllib.request.urlopen(f"{base}a.wasm", context=context) as answer:
                assert answer.headers["Content-Type"] == "application/wasm"
        finally:
            server.shutdown()
            thread.join()


def test_serving_mistakes(site, tmp_path):
    with pytest.raises(DeploymentError, match="kit deploy web writes one"):
        open_server(tmp_path, 0)
    with open_server(site, 0) as server:
        done = CliRunner().invoke(app, ["serve", str(site), "--port", str(server.server_port)])
    assert done.exit_code == 1
    assert "choose another --port" in done.stderr and done.stderr.count("\n") == 1


def test_a_phone_s_needs_are_told(monkeypatch):
    monkeypatch.setattr("kit.deploy.serve.network_address", lambda: "192.168.1.7")
    assert any("192.168.1.7:8000" in line for line in told(8000, False))
    assert any("HTTPS" in line for line in told(8000, False))
    assert any("certificate" in line for line in told(8443, True))
    monkeypatch.setattr("kit.deploy.serve.network_address", lambda: None)
    assert not any("network" in line for line in told(8000, False))


# ---------------------------------------------------------------- in Node and in a browser


UNREACHABLE = re.compile("ENOTFOUND|ECONNREFUSED|ECONNRESET|EAI_AGAIN|ETIMEDOUT|code E5")


def npm(*command, **environment):
    done = subprocess.run(
        ["npm", *command],
        cwd=WEB,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=900,
        check=False,
    )
    said = done.stdout + done.stderr
    if done.returncode and command == ("ci",) and UNREACHABLE.search(said):
        pytest.skip(f"npm's packages cannot be had: {UNREACHABLE.search(said)[0]}")
    if needed := re.search(r"code EBADENGINE.*Required: *(\{[^\n]*\})", said, re.DOTALL):
        pytest.skip(f"expected {needed[1]}, got another one: install it to build and test the page")
    assert done.returncode == 0, said[-6000:]
    return done.stdout


@pytest.fixture(scope="session")
def page():
    """The page, built anew."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: it builds and tests the page")
    npm("ci")
    npm("run", "build")


def test_an_older_node_is_told(tmp_path, monkeypatch):
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed: it builds and tests the page")
    for name in (".npmrc", "package.json", "package-lock.json"):
        shutil.copy(WEB / name, tmp_path)
    facts = json.loads((tmp_path / "package.json").read_text())
    assert (
        facts["engines"]
        == json.loads((WEB / "package-lock.json").read_text())["packages"][""]["engines"]
    )
    facts["engines"]["node"] = ">=999"
    (tmp_path / "package.json").write_text(json.dumps(facts))
    monkeypatch.setattr(sys.modules[__name__], "WEB", tmp_path)
    with pytest.raises(pytest.skip.Exception, match=r'expected \{"node":">=999"\}, got'):
        npm("ci")


@pytest.mark.slow
def test_types_and_golden_files(page):
    npm("run", "check")
    assert "passed" in npm("test", "--", "tests/golden.test.ts")


@pytest.fixture(scope="session")
def material(page, small_backbone, tmp_path_factory):
    """What web/tests/browser.test.ts reads."""
    from kit.data import DataSettings, SplitSettings
    from kit.evaluation import Targets
    from kit.model.model_file import with_card_fields
    from kit.training.fitting import FitSettings
    from kit.workflows.choose_images import choose_images
    from kit.workflows.review import review
    from kit.workflows.train import TrainSettings, train

    base = tmp_path_factory.mktemp("web")
    drawn = draw_folder(base / "drawn", {"blue": 120, "red": 120}, seed=6)
    settings = TrainSettings(
        alpha=0.25,
        input_resolution=small_backbone.choice.input_resolution,
        weights=str(small_backbone.weights.path),
        split=SplitSettings(0.4, 0.2),
        fitting=FitSettings(epochs=3, learning_rate=0.01, batch_size=16),
        targets=Targets("red", sensitivity=0.8),
        screening=True,
    )
    result = train(drawn, base / "run", settings, cache=base / "cache")
    model = result.screening_files["int8"]
    folder = base / "test"
    draw_images(folder / "images", drawn)
    deploy_web(model, folder / "site", title="Colours")
    deploy_web(result.files["int8"], folder / "other", title="Other colours")
    strict = base / "strict.tflite"
    strict.write_bytes(with_card_fields(model.read_bytes(), {"score_threshold": 1.0}))
    deploy_web(strict, folder / "strict", title="Colours")
    deploy_web(model, folder / "one.html", title="Colours", single_file=True)
    assert main([str(model), str(folder / "images"), "--output", str(folder / "results.csv")]) == 1
    for index in range(3):
        shutil.move(drawn / "red" / f"{index:03}.png", drawn / "blue" / f"red-{index}.png")
    earlier = folder / "earlier.csv"
    # Of another image, and of one that is here: a table that fits none is refused.
    digest = hashlib.sha256((drawn / "red" / "100.png").read_bytes()).hexdigest()
    earlier.write_text(f"digest,label,by\n{'0' * 64},red,Eve\n{digest},red,Eve\n")
    data = DataSettings(corrections=earlier)
    review(drawn, folder / "review", replace(settings, data=data), cache=base / "cache")
    more = draw_folder(base / "more", {"blue": 20, "red": 20}, seed=8)
    choose_images(drawn, more, folder / "next", settings, 6, cache=base / "cache")
    return folder


def draw_images(folder, drawn):
    """Of every kind that browsers decode; a part of them as Pillow does, to the last bit."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    folder.mkdir(parents=True)
    random = np.random.default_rng(2)
    for label in ("red", "blue"):
        shutil.copy(drawn / label / "000.png", folder / f"{label}.png")
    image = Image.open(drawn / "red" / "001.png").resize((300, 200))
    image.save(folder / "photograph.jpg", quality=92, subsampling=0)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "turned.jpg", quality=92, subsampling=0, exif=exif)
    noise = Image.fromarray(random.integers(0, 256, (30, 40, 3), np.uint8))
    noise.resize((2000, 1500), Image.Resampling.BICUBIC).save(folder / "large.jpg", quality=90)
    image.convert("P").save(folder / "palette.gif")
    image.convert("L").save(folder / "grey.png")
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(np.tile(np.uint8([[0, 255]]), (200, 150))))
    clear.save(folder / "clear.png")
    (folder / "broken.png").write_bytes(b"no image")
    (folder / "empty.jpg").touch()
    Image.new("RGB", (8000, 6300), (200, 30, 60)).save(folder / "large.png")
    frames = [Image.new("P", (60, 40), shade) for shade in (40, 200)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:], duration=50)
    values = (np.arange(64 * 48).reshape(64, 48) * 20 % 4096).astype(np.uint16)
    for name, changes in {
        "grey": {},
        "window": {"WindowCenter": "1000\\40", "WindowWidth": "700\\80"},
        "inverted": {"PhotometricInterpretation": "MONOCHROME1"},
        "rescaled": {
            "RescaleSlope": "2",
            "RescaleIntercept": "-1024",
            "WindowCenter": "500",
            "WindowWidth": "3000",
            "VOILUTFunction": "SIGMOID",
        },
        "padded": {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 100},
        # A rescale that changes nothing, of bytes that leave out both ends of their range.
        "plain": {
            "RescaleSlope": "1",
            "RescaleIntercept": "0",
            "PixelData": (values % 64 + 60).astype(np.uint8).tobytes(),
            "BitsAllocated": 8,
            "BitsStored": 8,
            "HighBit": 7,
        },
    }.items():
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{len(name)}"
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = FileDataset(str(folder / f"{name}.dcm"), {}, file_meta=meta, preamble=b"\0" * 128)
        data.Rows, data.Columns = values.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 12, 11
        data.PixelRepresentation = 0
        data.PixelData = values.tobytes()
        for key, value in changes.items():
            setattr(data, key, value)
        data.save_as(folder / f"{name}.dcm", enforce_file_format=True)


@pytest.mark.slow
@pytest.mark.tf
def test_the_page_in_a_browser(material):
    if not Path(CHROMIUM).exists():
        pytest.skip(f"{CHROMIUM} is not installed: the page is tested in it (KIT_CHROMIUM)")
    done = npm(
        *("test", "--", "tests/browser.test.ts", "tests/review.test.ts"),
        KIT_WEB_TEST=str(material),
        KIT_CHROMIUM=CHROMIUM,
    )
    assert re.search(r"Tests +\d\d passed", re.sub(r"\x1b\[\d+m", "", done)), done[-3000:]
