"""Damaged and hostile versions of GGUF files, each with one change of a valid file."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import NamedTuple

from jupyter_ollama.library.gguf import read_header

NUMBERS = (
    0,
    1,
    2,
    3,
    7,
    255,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**40,
    2**63 - 1,
    2**63,
    2**64 - 1,
)


class Parts(NamedTuple):
    """A GGUF split into its entries."""

    pairs: list[bytes]
    infos: list[bytes]
    data: bytes

    def join(self, pairs: int | None = None, infos: int | None = None) -> bytes:
        """Return the file; ``pairs`` and ``infos`` are the counts in its header."""
        header = b"GGUF" + struct.pack(
            "<IQQ",
            3,
            (len(self.infos) if infos is None else infos) % 2**64,
            (len(self.pairs) if pairs is None else pairs) % 2**64,
        )
        header += b"".join((*self.pairs, *self.infos))
        return header + bytes(-len(header) % 32) + self.data


def cut(path: Path) -> Parts:
    """Split a file into its entries."""
    raw = path.read_bytes()
    header = read_header(path)
    pairs = [raw[begin:end] for begin, end in header.spans.values()]
    at = max(end for _, end in header.spans.values())
    infos = []
    for tensor in header.tensors:
        size = 8 + len(tensor.name.encode()) + 4 + 8 * len(tensor.shape) + 12
        infos.append(raw[at : at + size])
        at += size
    return Parts(pairs, infos, raw[header.data_offset :])


def damaged(parts: Parts, seed: int) -> tuple[str, bytes]:
    """Return a description of the damage, and the file."""
    rng = random.Random(seed)
    pairs, infos = list(parts.pairs), list(parts.infos)
    kinds = (_less, _twice, _number_in_info, _number_in_pair, _bytes, _counts, _shorter, _renamed)
    kind = rng.choice(kinds)
    return kind.__name__, kind(Parts(pairs, infos, parts.data), rng)


def _less(parts: Parts, rng: random.Random) -> bytes:
    entries = rng.choice((parts.pairs, parts.infos))
    del entries[rng.randrange(len(entries))]
    return parts.join()


def _twice(parts: Parts, rng: random.Random) -> bytes:
    entries = rng.choice((parts.pairs, parts.infos))
    entries.append(rng.choice(entries))
    return parts.join()


def _number_in_info(parts: Parts, rng: random.Random) -> bytes:
    """Change a dimension, the type or the offset of a tensor."""
    place = rng.randrange(len(parts.infos))
    info = bytearray(parts.infos[place])
    name = 8 + struct.unpack_from("<Q", info)[0]
    field = rng.choice(("dimensions", "shape", "type", "offset"))
    if field == "dimensions":
        struct.pack_into("<I", info, name, rng.choice(NUMBERS) % 2**32)
    elif field == "type":
        struct.pack_into("<I", info, len(info) - 12, rng.choice((*range(45), *NUMBERS)) % 2**32)
    elif field == "offset":
        struct.pack_into(
            "<Q", info, len(info) - 8, rng.choice((*NUMBERS, 32 * rng.randrange(9999)))
        )
    else:
        number = rng.randrange(max(1, (len(info) - name - 16) // 8))
        struct.pack_into("<Q", info, name + 4 + 8 * number, rng.choice((*NUMBERS, 32, 63, 65)))
    parts.infos[place] = bytes(info)
    return parts.join()


def _number_in_pair(parts: Parts, rng: random.Random) -> bytes:
    """Change the type of a value, or the first bytes of it: a scalar or the length of an array."""
    place = rng.randrange(len(parts.pairs))
    pair = bytearray(parts.pairs[place])
    name = 8 + struct.unpack_from("<Q", pair)[0]
    if rng.random() < 0.3:
        struct.pack_into("<I", pair, name, rng.choice((*range(14), 99)))
    else:
        value = struct.pack("<Q", rng.choice(NUMBERS))
        start = rng.choice((name + 4, name + 8))
        pair[start : start + 8] = value[: max(0, len(pair) - start)]
    parts.pairs[place] = bytes(pair)
    return parts.join()


def _bytes(parts: Parts, rng: random.Random) -> bytes:
    """Change some bytes of the header."""
    raw = bytearray(parts.join())
    length = len(raw) - len(parts.data)
    for _ in range(rng.choice((1, 1, 4, 16))):
        raw[rng.randrange(length)] = rng.randrange(256)
    return bytes(raw)


def _counts(parts: Parts, rng: random.Random) -> bytes:
    wrong = rng.choice((*NUMBERS, len(parts.infos) - 1, len(parts.infos) + 1))
    return parts.join(infos=wrong) if rng.random() < 0.5 else parts.join(pairs=wrong)


def _shorter(parts: Parts, rng: random.Random) -> bytes:
    raw = parts.join()
    return raw[: rng.randrange(len(raw))]


def _renamed(parts: Parts, rng: random.Random) -> bytes:
    """Change a name, so that one entry is missing and another is superfluous."""
    entries = rng.choice((parts.pairs, parts.infos))
    place = rng.randrange(len(entries))
    entry = bytearray(entries[place])
    length = struct.unpack_from("<Q", entry)[0]
    entry[8 + rng.randrange(length)] = rng.choice(b"abcxyz0189._\xff")
    entries[place] = bytes(entry)
    return parts.join()
