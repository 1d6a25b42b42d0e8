"""The tables of the page: what the server does, as rows with a key each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .._version import __version__
from ..api.usage import at, audited
from ..budgets.periods import TERM
from ..scheduler.remote_model import RemoteModel
from ..scheduler.request import ModelRequest, State

if TYPE_CHECKING:
    from ..batches.records import BatchRecord
    from ..config import OllamaServer
    from ..library.model import Model
    from ..scheduler.loaded import LoadedModel
    from ..upstreams.pool import Upstreams

Table = dict[str, dict[str, Any]]
Tables = dict[str, Table]
"""Rows by key, by name of the table. Rows that were sent are never changed."""


def server_row(server: OllamaServer, rates: dict[str, float]) -> dict[str, Any]:
    """Return the state of the server, the same for all of its users."""
    admission = server.admission
    return {
        "draining": admission.draining,
        "running": sum(one.running for one in admission.accounts.values()),
        "waiting": sum(one.waiting for one in admission.accounts.values()),
        "rate": round(sum(rates.values()), 1),
        "prefix_sharing": server.prefix_sharing,
        "audited": audited(server),
        "term": admission.ledger.calendar.span(TERM) is not None,
        "recorded": admission.store is not None,
        "keep_alive": server.keep_alive if math.isfinite(server.keep_alive) else -1,
        "version": __version__,
        "hosts": admission.ledger.state,
    }


def model_rows(
    server: OllamaServer,
    stored: Iterable[tuple[Model, dict[str, Any]]],
    requests: Iterable[ModelRequest],
    rates: dict[str, float],
) -> Table:
    """Return all models, loaded, loading and at rest; sizes in bytes."""
    rows = {model.name.display: _at_rest(model, tag) for model, tag in stored}
    for loaded in server.scheduler.loaded():
        name = loaded.model.name.display
        rows[name] = rows.get(name, {"name": name}) | _loaded(loaded)
    for request in requests:
        row = rows.get(request.model)
        if row is None or request.closed:
            continue
        if request.state in (State.PREPARING, State.LOADING) and row["state"] == "rest":
            row["state"] = "loading"
        waits = request.state in (State.LOADING, State.QUEUED)
        place = "waiting" if waits else "running"
        row[place] = row.get(place, 0) + 1
    for name, rate in rates.items():
        if name in rows:
            rows[name]["rate"] = rate
    return rows


def _at_rest(model: Model, tag: dict[str, Any]) -> dict[str, Any]:
    capabilities = tag.get("capabilities", [])
    return {
        "name": model.name.display,
        "state": "upstream" if isinstance(model, RemoteModel) else "rest",
        "file": tag["size"],
        "parameters": tag["details"].get("parameter_size", ""),
        "quantization": tag["details"].get("quantization_level", ""),
        "embeds": "embedding" in capabilities and "completion" not in capabilities,
    }


def _loaded(loaded: LoadedModel) -> dict[str, Any]:
    memory = loaded.runner.memory
    is_idle = not loaded.users
    forever = loaded.pinned or math.isinf(loaded.keep_alive)
    return {
        "state": "unloading" if loaded.draining else "loaded",
        "size": loaded.size,
        "vram": loaded.size_vram,
        "held": loaded.part_of_memory(vram=False),
        "context": loaded.num_ctx,
        "slots": loaded.runner.ready.slots,
        "cached": memory.used,
        "cells": memory.cells,
        "pinned": forever,
        "by_setting": loaded.pinned,
        "expires": at(loaded.expires_at.timestamp()) if is_idle and not forever else "",
    }


def device_rows(loaded: Iterable[LoadedModel]) -> Table:
    """Return the memory of the devices in bytes, by the report of the model used last."""
    rows: Table = {}
    for one in sorted(loaded, key=lambda one: one.used_at):
        for device in one.runner.memory.devices:
            rows[device.name] = {
                "name": device.name,
                "free": _rounded(device.free),
                "total": device.total,
            }
    return rows


def upstream_rows(upstreams: Upstreams) -> Table:
    """Return the upstreams with their states and requests."""
    return {
        one["name"]: {
            "name": one["name"],
            "url": one["url"],
            "state": one["state"],
            "error": one["error"],
            "running": one["running"],
            "models": len(one["models"]),
            "answered": one["requests"].get("answered", 0),
            "failed": sum(
                count
                for outcome, count in one["requests"].items()
                if outcome not in ("answered", "retried")
            ),
        }
        for one in upstreams.described()
    }


def _rounded(size: int) -> int:
    """Return a size to 16 MiB: a page need not change for less."""
    return size >> 24 << 24


def request_rows(requests: Iterable[ModelRequest]) -> Table:
    """Return the requests under way; ``began`` is a time of time.time()."""
    now, clock = time.time(), time.perf_counter()
    return {
        str(one.number): {
            "id": one.request_id,
            "user": one.user,
            "groups": list(one.groups),
            "model": one.model,
            "path": one.path,
            "state": State.LOADING if one.state is State.PREPARING else str(one.state),
            "position": one.position,
            "bulk": bool(one.bulk),
            "began": round(now - (clock - one.opened)),
            "cancelled": one.is_cancelled,
        }
        for one in requests
        if not one.closed
    }


def batch_rows(batches: Iterable[BatchRecord], pause_of: Callable[[str], str]) -> Table:
    """Return batches without their texts."""
    return {
        one.id: {
            "id": one.id,
            "user": one.user,
            "groups": list(one.groups),
            "model": one.model,
            "endpoint": one.endpoint,
            "status": str(one.status),
            "total": one.total,
            "completed": one.completed,
            "failed": one.failed,
            "tokens": one.prompt_tokens + one.generated_tokens,
            "created": round(one.created_at),
            "paused": "" if one.is_finished else pause_of(one.id),
            "finished": one.is_finished,
        }
        for one in batches
    }
