"""The registries that the tests pull from: Debian's docker-registry, and one with faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tornado import httpserver, netutil, web

from jupyter_ollama.library import manifest
from jupyter_ollama.library.manifest import Layer, Manifest

LOGIN = "ali:open sesame"
# What `htpasswd -nbB -C 4 ali "open sesame"` prints.
HTPASSWD = "ali:$2b$04$3K2bFL8ydCKCBoI2razOAOlRGeGT/1ZSW1sDCX9p37WKF5s28W6W6\n"
CONFIG = """\
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: %s}
  delete: {enabled: true}
http: {addr: "%s"}
"""
AUTH = """\
auth:
  htpasswd: {realm: tests, path: %s}
"""


def digest_of(data: bytes) -> str:
    """Return the digest of bytes."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@contextmanager
def docker_registry(folder: Path, login: bool = False) -> Iterator[str]:
    """Run Debian's docker-registry on a free port of loopback and yield its host and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    folder.mkdir(parents=True)
    config = CONFIG % (folder / "data", host)
    if login:
        (folder / "htpasswd").write_text(HTPASSWD)
        config += AUTH % (folder / "htpasswd")
    (folder / "config.yml").write_text(config)
    assert shutil.which("docker-registry"), "missing: Debian's package docker-registry"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(folder / "config.yml")],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        address, port = host.split(":")
        while not _listens(address, int(port)):
            assert process.poll() is None, (folder / "log").read_text()
            time.sleep(0.02)
        yield host
    finally:
        process.terminate()
        process.wait(20)


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0


Fault = Callable[["Blob", bytes], Awaitable[None]]
"""The fault of a request for a blob, in place of the right answer."""


@dataclass
class FaultyRegistry:
    """A registry of the tests. ``faults`` are for the next requests for blobs, one for each.

    ``always`` is for all that come after. ``requests`` are (method, path, headers).
    """

    host: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    faults: deque[Fault] = field(default_factory=deque)
    manifest_faults: deque[Fault] = field(default_factory=deque)
    always: Fault | None = None
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0

    def publish(
        self, name: str, *contents: bytes, described: dict[str, Any] | None = None, **changes: Any
    ) -> bytes:
        """Offer a model with a layer of each content; ``changes`` are made to its manifest.

        ``described`` are fields of its config beside the format and the family.
        """
        whole = {"model_format": "gguf", "model_family": "llama"} | (described or {})
        data = json.dumps(whole, separators=(",", ":")).encode()
        layers = []
        for content in (*contents, data):
            self.blobs[digest_of(content)] = content
            layers.append(Layer(manifest.MODEL, digest_of(content), len(content)))
        made = json.loads(Manifest(config=layers.pop(), layers=layers).to_json()) | changes
        return self.publish_bytes(name, json.dumps(made).encode())

    def publish_bytes(self, name: str, data: bytes) -> bytes:
        """Offer a manifest as it is."""
        path, _, tag = name.partition(":")
        self.manifests[f"/v2/{path}/manifests/{tag or 'latest'}"] = data
        return data

    def asked_for(self, digest: str) -> list[dict[str, str]]:
        """Return the headers of all requests for a blob."""
        return [headers for _, path, headers in self.requests if path.endswith(f"/blobs/{digest}")]


class _Handler(web.RequestHandler):
    def initialize(self, registry: FaultyRegistry) -> None:
        self.registry = registry

    def prepare(self) -> None:
        request = self.request
        assert request.method
        self.registry.requests.append((request.method, request.path, dict(request.headers)))

    def log_exception(self, *arguments: Any) -> None:
        pass

    def drop(self) -> None:
        """Cut the connection."""
        self.request.connection.stream.close()  # type: ignore[union-attr]


class ManifestHandler(_Handler):
    async def get(self) -> None:
        if self.registry.manifest_faults:
            await self.registry.manifest_faults.popleft()(self, b"")  # type: ignore[arg-type]
        elif self.request.path in self.registry.manifests:
            self.finish(self.registry.manifests[self.request.path])
        else:
            self.set_status(404)
            self.finish('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}')


class Blob(_Handler):
    async def get(self, digest: str) -> None:
        content = self.registry.blobs.get(digest)
        if content is None:
            self.set_status(404)
            return
        if self.registry.faults:
            await self.registry.faults.popleft()(self, content)
        elif self.registry.always:
            await self.registry.always(self, content)
        else:
            await self.send(content)

    def head_of(self, content: bytes, total: int | None = None) -> memoryview:
        """Set the headers of the right answer and return the requested bytes."""
        wanted = self.request.headers["Range"].removeprefix("bytes=")
        first, last = map(int, wanted.split("-"))
        rest = memoryview(content)[first : last + 1]
        self.set_status(206)
        self.set_header("Content-Range", f"bytes {first}-{last}/{total or len(content)}")
        self.set_header("Content-Length", str(len(rest)))
        return rest

    async def send(self, content: bytes, pause: float = 0.0, piece: int = 2**16) -> None:
        """Give the right answer, with pauses."""
        rest = self.head_of(content)
        for start in range(0, len(rest), piece):
            self.write(bytes(rest[start : start + piece]))
            await self.flush()
            self.registry.sent += len(rest[start : start + piece])
            await asyncio.sleep(pause)


def status(code: int, text: str = "", **headers: str) -> Fault:
    """Answer with a status, and with a text if that is given."""

    async def fault(handler: Blob, content: bytes) -> None:
        handler.set_status(code)
        for name, value in headers.items():
            handler.set_header(name.replace("_", "-"), value)
        handler.finish(text or f"failed with {code}")

    return fault


def dropped(after: int) -> Fault:
    """Cut the connection after some bytes of the announced length."""

    async def fault(handler: Blob, content: bytes) -> None:
        handler.write(bytes(handler.head_of(content)[:after]))
        await handler.flush()
        handler.drop()

    return fault


def stalled(after: int) -> Fault:
    """Send some bytes, then nothing more."""

    async def fault(handler: Blob, content: bytes) -> None:
        handler.write(bytes(handler.head_of(content)[:after]))
        await handler.flush()
        await asyncio.sleep(3)

    return fault


def dripping(pause: float, piece: int) -> Fault:
    """Answer slowly."""

    async def fault(handler: Blob, content: bytes) -> None:
        await handler.send(content, pause, piece)

    return fault


def whole() -> Fault:
    """Answer with the whole blob, whatever the requested range."""

    async def fault(handler: Blob, content: bytes) -> None:
        handler.finish(content)

    return fault


def swapped() -> Fault:
    """Answer with other bytes of the same length."""

    async def fault(handler: Blob, content: bytes) -> None:
        handler.finish(bytes(len(handler.head_of(content))))

    return fault


def of_length(total: int) -> Fault:
    """Claim another length of the whole blob."""

    async def fault(handler: Blob, content: bytes) -> None:
        handler.finish(bytes(handler.head_of(content, total)))

    return fault


def redirected(url: Callable[[Blob], str], code: int = 307) -> Fault:
    """Redirect to another address."""

    async def fault(handler: Blob, content: bytes) -> None:
        handler.redirect(url(handler), status=code)

    return fault


@contextmanager
def serving(handlers: list[Any], address: str = "127.0.0.1") -> Iterator[str]:
    """Serve Tornado handlers in a thread on loopback and yield host and port."""
    loop = asyncio.new_event_loop()
    sockets = netutil.bind_sockets(0, address)

    async def start() -> httpserver.HTTPServer:
        server = httpserver.HTTPServer(web.Application(handlers), max_body_size=2**30)
        server.add_sockets(sockets)
        return server

    async def stop() -> None:
        server.stop()
        await server.close_all_connections()

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield f"{address}:{sockets[0].getsockname()[1]}"
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def faulty_registry(
    extra: list[Any] | None = None, address: str = "127.0.0.1"
) -> Iterator[FaultyRegistry]:
    """Run a registry of the tests; ``extra`` are handlers that go first."""
    registry = FaultyRegistry()
    handlers = [
        *(extra or []),
        ("/v2/.*/manifests/.*", ManifestHandler, {"registry": registry}),
        ("/v2/.*/blobs/(.*)", Blob, {"registry": registry}),
    ]
    with serving(handlers, address) as registry.host:
        yield registry
