"""What a client of an upstream is asked for, and what it answers with."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..engine.events import Done, Text
from ..engine.model_runner import Prompt
from ..engine.protocol import ChatPrompt, Constraint, RawPrompt
from ..engine.runner_client import Embeddings
from ..options import Options
from ..scheduler.remote_model import NamedOptions

BYTES_PER_TOKEN = 4
"""The mean number of bytes per token of English text, for upstreams that count none."""

_UNLIMITED = Options().num_predict


@dataclass(frozen=True)
class GenerateTask:
    """An answer to be generated; see `RunnerClient.generate`."""

    prompt: Prompt
    options: Options
    truncate: bool = True
    shift: bool = True
    constraint: Constraint | None = None
    logprobs: int | None = None
    must_call: bool = False
    hops: int = 0

    def options_to_send(self, known: Iterable[str]) -> dict[str, Any]:
        """Return the options that the request sets, and a limit of its user's tokens."""
        named = self.options.named if isinstance(self.options, NamedOptions) else frozenset()
        if self.options.num_predict != _UNLIMITED:
            named |= {"num_predict"}
        return {name: getattr(self.options, name) for name in known if name in named}

    @property
    def estimated_tokens(self) -> int:
        """The approximate number of tokens in the prompt."""
        prompt = self.prompt
        if isinstance(prompt, ChatPrompt):
            texts = [one.content + one.thinking for one in prompt.messages]
        elif isinstance(prompt, RawPrompt):
            texts = [prompt.text]
        else:
            texts = [prompt.prompt, prompt.suffix]
        return estimate(*texts)


@dataclass(frozen=True)
class EmbedTask:
    """Texts to embed; see `RunnerClient.embed`."""

    texts: list[str]
    truncate: bool = True
    normalize: bool = True
    hops: int = 0


@dataclass(frozen=True)
class Listed:
    """A model as an upstream lists it. ``modified`` is in seconds of the epoch, 0 for unknown.

    ``capabilities`` of None are unknown; ``details`` are those of Ollama's API.
    """

    name: str
    digest: str = ""
    size: int = 0
    modified: float = 0.0
    capabilities: tuple[str, ...] | None = None
    context_length: int = 0
    embedding_length: int = 0
    details: dict[str, Any] = field(default_factory=dict)


class UpstreamClient(Protocol):
    """One API of an upstream. All methods raise UpstreamFailure."""

    async def models(self, seconds: float) -> list[Listed]:
        """List the models; the list may take ``seconds``."""

    async def show(self, model: str, seconds: float) -> dict[str, Any]:
        """Return what Ollama's /api/show says about a model, {} where the API says nothing."""

    async def running(self, seconds: float) -> list[dict[str, Any]]:
        """Return the loaded models as Ollama's /api/ps lists them, [] for unknown."""

    def generate(self, model: str, task: GenerateTask) -> AsyncGenerator[Text | Done]:
        """Yield the parts of an answer, then Done."""

    async def embed(self, model: str, task: EmbedTask) -> Embeddings:
        """Return the embeddings of texts."""


class Tally:
    """Counts an answer as it arrives, for upstreams that do not count it."""

    def __init__(self) -> None:
        self._parts = 0
        self._bytes = 0

    def add(self, text: str) -> None:
        """Count a part."""
        self._parts += 1
        self._bytes += len(text.encode("utf-8", "replace"))

    @property
    def tokens(self) -> int:
        """The approximate number of tokens so far: a part has one at least."""
        return max(self._parts, self._bytes // BYTES_PER_TOKEN)


def estimate(*texts: str) -> int:
    """Return about how many tokens texts have, at least one."""
    return max(1, sum(len(text.encode("utf-8", "replace")) for text in texts) // BYTES_PER_TOKEN)


def count_of(value: Any) -> int:
    """Return a number of tokens that an upstream states, 0 for what is none."""
    return value if type(value) is int and 0 <= value < 2**31 else 0
