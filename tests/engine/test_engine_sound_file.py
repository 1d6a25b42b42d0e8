"""Headers of sound files: the values in them, and the bytes that are passed on for decoding."""

from __future__ import annotations

import struct
import subprocess
import sys

import pytest
from image_files import noise, refusal, saved
from sound_files import MP3_FRAME_SIZE, chunk, flac, mp3, tone, wav, wav_file

from jupyter_ollama.engine.sound_file import MAX_SECONDS, NO_SOUND, TOO_LONG, SoundFile, is_sound

TONE = tone(0.5)
PLAIN = wav(TONE)
UNKNOWN = 2**32 - 1


def test_kinds_are_detected_by_the_first_bytes() -> None:
    for sound in (PLAIN, flac(TONE), mp3(3), mp3(3, 3), b"ID3\4" + bytes(20)):
        assert is_sound(sound[:12])
    for other in ("PNG", "JPEG", "WEBP"):
        assert not is_sound(saved(noise(8, 8), other))
    assert not is_sound(b"")
    assert not is_sound(b"\xff")


@pytest.mark.parametrize(
    ("data", "seconds"),
    [
        (PLAIN, 0.5),
        (wav(tone(0.25, rate=44100), 44100, channels=2), 0.25),
        (wav(TONE, bits=32), 0.5),
        (wav_file(bytes(8000), 7, 1, 8000, 8), 1.0),
        (wav_file(bytes(48000), 1, 2, 8000, 24), 1.0),
        (flac(TONE), 0.5),
        (mp3(10), 10 * 1152 / 44100),
        (mp3(10, 10), 10 * 1152 / 44100),
    ],
)
def test_length(data: bytes, seconds: float) -> None:
    assert SoundFile(data).seconds == pytest.approx(seconds, abs=0.001)


def test_plain_files_are_handed_on_as_they_are() -> None:
    assert SoundFile(PLAIN).content == PLAIN
    assert SoundFile(mp3(10)).content == mp3(10)
    assert SoundFile(mp3(10, 10)).content == mp3(10, 10)


@pytest.mark.parametrize("claimed", [UNKNOWN, UNKNOWN - 1, 2**31])
def test_a_wav_has_no_more_than_is_there(claimed: int) -> None:
    size = struct.pack("<I", claimed)
    file = SoundFile(PLAIN[:4] + size + PLAIN[8:40] + size + PLAIN[44:])
    assert file.seconds == 0.5
    assert file.content == PLAIN


def test_other_chunks_of_a_wav_are_left_out() -> None:
    data = PLAIN[:12] + chunk(b"LIST", b"abc") + PLAIN[12:] + chunk(b"id3 ", bytes(50))
    assert SoundFile(data).content == PLAIN
    # An incomplete sample does not count.
    assert SoundFile(PLAIN[:-1]).content[44:] == PLAIN[44:-2]


def test_an_extensible_wav_is_a_plain_one() -> None:
    head = struct.pack("<HHIIHH", 0xFFFE, 1, 16000, 32000, 2, 16)
    encoding = head + struct.pack("<HHIH", 22, 16, 0, 1) + bytes(14)
    data = b"RIFF\0\0\0\0WAVE" + chunk(b"fmt ", encoding) + PLAIN[36:]
    assert SoundFile(data).content == PLAIN


def test_metadata_of_a_flac_is_left_out() -> None:
    data = flac(TONE)
    content = SoundFile(data).content
    assert content[4:8] == b"\x80\x00\x00\x22"
    assert content == data[:4] + b"\x80" + data[5:42] + data[54:]


@pytest.mark.parametrize("noted", [10**6, UNKNOWN])
def test_a_note_of_an_mp3_that_claims_too_much_is_left_out(noted: int) -> None:
    assert SoundFile(mp3(10, noted)).content == mp3(10)
    # Anywhere else it is left out in any case: a decoder may not like the frames before it.
    late = mp3(4) + mp3(6, noted)
    assert len(SoundFile(late).content) == 10 * MP3_FRAME_SIZE


def test_tags_and_junk_of_an_mp3_are_left_out() -> None:
    tag = b"ID3\4\0\0\0\0\1\x00" + b"\xff\xfb\x50\xc4" * 32  # 128 bytes, like frames
    sound = mp3(10)
    end = b"TAG" + bytes(125)
    assert SoundFile(tag + sound + end).content == sound
    half = 5 * MP3_FRAME_SIZE
    assert SoundFile(sound[:half] + b"\xff\xfbjunk" * 9 + sound[half:]).content == sound
    assert SoundFile(sound[:-1]).content == sound[:-MP3_FRAME_SIZE]
    # Frames of another rate or of two channels do not belong to it.
    other = sound.replace(b"\xff\xfb\x50\xc4", b"\xff\xfb\x54\xc4")
    assert SoundFile(sound + other).content == sound


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF\0\0\0\0WAVE",
        PLAIN[:40],
        PLAIN[:44],
        wav_file(bytes(100), 2, 1, 8000, 4),  # ADPCM
        wav_file(bytes(100), 1, 0, 8000, 16),
        wav_file(bytes(100), 1, 1, 0, 16),
        wav_file(bytes(100), 1, 1, 2**31, 16),
        wav_file(bytes(100), 1, 1, 8000, 12),
        b"RIFF\0\0\0\0WAVE" + chunk(b"data", bytes(100)),
        b"RIFF\0\0\0\0WAVE" + chunk(b"junk", b"") * 2000 + PLAIN[12:],
        b"fLaC",
        flac(TONE)[:40],
        flac(TONE, total=0),
        flac(TONE, rate=1),
        b"fLaC\x04" + flac(TONE)[5:],
        b"ID3",
        b"ID3\4\0\0\x7f\x7f\x7f\x7f" + mp3(3),
        mp3(1)[:-1],
        mp3(0, 5),
        b"\xff\xfb" + bytes(200_000) + mp3(10),
        saved(noise(8, 8)),
    ],
)
def test_no_sound(data: bytes) -> None:
    assert refusal(lambda: SoundFile(data)) == (400, NO_SOUND)


@pytest.mark.parametrize(
    "data",
    [
        wav_file(bytes(MAX_SECONDS * 1000 + 1), 7, 1, 1000, 8),
        flac(TONE, total=2**36 - 1),
        flac(TONE, total=MAX_SECONDS * 16000 + 1),
        mp3(1) * (MAX_SECONDS * 44100 // 1152 + 1),
    ],
)
def test_too_long(data: bytes) -> None:
    assert refusal(lambda: SoundFile(data)) == (400, TOO_LONG)


def test_the_server_reads_headers_without_what_decodes() -> None:
    code = (
        "import sys, jupyter_ollama.engine.sound_file\n"
        "print([name for name in ('numpy', 'llama_cpp', 'PIL') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"
