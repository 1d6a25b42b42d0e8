"""Image files: their pixels, their limits, and the process that decodes large ones."""

from __future__ import annotations

import struct
import zlib
from functools import partial

import numpy as np
import pytest
from image_files import noise, refusal, saved
from numpy.typing import NDArray
from PIL import Image

from jupyter_ollama.engine import picture as picture_module
from jupyter_ollama.engine.picture import LONGEST_EDGE, MAX_PIXELS, Picture
from jupyter_ollama.pipe_messages import ModuleProcess


def header_of_png(width: int, height: int) -> bytes:
    """Return a PNG that announces a size and holds no pixels."""
    blocks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"")),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in blocks
    )


def pixels_of(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels of an image file."""
    return Picture(data).pixels()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_files(kind: str) -> None:
    red = Image.new("RGB", (30, 20), (250, 10, 20))
    animation = {"save_all": True, "append_images": [Image.new("RGB", (30, 20), "blue")]}
    picture = Picture(saved(red, kind, **({} if kind == "JPEG" else animation)))
    assert (picture.width, picture.height) == (30, 20)
    pixels = picture.pixels().astype(int)
    assert pixels.shape == (20, 30, 3)
    assert np.abs(pixels - (250, 10, 20)).max() < 8
    data = saved(noise(30, 20), kind)
    for length in (0, 11, 40, len(data) * 3 // 4):
        status, message = refusal(partial(pixels_of, data[:length]))
        assert (status, message[:26]) == (400, "unable to decode the image")


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Image.new("I;16", (2, 2), 0x8000), (128, 128, 128)),
        (Image.new("L", (2, 2), 7), (7, 7, 7)),
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
        (Image.new("RGBA", (2, 2), (0, 0, 0, 0)), (255, 255, 255)),
        (Image.new("LA", (2, 2), (0, 255)), (0, 0, 0)),
        (Image.new("RGB", (2, 2), "red").quantize(), (255, 0, 0)),
    ],
)
def test_colours(image: Image.Image, pixel: tuple[int, int, int]) -> None:
    assert Picture(saved(image)).pixels()[0, 0].tolist() == list(pixel)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright(orientation: int) -> None:
    upright = Image.new("RGB", (64, 32), "white")
    upright.paste("black", (0, 0, 32, 16))
    held = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if held is None else upright.transpose(Image.Transpose(held))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Picture(saved(stored, "JPEG", exif=exif, quality=95))
    assert (picture.width, picture.height) == (64, 32)
    dark = picture.pixels()[:, :, 0] < 128
    assert dark[2:14, 2:30].all()
    assert not dark[18:].any()
    assert not dark[:, 34:].any()


def test_large_images_are_made_smaller() -> None:
    picture = Picture(saved(Image.new("RGB", (2 * LONGEST_EDGE, 100), "red"), "JPEG"))
    assert (picture.width, picture.height) == (LONGEST_EDGE, 50)
    assert picture.pixels().shape == (50, LONGEST_EDGE, 3)


@pytest.mark.parametrize("side", [50_000, MAX_PIXELS])
def test_huge_images_are_refused_by_their_header(side: int) -> None:
    status, message = refusal(lambda: Picture(header_of_png(side, side)))
    assert (status, message) == (
        400,
        "the image is too large: it has more than 67,108,864 pixels",
    )


@pytest.mark.parametrize(
    "data",
    [
        header_of_png(0, 5),
        header_of_png(5, 0),
        b"RIFF\0\0\0\0WAVEfmt ",
        b"PK\x03\x04" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        saved(Image.new("RGB", (5, 5)), "GIF"),
        saved(Image.new("RGB", (5, 5)), "PPM"),
    ],
)
def test_files_that_are_not_images(data: bytes) -> None:
    assert refusal(lambda: Picture(data)) == (
        400,
        "unable to decode the image: it must be a complete PNG, JPEG or WebP file",
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_large_images_are_decoded_by_another_process(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    class Counted(ModuleProcess):
        def __init__(self, module: str) -> None:
            started.append(module)
            super().__init__(module)

    monkeypatch.setattr(picture_module, "ModuleProcess", Counted)
    small = Picture(saved(noise(64, 64), kind))
    assert np.array_equal(small.pixels(), small.decode())
    assert not started
    data = saved(noise(1100, 1000), kind)
    large = Picture(data)
    assert np.array_equal(large.pixels(), large.decode())
    assert started == ["jupyter_ollama.engine.picture"]
    assert refusal(partial(pixels_of, data[: len(data) // 2]))[0] == 400
