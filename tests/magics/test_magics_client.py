"""The client on the wire: streams, refusals, broken connections, uploads."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from jupyter_ollama_client import Client, OllamaConnectionError, OllamaResponseError, vectors
from jupyter_ollama_client.addresses import is_loopback
from scripted_server import ScriptedServer
from tornado import web

from jupyter_ollama.api.vectors import ARROW, arrow_stream, in_json

ASK = [{"role": "user", "content": "hi"}]


def closed_port() -> int:
    """Return a port of this host without a listener."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_chat_streams_each_line_as_it_arrives(
    connect: Callable[..., Client], server: ScriptedServer
) -> None:
    server.steps = ["a\u2028b\x85c", 0.2, "last"]
    with closing(connect(server.url).chat("smollm2:135m", ASK, options={"seed": 1})) as stream:
        first = next(stream)
        assert first["message"]["content"] == "a\u2028b\x85c"
        rest = list(stream)
    assert rest[-1]["done"]
    assert server.bodies("/api/chat") == [
        {"model": "smollm2:135m", "messages": ASK, "options": {"seed": 1}}
    ]


def test_closing_the_iterator_closes_the_connection(
    connect: Callable[..., Client], server: ScriptedServer
) -> None:
    server.steps = ["a", 30.0, "b"]
    stream = connect(server.url).generate("smollm2:135m", "hi")
    next(stream)
    assert not server.disconnected.is_set()
    stream.close()
    assert server.disconnected.wait(5)


def test_refusal_has_the_servers_text(
    connect: Callable[..., Client], server: ScriptedServer
) -> None:
    with pytest.raises(OllamaResponseError, match=r"^model 'nope' not found$") as caught:
        next(connect(server.url).chat("nope", ASK))
    assert caught.value.status == 404


def test_error_line_in_a_stream_raises(
    connect: Callable[..., Client], server: ScriptedServer
) -> None:
    server.steps = ["a", {"error": "the runner died"}]
    stream = connect(server.url).chat("smollm2:135m", ASK)
    assert next(stream)["message"]["content"] == "a"
    with pytest.raises(OllamaResponseError, match="the runner died"):
        next(stream)


@pytest.mark.parametrize(
    ("status", "kind", "body", "expected"),
    [
        (503, "text/html", "<title>Service\nUnavailable</title><p>…", 'the HTML page "Service'),
        (502, "text/html", "<h1>bad</h1>", "with an HTML page; that is a proxy or web server"),
        (403, "application/json", '{"message": "Forbidden", "reason": null}', "^Forbidden .*token"),
        (
            403,
            "application/json",
            '{"error": "user is not authorized"}',
            "^user is not authorized$",
        ),
        (401, "application/json", '{"error": "unauthorized"}', "token is missing or not accepted"),
        (302, "text/html", "", "token is missing or not accepted"),
        (400, "application/json", '{"error": {"message": "deep"}}', "^deep$"),
        (500, "text/plain", "oops", "500 Internal Server Error: oops$"),
        (200, "text/html", "<html>login</html>", "text/html instead of JSON"),
    ],
)
def test_refusals_of_other_servers_are_readable(
    connect: Callable[..., Client],
    server: ScriptedServer,
    status: int,
    kind: str,
    body: str,
    expected: str,
) -> None:
    server.failure = (status, kind, body)
    with pytest.raises(OllamaResponseError, match=expected) as caught:
        connect(server.url).version()
    assert caught.value.status == status


def test_no_server(connect: Callable[..., Client]) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    with pytest.raises(OllamaConnectionError) as caught:
        connect(url).list()
    assert str(caught.value) == (
        f"Cannot reach an Ollama server at {url} (Connection refused); "
        "set JUPYTER_OLLAMA_URL or OLLAMA_HOST to the address of yours."
    )


def test_broken_stream(connect: Callable[..., Client], server: ScriptedServer) -> None:
    server.steps = ["a", "…drop"]
    stream = connect(server.url).chat("smollm2:135m", ASK)
    next(stream)
    with pytest.raises(OllamaConnectionError, match="broke") as caught:
        next(stream)
    assert caught.value.connected


