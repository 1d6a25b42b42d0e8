"""The conversations of ``%%chat``, and how a cell asks and shows the answer."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jupyter_ollama_client.errors import OllamaClientError

from .conversation import Conversation
from .failures import OllamaMagicsError
from .reporting import reported
from .result import ChatResult
from .rounds import Round
from .stream_view import NotebookView, TerminalView, take

if TYPE_CHECKING:
    from .connection import Connection
    from .tools import ToolCall, Tools

Messages = list[dict[str, Any]]


@dataclass
class Question:
    """The prompt of a cell and the form of its answer.

    ``images`` are images and sounds in base64. ``instruction`` is sent below the prompt and is not
    kept in the conversation. ``fields`` are further fields of ``/api/chat``.
    """

    prompt: str
    images: list[str] = field(default_factory=list)
    instruction: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    tools: Tools | None = None
    tool_rounds: int = 0

    def add_instruction(self, text: str) -> None:
        """Send ``text`` below the prompt, too."""
        self.instruction = "\n\n".join(filter(None, [self.instruction, text]))

    def message(self, *parts: str) -> dict[str, Any]:
        """Return the prompt, and ``parts`` below it, as a message."""
        content = "\n\n".join(filter(None, [self.prompt, *parts]))
        message: dict[str, Any] = {"role": "user", "content": content}
        return {**message, "images": self.images} if self.images else message


class PendingTurn:
    """The changes that a question makes to the conversations, undone if it fails.

    A conversation that is unknown or ``new`` starts empty. ``system`` replaces its system message.
    """

    def __init__(self, chats: Chats, name: str, new: bool = False, system: str = "") -> None:
        self._chats = chats
        self._name = name
        self._before = chats.conversations.get(name)
        self._model_before = chats.model
        self._model = chats.model
        fresh = new or self._before is None
        self.conversation = Conversation(name) if fresh or not self._before else self._before
        self._system_before = self.conversation.system
        self.conversation.system = system or self._system_before
        chats.conversations[name] = self.conversation

    def use_model(self, model: str) -> None:
        """Make ``model`` the model of the next cells."""
        self._model = self._chats.model = model

    def undo(self) -> None:
        """Undo the changes, except where other cells have made changes since."""
        self.conversation.system = self._system_before
        conversations = self._chats.conversations
        if conversations.get(self._name) is self.conversation:
            if self._before is None:
                del conversations[self._name]
            else:
                conversations[self._name] = self._before
        if self._chats.model == self._model:
            self._chats.model = self._model_before


class Chats:
    """The conversations of a kernel and the model used last.

    At most ``history_tokens`` of a conversation are sent with a question; 0 sends all, and the
    server truncates them.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.model = ""
        self.history_tokens = 0
        self.conversations: dict[str, Conversation] = {}

    def conversation(self, name: str, new: bool = False) -> Conversation:
        """Return the conversation ``name``, empty if it is unknown or ``new``."""
        return self.begin(name, new).conversation

    def peek(self, name: str, new: bool = False, system: str = "") -> Conversation:
        """Return the conversation that a turn would continue, without beginning one."""
        known = None if new else self.conversations.get(name)
        conversation = known or Conversation(name)
        return replace(conversation, system=system or conversation.system)

    def begin(self, name: str, new: bool = False, system: str = "") -> PendingTurn:
        """Begin a turn of the conversation ``name``; see `PendingTurn`.

        Raises OllamaMagicsError while an answer of it is generated in the background.
        """
        known = self.conversations.get(name)
        if known is not None and known.waiting and not new:
            raise OllamaMagicsError(
                f"The conversation {name} is still being answered: wait() for the result or stop() "
                "it, or name another conversation by --conversation."
            )
        return PendingTurn(self, name, new, system)

    def ask(
        self,
        question: Question,
        turn: PendingTurn,
        result: ChatResult,
        view: NotebookView | TerminalView,
        default_system: str = "",
    ) -> ChatResult:
        """Send a question, show the answer in ``view`` while it arrives and return ``result``.

        An interrupt cancels the answer, closes its connection and raises nothing. The question, the
        tool calls and the answer are added to the conversation. If the answer failed or never
        began, ``turn`` is undone.
        """
        before = result.conversation.before(default_system)
        result.model = result.model or self.model
        exchanged: Messages = []
        try:
            with reported(self.connection, result.model):
                self._answer(question, before, exchanged, result, view)
        except KeyboardInterrupt:
            result.done_reason = "interrupted"
        except BaseException:
            turn.undo()
            if result.text or result.thinking or result.calls:
                result.done_reason = "error"
                view.finish(result)
            else:
                view.clear()
            raise
        self.keep(question, turn, exchanged, result)
        if result.done_reason != "interrupted":
            result.digest = self._digest(result.model)
        view.finish(result)
        return result

    def keep(
        self, question: Question, turn: PendingTurn, exchanged: Messages, result: ChatResult
    ) -> None:
        """Add a question and its answer to the conversation, unless the answer never began."""
        if result.text:
            said = [question.message(), *_kept(exchanged), result.message]
            result.conversation.add(said, result.metrics, self.history_tokens)
        elif result.done_reason == "interrupted":
            turn.undo()
            return
        turn.use_model(result.model)

    def _answer(
        self,
        question: Question,
        before: Messages,
        exchanged: Messages,
        result: ChatResult,
        view: NotebookView | TerminalView,
    ) -> None:
        """Stream the answer; run the tools it calls and send their results in another round.

        ``exchanged`` receives the messages of the calls and their results.
        """
        result.model = result.model or self.connection.choose("completion")
        view.begin(result, self.connection)
        asked = [*before, question.message(question.instruction)]
        tools = question.tools
        fields = {**question.fields, "tools": tools.definitions() if tools else None}
        for rounds_left in range(question.tool_rounds, -1, -1):
            self._stream([*asked, *exchanged], fields, result, view)
            said = result.rounds[-1]
            if tools is None or not said.calls:
                return
            if not rounds_left:
                result.done_reason = "tool_rounds"
                return
            messages = [said.message]
            for call in said.calls:
                view.flush(result)
                tools.run(call)
                view.called(call)
                messages.append(_outcome(call))
            exchanged += messages
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
                take(chunk, result, view)
        result.done_reason = result.done_reason or "incomplete"

    def _digest(self, model: str) -> str:
        try:
            entry = self.connection.entry(model)
        except (OllamaClientError, KeyboardInterrupt):
            return ""
        return str((entry or {}).get("digest", ""))


def _outcome(call: ToolCall) -> dict[str, Any]:
    message = {"role": "tool", "tool_name": call.name, "content": call.outcome}
    return {**message, "tool_call_id": call.id} if call.id else message


def _kept(messages: Messages) -> Messages:
    """Return messages without thinking: a model gets only the thinking of the current turn."""
    return [{name: v for name, v in message.items() if name != "thinking"} for message in messages]
