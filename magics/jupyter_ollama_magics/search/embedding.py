"""What a search sends to the server: the query to embed, and the chunks to rank."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing

import numpy as np
from jupyter_ollama_client.errors import OllamaResponseError
from numpy.typing import NDArray

from ..failures import OllamaMagicsError
from ..reporting import reported
from ..servers import Servers
from .index_file import Settings


def query_vector(servers: Servers, settings: Settings, text: str) -> NDArray[np.float32]:
    """Return the unit vector of a query, with the prefix of the index.

    Raises OllamaMagicsError if the server has another model of that name than the index.
    """
    model = settings.model
    with closing(servers), reported(servers.connections[0], model):
        clients, digest = servers.having(model, "embedding")
        if digest != settings.digest:
            raise OllamaMagicsError(
                f"{model} is not the model that made this index: index.update(df) makes it anew."
            )
        vector = clients[0].embed(model, [settings.query_prefix + text])["embeddings"][0]
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-30), np.float32)


def relevance(servers: Servers, model: str, query: str, texts: Sequence[str]) -> list[float]:
    """Return the score of each text for a query, by a model that ranks."""
    with closing(servers), reported(servers.connections[0], model):
        body = {"model": model, "query": query, "documents": list(texts)}
        try:
            answer = servers.connections[0].client.call("POST", "/api/rerank", body)
        except OllamaResponseError as error:
            if error.status in (404, 405) and "not found" not in str(error):
                raise OllamaMagicsError(
                    "rerank= needs /api/rerank, which this server does not have."
                ) from None
            raise
    scores = {one["index"]: float(one["relevance_score"]) for one in answer["results"]}
    return [scores[place] for place in range(len(texts))]
