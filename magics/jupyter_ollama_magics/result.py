"""Answers of models and their output in notebooks and terminals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from . import formats
from .conversation import Conversation
from .failures import OllamaMagicsError
from .markdown import safe_markdown
from .rounds import Round
from .tools import ToolCall

if TYPE_CHECKING:
    from .search.sources import Sources

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
"""The field that counts the tokens cut from a prompt; only jupyter_ollama sends it."""

NOTES = {
    "interrupted": "interrupted",
    "length": "cut at the limit of tokens",
    "error": "stopped by an error",
    "incomplete": "the answer ended early",
    "tool_rounds": "stopped after the allowed rounds of tool calls",
}
"""The notes of the footer by ``done_reason``."""


class BackgroundTask(Protocol):
    """The task that writes an answer of ``--bg``."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end of the answer, at most ``timeout`` seconds; return whether it ended."""

    def stop(self) -> None:
        """End the answer; the text received so far stays."""


class ChatResult:
    """The answer to a ``%%chat`` cell. Notebooks show it as markdown.

    Attributes
    ----------
    text, thinking, code : str
        The answer, the thinking before it, and the Python code in it.
    calls : list of ToolCall
        The calls of tools, each with name, arguments and outcome.
    message : dict
        The answer in the form of the API.
    model, options, conversation
        As in the request.
    metrics : dict
        Token counts, durations in nanoseconds and ``tokens_per_second``; see METRICS.
    done_reason : str
        "stop", "length", "interrupted", "error", …
    parsed : object
        The answer in the type of ``--schema``.
    sources : Sources or None
        The rows of ``--sources``, in its ``rows``; ``sources.cited(text)`` are the numbers cited.

    Examples
    --------
    >>> %%chat smollm2 --temperature 0 --num-predict 3 -o answer
    ... What is the capital of France?
    The capital of
    >>> answer.done_reason, answer.metrics["eval_count"]
    ('length', 3)
    >>> answer.message == {"role": "assistant", "content": answer.text}
    True
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
        self.sources: Sources | None = None
        self.error = ""
        self.waits = ""
        self.waited = 0
        self.remarks: list[str] = []
        self.repeats = False
        self.budget = ""
        self.is_audited = False
        self.background: BackgroundTask | None = None
        self.forgets = conversation.forgotten
        self._stats = stats
        self._kind = kind
        self._drawn_in: int | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        """Add a chunk of the stream."""
        message = chunk.get("message") or {}
        self.waits = ""
        now = self.rounds[-1]
        now.text += message.get("content") or ""
        now.thinking += message.get("thinking") or ""
        for call in message.get("tool_calls") or []:
            function = call["function"]
            given = function.get("arguments")
            arguments = given if isinstance(given, dict) else {}
            now.calls.append(ToolCall(function["name"], arguments, str(call.get("id") or "")))
        if chunk.get("done"):
            self.done_reason = chunk.get("done_reason") or "stop"
            self.repeats = bool(chunk.get("repetition"))
            self.budget = str(chunk.get("budget_warning") or "")
            self.is_audited = bool(chunk.get("audited"))
            self._count(chunk)

    def _count(self, chunk: dict[str, Any]) -> None:
        """Sum the metrics of the rounds; the prompt's metrics are those of the last round."""
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
        """The answer. Text before tool calls is in ``rounds``."""
        return self.rounds[-1].text

    @property
    def thinking(self) -> str:
        """The thinking before the answer and before the tool calls."""
        return "\n\n".join(filter(None, (one.thinking for one in self.rounds)))

    @property
    def calls(self) -> list[ToolCall]:
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
        """Wait for an answer of --bg, at most ``timeout`` seconds; return whether it ended."""
        return self.background is None or self.background.wait(timeout)

    def stop(self) -> None:
        """Cancel an answer of --bg; the text received so far stays."""
        if self.background is not None:
            self.background.stop()

    def json(self) -> Any:
        """Return the answer decoded as JSON. Raises OllamaMagicsError if it is not JSON."""
        return formats.json_value(self.text, self.done_reason)

    @property
    def parsed(self) -> Any:
        """The answer in the type of ``--schema``; decoded JSON for a dict or without a schema."""
        from .schema import typed_value

        value = self.json()
        try:
            return typed_value(self.schema, value)
        except (ValueError, TypeError, AttributeError, KeyError) as error:
            reason = "; ".join(str(error).splitlines())
            raise OllamaMagicsError(f"The answer does not fit the schema: {reason}") from error

    @property
    def footer(self) -> str:
        """One line of notes and metrics; before the answer, the state of its request."""
        if not self.done_reason:
            return self.waits and f"{self.waits}…" + (f" {self.waited} s" if self.waited else "")
        parts = [": ".join(filter(None, [NOTES.get(self.done_reason, ""), self.error]))]
        parts += self.remarks
        if self.repeats:
            parts.append("ended because it only repeated itself")
        if lost := self.metrics.get(LOST):
            parts.append(f"{lost} tokens of the prompt did not fit; --num-ctx N raises the limit")
        parts.append(self.budget)
        if self.is_audited:
            parts.append("the server's administrators can read this question")
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
        sources = self.sources.plain(text) if self.sources and self.done_reason else ""
        return "\n\n".join(filter(None, [text, sources, f"[{self.footer}]" if self.footer else ""]))

    def markdown(self) -> str:
        """Return the answer as markdown: folded thinking, calls, text, small footer."""
        title = "Thinking" if self.text or self.done_reason else "Thinking…"
        rounds = [one.markdown(title, self._kind) for one in self.rounds]
        sources = ""
        if self.sources and self._kind == "md":
            rounds[-1] = self.sources.linked(rounds[-1])
            sources = self.sources.markdown(self.text) if self.done_reason else ""
        footer = f"<sub>{safe_markdown(self.footer)}</sub>" if self.footer else ""
        return "\n\n".join(filter(None, [*rounds, sources, footer]))

    def bundle(self) -> dict[str, str]:
        """Return the MIME bundle of the current answer."""
        bundle = {"text/plain": self.plain(), "text/markdown": self.markdown()}
        if self._kind == "text":
            del bundle["text/markdown"]
        elif self._kind == "html" and self.done_reason and self.text:
            bundle["text/html"] = formats.frame(self.text)
        return bundle

    def metadata(self) -> dict[str, Any]:
        """Return the metadata of the output: model, options and metrics."""
        metadata = {
            "model": self.model,
            "digest": self.digest,
            "options": self.options,
            "conversation": self.conversation.name,
            "done_reason": self.done_reason,
            **self.metrics,
        }
        return {"jupyter_ollama": {name: value for name, value in metadata.items() if value}}

    def drawn(self, execution_count: int) -> None:
        """Record that the cell ``execution_count`` already shows the answer."""
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

        from .frontend import in_notebook

        shell, drawn_in = get_ipython(), self._drawn_in
        self._drawn_in = None
        if shell is None or drawn_in != shell.execution_count:
            display(self.bundle(), raw=True, metadata=self.metadata())
        elif not in_notebook(shell):
            # A terminal shows the text above; its cursor is now behind "Out[n]: ".
            if self.sources and (cited := self.sources.plain(self.text)):
                print(cited)  # noqa: T201
            print(self.footer)  # noqa: T201
