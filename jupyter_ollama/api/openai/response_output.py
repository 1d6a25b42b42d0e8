"""The answers of /v1/responses: the events of a stream, and the object they add up to."""

from __future__ import annotations

import time
from typing import Any

from ..translation import arguments_text, new_id
from .answers import Part, logprobs, usage
from .wire import ResponsesRequest

Event = dict[str, Any]


class ResponseWriter:
    """Turns the parts of an answer into events. ``response`` is the whole once all are through."""

    def __init__(self, request: ResponsesRequest) -> None:
        self.response = _response(request)
        self._item: dict[str, Any] | None = None
        """The item that is open: thoughts or a message."""
        self._text = ""
        self._logprobs: list[dict[str, Any]] = []

    def start(self) -> list[Event]:
        """Return the events before the first part."""
        return [
            {"type": f"response.{name}", "response": self.response | {"output": []}}
            for name in ("created", "in_progress")
        ]

    def of(self, part: Part) -> list[Event]:
        """Return the events that a part makes; the last part ends the response."""
        message = part["message"]
        events: list[Event] = []
        if thoughts := message.get("thinking"):
            events += self._open("reasoning")
            events.append(self._event("reasoning_summary_text.delta", delta=thoughts))
            self._text += thoughts
        if text := message.get("content"):
            events += self._open("message")
            tokens = logprobs(part)
            events.append(self._event("output_text.delta", delta=text, logprobs=tokens))
            self._text += text
            self._logprobs += tokens
        for call in message.get("tool_calls") or []:
            events += self._close() + self._call(call)
        if part.get("done"):
            events += self._finish(part)
        return events

    def _open(self, kind: str) -> list[Event]:
        """Open an item for thoughts or a message, unless one of the kind is."""
        if self._item and self._item["type"] == kind:
            return []
        events = self._close()
        if kind == "reasoning":
            self._item = {"id": new_id("rs_"), "type": kind, "summary": []}
            name, part = "reasoning_summary_part", _summary("")
        else:
            self._item = {"id": new_id("msg_"), "type": kind, "status": "in_progress"}
            self._item |= {"role": "assistant", "content": []}
            name, part = "content_part", _output_text("", [])
        events.append(self._added(self._item))
        return [*events, self._event(f"{name}.added", part=part)]

    def _close(self, status: str = "completed") -> list[Event]:
        """Close the item that is open, if one is."""
        item, text, tokens = self._item, self._text, self._logprobs
        if item is None:
            return []
        if item["type"] == "reasoning":
            part = _summary(text)
            done = self._event("reasoning_summary_text.done", text=text)
            end = self._event("reasoning_summary_part.done", part=part)
            item |= {"summary": [part], "encrypted_content": text}
        else:
            part = _output_text(text, tokens)
            done = self._event("output_text.done", text=text, logprobs=tokens)
            end = self._event("content_part.done", part=part)
            item |= {"content": [part], "status": status}
        self._item, self._text, self._logprobs = None, "", []
        return [done, end, self._done(item)]

    def _call(self, call: dict[str, Any]) -> list[Event]:
        arguments = arguments_text(call)
        item = {"id": new_id("fc_"), "type": "function_call", "status": "in_progress"}
        item |= {"call_id": call.get("id") or new_id("call_"), "name": call["function"]["name"]}
        about = {"item_id": item["id"], "output_index": len(self.response["output"])}
        name = "response.function_call_arguments"
        return [
            self._added(item | {"arguments": ""}),
            {"type": f"{name}.delta"} | about | {"delta": arguments},
            {"type": f"{name}.done"} | about | {"name": item["name"], "arguments": arguments},
            self._done(item | {"arguments": arguments, "status": "completed"}),
        ]

    def _finish(self, end: Part) -> list[Event]:
        status = "incomplete" if end.get("done_reason") == "length" else "completed"
        events = self._close(status)
        used = usage([end], 1)
        self.response |= {
            "status": status,
            "completed_at": int(time.time()) if status == "completed" else None,
            "incomplete_details": (
                {"reason": "max_output_tokens"} if status == "incomplete" else None
            ),
            "usage": {
                "input_tokens": used["prompt_tokens"],
                "input_tokens_details": used["prompt_tokens_details"],
                "output_tokens": used["completion_tokens"],
                "output_tokens_details": used["completion_tokens_details"],
                "total_tokens": used["total_tokens"],
            },
        }
        return [*events, {"type": f"response.{status}", "response": self.response}]

    def _event(self, name: str, **fields: Any) -> Event:
        """Return an event about the text of the open item."""
        assert self._item is not None
        place = "summary_index" if self._item["type"] == "reasoning" else "content_index"
        about = {"item_id": self._item["id"], "output_index": len(self.response["output"])}
        return {"type": f"response.{name}"} | about | {place: 0} | fields

    def _added(self, item: dict[str, Any]) -> Event:
        index = len(self.response["output"])
        # A copy: an item that grows must not change an event that is yet to be written.
        return {"type": "response.output_item.added", "output_index": index, "item": dict(item)}

    def _done(self, item: dict[str, Any]) -> Event:
        self.response["output"].append(item)
        index = len(self.response["output"]) - 1
        return {"type": "response.output_item.done", "output_index": index, "item": item}


def _summary(text: str) -> dict[str, Any]:
    return {"type": "summary_text", "text": text}


def _output_text(text: str, tokens: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": tokens}


def _tool(tool: dict[str, Any]) -> dict[str, Any]:
    """Return a tool as the answer repeats it: a function has all fields."""
    if tool.get("type") != "function":
        return tool
    return {"description": None, "parameters": None, "strict": None} | tool


def _response(request: ResponsesRequest) -> dict[str, Any]:
    """Return a response that has just begun, with the parameters of the request."""
    reasoning = request.reasoning
    return {
        "id": new_id("resp_"),
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "background": request.background,
        "error": None,
        "frequency_penalty": request.frequency_penalty or 0.0,
        "incomplete_details": None,
        "instructions": request.instructions or None,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": None,
        "metadata": request.metadata,
        "model": request.model,
        "output": [],
        "parallel_tool_calls": request.parallel_tool_calls,
        "presence_penalty": request.presence_penalty or 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "reasoning": {"effort": reasoning.effort or None, "summary": reasoning.summary},
        "safety_identifier": None,
        "service_tier": "default",
        "store": False,
        "temperature": 1.0 if request.temperature is None else request.temperature,
        "text": {"format": {"type": "text"}} | request.text,
        "tool_choice": request.tool_choice or "auto",
        "tools": [_tool(tool) for tool in request.tools],
        "top_logprobs": request.top_logprobs,
        "top_p": 1.0 if request.top_p is None else request.top_p,
        "truncation": request.truncation,
        "usage": None,
        "user": None,
    }
