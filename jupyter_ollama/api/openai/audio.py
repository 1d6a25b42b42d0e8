"""POST /v1/audio/transcriptions: refused, for no model here hears."""

from __future__ import annotations

from ...errors import OllamaError
from ..endpoint import Call, Reply
from .messages import NO_AUDIO


async def transcriptions(call: Call) -> Reply:
    """Raise OllamaError(400)."""
    raise OllamaError(400, NO_AUDIO)
