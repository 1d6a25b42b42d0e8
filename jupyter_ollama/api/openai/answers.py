"""The common parts of chats and completions: heads, ends, usage, logprobs."""

from __future__ import annotations

import time
from typing import Any

from ..translation import new_id

Part = dict[str, Any]
"""An answer of Ollama's API or a part of one."""


def head(prefix: str, kind: str, model: str) -> dict[str, Any]:
    """Return the fields that an answer begins with, and each of its chunks again."""
    return {
        "id": new_id(prefix),
        "object": kind,
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": "fp_ollama",
    }


def finish_reason(end: Part, called: bool = False) -> str:
    """Return why an answer ended: it was over, too long, or a tool is to be called."""
    if end.get("done_reason") == "length":
        return "length"
    return "tool_calls" if called else "stop"


def usage(ends: list[Part], choices: int) -> dict[str, Any]:
    """Return the tokens of all answers; ``choices`` answers in a row read the same prompt."""
    prompts = ends[::choices]
    prompt = sum(end.get("prompt_eval_count", 0) for end in prompts)
    cached = sum(end.get("prompt_eval_cached_count", 0) for end in prompts)
    completion = sum(end.get("eval_count", 0) for end in ends)
    thought = sum(end.get("eval_thinking_count", 0) for end in ends)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
        "completion_tokens_details": {"reasoning_tokens": thought},
    }


def logprobs(part: Part) -> list[dict[str, Any]]:
    """Return the log-probabilities of a part with all fields that OpenAI's clients read."""
    return [
        _token(entry) | {"top_logprobs": [_token(top) for top in entry.get("top_logprobs") or []]}
        for entry in part.get("logprobs") or []
    ]


def _token(entry: dict[str, Any]) -> dict[str, Any]:
    text = entry["token"]
    spelled = entry.get("bytes") or list(text.encode())
    return {"token": text, "logprob": entry["logprob"], "bytes": spelled}
