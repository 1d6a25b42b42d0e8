"""Recorded answers of /api/chat, for texts that no small model generates reliably."""

from __future__ import annotations

from typing import Any

import pytest

from jupyter_ollama.api import chat
from jupyter_ollama.api.endpoint import Call, Reply, Stream
from jupyter_ollama.api.wire import ChatRequest

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


def part(content: str = "", **message: Any) -> dict[str, Any]:
    """Return a part of a stream; ``logprobs`` among the fields goes beside the message."""
    beside = {"logprobs": message.pop("logprobs")} if "logprobs" in message else {}
    spoken = {"role": "assistant", "content": content} | message
    return {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": spoken} | {
        "done": False,
        **beside,
    }


def end(reason: str = "stop", **fields: Any) -> dict[str, Any]:
    """Return the last part of a stream."""
    return part() | {
        "done": True,
        "done_reason": reason,
        "prompt_eval_count": 20,
        "prompt_eval_cached_count": 15,
        "eval_count": 7,
        "eval_thinking_count": 3,
        **fields,
    }


def call(name: str, index: int = 0, **arguments: Any) -> dict[str, Any]:
    """Return a call of a tool."""
    function = {"index": index, "name": name, "arguments": arguments}
    return {"id": f"call_{name}{index}", "function": function}


def token(text: str, logprob: float, **others: float) -> dict[str, Any]:
    """Return the log-probability of a token and those of ``others`` in its place."""
    entries = [{"token": t, "logprob": p, "bytes": list(t.encode())} for t, p in others.items()]
    spelled = {"token": text, "logprob": logprob, "bytes": list(text.encode())}
    return spelled | ({"top_logprobs": entries} if entries else {})


THOUGHTFUL = [
    part(thinking="The user "),
    part(thinking="asks."),
    part("It is "),
    part("sunny."),
    end(),
]
TWO_CALLS = [
    part(thinking="Look it up."),
    part("Let me see."),
    part(tool_calls=[call("weather", city="Oslo")]),
    part(tool_calls=[call("weather", 1, city="Rome"), call("clock", 2)]),
    end(),
]
TOKENS = [token("Hi", -0.25, Hi=-0.25, Ho=-2.0), token("!", -0.5)]
WITH_LOGPROBS = [
    part("Hi", logprobs=TOKENS[:1]),
    part("", logprobs=TOKENS[1:]),
    part("!"),
    end(),
]


class Recording:
    """Plays parts in place of a model, and records the requests."""

    def __init__(self, parts: list[dict[str, Any]]) -> None:
        self.parts = parts
        self.requests: list[ChatRequest] = []

    async def chat(self, call: Call) -> Reply | Stream:
        request = call.decode(ChatRequest)
        self.requests.append(request)
        return self._stream() if request.stream else Reply(self._whole())

    async def _stream(self) -> Stream:
        for one in self.parts:
            yield one

    def _whole(self) -> dict[str, Any]:
        """Return the parts as one, as /api/chat does without a stream."""
        message: dict[str, Any] = {"role": "assistant", "content": ""}
        tokens: list[Any] = []
        for one in self.parts:
            tokens += one.get("logprobs", [])
            for name, value in one["message"].items():
                if name != "role":
                    message[name] = message[name] + value if name in message else value
        whole = self.parts[-1] | {"message": message}
        return whole | ({"logprobs": tokens} if tokens else {})


def play(monkeypatch: pytest.MonkeyPatch, parts: list[dict[str, Any]]) -> Recording:
    """Have /api/chat's endpoint play parts."""
    recording = Recording(parts)
    monkeypatch.setattr(chat, "chat", recording.chat)
    return recording
