"""GET /v1/models and /v1/models/<name>: the stored models, as OpenAI's clients list them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..endpoint import Call, Reply
from ..models import allowed_models, find_model

if TYPE_CHECKING:
    from ...library.model import Model


async def models(call: Call) -> Reply:
    """Answer with all models that the caller may use, newest first."""
    data = [_entry(model, model.name.display) for model in await allowed_models(call)]
    return Reply({"object": "list", "data": data})


async def model(call: Call) -> Reply:
    """Answer with one model, under the name that was requested."""
    name = call.arguments[0]
    return Reply(_entry(await find_model(call, name), name))


def _entry(model: Model, name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(model.modified_at.timestamp()),
        "owned_by": model.name.namespace,
    }
