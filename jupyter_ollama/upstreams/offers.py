"""The models that an upstream offers here, by the names that they have here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..library.name import InvalidName, ModelName
from .spec import UpstreamSpec
from .task import Listed

_EMBEDS = re.compile(r"embed|minilm|(^|[/_-])(bge|e5|gte)[-_]", re.IGNORECASE)
_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")
_LONGEST = 80


@dataclass(frozen=True)
class Offer:
    """A model: its name here, and what the upstream says about it.

    ``capabilities`` are a guess unless ``is_certain``.
    """

    name: ModelName
    listed: Listed
    capabilities: tuple[str, ...]
    is_certain: bool


def key_of(name: ModelName) -> str:
    """Return the name by which models are found, whatever its case."""
    return name.qualified.lower()


def named_offers(spec: UpstreamSpec, listed: Iterable[Listed] | None) -> dict[str, Offer]:
    """Return the offers of an upstream by `key_of`; ``listed`` is None while it is unknown.

    Names of the settings are offered although the upstream does not list them, except by Ollama's
    API, whose lists are complete.
    """
    by_name = {one.name: one for one in listed or ()}
    found: dict[str, Offer] = {}
    for ours, theirs in spec.names.items():
        known = _find(by_name, theirs)
        if known is None and listed is not None and spec.api == "ollama":
            continue
        _add(found, spec, ModelName.parse(ours), known or Listed(theirs))
    for one in by_name.values():
        name = name_here(one.name)
        if name is not None and _matches(spec.patterns, one.name, name):
            _add(found, spec, name, one)
    return found


def name_here(theirs: str) -> ModelName | None:
    """Return the name here of a model there, None if none can be made of it.

    One that is no name here, such as the path of a file, is cut to its last part.
    """
    with suppress(InvalidName):
        return ModelName.parse(theirs)
    last = re.split(r"[/\\]", theirs.strip())[-1].removesuffix(".gguf")
    with suppress(InvalidName):
        return ModelName.parse(_FOREIGN.sub("-", last).strip("-.")[:_LONGEST])
    return None


def _find(by_name: dict[str, Listed], theirs: str) -> Listed | None:
    """Return the listed model of a name, which may lack its tag."""
    if theirs in by_name:
        return by_name[theirs]
    return by_name.get(f"{theirs}:latest")


def _matches(patterns: Iterable[str], theirs: str, name: ModelName) -> bool:
    texts = (theirs.lower(), name.display.lower())
    return any(fnmatchcase(text, one.lower()) for text in texts for one in patterns)


def _add(found: dict[str, Offer], spec: UpstreamSpec, name: ModelName, listed: Listed) -> None:
    stated = next(
        (
            capabilities
            for pattern, capabilities in spec.capabilities.items()
            if _matches((pattern,), listed.name, name)
        ),
        listed.capabilities,
    )
    guess = ("embedding",) if _EMBEDS.search(listed.name) else ("completion", "tools")
    offer = Offer(name, listed, guess if stated is None else stated, stated is not None)
    found.setdefault(key_of(name), offer)
