"""Read and print Modelfiles, and convert them to requests that create a model."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .modelfile_syntax import Command, InvalidModelfile, statements
from .parameters import LEGACY_PARAMETERS, TYPES

__all__ = ["Command", "InvalidModelfile", "LocalFile", "Modelfile", "parse"]

_FILES = {
    "from": ("files", "file or folder"),
    "adapter": ("adapters", "adapter"),
    "draft": ("draft_files", "draft model"),
}
"""Commands that name files: the field of the request for them, and their kind in errors."""

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


class LocalFile(NamedTuple):
    """A file to upload: ``body[field][name]`` of the request needs its digest."""

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
        """Return the body of a create request without digests, and the files to upload.

        Paths are relative to ``base_dir``. Raises InvalidModelfile.
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
    """Read a Modelfile.

    Parameters
    ----------
    text : str or bytes
        The content; bytes are in UTF-8, or in UTF-16 with a byte order mark.

    Raises
    ------
    InvalidModelfile
        With the number of the faulty line.

    Examples
    --------
    >>> modelfile = parse("FROM smollm2\\nPARAMETER seed 7")
    >>> modelfile.commands[1]
    Command(keyword='parameter', argument='7', key='seed')
    >>> modelfile.to_request(Path("."))[0]
    {'from': 'smollm2', 'parameters': {'seed': 7}}
    """
    commands = list(statements(text))
    if not any(command.keyword == "from" for command in commands):
        raise InvalidModelfile("no FROM line")
    return Modelfile(commands)


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
"""The type of the elements of lists; each element has its own line."""


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
    """Return whether an argument is a path, since no model can have such a name."""
    return argument.startswith((".", "/", "~")) or "\\" in argument


def _existing_path(base_dir: Path, argument: str) -> Path | None:
    try:
        path = base_dir / Path(argument).expanduser()
        return path if argument and path.exists() else None
    except (OSError, RuntimeError):  # too long for a path, or an unknown home
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
    """Return all parts of the split GGUF that ``path`` belongs to."""
    found = _SPLIT.fullmatch(path.name)
    if not found:
        return [path]
    names = (f"{found[1]}-{n:05}-of-{found[2]}.gguf" for n in range(1, int(found[2]) + 1))
    return [part for name in names if (part := path.with_name(name)).exists()]


def _free(name: str, taken: set[str]) -> str:
    """Return a name that no other file of the request has: files of equal names get folders."""
    folders = (f"{number}/{name}" for number in range(2, len(taken) + 3))
    free = next(candidate for candidate in (name, *folders) if candidate not in taken)
    taken.add(free)
    return free
