"""``%%chat --bg``: an answer that is generated while other cells run."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from jupyter_ollama_client.async_client import AsyncClient

from . import background
from .connection import Connection
from .failures import OllamaMagicsError
from .reporting import reported
from .stream_view import take

if TYPE_CHECKING:
    from .chat import Chats, PendingTurn, Question
    from .result import ChatResult
    from .stream_view import NotebookView


class BackgroundAnswer:
    """An answer being generated; until it ends, its conversation takes no other question."""

    def __init__(
        self,
        chats: Chats,
        question: Question,
        turn: PendingTurn,
        result: ChatResult,
        view: NotebookView,
    ) -> None:
        self._chats = chats
        self._turn = turn
        # A separate one: the connection of the magics belongs to the thread of the cells.
        self._connection = Connection(lambda: chats.connection.address)
        self._question = question
        self._result = result
        self._view = view
        self._task: asyncio.Task[None] | None = None
        self._ended = threading.Event()

    def start(self, default_system: str) -> None:
        """Send the question and return at once."""
        conversation = self._result.conversation
        conversation.waiting = True
        before = conversation.before(default_system)
        self._result.model = self._result.model or self._chats.model
        self._view.flush(self._result)
        background.call(self._begin, [*before, self._question.message(self._question.instruction)])

    def stop(self) -> None:
        """Cancel the answer and close its connection; the text received so far stays."""
        background.call(lambda: self._task and self._task.cancel())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, at most ``timeout`` seconds; return whether the answer ended.

        The waiting cell shows the answer again: programs that run notebooks without a browser, such
        as nbconvert, record only the output of the running cell.
        """
        ended = self._ended.wait(timeout)
        if ended:
            self._view.finish(self._result)
        return ended

    def wait_here(self) -> None:
        """Wait for the end in the cell of the question; an interrupt cancels the answer."""
        try:
            self.wait()
        except KeyboardInterrupt:
            self.stop()
            self.wait()

    def _begin(self, messages: list[dict[str, object]]) -> None:
        self._task = background.start(self._answer(messages))

    async def _answer(self, messages: list[dict[str, object]]) -> None:
        result = self._result
        try:
            with reported(self._connection, result.model):
                await self._stream(messages)
            result.done_reason = result.done_reason or "incomplete"
        except asyncio.CancelledError:
            result.done_reason = "interrupted"
        except OllamaMagicsError as error:
            result.done_reason, result.error = "error", str(error)
        finally:
            if result.done_reason == "error":
                self._turn.undo()
            else:
                self._chats.keep(self._question, self._turn, [], result)
            self._connection.hang_up()
            result.conversation.waiting = False
            self._view.finish(result)
            self._ended.set()

    async def _stream(self, messages: list[dict[str, object]]) -> None:
        result = self._result
        client = await asyncio.to_thread(lambda: self._connection.client)
        if not result.model:
            result.model = await asyncio.to_thread(self._connection.choose, "completion")
        self._turn.use_model(result.model)
        self._view.begin(result, self._connection)
        options = {"options": result.options or None}
        fields = {"progress": True, **options, **self._question.fields}
        body = {"model": result.model, "messages": messages, **fields}
        async with AsyncClient(client) as server:
            async for chunk in server.stream("/api/chat", body):
                take(chunk, result, self._view)
