"""Hostile sound files: each ends its own request, the runner goes on."""

from __future__ import annotations

import random
import re
import struct
from pathlib import Path

import pytest
import tiny_audio
import tiny_vision
from hearing import FILES, ONE, ask
from runners import running
from sound_files import flac, mp3, tone

from jupyter_ollama.engine.sound_file import NO_SOUND, TOO_LONG
from jupyter_ollama.errors import OllamaError


def mutated(rng: random.Random) -> bytes:
    """Return a sound file with a few faults, most of them near its begin."""
    data = bytearray(rng.choice(list(FILES.values())))
    for _ in range(rng.choice([1, 1, 2, 5, 30])):
        at = rng.randrange(min(len(data), rng.choice([64, 300, len(data)])))
        extreme = rng.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"Xing", b"\0\0\0\x80"])
        match rng.randrange(4):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at : at + 4] = extreme
            case 2:
                del data[at : at + min(len(data) - 12, rng.randrange(1, 200))]
            case 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 60))
    return bytes(data)


async def test_headers_that_claim_hours_take_no_memory(tmp_path: Path) -> None:
    model = tiny_vision.write_language_model(tmp_path / "model.gguf")
    ears = tiny_audio.write_projector(tmp_path / "ears.gguf", "gemma4ua")
    size = struct.pack("<I", 2**32 - 2)
    async with running(model, projectors=(str(ears),), num_ctx=512) as runner:
        # Each would be gigabytes of samples, were it believed.
        await ask(runner, "[img-0]", mp3(3, 2**22))
        await ask(runner, "[img-0]", ONE[:4] + size + ONE[8:40] + size + ONE[44:])
        with pytest.raises(OllamaError, match=TOO_LONG):
            await ask(runner, "[img-0]", flac(tone(0.1), total=2**36 - 1))
        status = Path(f"/proc/{runner.pid}/status").read_text()
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", status)
    assert int(peak) < 2**20


async def test_hostile_files_end_their_request_alone(tmp_path: Path) -> None:
    model = tiny_vision.write_language_model(tmp_path / "model.gguf")
    ears = tiny_audio.write_projector(tmp_path / "ears.gguf", "gemma4ua", sees="gemma3")
    rng = random.Random(1)
    statuses: list[int] = []
    async with running(model, projectors=(str(ears),), num_ctx=512) as runner:
        expected, _ = await ask(runner, "hear [img-0] now", ONE)
        process = runner.pid
        for _ in range(300):
            try:
                await ask(runner, "[img-0]", mutated(rng))
                statuses.append(200)
            except OllamaError as error:
                statuses.append(error.status)
        assert runner.pid == process
        again, _ = await ask(runner, "hear [img-0] now", ONE)
        assert again == pytest.approx(expected, abs=0.02)
        with pytest.raises(OllamaError, match=NO_SOUND):
            await ask(runner, "[img-0]", ONE[:40])
    assert set(statuses) == {200, 400}
    assert min(statuses.count(200), statuses.count(400)) > 50
