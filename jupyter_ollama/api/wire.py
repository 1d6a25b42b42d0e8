"""The bodies of requests, field for field as Ollama's clients send them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ..durations import parse_keep_alive
from ..errors import OllamaError
from ..prompt.messages import Message

_THINK_LEVELS = ("high", "medium", "low", "max")
_THINK_VALUES = '"high", "medium", "low", "max", true, or false'
_BUDGET = (
    'think as an object must have "budget", a number of tokens of 0 or more, and may have "level": '
    + _THINK_VALUES
)


class ThinkingBudget(msgspec.Struct, frozen=True):
    """Thinking of at most ``tokens`` tokens; ``level`` is what the model's template sees."""

    tokens: int
    level: bool | str = True


def parse_think(value: Any) -> bool | str | ThinkingBudget:
    """Return a request's ``think``: a boolean, a level or a budget. Raises OllamaError(400)."""
    if isinstance(value, dict):
        return _parse_budget(value)
    if isinstance(value, bool) or (isinstance(value, str) and value in _THINK_LEVELS):
        return value
    if isinstance(value, str):
        raise OllamaError(400, f'invalid think value: "{value}" (must be {_THINK_VALUES})')
    raise OllamaError(400, f"think must be a boolean or string ({_THINK_VALUES})")


def _parse_budget(value: dict[str, Any]) -> bool | ThinkingBudget:
    tokens = value.get("budget")
    if type(tokens) is not int or tokens < 0 or value.keys() - {"budget", "level"}:
        raise OllamaError(400, _BUDGET)
    level = parse_think(value.get("level", True))
    if isinstance(level, ThinkingBudget):
        raise OllamaError(400, _BUDGET)
    return ThinkingBudget(tokens, level) if tokens and level else False


KeepAlive = Annotated[float | None, parse_keep_alive]
Think = Annotated[bool | str | ThinkingBudget | None, parse_think]


class AnswerRequest(msgspec.Struct, kw_only=True):
    """The common fields of generate and chat. None stands for a field that was not sent.

    ``keep_alive`` is in seconds. ``progress`` is an extension: a stream then reports what happens
    before its first text.
    """

    model: str = ""
    stream: bool = True
    progress: bool = False
    format: Any = None
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}
    think: Think = None
    truncate: bool | None = None
    shift: bool = True
    logprobs: bool = False
    top_logprobs: int = 0
    debug_render_only: bool = msgspec.field(default=False, name="_debug_render_only")


class GenerateRequest(AnswerRequest, kw_only=True):
    """The body of POST /api/generate. ``context`` holds tokens of an earlier answer."""

    prompt: str = ""
    suffix: str = ""
    system: str = ""
    template: str = ""
    context: list[int] = []
    raw: bool = False
    images: list[str] = []


class ChatRequest(AnswerRequest, kw_only=True):
    """The body of POST /api/chat.

    ``tool_choice`` ("auto", "none", "required", or the name of a tool as OpenAI's API has it) and
    ``parallel_tool_calls`` are extensions.
    """

    messages: list[Message] = []
    tools: list[dict[str, Any]] = []
    tool_choice: Any = None
    parallel_tool_calls: bool = True


class EmbedRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/embed. ``input`` is a text or a list of texts.

    ``encoding_format`` is an extension: "base64" where numbers in JSON cost too much.
    """

    model: str = ""
    input: Any = None
    truncate: bool = True
    dimensions: int = 0
    encoding_format: str = "float"
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}


class EmbeddingRequest(msgspec.Struct, kw_only=True):
    """The body of the older POST /api/embeddings."""

    model: str = ""
    prompt: str = ""
    keep_alive: KeepAlive = None
    options: dict[str, Any] = {}


class ShowRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/show. ``name`` is the older spelling of ``model``.

    ``system`` and ``options`` are shown instead of the model's own.
    """

    model: str = ""
    name: str = ""
    verbose: bool = False
    system: str = ""
    options: dict[str, Any] = {}


class DeleteRequest(msgspec.Struct, kw_only=True):
    """The body of DELETE /api/delete. ``name`` is the older spelling of ``model``."""

    model: str = ""
    name: str = ""


class CopyRequest(msgspec.Struct, kw_only=True):
    """The body of POST /api/copy."""

    source: str = ""
    destination: str = ""
