"""Sound files of every kind, made here: WAV, FLAC without compression, MP3 of noise."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

RATE = 16000


def tone(seconds: float, pitch: float = 440.0, rate: int = RATE) -> NDArray[np.float32]:
    """Return a sine that fades, so that no two parts are alike."""
    times = np.arange(round(seconds * rate), dtype=np.float32) / rate
    return (0.5 * np.sin(2 * np.pi * pitch * times) * np.exp(-times)).astype(np.float32)


def wav(samples: NDArray[np.float32], rate: int = RATE, channels: int = 1, bits: int = 16) -> bytes:
    """Return a WAV file of integers, or of floats with 32 ``bits``; every channel is the same."""
    repeated = np.repeat(samples, channels)
    if bits == 32:
        tag, data = 3, repeated.astype("<f4").tobytes()
    else:
        tag, data = 1, (repeated * 32767).astype("<i2").tobytes()
    return wav_file(data, tag, channels, rate, bits)


def wav_file(data: bytes, tag: int, channels: int, rate: int, bits: int) -> bytes:
    """Return a WAV file of encoded data."""
    width = channels * bits // 8
    encoding = struct.pack("<HHIIHH", tag, channels, rate, rate * width % 2**32, width, bits)
    chunks = chunk(b"fmt ", encoding) + chunk(b"data", data)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a WAV file."""
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def flac(samples: NDArray[np.float32], rate: int = RATE, total: int | None = None) -> bytes:
    """Return a FLAC file, mono, 16 bits, not compressed; it claims to have ``total`` samples."""
    total = len(samples) if total is None else total
    packed = rate << 44 | 15 << 36 | total
    properties = struct.pack(">HH6x", 4096, 4096) + packed.to_bytes(8, "big") + bytes(16)
    padding = b"\x81\x00\x00\x08" + bytes(8)
    values = (samples * 32767).astype(">i2")
    blocks = [values[start : start + 4096] for start in range(0, len(values), 4096)]
    frames = [_flac_frame(number, block) for number, block in enumerate(blocks)]
    return b"fLaC\x00\x00\x00\x22" + properties + padding + b"".join(frames)


def _flac_frame(number: int, block: NDArray[np.int16]) -> bytes:
    # Fixed size, sixteen bits of size - 1, the rate of the file, mono, sixteen bits a sample.
    assert number < 128
    head = struct.pack(">4BBH", 0xFF, 0xF8, 0x70, 0x08, number, len(block) - 1)
    head += bytes([_crc(head, 0x07, 8)])
    frame = head + b"\x02" + block.tobytes()
    return frame + struct.pack(">H", _crc(frame, 0x8005, 16))


def _crc(data: bytes, polynomial: int, bits: int) -> int:
    found = 0
    for byte in data:
        found ^= byte << bits - 8
        for _ in range(8):
            found = found << 1 ^ (polynomial if found >> bits - 1 else 0)
            found &= 2**bits - 1
    return found


def mp3(frames: int, noted: int | None = None, *, seed: int = 0) -> bytes:
    """Return noise as MPEG 1, layer III: 64 kbit/s, 44.1 kHz, mono, 1152 samples a frame.

    With ``noted`` there is one more frame, in which an encoder states how many follow.
    """
    rng = np.random.default_rng(seed)
    sound = b"".join(_mp3_frame(rng.bytes(MP3_FRAME_SIZE - 21)) for _ in range(frames))
    if noted is None:
        return sound
    note = b"Info" + struct.pack(">II", 1, noted)
    return _mp3_frame(bytes(MP3_FRAME_SIZE - 21), 0)[:21] + note.ljust(187, b"\0") + sound


MP3_FRAME_SIZE = 208


def _mp3_frame(data: bytes, bits: int = 700) -> bytes:
    """Return a frame of two granules, ``bits`` of Huffman codes each: values of 1 and 0 at most."""
    granule = _bits((bits, 12), (0, 9), (180, 8), (0, 4), (0, 1), (0, 15), (0, 7), (0, 2), (1, 1))
    side_info = int("0" * 18 + granule + granule, 2).to_bytes(17, "big")
    return b"\xff\xfb\x50\xc4" + side_info + data


def _bits(*fields: tuple[int, int]) -> str:
    return "".join(f"{value:0{width}b}" for value, width in fields)
