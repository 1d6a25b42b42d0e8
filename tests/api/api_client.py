"""A client that never raises, bodies to send with it, readers of what the API answers."""

from __future__ import annotations

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
