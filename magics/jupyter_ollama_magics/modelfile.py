"""Modelfiles: reading them, printing them, and turning them into requests to create a model."""

from __future__ import annotations

import codecs
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .parameters import LEGACY_PARAMETERS, TYPES

_COMMANDS = (
    "from",
    "license",
    "template",
    "system",
    "adapter",
    "draft",
    "renderer",
    "parser",
    "parameter",
    "message",
    "requires",
)
_FILES = {
    "from": ("files", "file or folder"),
    "adapter": ("adapters", "adapter"),
    "draft": ("draft_files", "draft model"),
}
"""Commands that name files: the field of the request that takes them, and what they are."""

_ROLES = ("system", "user", "assistant")
_WEIGHTS = (
    "model*.safetensors",
    "adapter*.safetensors",
    "consolidated*.safetensors",
    "pytorch_model*.bin",
    "consolidated*.pth",
    "*.gguf",
    "*.bin",
)
_SPLIT = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf")
_COMPANIONS = ("*.json", "*/*.json", "tokenizer.model", "vocab.txt", "chat_template.jinja")


class InvalidModelfile(ValueError):
    """A Modelfile with a fault; the text says what and in which line."""


class Command(NamedTuple):
    """One statement. ``key`` is the name of a PARAMETER or the role of a MESSAGE."""

    keyword: str
    argument: str
    key: str = ""

    def __str__(self) -> str:
        words = [self.keyword.upper(), self.key, _quoted(self.argument)]
        return " ".join(word for word in words if word)


class LocalFile(NamedTuple):
    """A file to upload: ``body[field][name]`` of the request wants its digest."""

    field: str
    name: str
    path: Path


@dataclass(frozen=True)
class Modelfile:
    """The statements of a Modelfile in order."""

    commands: list[Command]

    def __str__(self) -> str:
        return "".join(f"{command}\n" for command in self.commands)

    def to_request(self, base_dir: Path) -> tuple[dict[str, Any], list[LocalFile]]:
        """Return the body of a create request without digests, and the files it still needs.

        Paths count from ``base_dir``. Raises InvalidModelfile.
        """
        body: dict[str, Any] = {}
        files: list[LocalFile] = []
        for command in self.commands:
            if command.keyword in _FILES:
                field, what = _FILES[command.keyword]
                path = _existing_path(base_dir, command.argument)
                if path:
                    files += _local_files(field, path, {file.name for file in files})
                elif command.keyword == "from" and not _is_path(command.argument):
                    body["from"] = command.argument
                else:
                    raise InvalidModelfile(f"no such {what}: {command.argument}")
            else:
                _apply(body, command)
        return body, files


def parse(text: str | bytes) -> Modelfile:
    """Read a Modelfile in UTF-8, or UTF-16 with a byte order mark. Raises InvalidModelfile."""
    commands = list(_statements(_decoded(text)))
    if not any(command.keyword == "from" for command in commands):
        raise InvalidModelfile("no FROM line")
    return Modelfile(commands)


def _decoded(text: str | bytes) -> str:
    if isinstance(text, str):
        return text.removeprefix("\ufeff")
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return text.decode("utf-16", "replace")
    return text.removeprefix(codecs.BOM_UTF8).decode("utf-8", "replace")


_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\r\n]*)*")
_WORD = re.compile(r"[A-Za-z]*")
_KEY = re.compile(r"[A-Za-z0-9_]*")
_LINE = re.compile(r"[^\r\n]*")


def _statements(text: str) -> Iterator[Command]:
    at = _end(_BLANK, text, 0)
    while at < len(text):
        start = at
        at = _end(_WORD, text, start)
        keyword = text[start:at].lower()
        if at == len(text):
            raise InvalidModelfile("unexpected EOF")
        if keyword not in _COMMANDS or text[at] not in " \t":
            raise _fault(text, start, f"command must be one of {_listed(_COMMANDS)}")
        key = ""
        if keyword in ("parameter", "message"):
            key, at = _key(text, at)
        if keyword == "message" and key not in _ROLES:
            raise _fault(text, start, f"message role must be one of {_listed(_ROLES)}")
        argument, at = _argument(text, at)
        yield Command(keyword, argument, key)
        at = _end(_BLANK, text, at)


def _key(text: str, at: int) -> tuple[str, int]:
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    end = _end(_KEY, text, at)
    if text[end : end + 1] not in (" ", "\t"):
        raise InvalidModelfile("unexpected EOF")
    return text[at:end], end


def _argument(text: str, at: int) -> tuple[str, int]:
    """Read to the end of the line, or of the line that ends by closing the quote opened here."""
    while text[at : at + 1] in (" ", "\t"):
        at += 1
    quote = next((quote for quote in ('"""', '"') if text.startswith(quote, at)), "")
    start = at + len(quote)
    while True:
        at = _end(_LINE, text, at)
        end = start + len(text[start:at].rstrip(" \t")) if not quote else _closing(text, at, quote)
        if end >= start:
            found = text[start:end]
            return found if quote else _printable(found), at
        if at == len(text):
            raise InvalidModelfile("unexpected EOF")
        at += 1