@pytest.mark.parametrize("url", ["ftp://x", "http://["])
def test_invalid_addresses(connect: Callable[..., Client], url: str) -> None:
    with pytest.raises(OllamaConnectionError):
        connect(url).version()


def test_token_and_proxy(
    connect: Callable[..., Client], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{closed_port()}")
    assert connect(server.url, "secret").version() == "0.99.1"
    assert server.requests[-1][2]["Authorization"] == "Bearer secret"
    with pytest.raises(
        OllamaConnectionError, match="refused"
    ):  # this one does go through the proxy
        connect("http://ollama.example").version()


def test_loopback() -> None:
    here = ["http://127.0.0.1:1", "http://localhost", "http://[::1]:2/x", "https://a.localhost"]
    assert all(map(is_loopback, here))
    assert not any(map(is_loopback, ["http://10.0.0.1", "http://localhost.example", "http://x"]))


def test_path_prefix_and_simple_calls(
    connect: Callable[..., Client], server: ScriptedServer
) -> None:
    client = connect(server.url + "/user/x@y/ollama/")
    assert [model["name"] for model in client.list()] == ["smollm2:135m", "all-minilm:latest"]
    assert client.ps()[0]["context_length"] == 4096
    assert client.show("smollm2:135m")["capabilities"] == ["completion"]
    assert len(client.embed("all-minilm", ["a", "b"], dimensions=2)["embeddings"][1]) == 2
    client.copy("a", "b")
    client.delete("a")
    assert [path for path, _, _ in server.requests[-2:]] == [
        "/user/x@y/ollama/api/copy",
        "/user/x@y/ollama/api/delete",
    ]
    assert server.requests[-1][1] == {"model": "a"}


def test_blob_upload(
    connect: Callable[..., Client], server: ScriptedServer, tmp_path: Path
) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"GGUF" * 500_000)
    digest = "sha256:" + hashlib.sha256(file.read_bytes()).hexdigest()
    client = connect(server.url)
    assert not client.has_blob(digest)
    assert client.send_blob(file) == digest
    assert server.blobs == {digest: 2_000_000}
    server.blobs[digest] = -1
    client.send_blob(file)
    assert server.blobs[digest] == -1, "what the server has is not sent again"
    assert client.has_blob(digest)


class Embeddings(web.RequestHandler):
    """Answers with ROWS, in the form that the path of the request names."""

    def post(self, form: str) -> None:
        if form == "arrow":
            self.set_header("Content-Type", ARROW)
            self.finish(arrow_stream(ROWS, {"model": "m", "prompt_eval_count": "5"}))
        elif form == "base64":
            answer = {"embeddings": in_json(ROWS, "base64"), "prompt_eval_count": 5, "model": "m"}
            self.finish(answer)
        else:
            self.finish({"embeddings": ROWS.tolist(), "prompt_eval_count": 5, "model": "m"})


ROWS = np.array([[0.25, -1.5, 3.0], [1e-7, 0.1, -0.0]], np.float32)


@pytest.mark.parametrize("form", ["arrow", "base64", "numbers"])
def test_embeddings_in_every_form(
    connect: Callable[..., Client], serve: Callable[..., str], form: str
) -> None:
    url = serve(web.Application([("/(.*)/api/embed", Embeddings)]))
    answer = connect(f"{url}/{form}").embed("m", ["a", "b"])
    rows = answer.pop("embeddings")
    assert (rows.dtype, rows.shape) == (np.float32, (2, 3))
    assert np.array_equal(rows, ROWS)
    assert answer == {"model": "m", "prompt_eval_count": 5}


def test_the_request_of_embed(
    connect: Callable[..., Client], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect(server.url).embed("m", "a")
    _, body, headers = server.requests[-1]
    assert headers["Accept"] == f"{ARROW}, application/json;q=0.9"
    assert body["encoding_format"] == "base64"
    monkeypatch.setattr(vectors, "find_spec", lambda name: None)
    connect(server.url).embed("m", "a")
    assert server.requests[-1][2]["Accept"] == "application/json"


def test_accepting_arrow_does_not_import_it() -> None:
    code = "import sys; from jupyter_ollama_client import vectors; print(vectors.accepted());"
    code += "assert not {'pyarrow', 'numpy'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ARROW in done.stdout
