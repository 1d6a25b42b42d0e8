"""A server with Ollama's API that runs already, such as Ollama itself: `run.py --other-url`."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import time
from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import psutil
from client import HOST, Answer, Line, Refused
from contender import END_SECONDS, OllamaApi

from jupyter_ollama.backends.command_log import Failure, say

UPLOAD_SECONDS = 600
ADDRESSES = (HOST, "0.0.0.0", "::")
FORWARDERS = ("docker-proxy", "rootlessport", "ssh", "sshd")
"""Programs that listen in place of a server elsewhere."""


class OtherServer(OllamaApi):
    """It is neither started nor stopped here, so it has the slots that it was started with."""

    is_alive = False
    """True while it takes part; its process is not ours."""
    ends_answers = True
    """Ollama ends an answer that repeats a token 30 times."""

    def __init__(self, folder: Path, url: str, model: str) -> None:
        """``model`` is the name of the model here. Raises Failure unless Ollama's API is there."""
        port = port_of(url)
        self.name = name_of(port, url)
        super().__init__(folder, f"jupyter-ollama-bench-{model}")
        self._url = url
        self._port = port
        self._server = listener(port)
        self.is_visible = self._server is not None

    def upload(self, file: Path) -> None:
        """Give the model to the server, unless it has this very file. Raises Failure."""
        with file.open("rb") as data:
            digest = hashlib.file_digest(data, "sha256").hexdigest()
            data.seek(0)
            try:
                self._upload(data, digest)
            except (OSError, ValueError) as error:
                raise Failure(f"{self.name} does not take the model: {error}") from None

    def _upload(self, data: BinaryIO, digest: str) -> None:
        # The name has the digest, since Ollama may write the tensors to a file of its own.
        self._model = f"{self._model}:{digest[:12]}"
        if self._model in names(self._port, "/api/tags"):
            return
        say(f"Giving the model to {self.name} as {self._model}")
        blob = f"sha256:{digest}"
        if call(self._port, "HEAD", f"/api/blobs/{blob}")[0] != 200:
            check(call(self._port, "POST", f"/api/blobs/{blob}", data, UPLOAD_SECONDS))
        new = {"model": self._model, "files": {"model.gguf": blob}, "stream": False}
        check(call(self._port, "POST", "/api/create", new, UPLOAD_SECONDS))

    def settings(self) -> str:
        """Return its URL and context length; the server does not report other settings."""
        return f"{self.name}: a running server at {self._url}, num_ctx={self.setup.num_ctx}"

    def read(self, asked: float, predict: int, lines: list[Line]) -> Answer:
        last = lines[-1][1] if lines else {}
        if "error" in last or last.get("done"):
            return super().read(asked, predict, lines)
        # An answer that Ollama ends has no last line.
        pieces = [(when, line["response"]) for when, line in lines if line["response"]]
        return Answer(asked, pieces, len(pieces), True)

    async def wake(self) -> None:
        """Raise Refused unless it answers: its models come and go without it."""
        if self.is_alive:
            return
        try:
            names(self._port, "/api/tags")
        except (OSError, ValueError) as error:
            raise Refused(f"{self.name} does not answer: {error}") from None
        self.is_alive = True

    async def unload(self) -> None:
        """Unload the model and wait until it is gone. Raises Refused."""
        await super().unload()
        end = time.monotonic() + END_SECONDS
        try:
            while self._model in names(self._port, "/api/ps"):
                if time.monotonic() > end:
                    raise Refused("it does not unload the model")
                await asyncio.sleep(0.01)
        except (OSError, ValueError) as error:
            raise Refused(f"/api/ps: {error}") from None

    def stop(self) -> None:
        """Unload the model; the server stays."""
        if self.is_alive:
            self.is_alive = False
            with suppress(OSError):
                call(self._port, "POST", self.path, {"model": self._model, "keep_alive": 0})

    def processes(self) -> list[psutil.Process]:
        """Return the server and its child processes, if they were found."""
        if self._server is None:
            return []
        try:
            return [self._server, *self._server.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []


def port_of(url: str) -> int:
    """Return the port of a URL of this host. Raises Failure."""
    parts = urlsplit(url)
    with suppress(ValueError):  # a port that is no number
        if parts.scheme == "http" and parts.hostname in (HOST, "localhost"):
            return parts.port or 80
    raise Failure(f"--other-url is not like http://{HOST}:11434: {url}")


def name_of(port: int, url: str) -> str:
    """Return the name of a server with Ollama's API. Raises Failure if it is no such server."""
    try:
        names(port, "/api/tags")
    except OSError as error:
        raise Failure(f"no server answers at {url}: {error}") from None
    except ValueError as error:
        raise Failure(f"the server at {url} does not have Ollama's API: {error}") from None
    with suppress(OSError, ValueError, TypeError, KeyError):
        if version := check(call(port, "GET", "/api/version"))["version"]:
            return f"Ollama {version}"
    return f"the server at {url}"


def names(port: int, path: str) -> set[str]:
    """Return the names of the models that a path lists. Raises ValueError, and OSError."""
    listed = check(call(port, "GET", path))
    try:
        return {str(model["name"]) for model in listed["models"]}
    except (TypeError, KeyError):
        raise ValueError(f"{path} lists no models") from None


def check(answer: tuple[int, bytes]) -> Any:
    """Return the JSON of an answer. Raises ValueError if it is an error."""
    status, content = answer
    if status in (200, 201):
        return json.loads(content or b"{}")
    reason = ""
    with suppress(ValueError, TypeError, KeyError):
        reason = f", {json.loads(content)['error']}"
    raise ValueError(f"status {status}{reason}")


def call(
    port: int,
    method: str,
    path: str,
    body: BinaryIO | dict[str, Any] | None = None,
    seconds: float = END_SECONDS,
) -> tuple[int, bytes]:
    """Return the status and the content of an answer. Raises OSError.

    ``body`` is a file that is sent as it is, or it becomes JSON.
    """
    data: BinaryIO | bytes | None
    if isinstance(body, dict):
        data, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
    else:
        data = body
        headers = {"Content-Length": str(os.fstat(body.fileno()).st_size)} if body else {}
    with closing(HTTPConnection(HOST, port, timeout=seconds)) as connection:
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return response.status, response.read()
        except HTTPException as error:
            raise OSError(f"{type(error).__name__} {error}".strip()) from None


def listener(port: int) -> psutil.Process | None:
    """Return the process that listens on a port of this host, None if it cannot be seen.

    One that another user has started can be seen by root only.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            listening = any(
                one.status == psutil.CONN_LISTEN
                and one.laddr.ip in ADDRESSES
                and one.laddr.port == port
                for one in process.net_connections("tcp")
            )
            if listening and process.name() not in FORWARDERS:
                found.append(process)
    # Child processes may have inherited its socket.
    return min(found, key=psutil.Process.create_time, default=None)
