"""The bytes of a sound file -> how long it lasts -> bytes that may be decoded.

Files are untrusted, and decoders allocate as much as a header announces. So each file is rewritten
before it is decoded: the same sound with a header that announces no more than the file holds. This
module has no dependencies, so that the server process can use it as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from ..errors import OllamaError
from . import mp3_frames

MAX_SECONDS = 1800
"""The longest total duration of the sounds of a prompt: a decoded hour takes 230 MB."""

NO_SOUND = "unable to decode the sound: it must be a complete WAV, MP3 or FLAC file"
TOO_LONG = f"the sound is too long: it lasts more than {MAX_SECONDS // 60} minutes"

MAX_FRAMES = MAX_SECONDS * 48000 // 1152 + 2
"""More frames than an MP3 file of that length has."""

_RATES = range(1000, 384_001)
_MAX_CHANNELS = 32
_MAX_CHUNKS = 1000
_UNKNOWN_SIZE = 2**32 - 1
_EXTENSIBLE = 0xFFFE

_WAV_FORMATS = {
    (1, 8),
    (1, 16),
    (1, 24),
    (1, 32),
    (3, 32),
    (3, 64),
    (6, 8),
    (7, 8),
}
"""Format and bits a sample: integers, floats, A-law and mu-law."""


class SoundFile:
    """A sound: its length in seconds, and the bytes to decode."""

    def __init__(self, data: bytes) -> None:
        """Read the headers. Raises OllamaError(400) for files that are no sounds or too long."""
        try:
            self.seconds, self.content = _READERS[_kind(data)](data)
        except (KeyError, ValueError, struct.error) as error:
            raise OllamaError(400, NO_SOUND) from error
        if self.seconds > MAX_SECONDS:
            raise OllamaError(400, TOO_LONG)


def is_sound(data: bytes) -> bool:
    """Return whether bytes begin like a WAV, MP3 or FLAC file; twelve are enough."""
    return _kind(data) != ""


def _kind(data: bytes) -> str:
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] == b"fLaC":
        return "flac"
    if data[:3] == b"ID3" or (data[:1] == b"\xff" and data[1:2] >= b"\xe0"):
        return "mp3"
    return ""


def _read_wav(data: bytes) -> tuple[float, bytes]:
    """Return seconds and a WAV file of two chunks; sizes beyond the end of the file are cut."""
    encoding, content = _wav_chunks(data)
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", encoding)
    if tag == _EXTENSIBLE:
        (tag,) = struct.unpack_from("<H", encoding, 24)
    if (tag, bits) not in _WAV_FORMATS or not 0 < channels <= _MAX_CHANNELS or rate not in _RATES:
        raise ValueError("a WAV file of a kind that is not decoded")
    width = channels * bits // 8
    count = len(content) // width
    if not count:
        raise ValueError("a WAV file without samples")
    size = count * width
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", 36 + size, b"WAVE", b"fmt ", 16),
        *(tag, channels, rate, rate * width, width, bits),
        *(b"data", size),
    )
    return count / rate, header + content[:size]


def _wav_chunks(data: bytes) -> tuple[bytes, bytes]:
    """Return the chunks "fmt " and "data". Programs that write to a pipe leave its size unknown."""
    encoding = b""
    place = 12
    for _ in range(_MAX_CHUNKS):
        name, size = struct.unpack_from("<4sI", data, place)
        place += 8
        if name == b"data":
            return encoding, data[place:] if size == _UNKNOWN_SIZE else data[place : place + size]
        if name == b"fmt ":
            encoding = data[place : place + min(size, 40)]
        place += size + size % 2
    raise ValueError("a WAV file without end")


def _read_flac(data: bytes) -> tuple[float, bytes]:
    """Return seconds and a FLAC file whose only metadata are the properties of the stream."""
    head, properties = struct.unpack_from(">I34s", data, 4)
    packed = int.from_bytes(properties[10:18], "big")
    rate, bits = packed >> 44, (packed >> 36 & 31) + 1
    count = packed & 2**36 - 1
    is_properties = head & 0x7FFFFFFF == 34  # of type 0
    if not is_properties or rate not in _RATES or bits < 4 or not count:
        raise ValueError("a FLAC file of unknown length, or of a kind that is not decoded")
    place = 4
    for _ in range(_MAX_CHUNKS):
        (head,) = struct.unpack_from(">I", data, place)
        place += 4 + (head & 0xFFFFFF)
        if head >> 31:
            last = (2**31 + 34).to_bytes(4, "big")
            return count / rate, b"fLaC" + last + properties + data[place:]
    raise ValueError("a FLAC file without end")


def _read_mp3(data: bytes) -> tuple[float, bytes]:
    """Return seconds and the frames of an MP3 file; tags and junk are left out.

    Encoders store the number of frames in the first one, which is left out if the number is too
    large.
    """
    found = list(islice(_sounding_frames(data), MAX_FRAMES))
    if not found:
        raise ValueError("an MP3 file without frames")
    header = found[0].header
    noted = _noted_frames(data, found[0])
    count = len(found) - (noted is not None)
    if not count:
        raise ValueError("an MP3 file without sound")
    if noted is not None and noted > count:
        del found[0]
    content = b"".join(data[f.start : f.start + f.header.size] for f in found)
    return count * header.samples / header.rate, content


def _sounding_frames(data: bytes) -> Iterator[mp3_frames.Frame]:
    """Yield the first frame, whatever it holds, and the further frames that hold sound."""
    for number, frame in enumerate(mp3_frames.frames(data)):
        if number == 0 or _noted_frames(data, frame) is None:
            yield frame


def _noted_frames(data: bytes, frame: mp3_frames.Frame) -> int | None:
    """Return the number of frames that an encoder stored, 0 if unknown; None for a sound."""
    place = mp3_frames.info_start(frame)
    if data[place : place + 4] not in (b"Xing", b"Info"):
        return None
    flags, count = struct.unpack_from(">II", data, place + 4)
    return count if flags & 1 else 0


_READERS = {"wav": _read_wav, "flac": _read_flac, "mp3": _read_mp3}
