"""The frames of an MP3 file.

The format is ISO 11172-3 and 13818-3, layer III. Only headers are read, nothing is decoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

MAX_JUNK = 2**16
"""Bytes, besides tags, that are skipped in search of frames; a file with more is not an MP3."""

_HEADER = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xeb].", re.DOTALL)
"""Four bytes that may begin a frame of layer III."""

_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""Samples a second by version (MPEG 1, 2, 2.5) and index."""

_BITRATES_1 = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_BITRATES_2 = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
"""Thousands of bits a second, of MPEG 1 and of the later versions."""

_TAGS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")
"""The tags that may follow the last frame."""


class FrameHeader(NamedTuple):
    """The four bytes that begin a frame. All frames of a file agree in the first three fields."""

    version: int
    rate: int
    is_mono: bool
    size: int
    has_checksum: bool

    @property
    def samples(self) -> int:
        """Samples of each channel in the frame."""
        return 1152 if self.version == 3 else 576


class Frame(NamedTuple):
    """A frame and where it begins."""

    start: int
    header: FrameHeader


def frames(data: bytes) -> Iterator[Frame]:
    """Yield the frames of a file that have the format of its first."""
    place = _after_id3(data)
    junk = 0
    first: FrameHeader | None = None
    while match := _HEADER.search(data, place, min(len(data), place + MAX_JUNK - junk)):
        start = match.start()
        junk += start - place
        header = _parsed(match[0])
        if header and _fits(header, first) and _is_frame(data, start, header, first):
            first = first or header
            yield Frame(start, header)
            place = start + header.size
        else:
            place = start + 1
            junk += 1


def info_start(frame: Frame) -> int:
    """Return the offset where an encoder may store data (``Xing``, ``Info``) instead of sound."""
    header = frame.header
    if header.version == 3:
        side_info = 17 if header.is_mono else 32
    else:
        side_info = 9 if header.is_mono else 17
    return frame.start + 4 + 2 * header.has_checksum + side_info


def _after_id3(data: bytes) -> int:
    """Return the offset after the tags that begin a file; their sizes have seven bits a byte."""
    place = 0
    while data[place : place + 3] == b"ID3" and len(data) >= place + 10:
        size = 0
        for byte in data[place + 6 : place + 10]:
            size = size << 7 | byte & 0x7F
        has_footer = bool(data[place + 5] & 0x10)
        place += 10 + size + 10 * has_footer
    return place


def _parsed(header: bytes) -> FrameHeader | None:
    _, kind, rates, mode = header
    version, index = kind >> 3 & 3, rates >> 2 & 3
    if version == 1 or index == 3:
        return None
    rate = _RATES[version][index]
    bitrates = _BITRATES_1 if version == 3 else _BITRATES_2
    has_padding = rates >> 1 & 1
    bits = 144_000 if version == 3 else 72_000
    size = bits * bitrates[(rates >> 4) - 1] // rate + has_padding
    return FrameHeader(version, rate, mode >> 6 == 3, size, not kind & 1)


def _fits(header: FrameHeader, first: FrameHeader | None) -> bool:
    return first is None or header[:3] == first[:3]


def _is_frame(data: bytes, start: int, header: FrameHeader, first: FrameHeader | None) -> bool:
    """Return whether a frame is complete, and the first one followed by a frame or a tag."""
    end = start + header.size
    if end > len(data):
        return False
    if first or end == len(data) or data.startswith(_TAGS, end):
        return True
    following = _HEADER.match(data, end)
    parsed = following and _parsed(following[0])
    return bool(parsed and _fits(parsed, header))
