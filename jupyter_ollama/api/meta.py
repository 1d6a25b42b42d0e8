"""The heartbeat, the version and the devices."""

from __future__ import annotations

from .._version import OLLAMA_API_VERSION
from ..errors import OllamaError
from .endpoint import TEXT, Call, Reply

RECOMMENDATIONS = [
    {
        "model": "gemma4",
        "description": "Chat, reasoning and code",
        "vram_bytes": 12_000_000_000,
    },
    {
        "model": "qwen3.5",
        "description": "Chat, reasoning, code and images",
        "vram_bytes": 14_000_000_000,
    },
]
"""The models that Ollama recommends, without those of its cloud."""


async def root(call: Call) -> Reply:
    """Answer GET and HEAD of the mount point, which command lines use as a heartbeat."""
    return Reply(b"Ollama is running", content_type=TEXT)


async def version(call: Call) -> Reply:
    """Answer GET and HEAD /api/version."""
    return Reply({"version": OLLAMA_API_VERSION})


async def devices(call: Call) -> Reply:
    """Answer GET /api/devices: the memory of each device. Raises OllamaError(500)."""
    return Reply({"devices": await call.server.devices.get()})


async def status(call: Call) -> Reply:
    """Answer GET /api/status: nothing is sent to Ollama's cloud."""
    return Reply({"cloud": {"disabled": True, "source": "config"}})


async def signout(call: Call) -> Reply:
    """Answer POST /api/signout: no account is signed in to ollama.com. Raises OllamaError(401)."""
    raise OllamaError(401, "you are not currently signed in")


async def recommendations(call: Call) -> Reply:
    """Answer GET /api/experimental/model-recommendations: models of Ollama's that run locally."""
    return Reply({"recommendations": RECOMMENDATIONS})


async def me(call: Call) -> Reply:
    """Answer POST /api/me: no user is signed in to ollama.com. Raises OllamaError(401)."""
    raise OllamaError(401, "unauthorized")
