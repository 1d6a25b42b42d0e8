"""The common parts of the translations between other APIs and Ollama's endpoints."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar

import msgspec
import orjson

from ..errors import OllamaError
from ..prompt.messages import Message, ToolCall
from .endpoint import Call, Reply, Stream
from .wire import KeepAlive, Think

T = TypeVar("T")


class Extensions(msgspec.Struct, kw_only=True):
    """Fields of Ollama's API that its neighbours' routes take, too. ``options`` win over others."""

    options: dict[str, Any] = {}
    num_ctx: int | None = None
    keep_alive: KeepAlive = None
    think: Think = None
    format: Any = None
    truncate: bool | None = None


def native_options(request: Extensions, fields: dict[str, Any]) -> dict[str, Any]:
    """Return the options that Ollama's fields and another API's ``fields`` add up to."""
    fields = fields | {"num_ctx": request.num_ctx} | request.options
    return {name: value for name, value in fields.items() if value is not None}


def answer_fields(request: Extensions) -> dict[str, Any]:
    """Return the fields of an AnswerRequest that stand in every request as Ollama has them."""
    return {"keep_alive": request.keep_alive, "truncate": request.truncate}


def new_id(prefix: str) -> str:
    """Return an id that no other answer has."""
    return prefix + secrets.token_hex(12)


def typed(value: Any, kind: type[T], message: str) -> T:
    """Return a value that is of a type. Raises OllamaError(400) with the message if not."""
    if not isinstance(value, kind):
        raise OllamaError(400, message)
    return value


def optional(value: dict[str, Any], name: str, kind: type[T], message: str) -> T:
    """Return a field of an object, an empty value where it is missing or null.

    Raises OllamaError(400) with the message if it is of another type.
    """
    found = value.get(name)
    return kind() if found is None else typed(found, kind, message)


def parse_arguments(text: str, message: str) -> dict[str, Any]:
    """Return the arguments of a tool call from JSON text, {} for none. Raises OllamaError(400)."""
    try:
        arguments = orjson.loads(text) if text.strip() else None
        return {} if arguments is None else typed(arguments, dict, message)
    except orjson.JSONDecodeError:
        raise OllamaError(400, message) from None


def arguments_text(call: dict[str, Any]) -> str:
    """Return the arguments of a call that a model made as JSON text."""
    return orjson.dumps(call["function"].get("arguments") or {}).decode()


def native_role(role: str) -> str:
    """Return the role of a message; models know a developer's instructions as the system's."""
    return "system" if role.lower() == "developer" else role.lower()


def name_tools(messages: list[Message]) -> list[Message]:
    """Return messages whose tool results name the tool that the call of their id named."""
    calls: dict[str, ToolCall] = {c.id: c for message in messages for c in message.tool_calls}
    return [
        msgspec.structs.replace(message, tool_name=calls[message.tool_call_id].function.name)
        if message.role == "tool" and not message.tool_name and message.tool_call_id in calls
        else message
        for message in messages
    ]


async def whole(answer: Coroutine[Any, Any, Reply | Stream]) -> dict[str, Any]:
    """Return the one object of an answer that is not a stream."""
    reply = await answer
    assert isinstance(reply, Reply)
    body: dict[str, Any] = reply.body
    return body


async def whole_of(
    run: Callable[[Call], Coroutine[Any, Any, Reply | Stream]], call: Call
) -> dict[str, Any]:
    """Return the one object with which an endpoint answers a call.

    Unlike a coroutine in a list, the endpoint is not begun if the task is cancelled before.
    """
    return await whole(run(call))


async def parts(answer: Reply | Stream) -> Stream:
    """Yield the parts of an answer; one that is not a stream has a single part."""
    if isinstance(answer, Reply):
        yield answer.body
        return
    async with aclosing(answer):
        async for part in answer:
            yield part


async def together(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all concurrently and return their results; the first failure cancels the others."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await _end(tasks)


async def merged(streams: Sequence[Stream]) -> AsyncGenerator[tuple[int, dict[str, Any]], None]:
    """Yield the parts of all streams as they arrive, each with the index of its stream.

    No stream runs ahead of its consumer; the first failure ends the others.
    """
    nexts = {_next(stream): index for index, stream in enumerate(streams)}
    try:
        while nexts:
            done, _ = await asyncio.wait(nexts, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=nexts.__getitem__):
                index = nexts.pop(task)
                if (part := task.result()) is not None:
                    yield index, part
                    nexts[_next(streams[index])] = index
    finally:
        await _end(list(nexts))
        for stream in streams:
            await stream.aclose()


def _next(stream: Stream) -> asyncio.Future[dict[str, Any] | None]:
    return asyncio.ensure_future(anext(stream, None))


async def _end(tasks: Sequence[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class EventWriter(Protocol):
    """Turns the parts of an answer into the events of another API."""

    def start(self) -> list[dict[str, Any]]:
        """Return the events before the first part."""

    def of(self, part: dict[str, Any]) -> list[dict[str, Any]]:
        """Return the events that a part makes."""


async def events(writer: EventWriter, answer: Stream) -> Stream:
    """Yield the events of an answer, none before its first part: an error has its status still."""
    started = False
    async with aclosing(answer):
        async for part in answer:
            for event in writer.of(part) if started else [*writer.start(), *writer.of(part)]:
                yield event
            started = True


def event_bytes(data: dict[str, Any]) -> bytes:
    """Write a server-sent event that is named by the ``type`` of its data."""
    return b"event: %b\ndata: %b\n\n" % (data["type"].encode(), orjson.dumps(data))
