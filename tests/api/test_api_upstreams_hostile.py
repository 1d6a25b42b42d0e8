"""Upstreams that answer with nonsense, without end or not at all: nothing hangs, nothing leaks."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from api_client import chat, error, lines, wait_until
from shared_server import Shared, sharing
from small_upstream import SmallUpstream, head, small_upstream

SECRET = "sk-very-secret-0123456789"
ASKED = chat(model="m", options={}, stream=False)
STREAMED = chat(model="m", options={})
SSE = head("text/event-stream")
APIS = ("ollama", "openai")


@asynccontextmanager
async def hostile(
    tmp_path: Path, api: str, **fields: Any
) -> AsyncIterator[tuple[Shared, SmallUpstream]]:
    """Run a server whose upstream is a small one."""
    traits = {name: fields.pop(name) for name in [*fields] if name.startswith("upstream_")}
    async with small_upstream() as upstream:
        given = {"bad": {"url": upstream.url, "api": api, "key": SECRET} | fields}
        store = str(tmp_path / "none")
        async with sharing(models_dir=store, upstreams=given, **traits) as shared:
            yield shared, upstream


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def delta(text: str, reason: str | None = None) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}]})


WHOLE = {
    "ollama": [
        head(),
        line({"message": {"content": "Hi"}}),
        line({"message": {"content": ""}, "done": True, "done_reason": "stop"}),
    ],
    "openai": [SSE, delta("Hi"), delta("", "stop"), b"data: [DONE]\n\n"],
}
BEGUN = {"ollama": [head(), line({"message": {"content": "Hi"}})], "openai": [SSE, delta("Hi")]}

NONSENSE: dict[str, dict[str, list[bytes]]] = {
    "no HTTP": {api: [b"\x00\x01\x02 hello\r\n\r\n"] for api in APIS},
    "nothing": {api: [b""] for api in APIS},
    "no JSON": {"ollama": [head(), b"<html>\n"], "openai": [SSE, b"data: {]\n\n"]},
    "a page": {api: [head("text/html"), b"<!doctype html>\n<p>Hi</p>\n"] for api in APIS},
    "other JSON": {"ollama": [head(), b"[1]\n"], "openai": [SSE, event([1]), event("x")]},
    "other types": {
        "ollama": [head(), line({"message": {"content": 7}})],
        "openai": [SSE, event({"choices": [{"delta": {"content": {}}}]})],
    },
    "no end": BEGUN,
    "no parts": {"ollama": [head()], "openai": [SSE]},
    "bytes that are no text": {"ollama": [head(), b'{"x": "\xff"}\n'], "openai": [SSE, b"\xff\n"]},
    "deep JSON": {
        "ollama": [head(), b'{"error": ' + b"[" * 100_000 + b"\n"],
        "openai": [SSE, b'data: {"error": ' + b"[" * 100_000 + b"\n\n"],
    },
    "compressed": {
        api: [head("application/json", more="Content-Encoding: gzip\r\n"), b"\x1f\x8b"]
        for api in APIS
    },
    "an endless head": {api: [b"HTTP/1.1 200 OK\r\nX: " + b"a" * 2**20] for api in APIS},
    "a bad call": {
        "ollama": [head(), line({"message": {"tool_calls": [{"function": 3}]}, "done": True})],
        "openai": [
            SSE,
            event(
                {
                    "choices": [
                        {
                            "delta": {
                                "tool_calls": [{"function": {"name": "f", "arguments": "[1"}}]
                            },
                            "finish_reason": "tool_calls",
                        }
                    ]
                }
            ),
        ],
    },
    "an error in the stream": {
        "ollama": [head(), line({"error": "out of luck"})],
        "openai": [SSE, event({"error": {"message": "out of luck"}})],
    },
}


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("kind", NONSENSE)
async def test_nonsense_is_a_502(tmp_path: Path, api: str, kind: str) -> None:
    async with hostile(tmp_path, api) as (shared, upstream):
        upstream.says(*NONSENSE[kind][api])
        response = await shared.user("ann")("POST", "/api/chat", ASKED)
        assert response.code == 502, response.body
        assert 'upstream "bad"' in error(response)
        assert upstream.url not in error(response)
        await wait_until(lambda: upstream.open == 0)
        assert shared.server.requests_running == 0


@pytest.mark.parametrize("api", APIS)
async def test_a_stream_that_breaks_ends_with_an_error(tmp_path: Path, api: str) -> None:
    async with hostile(tmp_path, api) as (shared, upstream):
        upstream.says(*BEGUN[api])
        first, last = lines(await shared.user("ann")("POST", "/api/chat", STREAMED))
        assert first["message"]["content"] == "Hi"
        assert "has broken off" in last["error"]
        assert len(upstream.asked) == 1  # a part was sent: no second try


@pytest.mark.parametrize("api", APIS)
async def test_a_break_before_the_first_part_is_tried_again_once(tmp_path: Path, api: str) -> None:
    async with hostile(tmp_path, api) as (shared, upstream):
        response = await shared.user("ann")("POST", "/api/chat", STREAMED)
        assert response.code == 502
        assert len(upstream.asked) == 2
        assert (await shared.user("ann")("POST", "/api/chat", STREAMED)).code == 502
        (state,) = shared.server.upstream_pool.described()
        assert state["state"] == "failing"


@pytest.mark.parametrize("api", APIS)
async def test_an_endless_line_is_bounded(tmp_path: Path, api: str) -> None:
    async with hostile(tmp_path, api, upstream_max_line=2**16) as (shared, upstream):
        upstream.says(SSE, b"data: ", *[b"a" * 2**15] * 1000)
        response = await shared.user("ann")("POST", "/api/chat", ASKED)
        assert response.code == 502
        assert "longer line" in error(response)


@pytest.mark.parametrize("api", APIS)
async def test_an_endless_answer_is_bounded(tmp_path: Path, api: str) -> None:
    async with hostile(tmp_path, api, upstream_max_bytes=2**18) as (shared, upstream):
        upstream.says(*BEGUN[api], *BEGUN[api][1:] * 20_000)
        response = await shared.user("ann")("POST", "/api/chat", ASKED)
        assert response.code == 502
        assert "upstream_max_bytes" in error(response)
        upstream.says(head("application/json"), b"[" * 2**20)
        body = {"model": "m", "input": "x"}
        assert (await shared.user("ann")("POST", "/api/embed", body)).code in (502, 503)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("silence", ["at once", "after the head", "after a part", "in comments"])
async def test_silence_ends(tmp_path: Path, api: str, silence: str) -> None:
    waits = {"first_seconds": 0.3, "pause_seconds": 0.3}
    async with hostile(tmp_path, api, **waits) as (shared, upstream):
        chunks: list[bytes] = {
            "at once": [],
            "after the head": BEGUN[api][:1],
            "after a part": BEGUN[api],
            "in comments": [*BEGUN[api][:1], *[b": wait\n" if api == "openai" else b"\n"] * 40],
        }[silence]

        async def react(writer: asyncio.StreamWriter) -> None:
            for chunk in chunks:
                writer.write(chunk)
                await asyncio.sleep(0.05)
            await asyncio.sleep(30)

        upstream.react = react
        began = time.perf_counter()
        response = await shared.user("ann")("POST", "/api/chat", ASKED)
        assert time.perf_counter() - began < 2
        assert response.code == 504, response.body
        assert "has not answered within 0.3 seconds" in error(response)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("400 Bad Request", 400),
        ("401 Unauthorized", 502),
        ("403 Forbidden", 502),
        ("404 Not Found", 404),
        ("422 Unprocessable", 400),
        ("429 Too Many", 503),
        ("500 Oops", 502),
        ("501 No", 501),
        ("503 Busy", 503),
    ],
)
async def test_statuses(
    tmp_path: Path, api: str, status: str, expected: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with hostile(tmp_path, api) as (shared, upstream):
        text = f"because of {SECRET} at {upstream.url}\n\x1b[31m" + "x" * 1000
        said = json.dumps({"error": {"message": text}}).encode()
        upstream.says(head("application/json", status), said)
        response = await shared.user("ann")("POST", "/api/chat", ASKED)
        assert response.code == expected
        assert ("Retry-After" in response.headers) is (expected == 503)
        health = await shared.user("ann")("GET", "/health")
        state = json.dumps(shared.server.upstream_pool.described())
        for shown in (response.body.decode(), health.body.decode(), state, caplog.text):
            assert SECRET not in shown
            assert "\x1b" not in shown
        assert len(error(response)) < 400
        assert upstream.url not in response.body.decode() + health.body.decode()
        shows_reason = "because of …" in error(response)
        assert shows_reason is (status[:3] not in ("401", "403"))


async def test_redirects_are_not_followed(tmp_path: Path) -> None:
    async with small_upstream() as other, hostile(tmp_path, "ollama") as (shared, upstream):
        upstream.says(head(status="307 Elsewhere", more=f"Location: {other.url}/api/chat\r\n"))
        response = await shared.user("ann")("POST", "/api/chat", ASKED)
        assert response.code == 502
        assert "redirect" in error(response)
        assert not other.heads


@pytest.mark.parametrize("api", APIS)
async def test_nothing_of_the_clients_but_the_request_is_passed_on(
    tmp_path: Path, api: str
) -> None:
    async with hostile(tmp_path, api) as (shared, upstream):
        upstream.says(*WHOLE[api])
        sent = {
            "Authorization": "Bearer the-clients-own",
            "Cookie": "session=1",
            "X-Api-Key": "the-clients-own",
            "X-Forwarded-For": "10.1.1.1",
            "Referer": "http://hub/?token=abc",
        }
        path = "/api/chat?token=the-clients-own"
        response = await shared.user("ann")("POST", path, ASKED, headers=sent)
        assert json.loads(response.body)["message"]["content"] == "Hi"
        asked = [one for one in upstream.heads if one.startswith("POST")]
        (request,) = asked
        assert f"authorization: bearer {SECRET}" in request.lower()
        for secret in ("the-clients-own", "session", "10.1.1.1", "abc", "ann", "cookie"):
            assert secret not in request.lower()


@pytest.mark.parametrize("api", APIS)
async def test_cookies_are_not_kept(tmp_path: Path, api: str) -> None:
    async with hostile(tmp_path, api) as (shared, upstream):
        begin = WHOLE[api][0].replace(b"Connection", b"Set-Cookie: a=b\r\nConnection")
        upstream.says(begin, *WHOLE[api][1:])
        for _ in range(2):
            assert (await shared.user("ann")("POST", "/api/chat", ASKED)).code == 200
        assert not any("cookie" in one.lower() for one in upstream.heads)


@pytest.mark.parametrize(
    "lists",
    [
        {},
        [],
        {"models": 3, "data": 3},
        {"models": [3, {}, {"model": 7}], "data": [3, {}, {"id": None}]},
        {"models": [{"model": "../../etc\x00"}], "data": [{"id": "a" * 10_000}]},
        {
            "models": [{"model": "m", "size": -1, "modified_at": 3, "details": 3, "digest": 5}],
            "data": [{"id": "m", "created": "x", "meta": [], "max_model_len": -3}],
        },
        {
            "models": [{"model": f"m{n}", "modified_at": "9999-99-99"} for n in range(3000)],
            "data": [{"id": f"m{n}", "created": 2**40} for n in range(3000)],
        },
    ],
)
@pytest.mark.parametrize("api", APIS)
async def test_lists_of_models_are_not_believed(tmp_path: Path, api: str, lists: Any) -> None:
    async with hostile(tmp_path, api) as (shared, upstream):
        upstream.lists = {"/api/tags": lists, "/v1/models": lists}
        fetch = shared.user("ann")
        for method, path, body in (
            ("GET", "/api/tags", None),
            ("GET", "/v1/models", None),
            ("GET", "/api/ps", None),
            ("GET", "/health", None),
        ):
            response = await fetch(method, path, body)
            assert response.code == 200, response.body
        found = json.loads((await fetch("GET", "/api/tags")).body)["models"]
        assert len(found) <= 1000
        assert (await fetch("POST", "/api/show", {"model": "nothing"})).code == 404


async def test_a_circle_of_servers_ends(tmp_path: Path) -> None:
    """Two servers are each other's upstreams for a model that neither has."""
    async with sharing(models_dir=str(tmp_path / "a")) as first:
        given = {"first": {"url": first.url, "api": "openai", "models": ["m"]}}
        async with sharing(models_dir=str(tmp_path / "b"), upstreams=given) as second:
            back = {"second": {"url": second.url, "api": "openai", "models": ["m"]}}
            first.server.upstreams = back
            response = await first.user("ann")("POST", "/api/chat", ASKED)
            assert response.code == 502
            assert "they form a circle" in error(response)
