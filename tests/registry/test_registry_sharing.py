"""One download for all its listeners, which ends with the last of them."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from contextlib import aclosing

import pytest
from peers import Blob, FaultyRegistry, digest_of, dripping
from pulling import DIGEST, PARTS, QUICK, WEIGHTS, Puller
from store_models import store_files

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.blob_marks import GRACE_SECONDS, PULL_SECONDS
from jupyter_ollama.library.manifest import Manifest
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.registry.partial import PartialBlob

Make = Callable[..., Puller]

SLOW = dripping(0.05, 5_000)


@pytest.fixture
def name(registry: FaultyRegistry) -> str:
    """A model with one layer, which is sent slowly."""
    registry.publish("me/tiny", WEIGHTS)
    registry.always = SLOW
    return f"{registry.host}/me/tiny"


async def pull_a_little(puller: Puller, name: str) -> int:
    """Pull some of the weights, then close the pull; return the number of their bytes."""
    async with aclosing(puller.transfers.pull(ModelName.parse(name), True)) as lines:
        async for line in lines:
            if line.get("completed", 0) > 50_000:
                return line["completed"]
    raise AssertionError("there was no progress")


def wait_for(registry: FaultyRegistry, sent: int) -> None:
    """Return when the registry has sent a number of bytes."""
    while registry.sent < sent:
        time.sleep(0.01)


def test_a_pull_parses_its_manifest_once(
    registry: FaultyRegistry, puller: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.publish("me/tiny", b"weights")
    parsed: list[bytes] = []
    parse = Manifest.from_json

    def counted(data: bytes) -> Manifest:
        parsed.append(data)
        return parse(data)

    monkeypatch.setattr(Manifest, "from_json", counted)
    puller().pull(f"{registry.host}/me/tiny")
    assert parsed == [registry.manifests["/v2/me/tiny/manifests/latest"]]


def test_two_pulls_share_the_work(registry: FaultyRegistry, name: str, puller: Make) -> None:
    one = puller()

    async def both() -> None:
        registry.publish("me/other", WEIGHTS)
        await asyncio.gather(one.pulling(name), one.pulling(f"{registry.host}/me/other"))

    asyncio.run(both())
    assert len(registry.asked_for(DIGEST)) == PARTS
    assert len(one.store.names()) == 2


def test_the_last_listener_ends_the_download(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    one = puller()
    done = asyncio.run(pull_a_little(one, name))
    sent = registry.sent
    time.sleep(0.3)  # the download may not continue
    assert registry.sent - sent < 100_000  # bytes in transit
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
    assert len(store_files(one.store)) == 3


def test_finished_layers_of_an_interrupted_pull_are_kept_for_a_week(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    one = puller()
    registry.publish("me/tiny", b"small", WEIGHTS)
    small = digest_of(b"small")
    asyncio.run(pull_a_little(one, name))
    long_ago = time.time() - GRACE_SECONDS - 1
    os.utime(one.store.blob_path(small), (long_ago, long_ago))
    one.store.prepare()
    assert one.store.has_blob(small)
    [mark] = one.store.blobs.rglob(f"{small.replace(':', '-')}.loose")
    assert mark.stat().st_mtime > time.time() + PULL_SECONDS - 2 * GRACE_SECONDS
    os.utime(mark, (long_ago, long_ago))
    one.store.prepare()
    assert not one.store.has_blob(small)


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
    assert [path for path in store_files(one.store) if path.endswith("-partial")]
    registry.always = None
    assert one.pull(name)[-1] == {"status": "success"}


def test_a_download_of_another_process_is_awaited(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    one = puller()
    other = PartialBlob.open(one.store, DIGEST, len(WEIGHTS), QUICK)
    assert other

    async def both() -> None:
        pull = asyncio.create_task(one.pulling(name))
        await asyncio.sleep(0.3)  # the pull may not send a request
        assert not registry.asked_for(DIGEST)
        for part in other.parts:
            other.write(part, WEIGHTS[part.offset : part.offset + part.size])
        await asyncio.to_thread(other.commit)
        assert (await pull)[-1] == {"status": "success"}

    asyncio.run(both())
    assert not registry.asked_for(DIGEST)
    assert len(store_files(one.store)) == 3


def test_deleting_another_model_meanwhile_keeps_pulled_blobs(
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


def test_a_failure_is_reported_to_all(registry: FaultyRegistry, name: str, puller: Make) -> None:
    one = puller()

    async def fail(handler: Blob, content: bytes) -> None:
        await asyncio.sleep(0.2)  # until the second pull has joined the first
        handler.set_status(403)

    registry.always = fail

    async def both() -> None:
        results = await asyncio.gather(one.pulling(name), one.pulling(name), return_exceptions=True)
        assert all(isinstance(result, OllamaError) for result in results)

    asyncio.run(both())
    assert store_files(one.store) == {}
