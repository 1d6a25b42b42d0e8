"""One download for all who want it, which ends when nobody does any more."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import aclosing

import pytest
from peers import Blob, FaultyRegistry, digest_of, dripping
from pulling import QUICK, Puller, files

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.registry.partial import PartialBlob

Make = Callable[..., Puller]

WEIGHTS = os.urandom(1_000_000)
DIGEST = digest_of(WEIGHTS)
PARTS = 16
SLOW = dripping(0.05, 5_000)


@pytest.fixture
def name(registry: FaultyRegistry) -> str:
    """A model with one layer, which comes slowly."""
    registry.publish("me/tiny", WEIGHTS)
    registry.always = SLOW
    return f"{registry.host}/me/tiny"


async def pull_a_little(puller: Puller, name: str) -> int:
    """Pull until some of the weights have come, then go away; return how many bytes that were."""
    async with aclosing(puller.transfers.pull(ModelName.parse(name), True)) as lines:
        async for line in lines:
            if line.get("completed", 0) > 50_000:
                return line["completed"]
    raise AssertionError("there was no progress")


def wait_for(registry: FaultyRegistry, sent: int) -> None:
    """Return when so many bytes are on their way."""
    while registry.sent < sent:
        time.sleep(0.01)


def test_two_pulls_share_the_work(registry: FaultyRegistry, name: str, puller: Make) -> None:
    one = puller()

    async def both() -> None:
        registry.publish("me/other", WEIGHTS)
        await asyncio.gather(one.pulling(name), one.pulling(f"{registry.host}/me/other"))

    asyncio.run(both())
    assert len(registry.asked_for(DIGEST)) == PARTS
    assert len(one.store.names()) == 2


def test_the_last_to_leave_ends_the_download(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    one = puller()
    done = asyncio.run(pull_a_little(one, name))
    sent = registry.sent
    time.sleep(0.3)
    assert registry.sent - sent < 100_000  # what was on its way
    assert one.store.names() == []
    registry.requests.clear()
    lines = one.pull(name)
    first = next(line for line in lines if line.get("digest") == DIGEST)
    assert first["completed"] >= done
    asked = [headers["Range"] for headers in registry.asked_for(DIGEST)]
    assert sum(length(one) for one in asked) <= len(WEIGHTS) - done
    assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS


def length(asked: str) -> int:
    first, last = map(int, asked.removeprefix("bytes=").split("-"))
    return last - first + 1


def test_one_of_two_leaves(registry: FaultyRegistry, name: str, puller: Make) -> None:
    one = puller()

    async def both() -> None:
        stays = asyncio.create_task(one.pulling(name))
        await pull_a_little(one, name)
        assert (await stays)[-1] == {"status": "success"}

    asyncio.run(both())
    assert len(registry.asked_for(DIGEST)) == PARTS


def test_cancelled_at_any_moment(registry: FaultyRegistry, name: str, puller: Make) -> None:
    one = puller()

    async def cancel(after: float) -> None:
        task = asyncio.create_task(one.pulling(name))
        await asyncio.sleep(after)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    for after in (0, 0.005, 0.02, 0.1, 0.2):
        asyncio.run(cancel(after))
    registry.always = None
    assert one.pull(name)[-1] == {"status": "success"}
    assert len(files(one.store)) == 3


def test_stop_ends_all_and_a_later_pull_begins_again(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    one = puller()

    async def stopped() -> None:
        task = asyncio.create_task(one.pulling(name))
        await asyncio.to_thread(wait_for, registry, 300_000)
        await asyncio.to_thread(one.transfers.stop)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    assert [path for path in files(one.store) if path.endswith("-partial")]
    registry.always = None
    assert one.pull(name)[-1] == {"status": "success"}


def test_what_another_process_downloads_is_waited_for(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    one = puller()
    path = one.store.blob_path(DIGEST)
    other = PartialBlob.open(path, DIGEST, len(WEIGHTS), QUICK)
    assert other

    async def both() -> None:
        pull = asyncio.create_task(one.pulling(name))
        await asyncio.sleep(0.3)
        assert not registry.asked_for(DIGEST)
        for part in other.parts:
            other.write(part, WEIGHTS[part.offset : part.offset + part.size])
        await asyncio.to_thread(other.commit)
        assert (await pull)[-1] == {"status": "success"}

    asyncio.run(both())
    assert not registry.asked_for(DIGEST)
    assert len(files(one.store)) == 3


def test_deleting_another_model_meanwhile_keeps_what_is_pulled(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    small = b"a layer of both"
    registry.publish("me/tiny", small, WEIGHTS)
    registry.publish("me/small", small)
    one = puller()
    other = ModelName.parse(f"{registry.host}/me/small")
    one.pull(other.qualified)

    async def both() -> None:
        pull = asyncio.create_task(one.pulling(name))
        await asyncio.to_thread(wait_for, registry, 100_000)
        await asyncio.to_thread(one.store.delete, other)
        assert (await pull)[-1] == {"status": "success"}

    asyncio.run(both())
    assert one.store.blob_path(digest_of(small)).read_bytes() == small


def test_a_failure_is_told_to_all(registry: FaultyRegistry, name: str, puller: Make) -> None:
    one = puller()

    async def fail(handler: Blob, content: bytes) -> None:
        await asyncio.sleep(0.2)
        handler.set_status(403)

    registry.always = fail

    async def both() -> None:
        results = await asyncio.gather(one.pulling(name), one.pulling(name), return_exceptions=True)
        assert all(isinstance(result, OllamaError) for result in results)

    asyncio.run(both())
    assert files(one.store) == {}
