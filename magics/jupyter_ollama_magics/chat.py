"""What a ``%%chat`` cell does."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .conversation import Conversation
from .errors import OllamaClientError
from .failures import OllamaMagicsError, reported
from .result import ChatResult, Round
from .stream_view import NotebookView, TerminalView, take

if TYPE_CHECKING:
    from .connection import Connection
    from .tools import Call, Tools

Messages = list[dict[str, Any]]


@dataclass
class Question:
    """What a cell asks, and how it is to be answered.

    ``instruction`` goes out below the prompt and stays out of the conversation. ``fields`` are
    further fields of ``/api/chat``.
    """

    prompt: str
    images: list[str] = field(default_factory=list)
    instruction: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    tools: Tools | None = None
    tool_rounds: int = 0

    def message(self, *parts: str) -> dict[str, Any]:
        """Return the prompt, and ``parts`` below it, as a message."""
        content = "\n\n".join(filter(None, [self.prompt, *parts]))
        message: dict[str, Any] = {"role": "user", "content": content}
        return {**message, "images": self.images} if self.images else message


class Chats:
    """The conversations of a kernel and the model they last used.

    Of a conversation, ``history_tokens`` are sent again at most; 0 leaves that to the server.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.model = ""
        self.history_tokens = 0
        self.conversations: dict[str, Conversation] = {}

    def conversation(self, name: str, new: bool = False) -> Conversation:
        """Return the conversation ``name``, begun afresh if it is unknown or ``new``.

        Raises OllamaMagicsError while an answer of it is written in the background.
        """
        if new or name not in self.conversations:
            self.conversations[name] = Conversation(name)
        if self.conversations[name].waiting:
            raise OllamaMagicsError(
                f"The conversation {name} is still being answered: wait() for the result or stop() "
                "it, or name another conversation by --conversation."
            )
        return self.conversations[name]

    def ask(
        self,
        question: Question,
        result: ChatResult,
        view: NotebookView | TerminalView,
        default_system: str = "",
    ) -> ChatResult:
        """Ask, show the answer in ``view`` as it comes and return ``result``, filled.

        An interrupt ends the answer, closes its connection and raises nothing. The question, the
        calls of tools and the answer become part of the conversation unless the answer failed or
        never began.
        """
        before = result.conversation.before(default_system)
        result.model = result.model or self.model
        turn: Messages = []
        try:
            with reported(self.connection, result.model):
                self._answer(question, before, turn, result, view)
        except KeyboardInterrupt:
            result.done_reason = "interrupted"
        except Exception:
            if result.text or result.thinking or result.calls:
                result.done_reason = "error"
                view.finish(result)
            raise
        self.keep(question, turn, result)
        if result.done_reason != "interrupted":
            result.digest = self._digest(result.model)
        view.finish(result)
        return result

    def keep(self, question: Question, turn: Messages, result: ChatResult) -> None:
        """Make a question and its answer part of the conversation, unless it never began."""
        if result.text:
            said = [question.message(), *_kept(turn), result.message]
            result.conversation.add(said, result.metrics, self.history_tokens)

    def _answer(
        self,
        question: Question,
        before: Messages,
        turn: Messages,
        result: ChatResult,
        view: NotebookView | TerminalView,
    ) -> None:
        """Stream the answer; while it calls tools, run them and go on. ``turn`` is their story."""
        result.model = result.model or self.connection.choose("completion")
        asked = [*before, question.message(question.instruction)]
        tools = question.tools
        fields = {**question.fields, "tools": tools.definitions() if tools else None}
        for rounds_left in range(question.tool_rounds, -1, -1):
            self._stream([*asked, *turn], fields, result, view)
            said = result.rounds[-1]
            if tools is None or not said.calls:
                return
            if not rounds_left:
                result.done_reason = "tool_rounds"
                return
            told = [said.message]
            for call in said.calls:
                view.flush(result)
                tools.run(call)
                view.called(call)
                told.append(_outcome(call))
            turn += told
            result.rounds.append(Round())
            result.done_reason = ""

    def _stream(
        self,
        messages: Messages,
        fields: dict[str, Any],
        result: ChatResult,
        view: NotebookView | TerminalView,
    ) -> None:
        options = result.options or None
        fields = {**fields, "progress": True}
        answer = self.connection.client.chat(result.model, messages, options=options, **fields)
        with closing(answer):
            for chunk in answer:
                self.model = result.model
                take(chunk, result, view)
        result.done_reason = result.done_reason or "incomplete"

    def _digest(self, model: str) -> str:
        try:
            entry = self.connection.entry(model)
        except (OllamaClientError, KeyboardInterrupt):
            return ""
        return str((entry or {}).get("digest", ""))


def _outcome(call: Call) -> dict[str, Any]:
    message = {"role": "tool", "tool_name": call.name, "content": call.outcome}
    return {**message, "tool_call_id": call.id} if call.id else message


def _kept(turn: Messages) -> Messages:
    """Return messages without thoughts: a model gets those of the present turn only."""
    return [{name: v for name, v in message.items() if name != "thinking"} for message in turn]
