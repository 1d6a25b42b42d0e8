"""The heartbeat and the version."""

from __future__ import annotations

from .endpoint import TEXT, Call, Reply

OLLAMA_API_VERSION = "0.13.5"
"""The release of Ollama whose API is spoken here. Some clients refuse servers below 0.6.4."""


async def root(call: Call) -> Reply:
    """Answer GET and HEAD of the mount point, which command lines use as a heartbeat."""
    return Reply(b"Ollama is running", content_type=TEXT)


async def version(call: Call) -> Reply:
    """Answer GET and HEAD /api/version."""
    return Reply({"version": OLLAMA_API_VERSION})
