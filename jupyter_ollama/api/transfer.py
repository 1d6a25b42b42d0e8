"""POST /api/pull and /api/push: models from registries and to them."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import TYPE_CHECKING

import msgspec

from ..errors import OllamaError
from .endpoint import PLAIN_JSON, Call, Reply, Stream, changing_library
from .models import check_name

if TYPE_CHECKING:
    from ..registry.transfers import Transfers


class TransferRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/pull and /api/push. ``name`` is the older spelling of ``model``.

    ``insecure`` lets a registry be asked without encryption.
    """

    model: str = ""
    name: str = ""
    insecure: bool = False
    stream: bool | None = None


async def pull(call: Call) -> Reply | Stream:
    """Answer POST /api/pull with a stream of the steps, or with the last one."""
    return await _transfer(call, "pull")


async def push(call: Call) -> Reply | Stream:
    """Answer POST /api/push with a stream of the steps, or with the last one."""
    return await _transfer(call, "push")


async def transfers_of(call: Call) -> Transfers:
    """Return the transfers of the server."""
    # The HTTP client takes long to import: not in the event loop.
    await asyncio.to_thread(import_module, "jupyter_ollama.registry.transfers")
    return call.server.transfers


async def _transfer(call: Call, verb: str) -> Reply | Stream:
    from ..library.name import InvalidName, ModelName

    request = call.decode(TransferRequest)
    text = request.model or request.name
    if not text and verb == "push":
        raise OllamaError(400, "model is required")
    try:
        name = ModelName.parse(text)
    except InvalidName:
        raise OllamaError(400, "invalid model name") from None
    check_name(call, text)
    transfers = await transfers_of(call)
    if verb == "pull":
        steps = changing_library(call, transfers.pull(name, request.insecure))
    else:
        steps = transfers.push(name, request.insecure)
    if request.stream is not False:
        return steps
    async for _ in steps:
        pass
    return Reply({"status": "success"}, content_type=PLAIN_JSON)
