"""Pulls from a faulty registry: temporary faults are retried, no wrong data is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from peers import (
    Blob,
    Fault,
    FaultyRegistry,
    dripping,
    dropped,
    faulty_registry,
    of_length,
    redirected,
    stalled,
    status,
    swapped,
    whole,
)
from pulling import DIGEST, PARTS, QUICK, WEIGHTS, Puller, offsets
from store_models import store_files

from jupyter_ollama.errors import OllamaError

Make = Callable[..., Puller]


def test_parts_are_downloaded_concurrently(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    meeting = asyncio.Barrier(PARTS)

    async def wait_for_the_others(handler: Blob, content: bytes) -> None:
        await meeting.wait()
        await handler.send(content)

    one = puller(policy=QUICK._replace(stall=20))
    registry.faults.extend([dripping(0, 2**16)] * 2)  # the config and the small layer
    registry.faults.extend([wait_for_the_others] * PARTS)
    one.pull(name)
    assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
    assert offsets(registry) == list(range(0, len(WEIGHTS), len(WEIGHTS) // PARTS))


@pytest.mark.parametrize(
    "faults",
    [
        [dropped(30_000)],
        [dropped(0), dropped(1), dropped(49_999)],
        [status(503)] * 4,
        [status(500), status(429, Retry_After="0"), status(502), status(504)],
        [stalled(20_000)],
        [dropped(20_000)] * 40,
    ],
)
def test_temporary_faults_are_retried(
    registry: FaultyRegistry, name: str, puller: Make, faults: list[Fault]
) -> None:
    one = puller()
    registry.faults.append(dripping(0, 2**16))
    registry.faults.extend(faults)
    lines = one.pull(name)
    assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
    assert not registry.faults
    done = [line.get("completed", 0) for line in lines if line.get("digest") == DIGEST]
    assert done == sorted(done)
    assert not [path for path in store_files(one.store) if "partial" in path]


def test_an_interrupted_part_is_resumed(registry: FaultyRegistry, name: str, puller: Make) -> None:
    one = puller(policy=QUICK._replace(min_part=2**20, max_part=2**20))
    registry.faults.extend([dripping(0, 2**16)] * 2)  # the config and the small layer
    registry.faults.append(dropped(300_000))
    one.pull(name)
    first, second = offsets(registry)
    assert first == 0
    assert 0 < second <= 300_000


def test_small_requests_are_tried_again(registry: FaultyRegistry, name: str, puller: Make) -> None:
    registry.manifest_faults.extend([status(503), status(500)])
    assert puller().pull(name)[-1] == {"status": "success"}


@pytest.mark.parametrize("fault", [status(503), dropped(0), stalled(0)])
def test_permanent_faults_end_the_pull(
    registry: FaultyRegistry, name: str, puller: Make, fault: Fault
) -> None:
    one = puller(policy=QUICK._replace(tries=2, stall=0.1))
    registry.always = fault
    with pytest.raises(OllamaError, match="max retries exceeded") as caught:
        one.pull(name)
    assert caught.value.status == 500
    assert store_files(one.store) == {}


def test_slow_is_not_stalled(registry: FaultyRegistry, name: str, puller: Make) -> None:
    one = puller(policy=QUICK._replace(stall=0.3))
    registry.always = dripping(0.05, 5_000)
    one.pull(name)
    assert len(registry.asked_for(DIGEST)) == PARTS


def test_a_registry_without_ranges(registry: FaultyRegistry, name: str, puller: Make) -> None:
    async def cut(handler: Blob, content: bytes) -> None:
        handler.set_header("Content-Length", str(len(content)))
        handler.write(content[: len(content) // 2])
        await handler.flush()
        handler.drop()

    one = puller()
    registry.faults.extend([dripping(0, 2**16), whole(), cut, cut, cut])
    registry.always = whole()
    one.pull(name)
    assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
    assert not registry.faults


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (swapped(), "digest mismatch, file must be downloaded again: want sha256:"),
        (of_length(10), "bytes, its manifest says"),
        (of_length(2**40), "bytes, its manifest says"),
        (status(404), "file does not exist"),
        (status(403), "403: failed with 403"),
        (status(401), "unauthorized: access denied"),
        (status(203), "unexpected status code 203"),
        (redirected(lambda handler: handler.request.uri or ""), "maximum redirects exceeded"),
        (redirected(lambda handler: "file:///etc/passwd"), "redirects to no web address"),
        (redirected(lambda handler: "http://x:port/"), "faulty address"),
    ],
)
def test_wrong_data_leaves_the_store_unchanged(
    registry: FaultyRegistry, name: str, puller: Make, fault: Fault, message: str
) -> None:
    one = puller()
    one.store.add_blob(b"of another model")
    before = store_files(one.store)
    registry.faults.append(dripping(0, 2**16))  # the small layer arrives and must be removed
    registry.always = fault
    with pytest.raises(OllamaError, match=message) as caught:
        one.pull(name)
    assert caught.value.status == 500
    assert store_files(one.store) == before
    registry.always = None
    assert one.pull(name)[-1] == {"status": "success"}


def test_a_body_longer_than_its_range(registry: FaultyRegistry, name: str, puller: Make) -> None:
    async def longer(handler: Blob, content: bytes) -> None:
        wanted = bytes(handler.head_of(content))
        handler.set_header("Content-Length", str(len(wanted) + 1000))
        handler.finish(wanted + bytes(1000))

    registry.always = longer
    one = puller()
    with pytest.raises(OllamaError, match="longer than its manifest says"):
        one.pull(name)
    assert store_files(one.store) == {}


def test_no_registry_at_all(puller: Make) -> None:
    one = puller()
    with pytest.raises(OllamaError, match=r"pull model manifest: 127\.0\.0\.1:1: "):
        one.pull("127.0.0.1:1/me/tiny")
    assert store_files(one.store) == {}


def test_another_host_may_send_the_blob_and_sees_no_login(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    with faulty_registry() as store:
        store.blobs[DIGEST] = WEIGHTS
        path = f"/v2/x/y/blobs/{DIGEST}"
        sent_on = redirected(lambda handler: f"http://{store.host}{path}")

        async def ask_then_redirect(handler: Blob, content: bytes) -> None:
            if "Authorization" not in handler.request.headers:
                await status(401, WWW_Authenticate='Basic realm="x"')(handler, content)
            elif len(content) < 100:
                await handler.send(content)
            else:
                await sent_on(handler, content)

        registry.always = ask_then_redirect
        one = puller(logins={registry.host: "a:b"})
        one.pull(name)
        assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
        assert len(store.asked_for(DIGEST)) == PARTS
        assert not [h for h in store.asked_for(DIGEST) if "Authorization" in h]


def test_the_text_of_another_host_is_not_shown(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    with faulty_registry() as inner:
        inner.blobs["sha256:x"] = b""
        inner.always = status(418)
        registry.always = redirected(lambda handler: f"http://{inner.host}/v2/x/y/blobs/sha256:x")
        with pytest.raises(OllamaError) as caught:
            puller().pull(name)
        assert caught.value.message == "418: "
