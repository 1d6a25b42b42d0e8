"""Images and sounds in requests: base64 as Ollama takes it, with line breaks ignored."""

from __future__ import annotations

import asyncio
import binascii
import re
from collections.abc import Iterable
from itertools import count, islice

import msgspec

from ..engine.sound_file import is_sound
from ..errors import OllamaError
from ..prompt.messages import Message

_FOREIGN = re.compile(rb"[^A-Za-z0-9+/\r\n]")
_VISIBLE = re.compile(rb"[^\r\n]")
_LINE_BREAKS = b"\r\n"


def decode_base64(text: str) -> bytes:
    """Return the bytes of a base64 text. Raises OllamaError(400) with the place of the fault.

    There is no exception for ``data:`` URIs.
    """
    data = text.encode("utf-8", "replace")
    fault = _fault(data)
    if fault is not None:
        raise OllamaError(400, f"illegal base64 data at input byte {fault}")
    return binascii.a2b_base64(data)


def needed_capabilities(files: Iterable[str]) -> list[str]:
    """Return the capabilities that files in base64 require: "vision", "audio" or both.

    Clients send both kinds in ``images``, as in Ollama; the first bytes distinguish them.
    """
    found = {"audio" if is_sound(_head(text)) else "vision" for text in files}
    return [name for name in ("vision", "audio") if name in found]


def _head(text: str) -> bytes:
    """Return the first twelve bytes of a base64 text, fewer or none if it is not base64."""
    written = text[:256].replace("\r", "").replace("\n", "")[:16]
    try:
        return binascii.a2b_base64(written)
    except ValueError:
        return b""


async def decode_images(texts: list[str]) -> list[bytes]:
    """Return the bytes of images and sounds, without a thread if there are none.

    Raises OllamaError(400) for invalid base64.
    """
    return await asyncio.to_thread(lambda: [*map(decode_base64, texts)]) if texts else []


async def take_images(messages: list[Message]) -> tuple[list[Message], list[bytes]]:
    """Return messages whose images and sounds are places in a list of bytes, and that list.

    Raises OllamaError(400) for invalid base64.
    """
    images = await decode_images([image for message in messages for image in message.images])
    places = map(str, count())
    taken = [
        msgspec.structs.replace(message, images=[*islice(places, len(message.images))])
        if message.images
        else message
        for message in messages
    ]
    return taken, images


def _fault(data: bytes) -> int | None:
    """Return the byte at which Go's decoder gives up, None if it takes the text."""
    foreign = _FOREIGN.search(data)
    end = foreign.start() if foreign else len(data)
    place = (end - _line_breaks(data, end)) % 4
    if foreign is None:
        return len(data) - place if place else None
    if foreign[0] != b"=" or place < 2:
        return end
    if place == 2:  # a second one must follow
        second = _VISIBLE.search(data, end + 1)
        if second is None:
            return len(data)
        end = second.start()
        if second[0] != b"=":
            return end - 1
    rest = _VISIBLE.search(data, end + 1)
    return rest.start() if rest else None


def _line_breaks(data: bytes, end: int) -> int:
    return sum(data.count(byte, 0, end) for byte in _LINE_BREAKS)
