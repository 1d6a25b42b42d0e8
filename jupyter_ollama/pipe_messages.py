"""Messages between processes: each is its length, four bytes little-endian, and its data.

A `ModuleProcess` runs a Python module that reads messages from standard input and answers each with
one on standard output. The pipes of asyncio have `pack` and `receive`. A `MessageBuffer` takes the
bytes of a socket as they arrive.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_LENGTH = struct.Struct("<I")


def pack(*messages: bytes) -> bytes:
    """Return messages as they are written to a pipe."""
    return b"".join(_LENGTH.pack(len(message)) + message for message in messages)


async def receive(stream: asyncio.StreamReader, most: int) -> bytes:
    """Return the next message. Raises EOFError, or ValueError for more than ``most`` bytes."""
    (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
    if length > most:
        raise ValueError(f"a message of {length} bytes is longer than {most}")
    return await stream.readexactly(length)


class MessageBuffer:
    """Bytes as they arrive, of which complete messages are taken."""

    def __init__(self) -> None:
        self._data = bytearray()

    def take(self, more: bytes) -> list[bytes]:
        """Add bytes and return the messages that are complete now, in their order."""
        self._data += more
        messages: list[bytes] = []
        start = 0
        with memoryview(self._data) as data:
            while len(data) - start >= _LENGTH.size:
                (length,) = _LENGTH.unpack_from(data, start)
                end = start + _LENGTH.size + length
                if end > len(data):
                    break
                messages.append(bytes(data[start + _LENGTH.size : end]))
                start = end
        del self._data[:start]
        return messages


def write_message(pipe: IO[bytes], data: bytes) -> None:
    """Write a message. Raises OSError if the other side has closed the pipe."""
    rest = memoryview(pack(data))
    while rest:
        rest = rest[pipe.write(rest) :]
    pipe.flush()


def read_message(pipe: IO[bytes]) -> bytearray | None:
    """Return the next message, None at the end, even if that is in the middle of a message."""
    head = _read(pipe, _LENGTH.size)
    return None if head is None else _read(pipe, *_LENGTH.unpack(head))


def _read(pipe: IO[bytes], length: int) -> bytearray | None:
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        count = pipe.readinto(rest)  # type: ignore[attr-defined]  # binary files have it
        if not count:
            return None
        rest = rest[count:]
    return data


class ModuleProcess:
    """A Python module in a process of its own, to be asked by one thread at a time."""

    def __init__(
        self,
        module: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        stderr: int | None = None,
    ) -> None:
        """``env`` and ``stderr`` are those of Popen."""
        self._process = subprocess.Popen(
            # -P: a folder of notebooks must not shadow modules.
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=env,
            bufsize=0,
        )

    @property
    def is_alive(self) -> bool:
        """False once the process has ended."""
        return self._process.poll() is None

    def ask(self, message: bytes) -> bytearray | None:
        """Return the answer to a message, None if the process ends before it answers."""
        assert self._process.stdin
        assert self._process.stdout
        try:
            write_message(self._process.stdin, message)
            return read_message(self._process.stdout)
        except OSError:
            return None

    def kill(self) -> None:
        """End the process; any thread may call this during ``ask``."""
        self._process.kill()

    def close(self) -> int:
        """End the process and wait for it; return its exit status."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                if pipe:
                    pipe.close()
        return self._process.wait()
