"""The subcommands of ``%ollama``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import OllamaResponseError
from .failures import OllamaMagicsError
from .readable import expiry, moment

if TYPE_CHECKING:
    import pandas as pd

    from .connection import Connection

HELP = """\
%ollama list                         the models on the server, as a DataFrame
%ollama ps                           the models in memory, as a DataFrame
%ollama show NAME                    what a model is and can do
%ollama pull NAME [--insecure]       have the server get a model from a registry
%ollama use NAME                     the model of the next %%chat (or %embed, if it embeds)
%ollama cp NAME NEW                  give a model a second name
%ollama rm NAME                      remove a model from the server
%ollama create NAME FROM             make a model of another or of a GGUF file
                                     [--system TEXT] [-p KEY=VALUE] [-q TYPE]
%ollama create NAME -f MODELFILE     make a model by a Modelfile
%%ollama create NAME                 make a model by the Modelfile that is the cell
%ollama stop NAME                    let a model leave the memory
%ollama usage                        what you have used of a shared server, as a DataFrame
%ollama history                      the conversations, as a DataFrame
%ollama history save FILE            write them to a file, and load FILE takes them back
%ollama new [NAME]                   begin a conversation afresh
%ollama version                      the server's version and address
%ollama connect URL [--token TOKEN]  use another server
%ollama connect                      look for the server again
%ollama help                         this text

%%chat? and %embed? explain the other two. %config OllamaMagics lists the settings."""


def list_models(connection: Connection) -> pd.DataFrame:
    """Return the models on the server, newest first; ``size`` is in bytes."""
    rows = []
    for model in connection.client.list():
        details = model.get("details") or {}
        modified = moment(model.get("modified_at"))
        rows.append(
            {
                "name": model["name"],
                "parameters": details.get("parameter_size", ""),
                "quantization": details.get("quantization_level", ""),
                "size": model.get("size", 0),
                # The local time, without its offset.
                "modified": modified and modified.astimezone().replace(microsecond=0, tzinfo=None),
            }
        )
    return _frame(rows, ["name", "parameters", "quantization", "size", "modified"])


def list_loaded(connection: Connection) -> pd.DataFrame:
    """Return the models in memory; ``size`` and ``on_gpu`` are in bytes, ``context`` in tokens."""
    rows = [
        {
            "name": model["name"],
            "size": model.get("size", 0),
            "on_gpu": model.get("size_vram", 0),
            "context": model.get("context_length", 0),
            "unloads": expiry(moment(model.get("expires_at"))),
        }
        for model in connection.client.ps()
    ]
    return _frame(rows, ["name", "size", "on_gpu", "context", "unloads"])


def usage(connection: Connection) -> tuple[str, pd.DataFrame]:
    """Return what the user has had of a shared server: a line, and tokens by period and model."""
    try:
        told = connection.client.call("GET", "/usage")
    except OllamaResponseError as error:
        if error.status != 404:
            raise
        raise OllamaMagicsError("This server keeps no account of usage.") from error
    limits = told.get("limits") or {}
    parts = [
        f"{told['tokens_last_minute']} tokens in the last minute"
        + (f" of {limits['tokens_per_minute']}" if "tokens_per_minute" in limits else ""),
        f"{told['tokens_last_day']} in the last day"
        + (f" of {limits['tokens_per_day']}" if "tokens_per_day" in limits else ""),
        f"{told['running']} requests run and {told['waiting']} wait",
    ]
    rows = [
        {"period": period, **row}
        for period in ("day", "month")
        for row in (told.get(period) or {}).get("models", [])
    ]
    columns = ["period", "model", "requests", "prompt_tokens", "cached_tokens", "generated_tokens"]
    line = f"{told['user']}: {', '.join(parts)}."
    if not told.get("recorded", True):
        line += " Usage by model is not recorded."
    return line, _frame(rows, columns)


def describe(connection: Connection, name: str) -> str:
    """Return a summary of a model in aligned lines."""
    shown = connection.client.show(name)
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
        "options": _indented(" ".join(o.split()) for o in _lines(shown.get("parameters"))),
        "system": _indented(_lines(shown.get("system"))),
        "license": next(iter(_lines(shown.get("license"))), ""),
    }
    return "\n".join(f"{label:<18}{value}" for label, value in lines.items() if value)


def run(command: str, words: list[str], actions: dict[str, Callable[..., Any]]) -> Any:
    """Call the action ``command`` with the right number of words, or say what is wrong."""
    if command not in actions:
        import difflib

        close = difflib.get_close_matches(command, actions, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise OllamaMagicsError(
            f"%ollama has no command {command}.{hint} It has {', '.join(actions)}."
        )
    import inspect

    try:
        inspect.signature(actions[command]).bind(*words)
    except TypeError as error:
        usage = next(line for line in HELP.splitlines() if line.startswith(f"%ollama {command}"))
        raise OllamaMagicsError(f"Usage: {' '.join(usage.split('  ')[0].split())}") from error
    return actions[command](*words)


def _frame(rows: list[dict[str, Any]], columns: list[str]) -> pd.DataFrame:
    from .table import Table

    return Table(rows, columns=columns)


def _lines(text: str | None) -> list[str]:
    return [line.strip() for line in (text or "").splitlines() if line.strip()]


def _indented(lines: Any) -> str:
    return f"\n{'':<18}".join(lines)
