"""A chat in the output of a cell."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
from jupyter_ollama_client.async_client import AsyncClient
from traitlets import Bool, Dict, List, Unicode

from .. import background
from ..chat import Question
from ..conversation import Conversation
from ..failures import OllamaMagicsError
from ..redraw_throttle import RedrawThrottle
from ..reporting import reported
from ..result import ChatResult
from ..waiting import Waiting
from .chat_turn import ChatTurn
from .server import chosen_model, own_connection
from .snapshot import Snapshot

_MATH = Path(__file__).with_name("math.js")
"""Draws formulas. The page requests it for the first one."""


class Chat(anywidget.AnyWidget):
    """A chat with a model in the output of a cell; it streams while other cells run.

    A saved notebook keeps the conversation as markdown.

    Parameters
    ----------
    model : str, optional
        The model; users may choose another one in the widget. Default: the model of ``%%chat``.
    system : str, optional
        System message.
    options : dict, optional
        Model options of ``/api/chat``.
    think : bool or str, optional
        Whether the model thinks first, or the level "low", "medium" or "high".

    Examples
    --------
    >>> from jupyter_ollama_magics.widgets import Chat
    >>> chat = Chat("smollm2", system="Answer in French.", options={"temperature": 0})
    >>> chat.messages
    [{'role': 'system', 'content': 'Answer in French.'}]
    >>> chat.close()
    """

    _esm = Path(__file__).with_name("chat.js")
    _css = Path(__file__).with_name("chat.css")

    # The state of the page, which changes nothing itself and sends messages instead.
    model = Unicode(help="The model that answers next.").tag(sync=True)
    models: List[dict[str, Any]] = List(help="Models, and whether they accept images.").tag(
        sync=True
    )
    exchanges: List[dict[str, Any]] = List(help="Questions and finished answers.").tag(sync=True)
    answer = Dict(help="The answer being generated.").tag(sync=True)
    busy = Bool(False, help="Whether an answer is being generated.").tag(sync=True)
    problem = Unicode(help="Why the models cannot be listed.").tag(sync=True)
    style_text = Unicode(help="CSS that hides the snapshot.").tag(sync=True)

    _task: asyncio.Task[None] | None = None

    def __init__(
        self,
        model: str = "",
        *,
        system: str = "",
        options: dict[str, Any] | None = None,
        think: bool | str | None = None,
    ) -> None:
        self._connection = own_connection()
        self._conversation = Conversation("chat", system)
        self._options = options or {}
        self._think = think
        self._asked: list[ChatTurn] = []
        self._snapshot = Snapshot()
        # A separate thread draws it.
        self._waiting = Waiting(lambda result: background.call(self._show_wait, result))
        super().__init__(model=model or chosen_model(), style_text=self._snapshot.style)
        self.on_msg(lambda _, content, buffers: background.call(self._take, content, buffers))

    def __repr__(self) -> str:
        return f"Chat with {self.model}" if self.model else "Chat"

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data, metadata = self._repr_mimebundle_() or ({}, {})
        display(data, metadata=metadata, raw=True)
        self._snapshot.display(self._markdown())

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation so far, without thinking and without unanswered questions."""
        said = [message for one in self._asked for message in one.messages()]
        return [*self._conversation.before(), *said]

    def ask(self, prompt: str) -> None:
        """Send a prompt as if the user had typed it; does nothing while an answer is generated."""
        background.call(self._ask, prompt)

    def stop(self) -> None:
        """Cancel the current answer; the text received so far stays."""
        background.call(self._stop)

    def regenerate(self) -> None:
        """Send the last prompt again."""
        background.call(self._regenerate)

    def clear(self) -> None:
        """Empty the conversation."""
        background.call(self._clear)

    def close(self) -> None:
        """Cancel the answer, close the connections and remove the widget from the page."""
        background.call(self._stop)
        background.call(self._connection.hang_up)
        super().close()

    # -- in the thread of the widgets

    def _take(self, content: dict[str, Any], buffers: Sequence[memoryview]) -> None:
        """Handle a message of the page."""
        actions: dict[str, Callable[[], Any]] = {
            "ask": lambda: self._ask(
                content["text"],
                [base64.b64encode(image).decode() for image in buffers],
                content["thumbnails"],
            ),
            "stop": self._stop,
            "regenerate": self._regenerate,
            "clear": self._clear,
            "model": lambda: self.set_trait("model", content["name"]),
            "math": lambda: self.send({"math": _MATH.read_text("utf-8")}),
            "models": lambda: background.start(self._list_models()),
        }
        actions[content["do"]]()

    def _ask(self, prompt: str, images: Sequence[str] = (), thumbnails: Sequence[str] = ()) -> None:
        if not self.busy and (prompt.strip() or images):
            self._begin(Question(prompt, list(images)), list(thumbnails))

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _regenerate(self) -> None:
        if not self.busy and self._asked:
            last = self._asked.pop()
            self._begin(last.question, last.thumbnails)

    def _clear(self) -> None:
        if not self.busy:
            self._asked = []
            self._show()

    def _begin(self, question: Question, thumbnails: list[str]) -> None:
        result = ChatResult(self.model, self._options, self._conversation)
        before = self.messages
        turn = ChatTurn(question, result, thumbnails)
        self._asked.append(turn)
        self._show(busy=True)
        self._task = background.start(self._answer(turn, before))

    async def _answer(self, turn: ChatTurn, before: list[dict[str, Any]]) -> None:
        """Stream an answer into the widget until it ends, fails or is stopped."""
        result = turn.result
        try:
            with reported(self._connection, result.model):
                await self._stream(turn, [*before, turn.question.message()])
            result.done_reason = result.done_reason or "incomplete"
        except asyncio.CancelledError:
            result.done_reason = "interrupted"
        except OllamaMagicsError as error:
            result.done_reason = "error" if result.text else ""
            turn.error = str(error)
        finally:
            self._task = None
            with self._waiting.over():
                self._show()

    def _show_wait(self, result: ChatResult) -> None:
        """Show the state of the request, unless its answer has begun."""
        if self.busy and self._asked and self._asked[-1].result is result and result.waits:
            self.answer = {"text": "", "thinking": "", "waits": result.footer}

    async def _stream(self, turn: ChatTurn, messages: list[dict[str, Any]]) -> None:
        result, throttle = turn.result, RedrawThrottle()
        client = await asyncio.to_thread(lambda: self._connection.client)
        if not result.model:
            result.model = self.model = await asyncio.to_thread(
                self._connection.choose, "completion"
            )
        self._waiting.begin(result, self._connection)
        fields = {"options": self._options or None, "think": self._think, "progress": True}
        body = {"model": result.model, "messages": messages, **fields}
        async with AsyncClient(client) as server:
            async for chunk in server.stream("/api/chat", body):
                if chunk.get("status"):
                    self._waiting.take(chunk)
                    continue
                result.add(chunk)
                if not (result.text or result.thinking):
                    continue
                with self._waiting.over():
                    pass
                if throttle.due(len(result.text) + len(result.thinking)):
                    self.answer = {"text": result.text, "thinking": result.thinking}

    async def _list_models(self) -> None:
        try:
            with reported(self._connection):
                self.models = await asyncio.to_thread(self._chatting)
            self.problem = ""
        except OllamaMagicsError as error:
            self.problem = str(error)
        if self.models and not self.model:
            self.model = self.models[0]["name"]

    def _chatting(self) -> list[dict[str, Any]]:
        """Return the models that chat, and whether they accept images."""
        connection = self._connection
        models = {m["name"]: connection.capabilities(m) for m in connection.client.list()}
        return [
            {"name": name.removesuffix(":latest"), "sees": "vision" in abilities}
            for name, abilities in sorted(models.items())
            if "completion" in abilities
        ]

    def _show(self, busy: bool = False) -> None:
        # One message, so that the page never has a part of the state.
        with self.hold_sync():
            self.exchanges = [turn.shown() for turn in self._asked]
            self.answer = {}
            self.busy = busy
        self._snapshot.update(self._markdown())

    def _markdown(self) -> str:
        return "\n\n---\n\n".join(turn.markdown() for turn in self._asked)
