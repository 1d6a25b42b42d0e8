"""The download of one blob from a registry into the store, shared by all its requests."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterator

import httpx2

from ..errors import one_line
from ..library.manifest import Layer
from ..library.store import Store
from .client import Open, Repository
from .partial import Damaged, Part, PartialBlob, recorded_bytes
from .responses import Temporary
from .transfer_policy import TransferPolicy

log = logging.getLogger(__name__)

_OTHER_PROCESS_SECONDS = 0.5
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class _NoRanges(Exception):
    """The registry sends whole blobs only."""


class Download:
    """A task that downloads a blob in parts, verifies it and renames it into place.

    ``fetched`` is done when all bytes have arrived, ``stored`` when the blob is in place, or with
    the error that ended the download.
    """

    def __init__(
        self, store: Store, layer: Layer, repository: Open, policy: TransferPolicy
    ) -> None:
        self.layer = layer
        self.listeners = 0
        self.created = False
        self.fetched: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._store = store
        self._repository = repository
        self._policy = policy
        self._seen = 0
        self._count: Callable[[], int] = lambda: 0
        self.stored = asyncio.create_task(self._run())
        # Retrieve the error, which no listener may await.
        self.stored.add_done_callback(lambda task: task.cancelled() or task.exception())

    @property
    def ends(self) -> list[asyncio.Future[None]]:
        """The futures after which no more bytes will arrive."""
        return [self.fetched, self.stored]

    @property
    def completed(self) -> int:
        """The number of bytes downloaded, which never decreases."""
        self._seen = max(self._seen, self._count())
        return self._seen

    async def _run(self) -> None:
        partial = await self._open()
        if partial is not None:
            try:
                self._count = lambda: partial.completed
                async with self._repository() as repository:
                    await self._fetch(repository, partial)
                self.fetched.set_result(None)
                await _verified(partial)
                self.created = True
            except Damaged:
                partial.discard()
                raise
            finally:
                self._seen = self.completed
                partial.close()
        if not self.fetched.done():
            self._seen = self.layer.size
            self.fetched.set_result(None)

    async def _open(self) -> PartialBlob | None:
        """Open the partial file; None if another process, which had it locked, stored the blob."""
        target = self._store.blob_path(self.layer.digest)
        while not is_stored(self._store, self.layer):
            partial = PartialBlob.open(
                self._store, self.layer.digest, self.layer.size, self._policy
            )
            if partial is not None:
                return partial
            self._count = lambda: recorded_bytes(target)
            await asyncio.sleep(_OTHER_PROCESS_SECONDS)
        return None

    async def _fetch(self, repository: Repository, partial: PartialBlob) -> None:
        """Download the missing parts."""
        try:
            await self._fetch_parts(repository, partial)
        except _NoRanges:
            partial.restart(partial.total)
            await self._fetch_parts(repository, partial)

    async def _fetch_parts(self, repository: Repository, partial: PartialBlob) -> None:
        turns = asyncio.Semaphore(self._policy.parts)

        async def fetch(part: Part) -> None:
            async with turns:
                await self._fetch_part(repository, partial, part)

        try:
            async with asyncio.TaskGroup() as group:
                for part in partial.parts:
                    if part.missing:
                        group.create_task(fetch(part))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def _fetch_part(self, repository: Repository, partial: PartialBlob, part: Part) -> None:
        """Download a part, resuming where a connection broke."""
        failures, most = 0, part.completed
        while part.missing:
            try:
                await self._fetch_range(repository, partial, part)
            except Temporary as error:
                failures = failures + 1 if part.completed <= most else 1
                most = max(most, part.completed)
                partial.save(part)
                if failures >= self._policy.tries:
                    raise Temporary(f"max retries exceeded: {error}") from error
                name = self.layer.digest[7:19]
                log.info("%s part %d: %s (failure %d)", name, part.n, one_line(error), failures)
                await asyncio.sleep(max(self._policy.wait(failures), error.after))

    async def _fetch_range(self, repository: Repository, partial: PartialBlob, part: Part) -> None:
        path = f"/blobs/{self.layer.digest}"
        last = part.offset + part.size - 1
        async with repository.open("GET", path, Range=f"bytes={part.position}-{last}") as response:
            self._check_range(response, part)
            async for chunk in response.aiter_raw():
                if len(chunk) > part.missing:
                    raise Damaged(f"layer {self.layer.digest} is longer than its manifest says")
                partial.write(part, chunk)
        if part.missing:
            raise Temporary("the connection was closed before the end")

    def _check_range(self, response: httpx2.Response, part: Part) -> None:
        """Check that the body has the bytes of the part."""
        total = self.layer.size
        if response.status_code == 200:
            length = response.headers.get("Content-Length", str(total))
            if length != str(total):
                raise self._wrong_length(length)
            if part.size < total:
                raise _NoRanges
            part.completed = 0
        elif response.status_code == 206:
            found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
            if not found or int(found[1]) != part.position:
                raise Damaged("the registry sent another range than was asked for")
            if int(found[3]) != total:
                raise self._wrong_length(found[3])
        else:
            raise Damaged(f"unexpected status code {response.status_code}")

    def _wrong_length(self, length: str) -> Damaged:
        digest, size = self.layer.digest, self.layer.size
        return Damaged(f"layer {digest} has {length} bytes, its manifest says {size}")


def is_stored(store: Store, layer: Layer) -> bool:
    """Return whether the store has a layer's blob in full length."""
    try:
        return store.blob_path(layer.digest).stat().st_size == layer.size
    except FileNotFoundError:
        return False


async def _verified(partial: PartialBlob) -> None:
    """Commit in a thread; a cancellation waits for it to end."""
    thread = asyncio.ensure_future(asyncio.to_thread(partial.commit))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        partial.interrupt()
        await asyncio.wait([thread])
        raise


class Downloads:
    """The running downloads, one for each digest."""

    def __init__(self, store: Store, policy: TransferPolicy) -> None:
        self._store = store
        self._policy = policy
        self._running: dict[str, Download] = {}

    @contextlib.contextmanager
    def joined(self, layer: Layer, repository: Open) -> Iterator[Download]:
        """Yield the download of a layer, started if necessary; the last listener ends it."""
        download = self._running.get(layer.digest)
        if download is None or download.stored.done():
            download = Download(self._store, layer, repository, self._policy)
            self._running[layer.digest] = download
        download.listeners += 1
        try:
            yield download
        finally:
            download.listeners -= 1
            if not download.listeners:
                download.stored.cancel()
                if self._running.get(layer.digest) is download:
                    del self._running[layer.digest]
