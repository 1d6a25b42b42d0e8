"""Images of prompts: files, bytes, figures and what else shows itself as a picture."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .failures import OllamaMagicsError

KINDS = "a file, a PIL image, a matplotlib figure or bytes"


def encoded(names: Iterable[str], evaluate: Callable[[str], Any]) -> list[str]:
    """Return the images that ``--image`` names, in base64: files first, else expressions.

    A list of images gives several.
    """
    result = []
    for name in names:
        value = Path(name).expanduser()
        found = value if value.is_file() else _value(name, evaluate)
        several = found if isinstance(found, list | tuple) else [found]
        result += [base64.b64encode(_content(name, image)).decode() for image in several]
    return result


def _value(name: str, evaluate: Callable[[str], Any]) -> Any:
    try:
        return evaluate(name)
    except OllamaMagicsError as error:
        reason = str(error.__cause__ or error)
        raise OllamaMagicsError(
            f"--image {name}: there is no such file, and it is no expression ({reason})."
        ) from error


def _content(name: str, image: Any) -> bytes:
    """Return the bytes of a picture in a format that servers know."""
    if isinstance(image, str | os.PathLike):
        image = _read(name, Path(image).expanduser())
    if isinstance(image, bytes | bytearray | memoryview):
        if not len(image):
            raise OllamaMagicsError(f"--image {name} is empty.")
        return bytes(image)
    if hasattr(image, "savefig"):
        return _saved(image)
    if isinstance(getattr(image, "data", None), bytes):  # IPython.display.Image
        return _content(name, image.data)
    if hasattr(image, "_repr_png_") and (picture := image._repr_png_()):
        return picture if isinstance(picture, bytes) else base64.b64decode(picture)
    if hasattr(getattr(image, "figure", None), "savefig"):  # the axes of a plot
        return _saved(image.figure)
    raise OllamaMagicsError(f"--image {name} is of type {type(image).__name__}, not {KINDS}.")


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise OllamaMagicsError(f"--image {name}: {path}: {error.strerror}.") from error


def _saved(figure: Any) -> bytes:
    import io

    file = io.BytesIO()
    figure.savefig(file, format="png", bbox_inches="tight")
    return file.getvalue()
