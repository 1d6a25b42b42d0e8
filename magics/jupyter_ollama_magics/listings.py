"""Answers of a server about its models, as tables and as text."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from jupyter_ollama_client.readable import expiry, moment

if TYPE_CHECKING:
    import pandas as pd

Objects = list[dict[str, Any]]


def models(entries: Objects) -> pd.DataFrame:
    """Return the models of ``/api/tags`` as a table; ``size`` is in bytes, ``modified`` local."""
    rows = []
    for model in entries:
        details = model.get("details") or {}
        modified = moment(model.get("modified_at"))
        # The local time, without its offset.
        local = modified and modified.astimezone().replace(microsecond=0, tzinfo=None)
        rows.append(
            {
                "name": model["name"],
                "parameters": details.get("parameter_size", ""),
                "quantization": details.get("quantization_level", ""),
                "size": model.get("size", 0),
                "modified": local,
            }
        )
    return _frame(rows, ["name", "parameters", "quantization", "size", "modified"])


def loaded_models(entries: Objects) -> pd.DataFrame:
    """Return the models of ``/api/ps``; ``size``, ``on_gpu`` in bytes, ``context`` in tokens."""
    rows = [
        {
            "name": model["name"],
            "size": model.get("size", 0),
            "on_gpu": model.get("size_vram", 0),
            "context": model.get("context_length", 0),
            "unloads": expiry(moment(model.get("expires_at"))),
        }
        for model in entries
    ]
    return _frame(rows, ["name", "size", "on_gpu", "context", "unloads"])


def summary(name: str, shown: dict[str, Any]) -> str:
    """Return the answer of ``/api/show`` about a model as aligned lines."""
    details, info = shown.get("details") or {}, shown.get("model_info") or {}
    family = info.get("general.architecture") or details.get("family", "")
    lines = {
        "model": name,
        "architecture": family,
        "parameters": details.get("parameter_size"),
        "quantization": details.get("quantization_level"),
        "context length": info.get(f"{family}.context_length"),
        "embedding length": info.get(f"{family}.embedding_length"),
        "capabilities": ", ".join(shown.get("capabilities") or []),
        "options": _indented([" ".join(o.split()) for o in _lines(shown.get("parameters"))]),
        "system": _indented(_lines(shown.get("system"))),
        "license": next(iter(_lines(shown.get("license"))), ""),
    }
    return "\n".join(f"{label:<18}{value}" for label, value in lines.items() if value)


def usage_line(account: dict[str, Any]) -> str:
    """Return the recent tokens, the limits and the requests of the user of ``/usage``."""
    limits = account.get("limits") or {}
    minute, day = (
        f" of {limits[limit]}" if limit in limits else ""
        for limit in ("tokens_per_minute", "tokens_per_day")
    )
    line = (
        f"{account['user']}: {account['tokens_last_minute']} tokens in the last minute{minute}, "
        f"{account['tokens_last_day']} in the last day{day}, "
        f"{account['running']} requests run and {account['waiting']} wait."
    )
    line += "".join(f" {_budget(one)}." for one in account.get("budgets") or [])
    line += "".join(f" {_override(one)}." for one in account.get("overrides") or [])
    recorded = account.get("recorded", True)
    return line if recorded else f"{line} Usage by model is not recorded."


def _budget(budget: dict[str, Any]) -> str:
    """Return what is left of a budget that the line does not have otherwise."""
    holder, _, name = budget["of"].partition(":")
    whose = {"user": "Yours", "group": f"Of the group {name}"}.get(holder, "Of all users")
    models = f" with {budget['model']}" if budget.get("model") else ""
    line = (
        f"{whose}: {budget['left']} of {budget['limit']} tokens a {budget['period']}{models} left"
    )
    if ends := moment(budget.get("ends_at")):
        line += f", until {ends.astimezone():%Y-%m-%d %H:%M}"
    return line


def _override(override: dict[str, Any]) -> str:
    until = moment(override["until"])
    limits = ", ".join(f"{name} {value}" for name, value in override["limits"].items())
    return f"Until {until.astimezone():%Y-%m-%d %H:%M}: {limits}" if until else limits


def usage(account: dict[str, Any]) -> pd.DataFrame:
    """Return the tokens of the user of ``/usage`` by period and model."""
    rows = [
        {"period": period, **row}
        for period in ("day", "week", "month")
        for row in (account.get(period) or {}).get("models", [])
    ]
    columns = ["period", "model", "requests", "prompt_tokens", "cached_tokens", "generated_tokens"]
    return _frame(rows, columns)


def jobs(batches: Objects) -> pd.DataFrame:
    """Return the batches of ``/v1/batches`` as a table; ``created`` is local."""
    rows = []
    for batch in batches:
        made, counts = batch.get("metadata") or {}, batch["request_counts"]
        rows.append(
            {
                "id": batch["id"],
                "method": made.get("operator", ""),
                "model": made.get("model") or batch.get("model") or "",
                "status": batch["status"],
                "answered": counts["completed"],
                "failed": counts["failed"],
                "requests": counts["total"],
                "created": datetime.fromtimestamp(batch["created_at"]),
            }
        )
    columns = ["id", "method", "model", "status", "answered", "failed", "requests", "created"]
    return _frame(rows, columns)


def _frame(rows: Objects, columns: list[str]) -> pd.DataFrame:
    from .table import Table

    return Table(rows, columns=columns)


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _indented(lines: list[str]) -> str:
    return f"\n{'':<18}".join(lines)
