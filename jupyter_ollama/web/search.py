"""Searches of the web by a server of SearXNG."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import httpx2
import orjson

from ..errors import OllamaError

if TYPE_CHECKING:
    from .settings import WebSettings


async def search(query: str, count: int, settings: WebSettings) -> list[dict[str, str]]:
    """Return title, url and content of the first ``count`` results of the settings' server.

    Raises OllamaError(502) if it does not answer as SearXNG does, (504) if that takes too long.
    """
    seconds = settings.web_timeout
    try:
        async with asyncio.timeout(seconds):
            body = await _ask(query, settings)
        results = orjson.loads(body)["results"]
        return [_result(result) for result in results[:count]]
    except TimeoutError:
        raise OllamaError(504, f"the search takes longer than {seconds:g} s") from None
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        raise OllamaError(502, f"the search server answers with status {status}") from None
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise OllamaError(502, f"the search server cannot be asked: {reason}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OllamaError(502, "the search server does not answer as SearXNG does") from None


async def _ask(query: str, settings: WebSettings) -> bytes:
    client = httpx2.AsyncClient(
        timeout=None, follow_redirects=True, max_redirects=settings.web_max_redirects
    )
    body = bytearray()
    async with client:
        parameters = {"q": query, "format": "json"}
        async with client.stream("GET", settings.web_search_url, params=parameters) as answer:
            answer.raise_for_status()
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > settings.web_max_bytes:
                    raise OllamaError(502, "the answer of the search server is too large")
    return bytes(body)


def _result(result: dict[str, Any]) -> dict[str, str]:
    return {name: str(result.get(name) or "") for name in ("title", "url", "content")}
