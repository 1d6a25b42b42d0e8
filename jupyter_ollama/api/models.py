"""What is in the store and what is loaded: tags, ps, show, copy, delete."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..errors import OllamaError
from .endpoint import Call, Reply
from .wire import CopyRequest, DeleteRequest, ShowRequest

if TYPE_CHECKING:
    from ..library.model import Model


async def find_model(call: Call, name: str) -> Model:
    """Return the model of a request. Raises OllamaError: 400 for no name, 404 for no such model."""
    from ..library.name import InvalidName

    def find() -> Model:
        model = call.server.library.find(name)
        # Reads the GGUF's header and perhaps parses a template: not for the event loop.
        _ = model.capabilities
        return model

    if name not in call.models:
        try:
            call.models[name] = await asyncio.to_thread(find)
        except InvalidName as error:
            raise OllamaError(400, str(error)) from None
    return call.models[name]


async def tags(call: Call) -> Reply:
    """Answer GET and HEAD /api/tags: all models, newest first."""

    def entries() -> list[dict[str, Any]]:
        return [model.tag() for model in call.server.library.list()]

    return Reply({"models": await asyncio.to_thread(entries)})


async def ps(call: Call) -> Reply:
    """Answer GET /api/ps: the loaded models, the last to expire first."""
    from ..library.show import rfc3339

    loaded = sorted(call.server.scheduler.loaded(), key=lambda m: m.expires_at, reverse=True)
    entries = [
        {
            "name": one.model.name.display,
            "model": one.model.name.display,
            "size": one.size,
            "digest": one.model.digest,
            "details": one.model.details(),
            "expires_at": rfc3339(one.expires_at),
            "size_vram": one.size_vram,
            "context_length": one.num_ctx,
        }
        for one in loaded
    ]
    return Reply({"models": entries})


async def show(call: Call) -> Reply:
    """Answer POST /api/show: everything known about a model."""
    from ..library.name import ModelName

    request = call.decode(ShowRequest)
    name = request.model or request.name
    if not name:
        raise OllamaError(400, "model is required")
    try:
        model = await find_model(call, name)
    except OllamaError as error:
        if error.status != 404:
            raise
        message = f"model '{ModelName.parse(name).display}' not found"
        raise OllamaError(404, message) from None
    body = await asyncio.to_thread(model.show, request.verbose)
    if call.user_agent.startswith("GitHubCopilotChat/"):
        # Copilot lists models under this key, and fails where a GGUF lacks it.
        body["model_info"]["general.basename"] = name
    return Reply(body)


async def copy(call: Call) -> Reply:
    """Answer POST /api/copy: a second name for a model."""
    request = call.decode(CopyRequest)
    await asyncio.to_thread(call.server.library.copy, request.source, request.destination)
    return Reply()


async def delete(call: Call) -> Reply:
    """Answer DELETE /api/delete: forget a model and the blobs that only it used."""
    request = call.decode(DeleteRequest)
    name = request.model or request.name
    if not name:
        raise OllamaError(400, "model is required")
    await asyncio.to_thread(call.server.library.delete, name)
    return Reply()
