"""Requests in Ollama's form, for upstreams that speak it."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import orjson

from ..engine.protocol import ChatPrompt, Constraint, RawPrompt
from ..options import Options
from ..prompt.messages import Message
from .task import GenerateTask

OPTIONS = tuple(dict.fromkeys(Options.__struct_fields__))


def answer_body(model: str, task: GenerateTask) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a request for an answer."""
    body: dict[str, Any] = {"model": model, "stream": True}
    if options := task.options_to_send(OPTIONS):
        body["options"] = options
    if not task.truncate:
        body["truncate"] = False
    if not task.shift:
        body["shift"] = False
    if task.constraint and not task.must_call:
        body["format"] = _format(task.constraint)
    if task.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": task.logprobs}
    prompt = task.prompt
    if isinstance(prompt, RawPrompt):
        body |= {"prompt": prompt.text, "raw": True}
        if prompt.images:
            body["images"] = [_base64(image) for image in prompt.images]
        return "/api/generate", body
    if not isinstance(prompt, ChatPrompt):
        return "/api/generate", body | {"prompt": prompt.prompt, "suffix": prompt.suffix}
    body["messages"] = [_message(one, prompt.images) for one in prompt.messages]
    if prompt.think is not None:
        body["think"] = prompt.think
    if prompt.tools:
        body["tools"] = prompt.tools
        if task.must_call:
            body["tool_choice"] = "required"
    return "/api/chat", body


def _message(message: Message, images: list[bytes]) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.to_builtins(message)
    body["content"] = message.content
    if message.images:
        body["images"] = [_base64(images[int(place)]) for place in message.images]
    return body


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _format(constraint: Constraint) -> Any:
    if constraint.kind == "json":
        return "json"
    if constraint.kind == "grammar":
        return {"grammar": constraint.text}
    return orjson.loads(constraint.text)
