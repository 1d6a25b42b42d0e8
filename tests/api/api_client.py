"""A client that never raises, request bodies, and readers of answers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPResponse

GREEDY = {"temperature": 0, "num_predict": 12, "num_ctx": 512}
QUESTION = {"role": "user", "content": "Name the capital of France."}

Fetch = Callable[..., Awaitable[HTTPResponse]]


def fetcher(base: str, own_headers: dict[str, str]) -> Fetch:
    """Return ``fetch(method, path, body)`` for one server; JSON values are encoded."""

    async def fetch(method: str, path: str, body: Any = None, **options: Any) -> HTTPResponse:
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        return await AsyncHTTPClient().fetch(
            base + path,
            method=method,
            body=body,
            headers=own_headers | options.pop("headers", {}),
            raise_error=False,
            follow_redirects=False,
            allow_nonstandard_methods=True,
            request_timeout=100,
            **options,
        )

    return fetch


def lines(response: HTTPResponse) -> list[dict[str, Any]]:
    """Return the JSON values of an NDJSON answer."""
    return [json.loads(line) for line in response.body.splitlines()]


async def answer(fetch: Fetch, path: str, body: Any) -> dict[str, Any]:
    """Return the JSON answer to a POST, after a check of its status."""
    response = await fetch("POST", path, body)
    assert response.code == 200, response.body
    found: dict[str, Any] = json.loads(response.body)
    return found


def events(response: HTTPResponse) -> list[dict[str, Any]]:
    """Return the data of server-sent events, having checked that names are those in the data."""
    assert response.headers["Content-Type"] == "text/event-stream"
    found = []
    for block in response.body.decode().removesuffix("\n\n").split("\n\n"):
        *names, data = block.split("\n")
        if data == "data: [DONE]":
            found.append({"done": True})
            continue
        found.append(json.loads(data.removeprefix("data: ")))
        assert names in ([], [f"event: {found[-1].get('type')}"])
    return found


def neighbour_error(response: HTTPResponse) -> str:
    """Return the text of an error body of OpenAI's or Anthropic's API, whatever its type."""
    body = json.loads(response.body)
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    if "type" in body:
        assert list(body) == ["type", "error", "request_id"]
        assert list(body["error"]) == ["type", "message"]
    else:
        assert list(body) == ["error"]
        assert list(body["error"]) == ["message", "type", "param", "code"]
    return body["error"]["message"]


def error(response: HTTPResponse) -> str:
    """Return the text of an error body, having checked that it is one."""
    assert response.headers["Content-Type"] == "application/json; charset=utf-8"
    body = json.loads(response.body)
    assert list(body) == ["error"]
    return body["error"]


def generate(**fields: Any) -> dict[str, Any]:
    return {"model": "smollm2", "prompt": "Once upon a time", "options": GREEDY} | fields


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "smollm2", "messages": [QUESTION], "options": GREEDY} | fields


async def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition that has no event."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.01)
