"""The answers of /v1/messages: the events of a stream, and the message they add up to."""

from __future__ import annotations

from typing import Any

from ..translation import arguments_text, new_id

Event = dict[str, Any]
Part = dict[str, Any]

_REASONS = {"length": "max_tokens"}
_MORE: dict[str, dict[str, Any]] = {"thinking": {"signature": ""}, "text": {"citations": None}}
"""The fields of each kind of block besides its text."""


class MessageWriter:
    """Turns the parts of an answer into events. ``message`` is the whole once all are through.

    ``estimate`` stands for the tokens of the prompt until the last part reports their number.
    """

    def __init__(self, model: str, estimate: int = 0) -> None:
        self.message: dict[str, Any] = {
            "id": new_id("msg_"),
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
            "usage": _usage({"prompt_eval_count": estimate}),
        }
        self._open = ""
        self._called = False

    def start(self) -> list[Event]:
        """Return the events before the first part."""
        return [{"type": "message_start", "message": self.message | {"content": []}}]

    def of(self, part: Part) -> list[Event]:
        """Return the events that a part makes; the last part ends the message."""
        message = part["message"]
        events: list[Event] = []
        if thoughts := message.get("thinking"):
            events += self._grow("thinking", "thinking_delta", thoughts)
        if text := message.get("content"):
            events += self._grow("text", "text_delta", text)
        for call in message.get("tool_calls") or []:
            events += self._close() + self._call(call)
        if part.get("done"):
            events += self._finish(part)
        return events

    def _grow(self, kind: str, delta: str, text: str) -> list[Event]:
        """Add text to the block of a kind that is open, or to a new one."""
        events: list[Event] = []
        content = self.message["content"]
        if self._open != kind:
            events += self._close()
            block = {"type": kind, kind: ""} | _MORE[kind]
            content.append(dict(block))
            events.append(self._event("start", content_block=block))
            self._open = kind
        content[-1][kind] += text
        return [*events, self._event("delta", delta={"type": delta, kind: text})]

    def _close(self) -> list[Event]:
        if not self._open:
            return []
        self._open = ""
        return [self._event("stop")]

    def _call(self, call: dict[str, Any]) -> list[Event]:
        self._called = True
        block = {"type": "tool_use", "id": call.get("id") or new_id("toolu_")}
        block |= {"name": call["function"]["name"], "input": {}, "caller": {"type": "direct"}}
        self.message["content"].append(block | {"input": call["function"].get("arguments") or {}})
        delta = {"type": "input_json_delta", "partial_json": arguments_text(call)}
        return [
            self._event("start", content_block=block),
            self._event("delta", delta=delta),
            self._event("stop"),
        ]

    def _finish(self, end: Part) -> list[Event]:
        events = self._close()
        reason = _REASONS.get(end.get("done_reason", ""), "end_turn")
        sequence = end.get("stop_sequence")
        if sequence is not None:
            reason = "stop_sequence"
        stop = {
            "stop_reason": "tool_use" if self._called else reason,
            "stop_sequence": sequence,
            "stop_details": None,
            "container": None,
        }
        self.message |= stop | {"usage": _usage(end)}
        delta = {"type": "message_delta", "delta": stop, "usage": _usage(end)}
        return [*events, delta, {"type": "message_stop"}]

    def _event(self, name: str, **fields: Any) -> Event:
        index = len(self.message["content"]) - 1
        return {"type": f"content_block_{name}", "index": index} | fields


def _usage(end: Part) -> dict[str, Any]:
    """Return the tokens of an answer; those read from the cache are not among ``input_tokens``."""
    cached = end.get("prompt_eval_cached_count", 0)
    return {
        "input_tokens": end.get("prompt_eval_count", 0) - cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": end.get("eval_count", 0),
        "output_tokens_details": {"thinking_tokens": end.get("eval_thinking_count", 0)},
        "server_tool_use": None,
        "service_tier": "standard",
        "inference_geo": None,
    }
