"""Pictures and sounds in prompts, distinguished by their first bytes. Runner process only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from ..errors import OllamaError
from .picture import Picture
from .sound import Sound
from .sound_file import MAX_SECONDS, TOO_LONG, is_sound

Attachment: TypeAlias = Picture | Sound


def attachments(files: Sequence[bytes]) -> list[Attachment]:
    """Read the headers of files. Raises OllamaError(400) for files that no model can take."""
    found = [Sound(data) if is_sound(data) else Picture(data) for data in files]
    if sum(one.seconds for one in found if isinstance(one, Sound)) > MAX_SECONDS:
        raise OllamaError(400, TOO_LONG)
    return found
