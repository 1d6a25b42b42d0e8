"""Views of models that run on upstreams: what these say about them, without their paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..library.name import ModelName
from ..upstreams.model import UpstreamModel
from .model_views import details
from .timestamps import rfc3339

_SHOWN = {
    "license": str,
    "parameters": str,
    "template": str,
    "system": str,
    "renderer": str,
    "parser": str,
    "messages": list,
    "model_info": dict,
    "projector_info": dict,
    "requires": str,
}
"""The fields of /api/show that are passed on, and their types. A Modelfile has paths."""

_RUNNING = {"size": int, "size_vram": int, "context_length": int, "expires_at": str, "digest": str}


def remote_show(model: UpstreamModel, shown: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of /api/show; ``shown`` is the one of the upstream, {} for none."""
    config = model.config
    body: dict[str, Any] = {
        "modelfile": f"# {model.name.display} runs on an upstream: {config.remote_host}\n",
        "details": details(model),
        "remote_model": config.remote_model,
        "remote_host": config.remote_host,
        "model_info": _info(model),
        "capabilities": model.capabilities,
        "modified_at": rfc3339(model.modified_at),
    }
    return body | _passed(shown, _SHOWN)


def _passed(found: dict[str, Any], kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return the fields that have the right type."""
    return {name: found[name] for name, kind in kinds.items() if isinstance(found.get(name), kind)}


def _info(model: UpstreamModel) -> dict[str, Any]:
    """Return what a list of models has said, under the keys that clients read."""
    family = model.config.model_family or "unknown"
    lengths = {
        "context_length": model.config.context_length,
        "embedding_length": model.config.embedding_length,
    }
    known = {f"{family}.{name}": value for name, value in lengths.items() if value}
    return {"general.architecture": family} | known if known else {}


def remote_ps(name: ModelName, entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of /api/ps for a model that an upstream has loaded."""
    passed = _passed(entry, _RUNNING)
    found = entry.get("details")
    shown = found if isinstance(found, dict) else {}
    return {"name": name.display, "model": name.display} | passed | {"details": shown}
