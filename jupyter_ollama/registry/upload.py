"""The upload of one blob: mounted from another repository, or sent in resumable parts."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import httpx2

from ..errors import OllamaError
from ..library.manifest import Layer
from ..library.name import InvalidName, ModelName
from ..library.regular_file import open_regular
from .client import LONG_WORK_SECONDS, Repository
from .responses import Missing, Refused, Temporary

CHUNK = 2**18
Uploads = dict[tuple[str, str], str]
"""Interrupted uploads that can be resumed, by the URL of the repository and the digest."""


class _Place(NamedTuple):
    """The URL for the next bytes of an upload, and the number of bytes it has."""

    url: str
    offset: int


class Upload:
    """A task that sends a blob, as a context manager that cancels it. ``sent`` is its future."""

    def __init__(
        self,
        repository: Repository,
        name: ModelName,
        layer: Layer,
        path: Path,
        unfinished: Uploads,
    ) -> None:
        self.completed = 0
        self._repository = repository
        self._name = name
        self._layer = layer
        self._path = path
        self._unfinished = unfinished
        self._key = repository.url, layer.digest
        self._etags: list[bytes] = []

    def __enter__(self) -> Upload:
        self.sent = asyncio.create_task(self._run())
        return self

    def __exit__(self, *error: object) -> None:
        self.sent.cancel()

    async def _run(self) -> None:
        if await self._exists():
            return
        failures, reached = 0, self.completed
        place = await self._resumed() or await self._begin()
        while place is not None:
            try:
                place = await self._send(place)
            except (Missing, Refused):
                self._unfinished.pop(self._key, None)
                raise
            except Temporary as error:
                failures = failures + 1 if self.completed == reached else 1
                reached = self.completed
                policy = self._repository.policy
                if failures >= policy.tries:
                    raise OllamaError(500, f"max retries exceeded: {error}") from error
                await asyncio.sleep(max(policy.wait(failures), error.after))
                place = await self._resumed() or await self._begin()
        self._unfinished.pop(self._key, None)

    async def _exists(self) -> bool:
        try:
            await self._repository.read("HEAD", f"/blobs/{self._layer.digest}")
        except Missing:
            return False
        return True

    async def _begin(self) -> _Place | None:
        """Begin an upload; None if the registry mounted the blob from another repository."""
        query = {}
        with contextlib.suppress(InvalidName):
            source = ModelName.parse(self._layer.from_)
            if source.host == self._name.host:
                source_path = f"{source.namespace}/{source.model}"
                query = {"mount": self._layer.digest, "from": source_path}
        self._etags.clear()
        path = str(httpx2.URL(f"{self._repository.url}/blobs/uploads/", params=query))
        response = await self._repository.read("POST", path)
        return None if response.status_code == 201 else self._next(response, 0)

    async def _resumed(self) -> _Place | None:
        """Request the progress of an interrupted upload; None if there is none to resume."""
        url = self._unfinished.get(self._key)
        if url is None:
            return None
        last = ""
        with contextlib.suppress(Missing, Refused):
            response = await self._repository.read("GET", url)
            last = response.headers.get("Range", "").rpartition("-")[2]
        # Some registries report 0-0 for an empty upload, as for one with a byte.
        if not last.isdecimal() or last == "0" or int(last) >= self._layer.size:
            del self._unfinished[self._key]
            return None
        return self._next(response, int(last) + 1)

    def _next(self, response: httpx2.Response, offset: int) -> _Place:
        """Return the URL for the next bytes from an answer."""
        headers = response.headers
        location = headers.get("Docker-Upload-Location") or headers.get("Location")
        if not location:
            raise OllamaError(500, "the registry sent no upload URL")
        url = self._repository.located(response, location)
        self._unfinished[self._key] = url
        self.completed = max(self.completed, offset)
        return _Place(url, offset)

    async def _send(self, place: _Place) -> _Place | None:
        """Send the next part, or finish the upload."""
        total = self._layer.size
        if place.offset >= total:
            await self._finish(place.url)
            return None
        end = min(place.offset + self._repository.policy.part_size(total), total)
        async with self._repository.open(
            "PATCH",
            place.url,
            lambda: self._read(place.offset, end),
            read_timeout=LONG_WORK_SECONDS,
            Content_Type="application/octet-stream",
            Content_Length=str(end - place.offset),
            Content_Range=f"{place.offset}-{end - 1}",
            X_Redirect_Uploads="1",
        ) as response:
            following = self._next(response, place.offset)
            redirect = None
            if response.status_code == 307:
                redirect = self._repository.located(response, response.headers["Location"])
        if redirect:
            await self._send_to_object_store(redirect, place.offset, end)
        self.completed = max(self.completed, end)
        return following._replace(offset=end)

    async def _send_to_object_store(self, url: str, start: int, end: int) -> None:
        """Send a part to the object store of the registry, and record its digest for the end."""
        # The digests of earlier parts are needed: another push cannot resume this upload.
        self._unfinished.pop(self._key, None)
        await self._repository.read(
            "PUT",
            url,
            lambda: self._read(start, end),
            read_timeout=LONG_WORK_SECONDS,
            Content_Type="application/octet-stream",
            Content_Length=str(end - start),
        )
        self._etags.append(await asyncio.to_thread(_md5, self._path, start, end))

    async def _finish(self, url: str) -> None:
        query = {"digest": self._layer.digest}
        if self._etags:
            whole = hashlib.md5(b"".join(self._etags), usedforsecurity=False).hexdigest()
            query["etag"] = f"{whole}-{len(self._etags)}"
        target = str(httpx2.URL(url).copy_merge_params(query))
        await self._repository.read("PUT", target, read_timeout=LONG_WORK_SECONDS)

    async def _read(self, start: int, end: int) -> AsyncIterator[bytes]:
        with open_regular(self._path) as file:
            file.seek(start)
            while start < end:
                piece = file.read(min(CHUNK, end - start))
                if not piece:
                    raise OllamaError(500, f"{self._path} is shorter than its manifest says")
                yield piece
                start += len(piece)
                self.completed = max(self.completed, start)


def _md5(path: Path, start: int, end: int) -> bytes:
    found = hashlib.md5(usedforsecurity=False)
    with open_regular(path) as file:
        file.seek(start)
        while start < end and (piece := file.read(min(CHUNK, end - start))):
            found.update(piece)
            start += len(piece)
    return found.digest()
