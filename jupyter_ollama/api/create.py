"""POST /api/create: a new model from files, blobs or another model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator, Iterator
from typing import Any

from .endpoint import PLAIN_JSON, Call, Reply, Stream


async def create(call: Call) -> Reply | Stream:
    """Answer with the steps as they are done, or with the end alone."""
    from ..library.create import CreateRequest

    request = call.decode(CreateRequest)
    steps = _steps(call.server.library.create(request))
    if request.stream is not False:
        return steps
    async for _ in steps:
        pass
    return Reply({"status": "success"}, content_type=PLAIN_JSON)


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
