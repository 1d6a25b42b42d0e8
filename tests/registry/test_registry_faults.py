"""Pulls from a registry that goes wrong: what a later try mends is mended, nothing else stays."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable

import pytest
from peers import (
    Blob,
    Fault,
    FaultyRegistry,
    digest_of,
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
from pulling import QUICK, Puller, files

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.name import ModelName
from jupyter_ollama.library.store import Store

Make = Callable[..., Puller]

WEIGHTS = os.urandom(1_000_000)
DIGEST = digest_of(WEIGHTS)
PARTS = 16


@pytest.fixture
def name(registry: FaultyRegistry) -> str:
    """A model with WEIGHTS and a small layer before them."""
    registry.publish("me/tiny", b"small", WEIGHTS)
    return f"{registry.host}/me/tiny"


def offsets(registry: FaultyRegistry) -> list[int]:
    """Return where the ranges began that were asked for."""
    ranges = [headers["Range"] for headers in registry.asked_for(DIGEST)]
    return sorted(int(one.removeprefix("bytes=").split("-")[0]) for one in ranges)


def test_parts_come_side_by_side(registry: FaultyRegistry, name: str, puller: Make) -> None:
    meeting = asyncio.Barrier(PARTS)

    async def wait_for_the_others(handler: Blob, content: bytes) -> None:
        await meeting.wait()
        await handler.send(content)

    one = puller(pace=QUICK._replace(stall=20))
    registry.faults.append(dripping(0, 2**16))  # the small layer
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
def test_what_a_later_try_mends(
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
    assert not [path for path in files(one.store) if "partial" in path]


def test_a_cut_part_goes_on_where_it_was(registry: FaultyRegistry, name: str, puller: Make) -> None:
    one = puller(pace=QUICK._replace(min_part=2**20, max_part=2**20))
    registry.faults.extend([dripping(0, 2**16), dropped(300_000)])
    one.pull(name)
    first, second = offsets(registry)
    assert first == 0
    assert 0 < second <= 300_000


def test_small_requests_are_tried_again(registry: FaultyRegistry, name: str, puller: Make) -> None:
    registry.manifest_faults.extend([status(503), status(500)])
    assert puller().pull(name)[-1] == {"status": "success"}


@pytest.mark.parametrize("fault", [status(503), dropped(0), stalled(0)])
def test_what_never_mends_ends(
    registry: FaultyRegistry, name: str, puller: Make, fault: Fault
) -> None:
    one = puller(pace=QUICK._replace(tries=2, stall=0.1))
    registry.always = fault
    with pytest.raises(OllamaError, match="max retries exceeded") as caught:
        one.pull(name)
    assert caught.value.status == 500
    assert files(one.store) == {}


def test_slow_is_not_stalled(registry: FaultyRegistry, name: str, puller: Make) -> None:
    one = puller(pace=QUICK._replace(stall=0.3))
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
def test_what_is_wrong_leaves_the_store_as_it_was(
    registry: FaultyRegistry, name: str, puller: Make, fault: Fault, message: str
) -> None:
    one = puller()
    one.store.add_blob(b"of another model")
    before = files(one.store)
    registry.faults.append(dripping(0, 2**16))  # the small layer arrives, and has to go again
    registry.always = fault
    with pytest.raises(OllamaError, match=message) as caught:
        one.pull(name)
    assert caught.value.status == 500
    assert files(one.store) == before
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
    assert files(one.store) == {}


def test_no_registry_at_all(puller: Make) -> None:
    one = puller()
    with pytest.raises(OllamaError, match=r"pull model manifest: 127\.0\.0\.1:1: "):
        one.pull("127.0.0.1:1/me/tiny")
    assert files(one.store) == {}


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


def test_what_another_host_says_is_not_told(
    registry: FaultyRegistry, name: str, puller: Make
) -> None:
    with faulty_registry() as inner:
        inner.blobs["sha256:x"] = b""
        inner.always = status(418)
        registry.always = redirected(lambda handler: f"http://{inner.host}/v2/x/y/blobs/sha256:x")
        with pytest.raises(OllamaError) as caught:
            puller().pull(name)
        assert caught.value.message == "418: "


class TestPartialFiles:
    """What an earlier try left: of ours, of a real Ollama, or of nobody who knew better."""

    def leave(self, store: Store, data: bytes, *parts: tuple[int, int, int]) -> None:
        path = store.blob_path(DIGEST)
        path.with_name(f"{path.name}-partial").write_bytes(data)
        for n, (offset, size, completed) in enumerate(parts):
            record = {"N": n, "Offset": offset, "Size": size, "Completed": completed}
            text = json.dumps(record, separators=(",", ":")) + "\n"
            path.with_name(f"{path.name}-partial-{n}").write_text(text)

    def test_those_of_ollama_are_finished(
        self, registry: FaultyRegistry, name: str, puller: Make
    ) -> None:
        one = puller()
        data = WEIGHTS[:400_000] + bytes(600_000)
        self.leave(one.store, data, (0, 500_000, 400_000), (500_000, 500_000, 0))
        lines = one.pull(name)
        assert offsets(registry) == [400_000, 500_000]
        assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
        first = next(line for line in lines if line.get("digest") == DIGEST)
        assert first["completed"] >= 400_000
        assert len(files(one.store)) == 4

    def test_ours_are_in_their_format(
        self, registry: FaultyRegistry, name: str, puller: Make
    ) -> None:
        one = puller(pace=QUICK._replace(tries=1, parts=2, max_part=500_000))
        registry.faults.extend([dripping(0, 2**16), dropped(100_000), dropped(200_000)])
        with pytest.raises(OllamaError, match="max retries"):
            one.pull(name)
        path = one.store.blob_path(DIGEST)
        records = [
            json.loads(path.with_name(f"{path.name}-partial-{n}").read_text()) for n in range(2)
        ]
        assert [list(record) for record in records] == [["N", "Offset", "Size", "Completed"]] * 2
        assert [record["Offset"] for record in records] == [0, 500_000]
        data = path.with_name(f"{path.name}-partial").read_bytes()
        assert len(data) == len(WEIGHTS)
        for record in records:
            start, end = record["Offset"], record["Offset"] + record["Completed"]
            assert data[start:end] == WEIGHTS[start:end]
        assert sum(record["Completed"] for record in records) > 0
        one.pull(name)
        assert path.read_bytes() == WEIGHTS

    @pytest.mark.parametrize(
        "parts",
        [
            [],
            [(0, 500_000, 400_000)],
            [(0, 500_000, 400_000), (400_000, 600_000, 0)],
            [(0, 1_000_000, 1_000_001)],
            [(0, 1_000_000, -1)],
            [(0, 2_000_000, 5)],
        ],
    )
    def test_those_that_make_no_sense_are_begun_anew(
        self, registry: FaultyRegistry, name: str, puller: Make, parts: list[tuple[int, int, int]]
    ) -> None:
        one = puller()
        self.leave(one.store, bytes(1_000_000), *parts)
        one.pull(name)
        assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
        assert len(files(one.store)) == 4

    def test_records_without_their_file(
        self, registry: FaultyRegistry, name: str, puller: Make
    ) -> None:
        one = puller()
        self.leave(one.store, b"", (0, 1_000_000, 1_000_000))
        path = one.store.blob_path(DIGEST)
        path.with_name(f"{path.name}-partial").unlink()
        one.pull(name)
        assert path.read_bytes() == WEIGHTS

    def test_torn_record(self, registry: FaultyRegistry, name: str, puller: Make) -> None:
        one = puller()
        self.leave(one.store, WEIGHTS, (0, 1_000_000, 1_000_000))
        path = one.store.blob_path(DIGEST)
        path.with_name(f"{path.name}-partial-0").write_text('{"N":0,"Off')
        one.pull(name)
        assert path.read_bytes() == WEIGHTS

    def test_wrong_bytes_are_told_and_fetched_by_the_next_pull(
        self, registry: FaultyRegistry, name: str, puller: Make
    ) -> None:
        one = puller()
        self.leave(one.store, bytes(1_000_000), (0, 1_000_000, 900_000))
        with pytest.raises(OllamaError, match="digest mismatch"):
            one.pull(name)
        assert files(one.store) == {}
        one.pull(name)
        assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS

    def test_blob_of_the_wrong_size_is_replaced(
        self, registry: FaultyRegistry, name: str, puller: Make
    ) -> None:
        one = puller()
        one.store.blob_path(DIGEST).write_bytes(b"short")
        one.pull(name)
        assert one.store.blob_path(DIGEST).read_bytes() == WEIGHTS
        assert one.store.names() == [ModelName.parse(name)]
