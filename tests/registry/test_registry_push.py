"""Pushes in parts, over connections that break."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import aclosing

import pytest
from peers import digest_of
from pulling import QUICK, Puller
from uploads import UploadRegistry, upload_registry

from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library import manifest
from jupyter_ollama.library.manifest import Layer, Manifest
from jupyter_ollama.library.name import ModelName

Make = Callable[..., Puller]

WEIGHTS = os.urandom(1_000_000)
DIGEST = digest_of(WEIGHTS)
POLICY = QUICK._replace(min_part=300_000, max_part=300_000)
PARTS = 4


@pytest.fixture
def registry() -> Iterator[UploadRegistry]:
    """A registry for pushes."""
    with upload_registry() as registry:
        yield registry


@pytest.fixture
def pusher(registry: UploadRegistry, puller: Make) -> Puller:
    """A puller whose store has a model to push."""
    one = puller(policy=POLICY)
    blob = one.store.add_blob(WEIGHTS)
    config = one.store.add_blob(b"{}")
    written = Manifest(
        config=Layer(manifest.CONFIG, config.digest, config.size),
        layers=[Layer(manifest.MODEL, blob.digest, blob.size)],
    )
    one.store.write_manifest(ModelName.parse(f"{registry.host}/me/tiny"), written)
    return one


def check(registry: UploadRegistry, pusher: Puller) -> None:
    name = ModelName.parse(f"{registry.host}/me/tiny")
    assert registry.blobs == {DIGEST: WEIGHTS, digest_of(b"{}"): b"{}"}
    assert registry.manifests == {"latest": pusher.store.read_manifest_bytes(name)}


def test_parts_one_after_the_other(registry: UploadRegistry, pusher: Puller) -> None:
    lines = pusher.push(f"{registry.host}/me/tiny")
    check(registry, pusher)
    assert len([line for line in registry.log if line.startswith("PATCH")]) == PARTS + 1
    done = [line.get("completed", 0) for line in lines if line.get("digest") == DIGEST]
    assert done == sorted(done)
    assert done[-1] == len(WEIGHTS)
    assert registry.etags == ["", ""]


@pytest.mark.parametrize("cuts", [[100_000], [None, 1, 299_999], [100_000] * 9, [1, 100_000]])
def test_cut_parts_go_on_where_they_were(
    registry: UploadRegistry, pusher: Puller, cuts: list[int | None]
) -> None:
    registry.cuts.extend(cuts)
    pusher.push(f"{registry.host}/me/tiny")
    check(registry, pusher)
    # A registry cannot report exactly one byte.
    assert registry.received == len(WEIGHTS) + 2 + (cuts[0] == 1)


def test_an_upload_that_the_registry_forgot_begins_anew(
    registry: UploadRegistry, pusher: Puller
) -> None:
    registry.cuts.extend([None, 100_000])
    registry.forgets = True
    lines = pusher.push(f"{registry.host}/me/tiny")
    check(registry, pusher)
    assert len(registry.uploads) == 3
    done = [line.get("completed", 0) for line in lines if line.get("digest") == DIGEST]
    assert done == sorted(done)


def test_the_next_push_resumes_an_interrupted_one(registry: UploadRegistry, pusher: Puller) -> None:
    registry.cuts.extend([None, *[0] * 6])
    with pytest.raises(OllamaError, match="max retries exceeded"):
        pusher.push(f"{registry.host}/me/tiny")
    assert registry.received == 300_000
    pusher.push(f"{registry.host}/me/tiny")
    check(registry, pusher)
    assert registry.received == len(WEIGHTS) + 2


def test_parts_that_are_kept_elsewhere(registry: UploadRegistry, pusher: Puller) -> None:
    registry.redirects = True
    registry.part_failures = 2
    pusher.push(f"{registry.host}/me/tiny")
    check(registry, pusher)
    parts = [WEIGHTS[start : start + 300_000] for start in range(0, len(WEIGHTS), 300_000)]
    sums = b"".join(hashlib.md5(part).digest() for part in parts)
    assert registry.etags[0] == f"{hashlib.md5(sums).hexdigest()}-{PARTS}"


def test_leaving_ends_the_upload(registry: UploadRegistry, pusher: Puller) -> None:
    async def leave() -> None:
        name = ModelName.parse(f"{registry.host}/me/tiny")
        async with aclosing(pusher.transfers.push(name, True)) as lines:
            async for line in lines:
                if "digest" in line:
                    break

    asyncio.run(leave())
    assert registry.manifests == {}
    pusher.push(f"{registry.host}/me/tiny")
    check(registry, pusher)


def test_a_missing_model(registry: UploadRegistry, puller: Make) -> None:
    one = puller()

    async def push() -> None:
        name = ModelName.parse(f"{registry.host}/me/other")
        async with aclosing(one.transfers.push(name, True)) as steps:
            assert await anext(steps) == {"status": "retrieving manifest"}
            assert await anext(steps) == {"status": "couldn't retrieve manifest"}
            with pytest.raises(OllamaError, match="not found"):
                await anext(steps)

    asyncio.run(push())
    assert registry.log == []
