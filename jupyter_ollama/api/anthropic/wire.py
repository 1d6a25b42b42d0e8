"""The bodies of requests, field for field as Anthropic's clients send them."""

from __future__ import annotations

from typing import Any

from ..translation import Extensions


class CountRequest(Extensions, kw_only=True):
    """The body of POST /v1/messages/count_tokens."""

    model: str = ""
    system: Any = None
    messages: list[dict[str, Any]] = []
    tools: list[dict[str, Any]] = []
    tool_choice: dict[str, Any] = {}
    thinking: dict[str, Any] = {}
    output_config: dict[str, Any] = {}


class MessagesRequest(CountRequest, kw_only=True):
    """The body of POST /v1/messages."""

    max_tokens: int = 0
    stream: bool = False
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] = []
