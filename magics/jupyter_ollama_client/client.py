"""A small synchronous client of the Ollama API.

It works against Ollama, against jupyter_ollama inside a Jupyter server (over TCP or a Unix socket)
and against one behind a JupyterHub. Streams are iterators of dicts. Closing one closes its
connection, which cancels the request on the server.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any

from . import blobs
from .errors import OllamaResponseError
from .responses import without_none
from .transport import CONNECT_TIMEOUT, Transport

Objects = list[dict[str, Any]]
"""JSON objects. (Inside the class below, ``list`` is a method.)"""


class Client(Transport):
    """A client of one Ollama server.

    Nothing is imported or opened before the first call. The proxies of the environment are used,
    except for this host.

    Parameters
    ----------
    url : str
        The address that has ``/api/version`` below it. A user and a password in it are sent as
        Basic authentication and take precedence over ``token``.
    token : str, optional
        Sent as a Bearer token.
    socket : str, optional
        Path of a Unix socket to connect to in place of the host of ``url``.

    Raises
    ------
    OllamaResponseError
        By every method, if the server refuses the request.
    OllamaConnectionError
        By every method, if the server cannot be reached or the connection breaks.

    Examples
    --------
    >>> client = Client(url)
    >>> messages = [{"role": "user", "content": "Hi"}]
    >>> chunks = list(client.chat("smollm2", messages, options={"num_predict": 4}))
    >>> chunks[-1]["done"], chunks[-1]["eval_count"]
    (True, 4)
    """

    # -- generation: streams of dicts, the last of them with "done": true

    def chat(self, model: str, messages: Objects, **fields: Any) -> Generator[dict[str, Any]]:
        """Stream the answer to a conversation.

        Parameters
        ----------
        model : str
            Name of the model.
        messages : list of dict
            The conversation, with ``role`` and ``content`` of each message.
        **fields
            Further fields of ``/api/chat``, such as ``options``, ``tools``, ``format``, ``think``.

        Yields
        ------
        dict
            A part of the answer; the last one has ``"done": True`` and the token counts.

        Examples
        --------
        >>> answer = client.chat("smollm2", [{"role": "user", "content": "Hi"}])
        >>> next(answer)["message"]["role"]
        'assistant'
        >>> answer.close()
        """
        return self.stream("/api/chat", {"model": model, "messages": messages, **fields})

    def generate(self, model: str, prompt: str, **fields: Any) -> Generator[dict[str, Any]]:
        """Stream a completion.

        Parameters
        ----------
        model : str
            Name of the model.
        prompt : str
            The text to complete.
        **fields
            Further fields of ``/api/generate``, such as ``suffix``, ``raw`` and ``options``.

        Yields
        ------
        dict
            A part of the answer, its text in ``response``.

        Examples
        --------
        >>> options = {"num_predict": 3}
        >>> *_, last = client.generate("smollm2", "The sky is", options=options)
        >>> last["done_reason"]
        'length'
        """
        return self.stream("/api/generate", {"model": model, "prompt": prompt, **fields})

    def embed(self, model: str, input: str | Sequence[str], **fields: Any) -> dict[str, Any]:
        """Embed one text or several.

        Parameters
        ----------
        model : str
            Name of an embedding model.
        input : str or sequence of str
            The texts.
        **fields
            Further fields of ``/api/embed``, such as ``dimensions``.

        Returns
        -------
        dict
            The answer; its ``embeddings`` are a float32 array (texts, dimensions), which may be
            read-only.

        Examples
        --------
        >>> client.embed("all-minilm", ["red", "green"], dimensions=16)["embeddings"].shape
        (2, 16)
        """
        from . import vectors

        body = {"model": model, "input": input, "encoding_format": "base64", **fields}
        request = {"json": without_none(body), "headers": {"Accept": vectors.accepted()}}
        with self.reading("POST", "/api/embed", **request) as response:
            response.read()
        return self.responses.embeddings(response)

    # -- models

    def list(self) -> Objects:
        """Return the models on the server, the latest first.

        Examples
        --------
        >>> sorted(model["name"] for model in client.list())[:2]
        ['all-minilm:latest', 'caller:latest']
        """
        return self.call("GET", "/api/tags").get("models") or []

    def ps(self) -> Objects:
        """Return the loaded models, with their sizes in bytes and the time of their unloading."""
        return self.call("GET", "/api/ps").get("models") or []

    def show(self, model: str, **fields: Any) -> dict[str, Any]:
        """Return the metadata of a model: parameters, template, capabilities, details.

        Examples
        --------
        >>> client.show("all-minilm")["capabilities"]
        ['embedding']
        """
        return self.call("POST", "/api/show", {"model": model, **fields})

    def create(self, model: str, **fields: Any) -> Generator[dict[str, Any]]:
        """Create a model and yield its progress.

        Parameters
        ----------
        model : str
            Name of the new model.
        **fields
            Further fields of ``/api/create``: ``from``, ``files``, ``system``, ``parameters``, …

        Yields
        ------
        dict
            A step: its ``status``, and ``completed`` and ``total`` in bytes where they are known.

        Examples
        --------
        >>> steps = client.create("pirate", **{"from": "smollm2"}, system="Talk like a pirate.")
        >>> list(steps)[-1]
        {'status': 'success'}
        >>> client.delete("pirate")
        """
        return self.stream("/api/create", {"model": model, **fields})

    def pull(self, model: str, **fields: Any) -> Generator[dict[str, Any]]:
        """Have the server download a model and yield its progress.

        ``fields`` are further fields of ``/api/pull``; the steps are those of `create`.
        """
        return self.stream("/api/pull", {"model": model, **fields})

    def copy(self, source: str, destination: str) -> None:
        """Copy a model to a second name; its files are shared."""
        self.call("POST", "/api/copy", {"source": source, "destination": destination})

    def delete(self, model: str) -> None:
        """Remove a model from the server's disk."""
        self.call("DELETE", "/api/delete", {"model": model})

    def version(self, timeout: float = CONNECT_TIMEOUT) -> str:
        """Return the version of the API. ``timeout`` is in seconds."""
        answer = self.call("GET", "/api/version", timeout=timeout)
        return str(answer.get("version", "unknown"))

    def may_manage(self) -> bool:
        """Return whether the user may change the models; True where the server does not say."""
        try:
            rights = self.call("GET", "/usage").get("rights") or {}
        except OllamaResponseError:
            return True
        return bool(rights.get("manage", True))

    # -- tools of MCP servers

    def mcp_tools(self) -> Objects:
        """Return the MCP servers that the server has, each with the tools that may be called.

        Each has a ``name``, its ``tools`` (``name``, ``description``, ``parameters``), the names
        of those that are ``not_allowed``, and an ``error``, "" where it works.

        Examples
        --------
        >>> client.mcp_tools()
        []
        """
        return self.call("GET", "/api/mcp").get("servers") or []

    def call_mcp_tool(self, server: str, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """Call a tool of an MCP server and return its ``content``, ``is_error``, ``truncated``."""
        body = {"server": server, "tool": tool, "arguments": arguments}
        return self.call("POST", "/api/mcp/call", body)

    # -- blobs

    def has_blob(self, digest: str) -> bool:
        """Return whether the server has the blob ``sha256:…``."""
        try:
            self.call("HEAD", f"/api/blobs/{digest}")
        except OllamaResponseError as error:
            if error.status == 404:
                return False
            raise
        return True

    def send_blob(
        self, path: Path, digest: str = "", sent: Callable[[int], None] = lambda count: None
    ) -> str:
        """Upload a file unless the server has it. Memory use is constant.

        Parameters
        ----------
        path : Path
            The file.
        digest : str, optional
            Its digest, ``sha256:…``, if it is known.
        sent : callable, optional
            Called with the number of bytes of each piece that is sent.

        Returns
        -------
        str
            The digest of the file.

        Raises
        ------
        OSError
            If the file cannot be read.

        Examples
        --------
        >>> file = Path("note.txt")
        >>> _ = file.write_text("abc")
        >>> client.send_blob(file)[:19]
        'sha256:ba7816bf8f01'
        """
        digest = digest or blobs.digest(path)
        if not self.has_blob(digest):
            headers = {"Content-Length": str(path.stat().st_size)}
            content = blobs.pieces(path, sent)
            self.call("POST", f"/api/blobs/{digest}", content=content, headers=headers)
        return digest
