"""The steps of a creation run in threads, and are undone when the client leaves."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from api_client import Fetch, error, lines

from jupyter_ollama.api.create import _steps


async def test_leaving_waits_for_the_step_and_then_closes() -> None:
    release, begun, log = threading.Event(), threading.Event(), []

    def generator() -> Generator[dict[str, Any], None, None]:
        try:
            yield {"status": "one"}
            begun.set()
            release.wait(10)
            log.append("step over")
            yield {"status": "two"}
            log.append("not reached")
        finally:
            log.append("undone")

    steps = _steps(generator())
    assert await anext(steps) == {"status": "one"}
    waiting = asyncio.ensure_future(anext(steps))
    await asyncio.to_thread(begun.wait, 10)
    waiting.cancel()
    await asyncio.sleep(0.05)  # nothing may be undone while the step runs
    assert not log
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert log == ["step over", "undone"]


async def test_the_event_loop_goes_on_during_a_step() -> None:
    begun, release = threading.Event(), threading.Event()

    def generator() -> Generator[dict[str, Any], None, None]:
        begun.set()
        assert release.wait(10)
        yield {"status": "one"}

    waiting = asyncio.ensure_future(anext(_steps(generator())))
    assert await asyncio.to_thread(begun.wait, 10)
    release.set()
    assert await waiting == {"status": "one"}


async def test_files_that_are_not_models_are_refused(standalone: Fetch, models_dir: Path) -> None:
    data = b"GGUF" + b"\xff" * 100
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert (await standalone("POST", f"/api/blobs/{digest}", data)).code == 201
    body = {"model": "broken", "files": {"m.gguf": digest}}
    response = await standalone("POST", "/api/create", body)
    first, last = lines(response)
    assert (response.code, first) == (200, {"status": "parsing GGUF"})
    assert list(last) == ["error"]
    response = await standalone("POST", "/api/create", body | {"stream": False})
    assert (response.code, error(response)) == (400, last["error"])
    assert not (models_dir / "manifests/registry.ollama.ai/library/broken").exists()


async def test_parameters_that_no_json_can_hold_make_no_model(
    standalone: Fetch, scratch_store: Path
) -> None:
    for value in (b"1e999", b"1" * 5000, b"[" * 500 + b"]" * 500):
        body = b'{"model": "broken", "from": "smollm2", "parameters": {"x": %s}}' % value
        assert (await standalone("POST", "/api/create", body)).code == 400
    assert (await standalone("POST", "/api/show", {"model": "broken"})).code == 404
    body = b'{"model": "new", "from": "smollm2", "parameters": {"x": 1%s}}' % (b"0" * 30)
    assert (await standalone("POST", "/api/create", body)).code == 200
    assert (await standalone("POST", "/api/show", {"model": "new"})).code == 200
