"""Decides where a command is prepared, by its size, before its texts are decoded."""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple

import msgspec

from .preparation import SHORT_QUERY, SHORT_TEXT

SHORT_BYTES = 1 << 15
"""Bytes of a command that is prepared in a few milliseconds."""

MANY_MESSAGES = 1000
"""Messages that make a conversation long, however short they are: a template has to render each."""

LONG_TEXT = 1 << 16
"""Bytes of a text to embed that takes a process some 100 ms."""

LONG_PRODUCT = 1 << 20
"""Bytes to tokenize for a score: the prompt is tokenized once for each continuation."""


class PreparationPlace(Enum):
    """Where a command is prepared: in the intake thread, in another thread, in a process."""

    INTAKE = auto()
    THREAD = auto()
    PROCESS = auto()


class Placed(NamedTuple):
    """A command that has to be prepared: its request, its account, and where to prepare it."""

    request: int
    account: int
    place: PreparationPlace


class _Prompt(msgspec.Struct):
    messages: list[msgspec.Raw] = []
    images: list[msgspec.Raw] = []


class _Head(msgspec.Struct):
    """The fields of commands that decide their size. Texts stay encoded."""

    type: str
    request: int
    account: int = 0
    prompt: msgspec.Raw = msgspec.Raw()
    constraint: msgspec.Raw = msgspec.Raw()
    query: msgspec.Raw = msgspec.Raw()
    texts: list[msgspec.Raw] = []
    continuations: list[msgspec.Raw] = []


_head = msgspec.msgpack.Decoder(_Head)
_prompt = msgspec.msgpack.Decoder(_Prompt)
_scored = msgspec.msgpack.Decoder(str | _Prompt)
_NOT_PREPARED = ("cancel", "resize", "load_adapters", "free_adapters")


def place_of(command: bytes, long_bytes: int) -> Placed | None:
    """Decide where to prepare an encoded command; return None if there is nothing to prepare.

    One of more than ``long_bytes`` is prepared in a process.
    """
    head = _head.decode(command)
    if head.type in _NOT_PREPARED:
        return None
    return Placed(head.request, head.account, _place(head, len(command), long_bytes))


def _place(head: _Head, size: int, long_bytes: int) -> PreparationPlace:
    if head.type == "embed":
        longest = max(map(len, head.texts), default=0)
        if len(head.query) > SHORT_QUERY or longest > LONG_TEXT:
            return PreparationPlace.PROCESS
        return PreparationPlace.THREAD if longest > SHORT_TEXT else PreparationPlace.INTAKE
    if head.type == "score":
        is_long = size + len(head.prompt) * len(head.continuations) > LONG_PRODUCT
        asked = _scored.decode(head.prompt)
        if isinstance(asked, _Prompt) and len(asked.messages) > MANY_MESSAGES:
            is_long = True
        return PreparationPlace.PROCESS if is_long else PreparationPlace.THREAD
    is_chat = head.type in ("generate", "render")
    prompt = _prompt.decode(head.prompt) if is_chat else _Prompt()
    if prompt.images:
        return PreparationPlace.THREAD  # the projector is in the runner
    if size > long_bytes or len(prompt.messages) > MANY_MESSAGES:
        return PreparationPlace.PROCESS
    is_short = not len(head.constraint) and size <= SHORT_BYTES
    return PreparationPlace.INTAKE if is_short else PreparationPlace.THREAD
