"""Conversations and the answers in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .markdown import safe_markdown

METRICS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)
"""Fields of a last chunk: token counts, and durations in nanoseconds."""


@dataclass
class Conversation:
    """Turns that follow-up cells build on. ``messages`` are those of the Ollama API."""

    name: str
    system: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)

    def asking(self, prompt: str, default_system: str = "") -> list[dict[str, Any]]:
        """Return the messages that ask ``prompt`` next, leaving the conversation as it is."""
        system = self.system or default_system
        first = [{"role": "system", "content": system}] if system else []
        return [*first, *self.messages, {"role": "user", "content": prompt}]


class ChatResult:
    """The answer to a ``%%chat`` cell.

    ``text``, ``thinking``, ``message`` (as the API has it), ``model``, ``options``,
    ``conversation``, ``metrics`` (see METRICS, plus ``tokens_per_second``), ``done_reason``
    ("stop", "length", … or "interrupted"). It shows itself as markdown.
    """

    def __init__(
        self, model: str, options: dict[str, Any], conversation: Conversation, stats: bool = True
    ) -> None:
        self.model = model
        self.options = options
        self.conversation = conversation
        self.text = ""
        self.thinking = ""
        self.metrics: dict[str, Any] = {}
        self.done_reason = ""
        self.digest = ""
        self._stats = stats
        self._drawn_in: int | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Take in a chunk of the stream."""
        message = chunk.get("message") or {}
        self.text += message.get("content") or ""
        self.thinking += message.get("thinking") or ""
        if chunk.get("done"):
            self.done_reason = chunk.get("done_reason") or "stop"
            self.metrics = {name: chunk[name] for name in METRICS if chunk.get(name)}
            if self.metrics.get("eval_duration") and self.metrics.get("eval_count"):
                rate = self.metrics["eval_count"] / self.metrics["eval_duration"] * 1e9
                self.metrics["tokens_per_second"] = rate

    @property
    def message(self) -> dict[str, Any]:
        """The answer as a message, for use in a list of messages. Thinking is left out."""
        return {"role": "assistant", "content": self.text}

    @property
    def footer(self) -> str:
        """One line of notes and numbers, "" before the end."""
        if not self.done_reason:
            return ""
        notes = {"interrupted": "interrupted", "length": "cut at the limit of tokens"}
        notes |= {"error": "stopped by an error", "incomplete": "the answer ended early"}
        parts = [notes.get(self.done_reason, "")]
        if self._stats:
            metrics = self.metrics
            parts.append(self.model)
            if count := metrics.get("eval_count"):
                parts.append(f"{count} tokens")
            if rate := metrics.get("tokens_per_second"):
                parts.append(f"{rate:.1f} tokens/s")
            if count := metrics.get("prompt_eval_count"):
                parts.append(f"{count} in the prompt")
            if (load := metrics.get("load_duration", 0) / 1e9) >= 0.5:
                parts.append(f"loaded in {load:.1f} s")
        return " · ".join(filter(None, parts))

    def plain(self) -> str:
        """Return the answer as plain text with its footer."""
        text = self.text or ("thinking…" if self.thinking and not self.done_reason else "")
        return "\n\n".join(filter(None, [text, f"[{self.footer}]" if self.footer else ""]))

    def markdown(self) -> str:
        """Return the answer as markdown: folded thinking, text, small footer."""
        title = "Thinking" if self.text or self.done_reason else "Thinking…"
        thinking = self.thinking and (
            f"<details><summary>{title}</summary>\n\n{safe_markdown(self.thinking)}\n\n</details>"
        )
        footer = f"<sub>{safe_markdown(self.footer)}</sub>" if self.footer else ""
        return "\n\n".join(filter(None, [thinking, safe_markdown(self.text), footer]))

    def bundle(self) -> dict[str, str]:
        """Return the MIME bundle of the answer as it is now."""
        return {"text/plain": self.plain(), "text/markdown": self.markdown()}

    def metadata(self) -> dict[str, Any]:
        """Return what the notebook keeps about how the answer was made."""
        told = {
            "model": self.model,
            "digest": self.digest,
            "options": self.options,
            "conversation": self.conversation.name,
            "done_reason": self.done_reason,
            **self.metrics,
        }
        return {"jupyter_ollama": {name: value for name, value in told.items() if value}}

    def drawn(self, execution_count: int) -> None:
        """Note that the cell ``execution_count`` shows the answer already."""
        self._drawn_in = execution_count

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return self.text

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, str], dict[str, Any]]:
        return self.bundle(), self.metadata()

    def _ipython_display_(self) -> None:
        from IPython import get_ipython
        from IPython.display import display

        from .stream_view import in_notebook

        shell, drawn_in = get_ipython(), self._drawn_in
        self._drawn_in = None
        if shell is None or drawn_in != shell.execution_count:
            display(self.bundle(), raw=True, metadata=self.metadata())
        elif not in_notebook(shell):
            # A terminal has shown the text above and now stands behind "Out[n]: ".
            print(self.footer)  # noqa: T201
