"""The key of an upstream: read when it is used, so that a new one needs no restart."""

from __future__ import annotations

import os
from pathlib import Path

from .failure import Kind, UpstreamFailure
from .spec import UpstreamSpec

LONGEST_KEY = 2**14
"""Bytes of a file with a key: signed tokens have some thousand."""


def key_of(spec: UpstreamSpec) -> str:
    """Return the key, "" for none. Raises UpstreamFailure where it cannot be read."""
    if spec.key_env:
        key = os.environ.get(spec.key_env, "").strip()
        return _checked(spec, key, f"the variable of {spec.name}.key_env")
    if spec.key_file:
        what = f"the file of {spec.name}.key_file"
        try:
            with Path(spec.key_file).expanduser().open("rb") as file:
                key = file.read(LONGEST_KEY).decode("ascii").strip()
        except (OSError, UnicodeDecodeError):
            raise _unreadable(spec, f"{what} cannot be read") from None
        return _checked(spec, key, what)
    return spec.key


def _checked(spec: UpstreamSpec, key: str, what: str) -> str:
    if not key or not key.isascii() or not key.isprintable():
        raise _unreadable(spec, f"{what} holds no key")
    return key


def _unreadable(spec: UpstreamSpec, message: str) -> UpstreamFailure:
    return UpstreamFailure(Kind.FAULTY, 502, f'upstream "{spec.name}": {message}')
