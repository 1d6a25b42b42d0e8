"""``%%chat --bg``: an answer that is written while other cells run."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from . import background
from .async_client import AsyncClient
from .connection import Connection
from .failures import OllamaMagicsError, reported
from .stream_view import take

if TYPE_CHECKING:
    from .chat import Chats, Question
    from .result import ChatResult
    from .stream_view import NotebookView


class BackgroundAnswer:
    """An answer on its way; its conversation waits for it."""

    def __init__(
        self, chats: Chats, question: Question, result: ChatResult, view: NotebookView
    ) -> None:
        self._chats = chats
        # Of its own: the magics' connections belong to the thread of the cells.
        self._connection = Connection(lambda: chats.connection.endpoint)
        self._question = question
        self._result = result
        self._view = view
        self._task: asyncio.Task[None] | None = None
        self._ended = threading.Event()

    def start(self, default_system: str) -> None:
        """Ask; return at once."""
        conversation = self._result.conversation
        conversation.waiting = True
        before = conversation.before(default_system)
        self._result.model = self._result.model or self._chats.model
        self._view.flush(self._result)
        background.call(self._begin, [*before, self._question.message(self._question.instruction)])

    def stop(self) -> None:
        """End the answer; what has come stays, and the server is told at once."""
        background.call(lambda: self._task and self._task.cancel())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the end, so many seconds at most; return whether it has come."""
        return self._ended.wait(timeout)

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
            self._chats.keep(self._question, [], result)
            result.conversation.waiting = False
            self._view.finish(result)
            self._ended.set()

    async def _stream(self, messages: list[dict[str, object]]) -> None:
        result = self._result
        client = await asyncio.to_thread(lambda: self._connection.client)
        if not result.model:
            result.model = await asyncio.to_thread(self._connection.choose, "completion")
        self._chats.model = result.model
        options = {"options": result.options or None}
        told = {"progress": True, **options, **self._question.fields}
        body = {"model": result.model, "messages": messages, **told}
        async with AsyncClient(client) as server:
            async for chunk in server.stream("/api/chat", body):
                take(chunk, result, self._view)
