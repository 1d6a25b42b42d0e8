"""POST /api/create: a new model from files, blobs or another model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import OllamaError
from .endpoint import PLAIN_JSON, Call, Reply, Stream, changing_library
from .models import check_name
from .transfer import transfers_of

if TYPE_CHECKING:
    from ..library.create import CreateRequest
    from ..library.library import Library
    from ..library.name import ModelName


async def create(call: Call) -> Reply | Stream:
    """Stream the steps, or return the last one."""
    from ..library.create import CreateRequest

    request = await asyncio.to_thread(call.decode, CreateRequest)
    check_name(call, request.model or request.name or "", request.from_ or "")
    steps = changing_library(call, _created(call, request))
    if request.stream is not False:
        return steps
    async for _ in steps:
        pass
    return Reply({"status": "success"}, content_type=PLAIN_JSON)


async def _created(call: Call, request: CreateRequest) -> Stream:
    """Yield the steps of the creation, after the steps of pulling a missing base."""
    from ..engine import quantize
    from ..library.create import create as create_model

    base = await asyncio.to_thread(_missing_base, call.server.library, request)
    if base:
        pull = (await transfers_of(call)).pull(base)
        async with contextlib.aclosing(pull):
            async for status in pull:
                if status != {"status": "success"}:
                    yield status
    made = create_model(call.server.library.store, request, quantize.run)
    async with contextlib.aclosing(_steps(made)) as steps:
        async for status in steps:
            yield status


def _missing_base(library: Library, request: CreateRequest) -> ModelName | None:
    """Return the model to pull first, None if it is stored or the request is invalid."""
    from ..library.name import InvalidName, ModelName

    try:
        ModelName.parse(request.model or request.name or "")
        base = ModelName.parse(request.from_ or "")
    except InvalidName:
        return None
    try:
        library.find(request.from_ or "")
    except OllamaError as error:
        return base if error.status == 404 else None
    return None


async def _steps(generator: Iterator[dict[str, Any]]) -> Stream:
    """Run a generator in threads; leaving early waits for its step, then has it undo all."""
    try:
        while True:
            step = asyncio.ensure_future(asyncio.to_thread(next, generator, None))
            try:
                status = await asyncio.shield(step)
            except asyncio.CancelledError:
                with contextlib.suppress(Exception):
                    await step
                raise
            if status is None:
                return
            yield status
    finally:
        if isinstance(generator, Generator):
            await asyncio.to_thread(generator.close)
