"""Answers of models, and how they show themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import formats
from .conversation import Conversation
from .failures import OllamaMagicsError
from .markdown import code_block, folded, safe_markdown
from .tools import Call

if TYPE_CHECKING:
    from .background_chat import BackgroundAnswer

METRICS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)
"""Fields of a last chunk: token counts, and durations in nanoseconds."""

LOST = "truncated"
"""The field that counts the tokens of a prompt that did not fit. Servers of others have it not."""

NOTES = {
    "interrupted": "interrupted",
    "length": "cut at the limit of tokens",
    "error": "stopped by an error",
    "incomplete": "the answer ended early",
    "tool_rounds": "stopped after the allowed rounds of tool calls",
}
"""What the footer tells of a ``done_reason``."""

LONGEST_OUTCOME = 2000
"""Characters of a tool's outcome that are shown; the model gets all of it."""


@dataclass
class Round:
    """What a model said at once: thoughts, text, and calls of tools."""

    thinking: str = ""
    text: str = ""
    calls: list[Call] = field(default_factory=list)

    @property
    def message(self) -> dict[str, Any]:
        """The round as a message, with the thoughts that led to its calls."""
        message: dict[str, Any] = {"role": "assistant", "content": self.text}
        if self.thinking:
            message["thinking"] = self.thinking
        if self.calls:
            message["tool_calls"] = [
                {"function": {"name": call.name, "arguments": call.arguments}}
                | ({"id": call.id} if call.id else {})
                for call in self.calls
            ]
        return message

    def markdown(self, title: str, kind: str) -> str:
        """Return folded thoughts, the text, and folded calls."""
        thinking = self.thinking and folded(title, safe_markdown(self.thinking))
        calls = [
            folded(str(call), code_block(call.outcome[:LONGEST_OUTCOME])) for call in self.calls
        ]
        return "\n\n".join(filter(None, [thinking, formats.markdown(self.text, kind), *calls]))


class ChatResult:
    """The answer to a ``%%chat`` cell.

    ``text``, ``thinking``, ``calls`` of tools, ``message`` (as the API has it), ``model``,
    ``options``, ``conversation``, ``metrics`` (see METRICS, plus ``tokens_per_second``),
    ``done_reason`` ("stop", "length", … or "interrupted"), ``code``, ``json()`` and ``parsed``.
    It shows itself as markdown.
    """

    def __init__(
        self,
        model: str,
        options: dict[str, Any],
        conversation: Conversation,
        stats: bool = True,
        kind: str = "md",
    ) -> None:
        self.model = model
        self.options = options
        self.conversation = conversation
        self.rounds = [Round()]
        self.metrics: dict[str, Any] = {}
        self.done_reason = ""
        self.digest = ""
        self.schema: Any = None
        self.error = ""
        self.waits = ""
        self.background: BackgroundAnswer | None = None
        self.forgets = conversation.forgotten
        self._stats = stats
        self._kind = kind
        self._drawn_in: int | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Take in a chunk of the stream."""
        message = chunk.get("message") or {}
        self.waits = ""
        now = self.rounds[-1]
        now.text += message.get("content") or ""
        now.thinking += message.get("thinking") or ""
        for call in message.get("tool_calls") or []:
            function = call["function"]
            given = function.get("arguments")
            arguments = given if isinstance(given, dict) else {}
            now.calls.append(Call(function["name"], arguments, str(call.get("id") or "")))
        if chunk.get("done"):
            self.done_reason = chunk.get("done_reason") or "stop"
            self._count(chunk)

    def _count(self, chunk: dict[str, Any]) -> None:
        """Add up the rounds; the prompt is that of the last."""
        for name in METRICS:
            if chunk.get(name):
                before = 0 if name == "prompt_eval_count" else self.metrics.get(name, 0)
                self.metrics[name] = before + chunk[name]
        if chunk.get(LOST):
            self.metrics[LOST] = chunk[LOST]
        if self.metrics.get("eval_duration") and self.metrics.get("eval_count"):
            rate = self.metrics["eval_count"] / self.metrics["eval_duration"] * 1e9
            self.metrics["tokens_per_second"] = rate

    @property
    def text(self) -> str:
        """The answer. What was said before calls of tools is in ``rounds``."""
        return self.rounds[-1].text

    @property
    def thinking(self) -> str:
        """The thoughts before the answer, those before calls of tools included."""
        return "\n\n".join(filter(None, (one.thinking for one in self.rounds)))

    @property
    def calls(self) -> list[Call]:
        """The calls of tools, each with name, arguments and outcome."""
        return [call for one in self.rounds for call in one.calls]

    @property
    def message(self) -> dict[str, Any]:
        """The answer as a message, for use in a list of messages. Thinking is left out."""
        return {"role": "assistant", "content": self.text}

    @property
    def code(self) -> str:
        """The Python code in the answer, "" if there is none."""
        return formats.python_code(self.text)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for an answer of --bg, so many seconds at most; return whether it has ended."""
        return self.background is None or self.background.wait(timeout)

    def stop(self) -> None:
        """End an answer of --bg; what has come stays."""
        if self.background is not None:
            self.background.stop()

    def json(self) -> Any:
        """Return the JSON value that the answer is."""
        return formats.json_value(self.text, self.done_reason)

    @property
    def parsed(self) -> Any:
        """The answer as what ``--schema`` named; as JSON for a dict, or without a schema."""
        from .schema import wanted_value

        value = self.json()
        try:
            return wanted_value(self.schema, value)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            reason = "; ".join(str(error).splitlines())
            raise OllamaMagicsError(f"The answer does not fit the schema: {reason}") from error

    @property
    def footer(self) -> str:
        """One line of notes and numbers; before the end, what the answer waits for."""
        if not self.done_reason:
            return self.waits and f"{self.waits}…"
        parts = [": ".join(filter(None, [NOTES.get(self.done_reason, ""), self.error]))]
        if lost := self.metrics.get(LOST):
            parts.append(f"{lost} tokens of the prompt did not fit; --num-ctx N makes room")
        if self.forgets:
            parts.append(f"the first {self.forgets} messages are forgotten")
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
        """Return the answer as markdown: folded thinking, calls, text, small footer."""
        title = "Thinking" if self.text or self.done_reason else "Thinking…"
        rounds = [one.markdown(title, self._kind) for one in self.rounds]
        footer = f"<sub>{safe_markdown(self.footer)}</sub>" if self.footer else ""
        return "\n\n".join(filter(None, [*rounds, footer]))

    def bundle(self) -> dict[str, str]:
        """Return the MIME bundle of the answer as it is now."""
        bundle = {"text/plain": self.plain(), "text/markdown": self.markdown()}
        if self._kind == "text":
            del bundle["text/markdown"]
        elif self._kind == "html" and self.done_reason and self.text:
            bundle["text/html"] = formats.frame(self.text)
        return bundle

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
