"""The release of Ollama that a model requires, compared with the release whose API we speak."""

from __future__ import annotations

import re

from .._version import OLLAMA_API_VERSION, __version__
from ..errors import OllamaError

SPOKEN = f"jupyter-ollama {__version__} speaks the API of Ollama {OLLAMA_API_VERSION}"

_NUMBER = r"0|[1-9]\d*"
_IDENTIFIERS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(
    rf"v?({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?"
    rf"(?:-({_IDENTIFIERS}))?(?:\+{_IDENTIFIERS})?",
    re.ASCII,
)
_LONGEST = 256
"""The most characters of a version; Python refuses to parse numbers of thousands of digits."""

_MENTIONED = re.compile(
    rf"(?<![\w./-])v?\d+\.\d+\.\d+(?:-{_IDENTIFIERS})?(?![\w+-]|\.\w)", re.ASCII
)

Precedence = tuple[tuple[int, int, int], bool, tuple[tuple[bool, int, str], ...]]


def precedence(version: str) -> Precedence | None:
    """Return the precedence of a version by Semantic Versioning 2.0.0, None for other texts.

    A ``v`` in front, and a missing minor or patch number, are accepted as Ollama accepts them.
    Build metadata is ignored; a pre-release precedes its release.
    """
    found = _VERSION.fullmatch(version.strip())
    if not found or len(found[0]) > _LONGEST:
        return None
    major, minor, patch = (int(number or 0) for number in found.groups()[:3])
    pre_release = tuple(map(_identifier, found[4].split("."))) if found[4] else ()
    return (major, minor, patch), not pre_release, pre_release


def _identifier(text: str) -> tuple[bool, int, str]:
    # Numeric identifiers are compared as numbers and precede alphanumeric ones.
    return (False, int(text), "") if text.isdecimal() else (True, 0, text)


def is_newer(requires: str) -> bool:
    """Return whether a required release of Ollama is newer than the one that we speak.

    A text that is not a version requires nothing, as in Ollama.
    """
    wanted, spoken = precedence(requires), precedence(OLLAMA_API_VERSION)
    return wanted is not None and spoken is not None and wanted > spoken


def check_requirement(model: str, requires: str, status: int = 400) -> None:
    """Raise OllamaError with ``status`` if a model requires a newer Ollama than we speak."""
    if is_newer(requires):
        raise OllamaError(
            status,
            f"model '{model}' requires Ollama {requires.strip().removeprefix('v')} or newer, "
            f"but {SPOKEN}; update jupyter-ollama to use it",
        )


def refused_by_registry(text: str) -> str:
    """Return the message for status 412, with which registries refuse old releases.

    ``text`` is the explanation of the registry; a newer version in it is the required one.
    """
    named = next(filter(is_newer, _MENTIONED.findall(text)), "")
    needed = f"Ollama {named.removeprefix('v')}" if named else "a newer Ollama"
    said = f' The registry says: "{text}"' if text else ""
    return (
        f"412: the model requires {needed}, but {SPOKEN}; update jupyter-ollama to pull it.{said}"
    )
