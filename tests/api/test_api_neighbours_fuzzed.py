"""Requests of any shape to the neighbours of Ollama's API: translated, or refused with a 400."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_ollama.api.anthropic import messages
from jupyter_ollama.api.anthropic.wire import MessagesRequest
from jupyter_ollama.api.decoding import decode
from jupyter_ollama.api.openai import chat, completions, embeddings, responses
from jupyter_ollama.api.openai.wire import (
    ChatCompletionRequest,
    CompletionRequest,
    EmbeddingsRequest,
    ResponsesRequest,
)
from jupyter_ollama.errors import OllamaError

THINKER: Any = SimpleNamespace(capabilities=["completion", "thinking"])
KINDS = ["text", "image", "image_url", "input_audio", "input_text", "output_text", "input_image"]
KINDS += ["input_file", "message", "function_call", "function_call_output", "reasoning"]
KINDS += ["web_search_call", "namespace", "function", "allowed_tools", "tool", "tool_use"]
KINDS += ["tool_result", "thinking", "enabled", "base64", "json_schema", "json_object"]
KEYS = ["text", "image_url", "url", "tool_calls", "function", "name", "arguments", "id", "role"]
KEYS += ["reasoning_content", "call_id", "output", "summary", "encrypted_content", "source", "data"]
KEYS += ["input", "tool_use_id", "thinking", "mode", "tools", "parameters", "description"]
KEYS += ["schema", "format", "effort", "input_schema", "content", "tool_call_id", "reasoning"]
WORDS = [*KINDS, "user", "assistant", "system", "none", "auto", "required", "any", "low", "{}"]
WORDS += ["data:;base64,AA", "a"]

TEXTS = st.sampled_from(WORDS) | st.text(max_size=3)
LEAVES = TEXTS | TEXTS | st.none() | st.booleans() | st.integers() | st.floats()


def typed_objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Return objects that mostly have a type field."""
    fields = st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    return st.builds(lambda kind, rest: {"type": kind} | rest, st.sampled_from(KINDS), fields)


VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner | typed_objects(inner), max_size=3) | typed_objects(inner),
    max_leaves=10,
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "developer"])},
    optional=dict.fromkeys(("content", "tool_calls", "reasoning", "name", "id"), VALUES),
)
OBJECTS = st.lists(MESSAGES | typed_objects(VALUES), min_size=1, max_size=3)

TRANSLATIONS: list[tuple[type[msgspec.Struct], Callable[[Any], Any]]] = [
    (ChatCompletionRequest, lambda request: chat.chat_request(request, {}, {"low": 9})),
    (CompletionRequest, lambda request: completions.generate_requests(request, {})),
    (EmbeddingsRequest, embeddings.embed_request),
    (ResponsesRequest, lambda request: responses.chat_request(request, {}, {"low": 9})),
    (MessagesRequest, lambda request: messages.chat_request(request, THINKER, {}, stream=True)),
]


@pytest.mark.parametrize(("into", "translate"), TRANSLATIONS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_requests_of_any_shape(into: Any, translate: Callable[[Any], Any], data: Any) -> None:
    fields = [field.encode_name for field in msgspec.structs.fields(into)]
    body = data.draw(st.dictionaries(st.sampled_from(fields), VALUES, max_size=1))
    body["model"] = "m"
    for name in ("messages", "input", "tools"):
        if name in fields and data.draw(st.booleans()):
            body[name] = data.draw(OBJECTS | VALUES)
    try:
        native = translate(decode(msgspec.json.encode(body), into))
    except OllamaError:
        return
    # A value of another type than it claims would fail on its way to the runner.
    for one in native if isinstance(native, list) else [native]:
        msgspec.convert(msgspec.to_builtins(one), type(one))
