"""Model names: grammar, defaults, and the path of the manifest in the store."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePath

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_PARTS = {
    # Ollama takes hosts of 350 characters, file systems take names of 255.
    "host": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,254}"),
    "namespace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}"),
    "model": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}"),
}


class InvalidName(ValueError):
    """A text that is not a model name."""


@dataclass(frozen=True)
class ModelName:
    """A complete model name. All parts are valid, so its path never leaves the store."""

    host: str
    namespace: str
    model: str
    tag: str
    scheme: str = field(default="https", compare=False, repr=False)

    def __post_init__(self) -> None:
        for part, pattern in _PARTS.items():
            if not pattern.fullmatch(getattr(self, part)):
                raise InvalidName("invalid model name")
        if self.scheme not in ("http", "https"):
            raise InvalidName("invalid model name")

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read ``[scheme://][host/][namespace/]model[:tag]``, filling in the defaults.

        The source suffix ``:local`` is dropped; ``:cloud`` becomes part of the tag, under which
        Ollama keeps such models. Raises InvalidName.
        """
        rest = _without_source(text.strip())
        tag = DEFAULT_TAG
        if rest.rfind(":") > rest.rfind("/"):
            rest, _, tag = rest.rpartition(":")
        before, slash, model = rest.rpartition("/")
        if not slash:
            return cls(DEFAULT_HOST, DEFAULT_NAMESPACE, model, tag)
        address, slash, namespace = before.rpartition("/")
        if not slash:
            return cls(DEFAULT_HOST, namespace, model, tag)
        scheme, separator, host = address.partition("://")
        if not separator:
            return cls(address, namespace, model, tag)
        return cls(host, namespace, model, tag, scheme.lower())

    @property
    def display(self) -> str:
        """The name in lists: without default host and namespace, always with its tag."""
        short = f"{self.model}:{self.tag}"
        if self.host.lower() != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{short}"
        if self.namespace.lower() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{short}"
        return short

    @property
    def qualified(self) -> str:
        """The name with all four parts."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def parts(self) -> tuple[str, str, str, str]:
        """Host, namespace, model and tag."""
        return self.host, self.namespace, self.model, self.tag

    def matches(self, text: str) -> bool:
        """Return whether a text is this name, compared without case; False for an invalid name."""
        try:
            return ModelName.parse(text).qualified.lower() == self.qualified.lower()
        except InvalidName:
            return False

    @property
    def path(self) -> PurePath:
        """The path of the manifest below the folder of manifests."""
        return PurePath(*self.parts)


def _without_source(text: str) -> str:
    base, source = _split_source(text)
    if not source:
        return text
    if _split_source(base)[1]:
        raise InvalidName(f'use either :local or :cloud, not both: "{text}"')
    if source == "local":
        return base
    has_tag = base.rfind(":") > base.rfind("/")
    return f"{base}-cloud" if has_tag else f"{base}:cloud"


def _split_source(text: str) -> tuple[str, str]:
    base, colon, suffix = text.rpartition(":")
    suffix = suffix.lower()
    if colon and suffix in ("local", "cloud"):
        return base, suffix
    if colon and "/" not in suffix and suffix.endswith("-cloud"):
        return text[: -len("-cloud")], "cloud"
    return text, ""
