"""`kit deploy web`: a page that labels images in a browser, on the device, without a network.

The page itself is made of `web/` by `make web`, and travels in the package. Here it gets the model,
its settings, and a service worker that knows every file of this very site.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from kit import __version__
from kit.choices import WEB_LANGUAGES
from kit.deploy.checked import checked_model
from kit.errors import DeploymentError, ModelFileError
from kit.files import check_absent, check_spares, folder_beside, size_of, write_beside
from kit.inline import json_for_script, source_of
from kit.runtime.interpreter import Runner

_MODEL = "model.tflite"
_PAGE, _STYLE, _SCRIPT = "index.html", "style.css", "page.js"
_WORKER, _WORKER_MANIFEST = "service_worker.js", "__MANIFEST__"
_APP_MANIFEST = "manifest.webmanifest"
_PACKED = "litert.wasm.packed"
_DTYPES = ("float32", "uint8")


@dataclass(frozen=True)
class WebDeployment:
    """A page that was written.

    Attributes:
        output: the folder, or the file.
        size_bytes: size of all of it.
    """

    output: Path
    size_bytes: int


def deploy_web(
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    title: str = "",
    language: str = WEB_LANGUAGES[0],
    single_file: bool = False,
    force: bool = False,
) -> WebDeployment:
    """Writes a page with a model, complete or not at all.

    Args:
        model: a .tflite file with a card.
        output: the folder for a web server, or the HTML file.
        title: of the page; empty: the model's labels.
        language: one of kit.choices.WEB_LANGUAGES, in which the page opens; its user can change it.
        single_file: put everything into one HTML file, which needs no server.
        force: replace what is there.

    Raises:
        ModelFileError: the model's input or output is of a type that browsers lack; or, as
            InferenceError, see kit.deploy.checked.
        DeploymentError: this copy of the kit is without the page.
        OutputExistsError: the output exists, or is or holds the model.
        ValueError: an unknown language.
    """
    if language not in WEB_LANGUAGES:
        raise ValueError(f"expected a language of {', '.join(WEB_LANGUAGES)}, got {language!r}")
    check_absent(output, force)
    check_spares(output, model)
    file = checked_model(model)
    assert file.card is not None  # it was checked
    runner = Runner(file.path)
    if {runner.input.dtype, runner.output.dtype} - {*_DTYPES}:
        raise ModelFileError(
            f"{file.path}: expected an input and an output of {' or '.join(_DTYPES)}, which LiteRT "
            f"for browsers has, got {runner.input.dtype} and {runner.output.dtype}: convert the "
            "network with kit convert"
        )
    built = _built()
    content = file.path.read_bytes()
    labels = ", ".join(file.card.labels[:4]) + (", …" if len(file.card.labels) > 4 else "")
    settings = {"title": title or labels, "language": language, "kit": __version__}
    if single_file:
        whole = _single_page(built, settings, content).encode()
        write_beside(output, whole, force)
        return WebDeployment(Path(output), len(whole))
    with folder_beside(output, force) as folder:
        shutil.copytree(built / "site", folder, dirs_exist_ok=True)
        (folder / _MODEL).write_bytes(content)
        (folder / _PAGE).write_text(_page(built, settings), encoding="utf-8")
        (folder / _APP_MANIFEST).write_text(_app_manifest(settings), encoding="utf-8")
        worker = (folder / _WORKER).read_text(encoding="utf-8")
        (folder / _WORKER).unlink()
        (folder / _WORKER).write_text(
            worker.replace(_WORKER_MANIFEST, _worker_manifest(folder)), encoding="utf-8"
        )
        size = size_of(folder)
    return WebDeployment(Path(output), size)


def _built() -> Path:
    folder = Path(str(files("kit.deploy").joinpath("web_files")))
    if not (folder / "site" / _SCRIPT).is_file():
        raise DeploymentError(
            f"expected the built page in {folder}, this copy of the kit is without it: make web "
            "builds it in a checkout, and a wheel of the kit has it"
        )
    return folder


def _page(built: Path, settings: Mapping[str, str]) -> str:
    page = (built / "site" / _PAGE).read_text(encoding="utf-8")
    page = _replaced(page, '<html lang="en">', f'<html lang="{settings["language"]}">')
    return _replaced(page, 'id="settings">{}<', f'id="settings">{json_for_script(settings)}<')


def _app_manifest(settings: Mapping[str, str]) -> str:
    """By the W3C's Web Application Manifest."""
    icons = [
        {"src": f"icon-{side}.png", "sizes": f"{side}x{side}", "type": "image/png"}
        for side in (192, 512)
    ]
    manifest = {
        "name": settings["title"],
        "short_name": settings["title"][:30],
        "lang": settings["language"],
        "start_url": "./",
        "scope": "./",
        "display": "standalone",
        "background_color": "#fcfcfa",
        "theme_color": "#0b67b2",
        "icons": icons,
    }
    return json.dumps(manifest, ensure_ascii=False, indent=1)


def _worker_manifest(folder: Path) -> str:
    """Every file of the site and a version of all of them, as text for a string in JavaScript."""
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\n".encode())
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    # The page by the address that people open: under its own name some servers redirect to it.
    stored = ["./", *(name for name in names if name != _PAGE)]
    manifest = {"version": digest.hexdigest()[:16], "files": stored}
    return json.dumps(manifest).replace("\\", "\\\\").replace('"', '\\"')


def _single_page(built: Path, settings: Mapping[str, str], model: bytes) -> str:
    """All in one: nothing is fetched, so that it also works from a stick or a mail."""
    site = built / "site"
    script = (
        (built / "single" / _SCRIPT).read_text(encoding="utf-8").replace("</script", "<\\/script")
    )
    style = (site / _STYLE).read_text(encoding="utf-8")
    policy = "; ".join(
        (
            "default-src 'none'",
            # LiteRT's own script is taken out of the page and run from a blob.
            f"script-src '{source_of(script)}' blob: 'wasm-unsafe-eval'",
            f"style-src '{source_of(style)}'",
            *("img-src blob: data:", "media-src blob:", "base-uri 'none'", "form-action 'none'"),
        )
    )
    # The page unpacks each once, and this one once more, as where it lies beside the page.
    embedded = {_MODEL: model, **{n: (site / n).read_bytes() for n in ("litert.js", _PACKED)}}
    data = "\n".join(
        f'<script type="text/plain" id="{name}">{_packed(content)}</script>'
        for name, content in embedded.items()
    )
    page = _page(built, settings)
    page = re.sub(r"<link rel=[^>]*>\n", "", page)
    page = re.sub(r'(http-equiv="Content-Security-Policy" content=)"[^"]*"', rf'\1"{policy}"', page)
    page = _replaced(
        page, '<script type="module" src="page.js"></script>\n', f"<style>{style}</style>\n"
    )
    return _replaced(page, "</body>", f"{data}\n<script>{script}</script>\n</body>")


def _packed(content: bytes) -> str:
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _replaced(text: str, old: str, new: str) -> str:
    if text.count(old) != 1:
        raise DeploymentError(f"expected {old!r} once in the built page: make web builds it again")
    return text.replace(old, new)
