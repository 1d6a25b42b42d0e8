"""Requests in OpenAI's form, for upstreams that speak it."""

from __future__ import annotations

import base64
from typing import Any

import orjson

from ..engine.protocol import ChatPrompt, Constraint, RawPrompt
from ..engine.sound_file import is_sound
from ..errors import OllamaError
from ..prompt.call_ids import with_short_ids
from ..prompt.messages import Message, ToolCall
from .spec import UpstreamSpec
from .task import GenerateTask

_SAME = (
    "temperature",
    "top_p",
    "seed",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "top_k",
    "min_p",
    "typical_p",
    "logit_bias",
)
"""Options with the same name; the last four are extensions of vLLM's and llama.cpp's servers."""

_OTHERWISE = {
    "num_predict": ("max_tokens",),
    "repeat_penalty": ("repetition_penalty", "repeat_penalty"),
}
"""Options with other names; vLLM and llama.cpp name the penalty differently, and skip others."""

_IMAGES = {b"\x89PNG": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}


def answer_body(model: str, spec: UpstreamSpec, task: GenerateTask) -> tuple[str, dict[str, Any]]:
    """Return the path and the body of a request for an answer.

    Raises OllamaError for what the API cannot express.
    """
    body: dict[str, Any] = {
        "model": model,
        "stream": True,
        "stream_options": {"include_usage": True},
        **_options(task),
    }
    if task.constraint and not task.must_call:
        body["response_format"] = _response_format(spec, task.constraint)
    prompt = task.prompt
    if not isinstance(prompt, ChatPrompt):
        if task.logprobs is not None:
            body["logprobs"] = task.logprobs
        if isinstance(prompt, RawPrompt):
            if prompt.images:
                raise OllamaError(501, f'upstream "{spec.name}" takes no images in raw prompts')
            return "/completions", body | {"prompt": prompt.text}
        return "/completions", body | {"prompt": prompt.prompt, "suffix": prompt.suffix}
    body["messages"] = chat_messages(prompt)
    if task.logprobs is not None:
        body |= {"logprobs": True, "top_logprobs": task.logprobs}
    if prompt.tools:
        body["tools"] = prompt.tools
        if task.must_call:
            body["tool_choice"] = "required"
    return "/chat/completions", body | _thinking(spec, prompt.think)


def chat_messages(prompt: ChatPrompt) -> list[dict[str, Any]]:
    """Return the messages, each call with an id and each result with the id of its call."""
    messages = prompt.messages
    if any(_lacks_id(message) for message in messages):
        messages = with_short_ids(messages) or messages
    return [_message(one, prompt.images) for one in messages]


def _lacks_id(message: Message) -> bool:
    is_result = message.role == "tool" and not message.tool_call_id
    return is_result or any(not call.id for call in message.tool_calls)


def _message(message: Message, images: list[bytes]) -> dict[str, Any]:
    content: Any = message.content
    if message.images:
        content = [{"type": "text", "text": content}] if content else []
        content += [_file(images[int(place)]) for place in message.images]
    body: dict[str, Any] = {"role": message.role, "content": content}
    if message.tool_calls:
        body["content"] = content or None
        body["tool_calls"] = [_call(one) for one in message.tool_calls]
    if message.thinking:
        # Servers differ in the name of the field, and skip the other one.
        body |= {"reasoning_content": message.thinking, "reasoning": message.thinking}
    if message.role == "tool":
        body["tool_call_id"] = message.tool_call_id
    return body


def _call(call: ToolCall) -> dict[str, Any]:
    arguments = orjson.dumps(call.function.arguments).decode()
    function = {"name": call.function.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _file(data: bytes) -> dict[str, Any]:
    text = base64.b64encode(data).decode()
    if is_sound(data):
        kind = "wav" if data[:4] == b"RIFF" else "flac" if data[:4] == b"fLaC" else "mp3"
        return {"type": "input_audio", "input_audio": {"data": text, "format": kind}}
    kind = next((kind for head, kind in _IMAGES.items() if data.startswith(head)), "png")
    return {"type": "image_url", "image_url": {"url": f"data:image/{kind};base64,{text}"}}


def _options(task: GenerateTask) -> dict[str, Any]:
    body: dict[str, Any] = task.options_to_send(_SAME)
    if "logit_bias" in body:
        body["logit_bias"] = {str(token): bias for token, bias in body["logit_bias"].items()}
    for name, value in task.options_to_send(_OTHERWISE).items():
        if name != "num_predict" or value > 0:
            body |= dict.fromkeys(_OTHERWISE[name], value)
    if body.get("seed", 0) < 0:  # Ollama's mark of a seed that is drawn
        del body["seed"]
    return body


def _response_format(spec: UpstreamSpec, constraint: Constraint) -> dict[str, Any]:
    if constraint.kind == "grammar":
        message = f'upstream "{spec.name}" speaks OpenAI\'s API, which has no grammars'
        raise OllamaError(501, message)
    if constraint.kind == "json":
        return {"type": "json_object"}
    schema = {"name": "answer", "schema": orjson.loads(constraint.text), "strict": True}
    return {"type": "json_schema", "json_schema": schema}


def _thinking(spec: UpstreamSpec, think: bool | str | None) -> dict[str, Any]:
    if think is None:
        return {}
    if spec.thinking == "template":
        return {"chat_template_kwargs": {"enable_thinking": bool(think)}}
    levels = {True: "medium", False: "none", "max": "high"}
    return {"reasoning_effort": levels.get(think, think)}
