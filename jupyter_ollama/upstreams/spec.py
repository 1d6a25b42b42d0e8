"""An entry of the setting ``upstreams``: the address of a server, its key, and what it offers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from ..library.name import InvalidName, ModelName

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
CAPABILITIES = ("completion", "tools", "vision", "audio", "thinking", "insert", "embedding")
WILDCARDS = frozenset("*?[")
MOST_SLOTS = 10_000


@dataclass(frozen=True)
class UpstreamSpec:
    """The settings of one upstream; seconds of None are those of the server's settings.

    ``names`` maps names of this server to names of the upstream, ``patterns`` choose among the
    names that it lists; with neither all of them are offered. ``capabilities`` maps patterns of
    names to capabilities.
    """

    name: str
    url: str
    api: Literal["ollama", "openai"]
    key: str = field(default="", repr=False)
    key_env: str = ""
    key_file: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    patterns: tuple[str, ...] = ("*",)
    capabilities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    weight: float = 1.0
    concurrent: int = 32
    thinking: Literal["effort", "template"] = "effort"
    connect_seconds: float | None = None
    first_seconds: float | None = None
    pause_seconds: float | None = None


def read_spec(name: Any, given: Any) -> UpstreamSpec:
    """Return the upstream of an entry. Raises ValueError that names the faulty field."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name: letters, digits, '-', '_' and '.' are allowed")
    if not isinstance(given, Mapping):
        raise ValueError(f"{name} is not a dict")
    fields: dict[str, Any] = {}
    for key, value in given.items():
        reader = _READERS.get(key)
        if reader is None:
            known = ", ".join(_READERS)
            raise ValueError(f"{name} has the unknown field {key!r} (known: {known})")
        try:
            fields |= reader(key, value)
        except ValueError as error:
            raise ValueError(f"{name}.{key} {error}") from None
    for needed in ("url", "api"):
        if needed not in fields:
            raise ValueError(f"{name}.{needed} is missing")
    keys = [key for key in ("key", "key_env", "key_file") if key in fields]
    if len(keys) > 1:
        raise ValueError(f"{name}.{keys[1]} and {name}.{keys[0]} exclude each other")
    fields["url"] = base_url(fields["url"], fields["api"])
    return UpstreamSpec(name, **fields)


def base_url(url: str, api: str) -> str:
    """Return the address below which the paths of an API are: without /api, with /v1."""
    url = url.rstrip("/")
    if api == "ollama":
        return url.removesuffix("/api")
    return url if urlsplit(url).path else f"{url}/v1"


def _url(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, str) or not re.match(r"https?://", value):
        raise ValueError("must be a text that begins with http:// or https://")
    try:
        parts = urlsplit(value)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError("is no address")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must have no user and password: give a key")
    if parts.query or parts.fragment:
        raise ValueError("must have no query and no fragment")
    return {key: value}


def _choice(*choices: str) -> Callable[[str, Any], dict[str, Any]]:
    def read(key: str, value: Any) -> dict[str, Any]:
        if value not in choices:
            raise ValueError(f"must be {' or '.join(map(repr, choices))}")
        return {key: value}

    return read


def _text(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text that is not empty")
    if not value.isascii() or not value.isprintable():
        raise ValueError("must have printable ASCII characters only")
    return {key: value}


def _number(
    least: float, most: float, kind: type[int] | type[float]
) -> Callable[[str, Any], dict[str, Any]]:
    def read(key: str, value: Any) -> dict[str, Any]:
        whole = "a whole number" if kind is int else "a number"
        right = type(value) is int or (kind is float and type(value) is float)
        if not right or not least <= value <= most:
            raise ValueError(f"must be {whole} from {least:g} to {most:g}")
        return {key: kind(value)}

    return read


def _models(key: str, value: Any) -> dict[str, Any]:
    """Read a list of names and patterns, or a mapping of names here to names there."""
    if isinstance(value, Mapping):
        names = dict(value)
        patterns: list[Any] = []
    elif isinstance(value, list | tuple):
        patterns = [one for one in value if isinstance(one, str) and WILDCARDS & {*one}]
        names = {one: one for one in value if one not in patterns}
    else:
        raise ValueError("must be a list of names and patterns, or a dict: name here -> name there")
    if not names and not patterns:
        raise ValueError("must not be empty; without it all models are offered")
    for ours, theirs in names.items():
        if not isinstance(ours, str) or not isinstance(theirs, str) or not theirs:
            raise ValueError("must have texts only")
        try:
            ModelName.parse(ours)
        except InvalidName:
            raise ValueError(
                f"has {ours!r}, which is no name of a model here: "
                'map one to it, {"name": "their name"}'
            ) from None
    return {"names": names, "patterns": tuple(patterns)}


def _capabilities(key: str, value: Any) -> dict[str, Any]:
    """Read a list for all models, or a mapping of patterns to lists."""
    table = value if isinstance(value, Mapping) else {"*": value}
    for pattern, found in table.items():
        texts = isinstance(found, list | tuple) and all(one in CAPABILITIES for one in found)
        if not isinstance(pattern, str) or not texts:
            raise ValueError(
                f"must be a list, or a dict of patterns to lists, of {', '.join(CAPABILITIES)}"
            )
    return {key: {pattern: tuple(found) for pattern, found in table.items()}}


_READERS: dict[Any, Callable[[str, Any], dict[str, Any]]] = {
    "url": _url,
    "api": _choice("ollama", "openai"),
    "key": _text,
    "key_env": _text,
    "key_file": _text,
    "models": _models,
    "capabilities": _capabilities,
    "weight": _number(0.001, 1000, float),
    "concurrent": _number(1, MOST_SLOTS, int),
    "thinking": _choice("effort", "template"),
    "connect_seconds": _number(0.1, 600, float),
    "first_seconds": _number(0.1, 86400, float),
    "pause_seconds": _number(0.1, 86400, float),
}
