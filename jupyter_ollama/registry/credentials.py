"""Credentials for registries: logins from the settings, and Ollama's key for the others."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlencode, urlsplit

from ..errors import OllamaError
from ..library.regular_file import read_regular

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DENIED = "unauthorized: access denied"


def host_of(url: str) -> str:
    """Return host and port of a URL, without user information."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:  # the URL comes from a registry
        return ""


class Challenge(NamedTuple):
    """The challenge in WWW-Authenticate. ``scheme`` is in lower case."""

    scheme: str
    realm: str = ""
    service: str = ""
    scope: str = ""

    @classmethod
    def parse(cls, header: str) -> Challenge:
        """Parse the header; unknown parameters are ignored."""
        scheme, _, rest = header.strip().partition(" ")
        found = {name.lower(): value for name, value in re.findall(r'(\w+)="([^"]*)"', rest)}
        return cls(scheme.lower(), *(found.get(name, "") for name in cls._fields[1:]))

    def token_url(self) -> str:
        """Return the URL of the token request; it has a nonce because it is signed."""
        parts = urlsplit(self.realm)
        query = parse_qsl(parts.query, keep_blank_values=True)
        query += [("service", self.service)]
        query += [("scope", scope) for scope in self.scope.split(" ")]
        query += [("ts", str(int(time.time())))]
        query += [("nonce", secrets.token_urlsafe(16))]
        # Sorted by name, as a server writes the URL that it reassembles.
        encoded = urlencode(sorted(query, key=lambda item: item[0]))
        return parts._replace(query=encoded).geturl()


class Credentials:
    """Logins ``{host: "user:password"}``, and the key file that we share with Ollama."""

    def __init__(self, logins: Mapping[str, str], key_file: Path) -> None:
        self._logins = logins
        self._key_file = key_file

    def basic(self, host: str) -> str | None:
        """Return the Authorization header of the login for a host."""
        login = self._logins.get(host)
        return f"Basic {base64.b64encode(login.encode()).decode()}" if login else None

    def signature(self, method: str, url: str) -> str:
        """Return the Authorization header of a token request to an Ollama registry.

        It has the public key and a signature of the request. Raises OllamaError(500).
        """
        key = self._key()
        body = base64.b64encode(hashlib.sha256(b"").hexdigest().encode()).decode()
        signed = key.sign(f"{method},{url},{body}".encode())
        return f"{_public(key).split(' ')[1]}:{base64.b64encode(signed).decode()}"

    def _key(self) -> Ed25519PrivateKey:
        """Return the key, created on first use."""
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import load_ssh_private_key
        except ImportError:
            raise OllamaError(
                500,
                f"{DENIED} (signing in takes the package cryptography: "
                "pip install 'jupyter-ollama[registry]')",
            ) from None
        if not self._key_file.exists():
            _write_key(self._key_file)
        try:
            key = load_ssh_private_key(read_regular(self._key_file), password=None)
        except (OSError, ValueError, TypeError) as error:
            raise OllamaError(500, f"cannot read the key {self._key_file}: {error}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise OllamaError(500, f"{self._key_file} is not an ed25519 key")
        return key


def _public(key: Ed25519PrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _write_key(path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    key = Ed25519PrivateKey.generate()
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.with_name(f"{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    temp.touch(mode=0o600)
    try:
        temp.write_bytes(secret)
        # Another process may have created one in the meantime: the first wins.
        with contextlib.suppress(FileExistsError):
            os.link(temp, path)
            path.with_name(f"{path.name}.pub").write_text(f"{_public(key)}\n")
    finally:
        temp.unlink()
