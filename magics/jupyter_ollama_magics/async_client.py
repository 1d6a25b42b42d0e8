"""Many requests at once to the server of a Client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from . import vectors
from .client import reason, without_none
from .errors import OllamaConnectionError

if TYPE_CHECKING:
    import httpx2

    from .client import Client


class AsyncClient:
    """Post requests from coroutines of one event loop; cancelling one closes its connection."""

    def __init__(self, client: Client) -> None:
        import httpx2

        self._client = client
        transport = httpx2.AsyncHTTPTransport(uds=client.socket) if client.socket else None
        self._http = httpx2.AsyncClient(transport=transport, **client.session_settings())

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._http.__aexit__(*error)

    async def call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the JSON object that a request is answered with."""
        return self._client.read_object(await self._post(path, body, {}))

    async def embed(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of ``/api/embed``, its embeddings as an array."""
        body = body | {"encoding_format": "base64"}
        response = await self._post("/api/embed", body, {"Accept": vectors.accepted()})
        return self._client.read_embeddings(response)

    async def _post(
        self, path: str, body: dict[str, Any], headers: dict[str, str]
    ) -> httpx2.Response:
        import httpx2

        try:
            url = self._client.url + path
            return await self._http.post(url, json=without_none(body), headers=headers)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            connected = isinstance(error, httpx2.ReadError | httpx2.RemoteProtocolError)
            raise OllamaConnectionError(
                self._client.url, reason(error), connected=connected
            ) from error
