"""A model file as llama.cpp reads it, whatever its published layout."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

from ..library.gguf import Header
from .errors import LayoutError
from .pieces import Value, string
from .rules import RULES
from .rules.rule import TOWERS, Rule
from .source import Source
from .view import View
from .virtual_file import VirtualFile

_ONLY_OURS = {"tokenizer.chat_template", "tokenizer.ggml.eos_token_ids"}
"""Keys that llama.cpp does not read, or returns unchanged."""

_LONGEST_OVERRIDE = 127
"""The size of a text in ``llama_model_kv_override`` in bytes."""


class ModelFile:
    """A GGUF with its translation for llama.cpp.

    ``header`` is the header for llama.cpp. ``translation`` is the file in llama.cpp's layout, None
    if it already has that layout. If the two differ in scalars only, ``overrides`` has these and
    the file itself is loaded, else ``view``, the translation, is loaded. ``projector`` is the
    vision tower of the same file. ``OLLAMA_LLAMA_CPP_COMPAT=0`` disables the translation.
    """

    def __init__(self, path: Path) -> None:
        """Read the header. Raises InvalidGGUF, LayoutError or OSError."""
        self.path = path
        self.source = Source(path)
        self.header: Header = self.source.header
        self.translation: VirtualFile | None = None
        self.view: VirtualFile | None = None
        self.overrides: dict[str, Any] = {}
        self.projector: VirtualFile | None = None
        found = self._find_rule()
        if found:
            try:
                self._translate(*found)
            except (struct.error, OverflowError, MemoryError) as error:
                raise LayoutError(f"the file has impossible numbers: {error}") from error
            except LayoutError:
                raise
            except ValueError as error:
                raise LayoutError(str(error)) from error

    @property
    def token_types(self) -> list[int]:
        """The types of the tokens in the file; empty if it has none."""
        key = "tokenizer.ggml.token_type"
        return self.source.array(key) if key in self.source.header.lengths else []

    def _find_rule(self) -> tuple[Rule, View] | None:
        """Return the matching rule and an unedited view of the file."""
        if os.environ.get("OLLAMA_LLAMA_CPP_COMPAT") == "0" or not self.source.is_little_endian:
            return None
        rules = [rule for rule in RULES if self.header.architecture in rule.architectures]
        if not rules:
            return None
        view = View(self.source)
        return next(((rule, view) for rule in rules if rule.fits(view)), None)

    def _translate(self, rule: Rule, original: View) -> None:
        has_tower = any(tensor.name.startswith("v.") for tensor in self.header.tensors)
        if rule.clip and has_tower:
            self.projector = _projector(View(self.source), rule)
        view = View(self.source)
        rule.text(view)
        file = view.file()
        changed = {
            key: value for key, value in view.values.items() if value != original.values.get(key)
        }
        wanted = {key: value for key, value in changed.items() if key not in _ONLY_OURS}
        same_tensors = list(view.tensors.items()) == list(original.tensors.items())
        same_loader = file.header.architecture == self.header.architecture != "clip"
        if same_loader and same_tensors and all(map(_is_overridable, wanted.values())):
            self.overrides = {key: value.decoded for key, value in wanted.items()}
        else:
            self.view = file
        self.translation = file
        self.header = file.header


def _projector(view: View, rule: Rule) -> VirtualFile:
    assert rule.clip
    rule.clip(view)
    view.keep(*TOWERS, "a.")
    for key in [key for key in view.values if key.startswith("tokenizer.")]:
        view.drop(key)
    view.set("general.architecture", string("clip"))
    for tower in ("v.", "v.sam.", "a."):
        _check_blocks(view, tower)
    return view.file()


def _check_blocks(view: View, tower: str) -> None:
    """Raise LayoutError if a block lacks a tensor of another block, on which libmtmd crashes."""
    parts = {
        block: {name.removeprefix(prefix) for name in view.tensors if name.startswith(prefix)}
        for block in view.blocks(tower)
        for prefix in [f"{tower}blk.{block}."]
    }
    wanted = set().union(*parts.values())
    for block, found in parts.items():
        for part in sorted(wanted - found):
            raise LayoutError(f"tensor {tower}blk.{block}.{part} is missing")


def _is_overridable(value: Value) -> bool:
    decoded = value.decoded
    if isinstance(decoded, str):
        return len(decoded.encode("utf-8", "replace")) <= _LONGEST_OVERRIDE
    return isinstance(decoded, bool | int | float)