def _closing(text: str, line_end: int, quote: str) -> int:
    """Where the quote begins that ends a line, or -1."""
    while text[line_end - 1] in " \t":
        line_end -= 1
    return line_end - len(quote) if text.endswith(quote, 0, line_end) else -1


def _printable(text: str) -> str:
    return "".join(character for character in text if character.isprintable() or character == "\t")


def _quoted(text: str) -> str:
    if text and text.isprintable() and text == text.strip() and text[0] != '"':
        return text
    return f'"""{text}"""' if '"' in text else f'"{text}"'


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    match = pattern.match(text, at)
    return match.end() if match else at


def _fault(text: str, at: int, message: str) -> InvalidModelfile:
    return InvalidModelfile(f"(line {text.count(chr(10), 0, at) + 1}): {message}")


def _listed(words: tuple[str, ...]) -> str:
    quoted = [f'"{word}"' for word in words]
    return f"{', '.join(quoted[:-1])}, or {quoted[-1]}"


def _apply(body: dict[str, Any], command: Command) -> None:
    match command.keyword:
        case "template" | "system" | "renderer" | "parser":
            body[command.keyword] = command.argument
        case "license":
            body.setdefault("license", []).append(command.argument)
        case "message":
            message = {"role": command.key, "content": command.argument}
            body.setdefault("messages", []).append(message)
        case "requires":
            version = command.argument.removeprefix("v")
            if not re.fullmatch(r"\d+(\.\d+){0,2}([-+][0-9A-Za-z.+-]+)?", version):
                raise InvalidModelfile("requires must be a valid semver (e.g. 0.14.0)")
            body["requires"] = version
        case "parameter":
            _apply_parameter(body, command.key, command.argument)


_ELEMENTS = {"an array of strings": "string", "an array of numbers": "float32"}
"""The type of the elements of lists, which take a line each."""


def _apply_parameter(body: dict[str, Any], name: str, text: str) -> None:
    if name in LEGACY_PARAMETERS:
        return
    if name not in TYPES:
        raise InvalidModelfile(f"unknown parameter '{name}'")
    parameters = body.setdefault("parameters", {})
    if element := _ELEMENTS.get(TYPES[name]):
        parameters.setdefault(name, []).append(_typed(element, text))
    else:
        parameters[name] = _typed(TYPES[name], text)


def _typed(kind: str, text: str) -> int | float | bool | str:
    if kind == "string":
        return text
    if kind == "integer" and re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        return int(text)
    if kind == "boolean":
        if text in ("1", "t", "T", "true", "TRUE", "True"):
            return True
        if text in ("0", "f", "F", "false", "FALSE", "False"):
            return False
    if kind == "float32":
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if math.isfinite(number):
            return number
    short = {"integer": "int", "float32": "float", "boolean": "bool"}[kind]
    raise InvalidModelfile(f"invalid {short} value [{text}]")


def _is_path(argument: str) -> bool:
    """Tell whether an argument can only be meant as a path, for no model is named so."""
    return argument.startswith((".", "/", "~")) or "\\" in argument


def _existing_path(base_dir: Path, argument: str) -> Path | None:
    try:
        path = base_dir / Path(argument).expanduser()
        return path if argument and path.exists() else None
    except (OSError, RuntimeError):  # too long for a path, or the home of nobody
        return None


def _local_files(field: str, path: Path, taken: set[str]) -> list[LocalFile]:
    if not path.is_dir():
        return [LocalFile(field, _free(part.name, taken), part) for part in _parts(path)]
    weights: list[Path] = next(
        (found for pattern in _WEIGHTS if (found := sorted(path.glob(pattern)))), []
    )
    if not weights:
        raise InvalidModelfile("no Modelfile or safetensors files found")
    paths = list(weights)
    if weights[0].suffix == ".safetensors":
        paths += [other for pattern in _COMPANIONS for other in sorted(path.glob(pattern))]
    inside = path.resolve()
    for file in paths:
        if not file.resolve().is_relative_to(inside):
            raise InvalidModelfile(f"insecure path: {file}")
    return [LocalFile(field, _free(p.relative_to(path).as_posix(), taken), p) for p in paths]


def _parts(path: Path) -> list[Path]:
    """All parts of a split GGUF, of which one is given."""
    found = _SPLIT.fullmatch(path.name)
    if not found:
        return [path]
    names = (f"{found[1]}-{n:05}-of-{found[2]}.gguf" for n in range(1, int(found[2]) + 1))
    return [part for name in names if (part := path.with_name(name)).exists()]


def _free(name: str, taken: set[str]) -> str:
    """A name that no other file of the request has: files of equal names get folders."""
    folders = (f"{number}/{name}" for number in range(2, len(taken) + 3))
    free = next(candidate for candidate in (name, *folders) if candidate not in taken)
    taken.add(free)
    return free
