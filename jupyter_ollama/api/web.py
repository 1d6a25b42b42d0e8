"""POST /api/web_fetch and /api/web_search, for servers that are set up for them."""

from __future__ import annotations

from importlib.util import find_spec

import msgspec

from ..errors import OllamaError
from .endpoint import Call, Reply

DEFAULT_RESULTS = 5
MAX_RESULTS = 10


class WebFetchRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/web_fetch."""

    url: str = ""


class WebSearchRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/web_search. ``max_results`` 0 is 5, and more than 10 is 10."""

    query: str = ""
    max_results: int = 0


async def web_fetch(call: Call) -> Reply:
    """Answer with the title, the content and the links of a page."""
    if not call.server.web_fetch:
        raise OllamaError(501, "web fetch is not configured: see OllamaServer.web_fetch")
    if find_spec("trafilatura") is None:
        raise OllamaError(501, 'web fetch needs more packages: pip install "jupyter-ollama[web]"')
    request = call.decode(WebFetchRequest)
    if not request.url:
        raise OllamaError(400, "url is required")
    return Reply(await call.server.pages.fetch(request.url, call.requester.name))


async def web_search(call: Call) -> Reply:
    """Answer with the titles, URLs and contents of search results."""
    if not call.server.web_search_url:
        raise OllamaError(501, "web search is not configured: see OllamaServer.web_search_url")
    request = call.decode(WebSearchRequest)
    if not request.query:
        raise OllamaError(400, "query is required")
    count = request.max_results if request.max_results > 0 else DEFAULT_RESULTS
    pages = call.server.pages
    found = await pages.search(request.query, min(count, MAX_RESULTS), call.requester.name)
    return Reply({"results": found})
