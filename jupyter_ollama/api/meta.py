"""The heartbeat and the version."""

from __future__ import annotations

from .._version import OLLAMA_API_VERSION
from ..errors import OllamaError
from .endpoint import TEXT, Call, Reply


async def root(call: Call) -> Reply:
    """Answer GET and HEAD of the mount point, which command lines use as a heartbeat."""
    return Reply(b"Ollama is running", content_type=TEXT)


async def version(call: Call) -> Reply:
    """Answer GET and HEAD /api/version."""
    return Reply({"version": OLLAMA_API_VERSION})


async def status(call: Call) -> Reply:
    """Answer GET /api/status: nothing is sent to Ollama's cloud."""
    return Reply({"cloud": {"disabled": True, "source": "config"}})


async def me(call: Call) -> Reply:
    """Answer POST /api/me: nobody is signed in to ollama.com. Raises OllamaError(401)."""
    raise OllamaError(401, "unauthorized")
