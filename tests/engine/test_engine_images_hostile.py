"""Hostile image files: each ends its own request, the runner goes on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import tiny_vision
from hearing import ask
from image_files import noise, saved
from PIL import Image
from runners import running

from jupyter_ollama.errors import OllamaError

PLAIN = saved(noise(40, 30))
FRAMES = [noise(20, 20, seed) for seed in range(4)]
FILES = [
    PLAIN,
    saved(noise(40, 30), "JPEG"),
    saved(noise(40, 30), "JPEG", progressive=True),
    saved(noise(40, 30), "WEBP"),
    saved(noise(40, 30), "WEBP", lossless=True),
    saved(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]),
    saved(FRAMES[0], "WEBP", save_all=True, append_images=FRAMES[1:]),
    saved(noise(40, 30).convert("P"), "PNG", transparency=3),
    saved(Image.new("I;16", (20, 20), 40000), "PNG"),
    saved(Image.new("1", (20, 20))),
]
SHAPES = [(1, 1), (1, 2), (2, 1), (1, 4096), (4096, 1), (3, 8000), (8000, 3), (31, 33), (5000, 40)]


def mutated(chance: random.Random) -> bytes:
    """Return an image file with a few faults, most of them near its begin."""
    data = bytearray(chance.choice(FILES))
    for _ in range(chance.choice([0, 1, 1, 2, 5, 30])):
        at = chance.randrange(min(len(data), chance.choice([40, 120, len(data)])))
        match chance.randrange(4):
            case 0:
                data[at] = chance.randrange(256)
            case 1:
                data[at : at + 4] = chance.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff"])
            case 2:
                del data[at : at + min(len(data) - 12, chance.randrange(1, 200))]
            case 3:
                data[at:at] = chance.randbytes(chance.randrange(1, 60))
    return bytes(data)


@pytest.mark.parametrize("kind", tiny_vision.PROJECTORS)
async def test_hostile_images_end_their_request_alone(tmp_path: Path, kind: str) -> None:
    model = tiny_vision.write_language_model(tmp_path / "model.gguf")
    eyes = tiny_vision.write_projector(tmp_path / "eyes.gguf", kind)
    chance = random.Random(1)
    statuses: list[int] = []
    async with running(model, projectors=(str(eyes),), num_ctx=2048) as runner:
        expected, _ = await ask(runner, "see [img-0] now", PLAIN)
        process = runner.pid
        shapes = [saved(Image.new("RGB", shape, "red")) for shape in SHAPES]
        for data in [*shapes, *(mutated(chance) for _ in range(60))]:
            try:
                await ask(runner, "[img-0]", data)
                statuses.append(200)
            except OllamaError as error:
                statuses.append(error.status)
        assert runner.pid == process
        again, _ = await ask(runner, "see [img-0] now", PLAIN)
        assert again == pytest.approx(expected, abs=0.02)
    assert set(statuses) == {200, 400}
