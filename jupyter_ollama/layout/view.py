"""The edits that turn a header in Ollama's layout into one that llama.cpp reads.

Keys are written without the name of the architecture: "rope.freq_base" of a gemma3 model is
``gemma3.rope.freq_base``. Keys of ``general``, ``tokenizer`` and ``clip`` are written in full.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from .errors import LayoutError
from .pieces import Span, Value, piece_size, string
from .source import Source
from .virtual_file import TensorView, VirtualFile, block_size

TOKEN_ARRAYS = ("tokenizer.ggml.tokens", "tokenizer.ggml.scores", "tokenizer.ggml.token_type")

_GLOBAL = ("general.", "tokenizer.", "clip.")
_BLOCK = re.compile(r"blk\.(\d+)\.")


class View:
    """The metadata and tensors of a source file, to be edited; the file is unchanged.

    ``architecture`` is the prefix of the model's own keys, ``hidden`` are the removed tensors.
    Methods raise LayoutError if the file breaks the layout.
    """

    def __init__(self, source: Source) -> None:
        header = source.header
        self.source = source
        self.architecture = header.architecture
        self.values = {key: source.stored(key) for key in header.metadata}
        self.tensors: dict[str, TensorView] = {}
        for tensor in header.tensors:
            if tensor.name in self.tensors:
                raise LayoutError(f"there are two tensors named {tensor.name}")
            span = Span(header.data_offset + tensor.offset, tensor.size)
            view = TensorView(tensor.name, tensor.shape, tensor.type_name, (span,))
            self.tensors[tensor.name] = view

    def file(self) -> VirtualFile:
        """Return the edited file."""
        return VirtualFile(self.source, self.values, self.tensors.values())

    # Metadata

    def full_key(self, key: str) -> str:
        """Return a key with the architecture's prefix if it needs one."""
        return key if key.startswith(_GLOBAL) else f"{self.architecture}.{key}"

    def has(self, *keys: str) -> bool:
        """Return whether at least one of some keys exists."""
        return any(self.full_key(key) in self.values for key in keys)

    def get(self, key: str) -> Any:
        """Return a scalar or a text, None if the key is missing or has an array."""
        value = self.values.get(self.full_key(key))
        return value.decoded if value else None

    def integer(self, key: str, default: int | None = None) -> int:
        """Return an integer of at least 0; ``default`` if the key is missing."""
        if default is not None and not self.has(key):
            return default
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise LayoutError(f"{self.full_key(key)} is not a whole number")
        return value

    def integers(self, key: str, default: list[int] | None = None) -> list[int]:
        """Return an array of integers; ``default`` if the key is missing."""
        if default is not None and not self.has(key):
            return default
        values = self.array(key)
        if not all(isinstance(value, int) for value in values):
            raise LayoutError(f"{self.full_key(key)} is not an array of whole numbers")
        return values

    def array(self, key: str) -> list[Any]:
        """Read an array of the source file."""
        name = self.full_key(key)
        value = self.values.get(name)
        if value is None or not value.key:
            raise LayoutError(f"{name} is missing")
        return self.source.array(value.key)[: value.length]

    def is_array(self, key: str) -> bool:
        """Return whether a key has an array."""
        value = self.values.get(self.full_key(key))
        return value is not None and value.length is not None

    def set(self, key: str, value: Value) -> None:
        """Set a key."""
        self.values[self.full_key(key)] = value

    def default(self, key: str, value: Value) -> None:
        """Set a key if it is missing."""
        self.values.setdefault(self.full_key(key), value)

    def copy(self, source: str, target: str) -> None:
        """Copy a value with its type to a key if that is missing."""
        value = self.values.get(self.full_key(source))
        if value is not None:
            self.default(target, value)

    def drop(self, key: str) -> None:
        """Remove a key."""
        self.values.pop(self.full_key(key), None)

    def become(self, architecture: str, *, without: tuple[str, ...] = ()) -> None:
        """Change the architecture and copy the keys of the former one.

        Keys with one of the prefixes ``without`` are not copied.
        """
        former = f"{self.architecture}."
        for key in [key for key in self.values if key.startswith(former)]:
            rest = key.removeprefix(former)
            if not rest.startswith(without):
                self.values.setdefault(f"{architecture}.{rest}", self.values[key])
        self.architecture = architecture
        self.set("general.architecture", string(architecture))

    def shorten_vocabulary(self, length: int) -> None:
        """Cut the arrays of the tokenizer to ``length`` tokens."""
        for key in TOKEN_ARRAYS:
            value = self.values.get(key)
            if value is not None and value.length is not None and value.length > length:
                self.values[key] = self.source.shortened(key, length)

    # Tensors

    def has_tensor(self, *prefixes: str) -> bool:
        """Return whether a tensor's name has one of ``prefixes``."""
        return any(name.startswith(prefixes) for name in self.tensors)

    def dimension(self, name: str, axis: int) -> int:
        """Return a dimension of a tensor, the fastest being 0; missing dimensions are 1."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise LayoutError(f"tensor {name} is missing")
        return tensor.shape[axis] if axis < len(tensor.shape) else 1

    def blocks(self, prefix: str = "") -> Iterator[int]:
        """Yield the numbers of the blocks whose tensors are named ``<prefix>blk.N.``."""
        found = set()
        for name in self.tensors:
            block = _BLOCK.match(name, len(prefix)) if name.startswith(prefix) else None
            if block:
                found.add(int(block[1]))
        yield from sorted(found)

    def hide(self, *prefixes: str) -> None:
        """Hide the tensors whose names have one of ``prefixes``."""
        self.tensors = {
            name: tensor for name, tensor in self.tensors.items() if not name.startswith(prefixes)
        }

    def keep(self, *prefixes: str) -> None:
        """Hide all other tensors."""
        self.tensors = {
            name: tensor for name, tensor in self.tensors.items() if name.startswith(prefixes)
        }

    def put(self, tensor: TensorView) -> None:
        """Add a tensor, replacing one of the same name."""
        self.tensors[tensor.name] = tensor

    def take(self, name: str) -> TensorView:
        """Remove a tensor from the view and return it."""
        if name not in self.tensors:
            raise LayoutError(f"tensor {name} is missing")
        return self.tensors.pop(name)

    def rename(self, old: str, new: str) -> None:
        """Rename a tensor if it exists."""
        self._rename_all({old: new})

    def rename_keys(self, prefix: str, new: str) -> None:
        """Replace the prefix of all names that have it."""
        self._rename_all(
            {name: new + name[len(prefix) :] for name in self.tensors if name.startswith(prefix)}
        )

    def substitute(self, *pairs: tuple[str, str]) -> None:
        """Replace the first occurrence of each old part in all names, pair after pair."""
        renamed = {}
        for name in self.tensors:
            new = name
            for old, part in pairs:
                new = new.replace(old, part, 1)
            if new != name:
                renamed[name] = new
        self._rename_all(renamed)

    def _rename_all(self, names: dict[str, str]) -> None:
        tensors: dict[str, TensorView] = {}
        for name, tensor in self.tensors.items():
            new = names.get(name, name)
            if new in tensors:
                raise LayoutError(f"two tensors would be named {new}, one of them is {name}")
            tensors[new] = tensor._replace(name=new)
        self.tensors = tensors

    def concatenate(self, target: str, *names: str) -> None:
        """Concatenate tensors of one type along their last dimension."""
        parts = [self.take(name) for name in names]
        first = parts[0]
        for part in parts[1:]:
            if part.type_name != first.type_name or part.shape[:-1] != first.shape[:-1]:
                raise LayoutError(f"tensor {part.name} does not fit {first.name}")
        if any(not part.shape for part in parts):
            raise LayoutError(f"tensor {first.name} has no dimensions")
        length = sum(part.shape[-1] for part in parts)
        pieces = tuple(piece for part in parts for piece in part.pieces)
        self.put(TensorView(target, (*first.shape[:-1], length), first.type_name, pieces))

    def shorten(self, name: str, rows: int) -> None:
        """Keep the first rows of a matrix."""
        tensor = self.tensors[name]
        block, width = block_size(tensor)
        (span,) = tensor.pieces
        size = tensor.shape[0] // block * width * rows
        if not isinstance(span, Span) or size > piece_size(span):
            raise LayoutError(f"tensor {name} has fewer than {rows} rows")
        shape = (tensor.shape[0], rows)
        self.put(TensorView(name, shape, tensor.type_name, (Span(span.offset, size),)))
