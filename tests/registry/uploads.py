"""A registry for pushes that breaks connections or redirects parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from peers import digest_of, serving
from tornado import web


@dataclass
class UploadRegistry:
    """The pushed data. ``cuts`` are the bytes after which the next PATCH requests are cut.

    With ``redirects`` parts are redirected, as by a registry on an object store.
    """

    host: str = ""
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, bytearray] = field(default_factory=dict)
    cuts: deque[int | None] = field(default_factory=deque)
    forgets: bool = False
    redirects: bool = False
    part_failures: int = 0
    etags: list[str] = field(default_factory=list)
    received: int = 0
    log: list[str] = field(default_factory=list)


class _Handler(web.RequestHandler):
    def initialize(self, registry: UploadRegistry) -> None:
        self.registry = registry

    def prepare(self) -> None:
        self.registry.log.append(f"{self.request.method} {self.request.path}")

    def log_exception(self, *arguments: object) -> None:
        pass

    def reply(self, code: int, upload: str, **headers: str) -> None:
        """Answer with the URL for the next bytes."""
        self.set_status(code)
        self.set_header("Location", f"/v2/me/tiny/blobs/uploads/{upload}?state={len(self.log)}")
        for name, value in headers.items():
            self.set_header(name.replace("_", "-"), value)

    @property
    def log(self) -> list[str]:
        return self.registry.log


class Begin(_Handler):
    def post(self) -> None:
        upload = str(len(self.registry.uploads))
        self.registry.uploads[upload] = bytearray()
        self.reply(202, upload)


@web.stream_request_body
class Session(_Handler):
    def prepare(self) -> None:
        super().prepare()
        self.upload = self.request.path.rpartition("/")[2]
        self.left: int | None = None
        if self.request.method == "PATCH":
            self.left = self.registry.cuts.popleft() if self.registry.cuts else None

    def data_received(self, chunk: bytes) -> None:
        if self.request.method != "PATCH" or self.registry.redirects:
            return
        kept = chunk if self.left is None else chunk[: self.left]
        self.registry.uploads[self.upload] += kept
        self.registry.received += len(kept)
        if self.left is not None:
            self.left -= len(kept)
            if self.left <= 0:
                self.request.connection.stream.close()  # type: ignore[union-attr]

    def get(self, upload: str) -> None:
        if self.registry.forgets:
            self.set_status(404)
            return
        last = len(self.registry.uploads[upload]) - 1
        self.reply(204, upload, Range=f"0-{max(last, 0)}")

    def patch(self, upload: str) -> None:
        if self.registry.redirects:
            assert self.request.headers["X-Redirect-Uploads"] == "1"
            first = self.request.headers["Content-Range"]
            self.reply(307, upload, Docker_Upload_Location=f"/v2/me/tiny/blobs/uploads/{upload}")
            self.set_header("Location", f"http://{self.registry.host}/parts/{upload}/{first}")
            return
        self.reply(202, upload)

    def put(self, upload: str) -> None:
        data = bytes(self.registry.uploads[upload])
        digest = self.get_query_argument("digest")
        self.registry.etags.append(self.get_query_argument("etag", ""))
        if digest_of(data) != digest:
            self.set_status(400)
            self.finish("digest invalid")
            return
        self.registry.blobs[digest] = data
        self.set_status(201)


class Part(_Handler):
    def put(self, upload: str, wanted: str) -> None:
        if self.registry.part_failures:
            self.registry.part_failures -= 1
            self.set_status(503)
            return
        assert "Authorization" not in self.request.headers
        first, last = map(int, wanted.split("-"))
        assert len(self.request.body) == last - first + 1
        assert len(self.registry.uploads[upload]) == first
        self.registry.uploads[upload] += self.request.body


class Blobs(_Handler):
    def head(self, digest: str) -> None:
        self.set_status(200 if digest in self.registry.blobs else 404)


class Manifests(_Handler):
    def put(self, tag: str) -> None:
        self.registry.manifests[tag] = self.request.body
        self.set_status(201)


@contextmanager
def upload_registry() -> Iterator[UploadRegistry]:
    """Run such a registry for the repository me/tiny."""
    registry = UploadRegistry()
    handlers = [
        (path, handler, {"registry": registry})
        for path, handler in (
            ("/v2/me/tiny/blobs/uploads/", Begin),
            ("/v2/me/tiny/blobs/uploads/(.+)", Session),
            ("/v2/me/tiny/blobs/(sha256:.*)", Blobs),
            ("/v2/me/tiny/manifests/(.*)", Manifests),
            ("/parts/(.*)/(.*)", Part),
        )
    ]
    with serving(handlers) as registry.host:
        yield registry
