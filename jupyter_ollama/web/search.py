"""Searches of the web by a server of SearXNG."""

from __future__ import annotations

from typing import Any

import httpx2

from ..errors import OllamaError

SECONDS = 30.0


async def search(query: str, count: int, url: str) -> list[dict[str, str]]:
    """Return title, url and content of the first ``count`` results of the server at ``url``.

    Raises OllamaError(502) if it does not answer as SearXNG does, (504) if that takes too long.
    """
    try:
        async with httpx2.AsyncClient(timeout=SECONDS, follow_redirects=True) as client:
            answer = await client.get(url, params={"q": query, "format": "json"})
        answer.raise_for_status()
        results = answer.json()["results"]
        return [_result(result) for result in results[:count]]
    except httpx2.TimeoutException:
        raise OllamaError(504, f"the search takes longer than {SECONDS:.0f} s") from None
    except httpx2.HTTPStatusError as error:
        status = error.response.status_code
        raise OllamaError(502, f"the search server answers with status {status}") from None
    except httpx2.HTTPError as error:
        reason = str(error) or type(error).__name__
        raise OllamaError(502, f"the search server cannot be asked: {reason}") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise OllamaError(502, "the search server does not answer as SearXNG does") from None


def _result(result: dict[str, Any]) -> dict[str, str]:
    return {name: str(result.get(name) or "") for name in ("title", "url", "content")}
