"""Images and sounds that options of ``%%chat`` name: paths of files, or values of the kernel."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .failures import OllamaMagicsError

IMAGES = "a file, a PIL image, a matplotlib figure or bytes"
SOUNDS = "a WAV, MP3 or FLAC file, an IPython.display.Audio or bytes"

Reader = Callable[[str, Any], bytes]
"""Returns the bytes of a value; the text is its label in errors: the option with its value."""


def encoded(
    option: str, names: Iterable[str], evaluate: Callable[[str], Any], read: Reader
) -> list[str]:
    """Return the content of the values of an option in base64.

    A name is the path of a file, or else an expression; a list has several values.
    """
    result = []
    for name in names:
        label = f"{option} {name}"
        value = Path(name).expanduser()
        found = value if value.is_file() else _value(label, name, evaluate)
        several = found if isinstance(found, list | tuple) else [found]
        for one in several:
            result.append(base64.b64encode(content_of(label, one, read)).decode())
    return result


def content_of(label: str, value: Any, read: Reader) -> bytes:
    """Return the content of a file, of bytes, or of a value that ``read`` takes.

    ``label`` names it in errors. Raises OllamaMagicsError.
    """
    content = _plain_bytes(label, value)
    return read(label, value) if content is None else content


def read_image(label: str, image: Any) -> bytes:
    """Return the bytes of an image in a format that servers read.

    ``label`` names it in errors. Raises OllamaMagicsError.
    """
    if hasattr(image, "savefig"):
        return _saved_figure(image)
    if isinstance(getattr(image, "data", None), bytes):  # IPython.display.Image
        return _plain_bytes(label, image.data) or b""
    if hasattr(image, "_repr_png_") and (picture := image._repr_png_()):
        return picture if isinstance(picture, bytes) else base64.b64decode(picture)
    if hasattr(getattr(image, "figure", None), "savefig"):  # the axes of a plot
        return _saved_figure(image.figure)
    raise OllamaMagicsError(f"{label} is of type {type(image).__name__}, not {IMAGES}.")


def read_sound(label: str, sound: Any) -> bytes:
    """Return the bytes of a sound file. ``label`` names it in errors. Raises OllamaMagicsError."""
    if isinstance(getattr(sound, "data", None), bytes):  # IPython.display.Audio, of arrays as well
        return _plain_bytes(label, sound.data) or b""
    raise OllamaMagicsError(f"{label} is of type {type(sound).__name__}, not {SOUNDS}.")


def _plain_bytes(label: str, value: Any) -> bytes | None:
    """Return the bytes of a file or a bytes-like object, None for another value."""
    if isinstance(value, str | os.PathLike):
        value = _read(label, Path(value).expanduser())
    if not isinstance(value, bytes | bytearray | memoryview):
        return None
    if not len(value):
        raise OllamaMagicsError(f"{label} is empty.")
    return bytes(value)


def _value(label: str, name: str, evaluate: Callable[[str], Any]) -> Any:
    try:
        return evaluate(name)
    except OllamaMagicsError as error:
        reason = str(error.__cause__ or error)
        raise OllamaMagicsError(
            f"{label}: there is no such file, and it is not an expression ({reason})."
        ) from error


def _read(label: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OllamaMagicsError(f"{label}: {path}: {error.strerror}.") from error


def _saved_figure(figure: Any) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()
