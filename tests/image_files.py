"""Image files of every kind, and the errors of broken ones."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from jupyter_ollama.errors import OllamaError


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Return an image unlike any other."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(image: Image.Image, kind: str = "PNG", **how: object) -> bytes:
    """Return an image as a file."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def refusal(action: Callable[[], object]) -> tuple[int, str]:
    """Return status and text of the error that an action must end by."""
    with pytest.raises(OllamaError) as caught:
        action()
    return caught.value.status, caught.value.message
