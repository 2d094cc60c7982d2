"""A signature over a whole model file, so that a device runs only what its clinic released.

Ed25519 (S. Josefsson and I. Liusvaara, RFC 8032, 2017), by the `cryptography` package, which the
extra `sign` installs. What is signed are the digests of every part of the file: of the model, of
its labels, of its card. The signature stands beside them in the appended archive.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from kit.errors import KitError, MissingDependencyError, ModelFileError
from kit.files import check_absent, write_beside
from kit.model.model_file import SIGNATURE_NAME, append_files, split_content

_PURPOSE = "mobilenet-kit model signature 1"
PUBLIC_SUFFIX = ".pub"


def make_keys(path: str | os.PathLike[str]) -> Path:
    """Writes a new private key, which its owner alone may read, and the public key beside it.

    Returns the public key's path. Raises OutputExistsError where one of them exists,
    MissingDependencyError where `cryptography` is missing.
    """
    ed25519, serialization = _library()
    public = Path(f"{os.fspath(path)}{PUBLIC_SUFFIX}")
    for file in (Path(path), public):
        check_absent(file, force=False)
    key = ed25519.Ed25519PrivateKey.generate()
    content = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file_:
        file_.write(content)
    write_beside(public, _public_bytes(key.public_key(), serialization), force=False)
    return public


def is_readable_by_others(path: str | os.PathLike[str]) -> bool:
    """Whether others than its owner may read a private key."""
    return os.name == "posix" and bool(Path(path).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO))


def signed(content: bytes, key: str | os.PathLike[str]) -> bytes:
    """A packaged model file with a signature over all of it; an older one is replaced.

    Raises:
        KitError: the key cannot be read.
        ModelFileError: the file has no card, or what is appended to it is damaged or too large.
        MissingDependencyError: `cryptography` is missing.
    """
    ed25519, serialization = _library()
    try:
        private = serialization.load_pem_private_key(Path(key).read_bytes(), None)
    except OSError as error:
        raise KitError(f"{key}: expected a private key: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise KitError(f"{key}: expected a private key of kit sign, without a password") from error
    if not isinstance(private, ed25519.Ed25519PrivateKey):
        raise KitError(f"{key}: expected an Ed25519 key, got another kind: kit sign --new-key KEY")
    model, files = split_content(content)
    files.pop(SIGNATURE_NAME, None)
    signature = {
        "algorithm": "ed25519",
        "public_key": _public_bytes(private.public_key(), serialization).decode(),
        "signature": base64.b64encode(private.sign(_message(model, files))).decode(),
    }
    return append_files(model, {**files, SIGNATURE_NAME: json.dumps(signature).encode()})


def check_signature(path: str | os.PathLike[str], public: str | os.PathLike[str]) -> None:
    """Whether a file is what the owner of a key signed.

    Raises:
        ModelFileError: it has no signature, one of another key, or was changed after it; or what
            is appended to it is damaged or too large.
        KitError: the public key cannot be read.
        MissingDependencyError: `cryptography` is missing.
    """
    ed25519, serialization = _library()
    try:
        key = serialization.load_pem_public_key(Path(public).read_bytes())
    except OSError as error:
        raise KitError(f"{public}: expected a public key: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise KitError(f"{public}: expected a public key of kit sign, got another file") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise KitError(f"{public}: expected an Ed25519 key, got another kind")
    try:
        model, files = split_content(Path(path).read_bytes())
    except OSError as error:
        raise ModelFileError(f"{path}: expected a readable file: {error.strerror}") from error
    stored = files.pop(SIGNATURE_NAME, None)
    if stored is None:
        raise ModelFileError(
            f"{path}: expected a signed model, it has no signature: kit sign MODEL"
        )
    try:
        data = json.loads(stored)
        signature, signer = base64.b64decode(data["signature"]), str(data["public_key"])
    except (ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{path}: expected a signature, got a damaged one") from error
    invalid = import_module("cryptography.exceptions").InvalidSignature
    try:
        key.verify(signature, _message(model, files))
    except invalid as error:
        own = signer == _public_bytes(key, serialization).decode()
        raise ModelFileError(
            f"{path}: expected the model that was signed, it was changed after that"
            if own
            else f"{path}: expected a model signed with the key of {public}, another key signed it"
        ) from error


def _message(model: bytes, files: Mapping[str, bytes]) -> bytes:
    digests = {name: hashlib.sha256(part).hexdigest() for name, part in files.items()}
    whole = {"purpose": _PURPOSE, "model": hashlib.sha256(model).hexdigest(), "files": digests}
    return json.dumps(whole, sort_keys=True).encode()


def _public_bytes(key: Any, serialization: Any) -> bytes:
    content: bytes = key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return content


def _library() -> tuple[Any, Any]:
    """By name, since no device needs it unless it is to check signatures."""
    base = "cryptography.hazmat.primitives"
    try:
        return (
            import_module(f"{base}.asymmetric.ed25519"),
            import_module(f"{base}.serialization"),
        )
    except ImportError as error:
        raise MissingDependencyError(
            "expected the package cryptography to sign models and to check signatures: "
            "pip install 'mobilenet-kit[sign]'"
        ) from error
