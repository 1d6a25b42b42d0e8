"""Changes of JSON, YAML and TOML texts that keep their order, and comments in YAML and TOML."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable, MutableMapping
from typing import Any

Document = MutableMapping[str, Any]
Change = Callable[[Document], None]


class UnreadableError(Exception):
    """A text that is not of its format, or whose comments would be lost. The text says which."""


def changed_json(text: str, change: Change) -> str:
    """Return JSON after a change, in the indentation it has. Raises UnreadableError."""
    try:
        document = json.loads(text) if text.strip() else {}
    except ValueError as error:
        raise UnreadableError(f"it is not plain JSON, or has comments ({error})") from error
    if not isinstance(document, dict):
        raise UnreadableError("it is not a JSON object")
    change(document)
    indent = re.search(r"\n([ \t]+)\S", text)
    new = json.dumps(document, indent=indent[1] if indent else 2, ensure_ascii=False)
    return new + ("\n" if text.endswith("\n") or not text else "")


def changed_yaml(text: str, change: Change) -> str:
    """Return YAML after a change; comments and quotes stay. Raises UnreadableError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedMap
    from ruamel.yaml.error import YAMLError

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 10_000  # long lines stay as they are
    if lists := re.search(r"^[\w-]+:[^\n]*\n( *)- ", text, re.MULTILINE):
        depth = len(lists[1])
        yaml.indent(mapping=2, sequence=depth + 2, offset=depth)
    try:
        document = yaml.load(text)
    except YAMLError as error:
        raise UnreadableError(f"it is not YAML ({' '.join(str(error).split())})") from error
    head = f"{text.rstrip()}\n\n" if document is None and text.strip() else ""  # comments alone
    if document is None:
        document = CommentedMap()
    if not isinstance(document, CommentedMap):
        raise UnreadableError("it is not a YAML mapping")
    change(document)
    written = io.StringIO()
    yaml.dump(document, written)
    return head + written.getvalue()


def changed_toml(text: str, change: Change) -> str:
    """Return TOML after a change; comments and order stay. Raises UnreadableError."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse(text)
    except TOMLKitError as error:
        raise UnreadableError(f"it is not TOML ({error})") from error
    change(document)
    return tomlkit.dumps(document)


FORMATS: dict[str, Callable[[str, Change], str]] = {
    "json": changed_json,
    "yaml": changed_yaml,
    "toml": changed_toml,
}


def submapping(document: Document, *path: str) -> Document:
    """Return the mapping at a path, created where it is missing or is something else."""
    for key in path:
        inner = document.get(key)
        if not isinstance(inner, MutableMapping):
            document[key] = {}
            inner = document[key]
        document = inner
    return document
