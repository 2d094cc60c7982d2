"""`kit serve`: a page of `kit deploy web` on this machine and its network, to try it."""

from __future__ import annotations

import os
import socket
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from kit.errors import DeploymentError, MissingDependencyError, in_words

_DAYS = 30


_TYPES = {
    ".js": "text/javascript",
    ".wasm": "application/wasm",
    ".webmanifest": "application/manifest+json",
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing of a client that goes away, or that the certificate puts off."""


class _Handler(SimpleHTTPRequestHandler):
    timeout = 30  # seconds, for a client that says nothing

    def guess_type(self, path: str | os.PathLike[str]) -> str:
        """As browsers want it, whatever this system's own table says."""
        return _TYPES.get(Path(path).suffix) or super().guess_type(path)

    def end_headers(self) -> None:
        # Another site may be put there, or served from here next; the page keeps its own copy.
        self.send_header("Cache-Control", "no-store")
        super().end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Says nothing of each file."""


def open_server(
    site: str | os.PathLike[str], port: int, *, https: bool = False
) -> ThreadingHTTPServer:
    """A server that is ready to serve a folder to this machine and its network.

    Args:
        site: a folder of `kit deploy web`.
        port: 0 takes any that is free.
        https: encrypt, with a new self-signed certificate.

    Raises:
        DeploymentError: there is no page in the folder, or the port cannot be had.
        MissingDependencyError: `cryptography` is missing, which makes the certificate.
    """
    folder = Path(site)
    if not (folder / "index.html").is_file():
        raise DeploymentError(
            f"{folder}: expected a folder with a page, found none: kit deploy web writes one"
        )
    context = _context() if https else None
    try:
        server = _Server(("", port), partial(_Handler, directory=str(folder)))
    except OSError as error:
        raise DeploymentError(
            f"expected to listen on port {port}, it cannot be had ({in_words(error)}): choose "
            "another --port"
        ) from error
    if context is not None:
        # Each client's handshake in a thread of its own: one that says nothing must not stop all.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    return server


def told(port: int, https: bool) -> tuple[str, ...]:
    """Where the page is, and what a phone needs."""
    scheme = "https" if https else "http"
    lines = [f"on this machine: {scheme}://localhost:{port}/"]
    address = network_address()
    if address is not None:
        lines.append(f"on its network:  {scheme}://{address}:{port}/")
    if https:
        lines.append(
            "browsers warn of the certificate, which nobody but this machine vouches for: go on"
        )
    elif address is not None:
        lines.append(
            "browsers give a page the camera only on the same machine or by HTTPS (--https), and "
            "keep it for later only with a certificate that they trust"
        )
    return (*lines, "Ctrl-C ends it")


def network_address() -> str | None:
    """This machine's address in its network; None where there is none. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # set aside for documentation (RFC 5737)
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if ip_address(address).is_loopback else address


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory(prefix="kit-") as folder:
        path = Path(folder, "certificate.pem")
        path.write_bytes(_certificate())
        context.load_cert_chain(path)
    return context


def _certificate() -> bytes:
    """A new key and a certificate for this machine's names, PEM, for a month."""
    try:
        x509 = import_module("cryptography.x509")
        hashes = import_module("cryptography.hazmat.primitives.hashes")
        serialization = import_module("cryptography.hazmat.primitives.serialization")
        ec = import_module("cryptography.hazmat.primitives.asymmetric.ec")
    except ImportError as error:
        raise MissingDependencyError(
            "expected cryptography to make a certificate: pip install 'mobilenet-kit[sign]'"
        ) from error
    key = ec.generate_private_key(ec.SECP256R1())
    own = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mobilenet-kit")])
    addresses = ["127.0.0.1", *filter(None, [network_address()])]
    names = [
        x509.DNSName("localhost"),
        *(x509.IPAddress(ip_address(address)) for address in addresses),
    ]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(own)
        .issuer_name(own)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))  # clocks of phones differ
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
