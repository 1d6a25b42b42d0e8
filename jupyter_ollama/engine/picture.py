"""The bytes of an image file -> its size -> its pixels. Runner process only.

Files are untrusted: the header is read first, and its size decides whether the file is decoded, and
whether in a process of its own: ``python -m jupyter_ollama.engine.picture``.
"""

from __future__ import annotations

import hashlib
import io
import sys

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import OllamaError
from ..pipe_messages import ModuleProcess, read_message, write_message
from .low_priority import limit_processor_time, lower_priority

FORMATS = ("PNG", "JPEG", "WEBP")

MAX_PIXELS = 2**26
"""An image of more is refused: decoding takes four bytes each, a WebP sixteen."""

LARGE = 2**20
"""Pixels of a file that another process decodes: some decoders keep Python's lock for a second."""

DECODING_SECONDS = 30.0
"""Processor time of that process. The largest images take two seconds."""

LONGEST_EDGE = 4096
"""Pixels of a side to which larger images are scaled down: no projector sees more, and each of its
steps copies the image."""

ORIENTATION = 0x0112
"""The EXIF tag of a camera's orientation."""

UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition for each value of that tag; the last four swap width and height."""

NO_IMAGE = "unable to decode the image: it must be a complete PNG, JPEG or WebP file"
TOO_LARGE = f"the image is too large: it has more than {MAX_PIXELS:,} pixels"

Image.MAX_IMAGE_PIXELS = None  # Pillow would warn at its own limit


class Picture:
    """An image file: its digest, and the size in which a model sees it."""

    def __init__(self, data: bytes) -> None:
        """Read the header. Raises OllamaError(400) if the data is not an image, or too large."""
        self.digest = hashlib.sha256(data).hexdigest()
        self._data = data
        try:
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                size = image.size
                self._orientation = _orientation(image)
        except Exception as error:  # decoders raise many types for hostile headers
            raise OllamaError(400, NO_IMAGE) from error
        if size[0] * size[1] > MAX_PIXELS:
            raise OllamaError(400, TOO_LARGE)
        self._is_large = size[0] * size[1] > LARGE
        self._size = _fitted(*size)
        is_sideways = self._orientation in (5, 6, 7, 8)
        self.width, self.height = self._size[::-1] if is_sideways else self._size

    def pixels(self) -> NDArray[np.uint8]:
        """Decode: (height, width, 3) uint8, RGB, upright, on white where it is transparent.

        An animation gives its first frame. Raises OllamaError(400) for broken data.
        """
        if not self._is_large:
            return self.decode()
        process = ModuleProcess(__name__)
        try:
            answer = process.ask(self._data)
        finally:
            process.close()
        if not answer:
            raise OllamaError(400, NO_IMAGE)
        return np.frombuffer(answer, np.uint8).reshape(self.height, self.width, 3)

    def decode(self) -> NDArray[np.uint8]:
        """Return the pixels, decoded in this process."""
        try:
            with Image.open(io.BytesIO(self._data), formats=FORMATS) as image:
                image.draft("RGB", self._size)  # a JPEG can be decoded at a fraction of its size
                shown = _opaque(_resized(_plain(image), self._size))
                turn = UPRIGHT.get(self._orientation)
                return np.asarray(shown if turn is None else shown.transpose(turn))
        except Exception as error:
            raise OllamaError(400, NO_IMAGE) from error


def _orientation(image: Image.Image) -> int:
    exif = Image.Exif()
    # Not image.getexif(): of a PNG it would read, and decode, all of the file.
    exif.load(image.info.get("exif", b""))
    return int(exif.get(ORIENTATION, 1))


def _fitted(width: int, height: int) -> tuple[int, int]:
    shrink = max(width, height, LONGEST_EDGE) / LONGEST_EDGE
    return max(1, round(width / shrink)), max(1, round(height / shrink))


def _plain(image: Image.Image) -> Image.Image:
    """Return an image in RGB, or in RGBA if it is transparent somewhere."""
    if image.mode.startswith("I"):  # 16 bits of grey, which a conversion alone would clip
        image = image.point(lambda value: value / 256).convert("L")
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def main() -> None:
    """Decode the file on standard input; the answer is its pixels, empty for broken data."""
    lower_priority()
    limit_processor_time(DECODING_SECONDS)
    data = read_message(sys.stdin.buffer)
    try:
        pixels = Picture(bytes(data or b"")).decode().tobytes()
    except OllamaError:
        pixels = b""
    write_message(sys.stdout.buffer, pixels)


if __name__ == "__main__":
    main()
