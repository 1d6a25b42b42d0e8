"""Messages of child processes: any size, any end, and processes that die."""

from __future__ import annotations

import asyncio
import io
import os
import threading

import pytest

from jupyter_ollama.pipe_messages import (
    MessageBuffer,
    ModuleProcess,
    pack,
    read_message,
    receive,
    write_message,
)

MESSAGES = [b"", b"a", bytes(range(256)) * 4096]


@pytest.mark.parametrize("buffering", [0, -1])
def test_messages_cross_a_pipe(buffering: int) -> None:
    source, target = os.pipe()
    with os.fdopen(source, "rb", buffering) as reading:

        def write() -> None:
            with os.fdopen(target, "wb", buffering) as writing:
                for message in MESSAGES:
                    write_message(writing, message)

        thread = threading.Thread(target=write)
        thread.start()
        assert [read_message(reading) for _ in MESSAGES] == MESSAGES
        assert read_message(reading) is None
        thread.join()


@pytest.mark.parametrize("length", [0, 3, 4, 7])
def test_a_message_that_is_cut_is_the_end(length: int) -> None:
    assert read_message(io.BytesIO(pack(b"text")[:length])) is None


async def test_an_event_loop_receives_no_more_than_it_allows() -> None:
    stream = asyncio.StreamReader()
    stream.feed_data(pack(b"short", b"longer than that"))
    stream.feed_eof()
    assert await receive(stream, 5) == b"short"
    with pytest.raises(ValueError, match="a message of 16 bytes is longer than 5"):
        await receive(stream, 5)


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1000, 10**7])
def test_messages_are_complete_however_they_arrive(size: int) -> None:
    data = pack(*MESSAGES, b"last")
    buffer = MessageBuffer()
    parts = (data[start : start + size] for start in range(0, len(data), size))
    assert [message for part in parts for message in buffer.take(part)] == [*MESSAGES, b"last"]
    assert buffer.take(b"") == []


def test_a_process_that_dies_gives_no_answer() -> None:
    process = ModuleProcess("json.tool")  # reads until the end of its input
    assert process.is_alive
    process.kill()
    assert process.ask(b"x" * 10**6) is None
    assert process.close() == -9
    assert not process.is_alive
