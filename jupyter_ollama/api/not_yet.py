"""What clients of Ollama ask for and this version does not have: answered with an error."""

from __future__ import annotations

from ..errors import OllamaError
from .endpoint import Call, Reply

OPENAI_PATHS = ("chat/completions", "completions", "embeddings", "models", "responses")
"""The routes below /v1."""


async def pull(call: Call) -> Reply:
    """Refuse POST /api/pull."""
    raise OllamaError(400, "pulling models is not supported yet")


async def push(call: Call) -> Reply:
    """Refuse POST /api/push."""
    raise OllamaError(400, "pushing models is not supported yet")


async def openai(call: Call) -> Reply:
    """Refuse a route of the OpenAI API, in the form that its clients read."""
    message = "the OpenAI API is not supported yet, only Ollama's own"
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    return Reply({"error": error}, status=400)
