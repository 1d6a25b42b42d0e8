"""A conversation with a model: the messages, the settings, and the stream of the answer."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from .command import note, say
from .formats import duration
from .waiting import after_waiting, is_shown
from .word_wrap import WordWrap

FAINT, PLAIN = "\x1b[2m", "\x1b[0m"


@dataclass
class RunSettings:
    """The settings of every request of a `run`."""

    model: str
    options: dict[str, Any] = field(default_factory=dict)
    system: str = ""
    think: bool | str | dict[str, int] | None = None
    format: Any = None
    keep_alive: int | str | None = None
    verbose: bool = False
    wrap: bool = True

    def request(self) -> dict[str, Any]:
        """Return the request fields that chat and generate share, without those not set."""
        fields = {
            "model": self.model,
            "options": self.options or None,
            "think": self.think,
            "format": self.format,
            "keep_alive": self.keep_alive,
            "progress": is_shown() or None,
        }
        return {name: value for name, value in fields.items() if value is not None}


class ChatHistory:
    """The turns so far; each question is sent with all of them."""

    def __init__(self, client: Any, settings: RunSettings) -> None:
        self.client = client
        self.settings = settings
        self.messages: list[dict[str, Any]] = []

    def ask(self, text: str) -> None:
        """Send ``text``, print the answer as it arrives and keep both.

        Ctrl-C ends the answer; its text so far stays part of the conversation.
        """
        self.messages.append({"role": "user", "content": text})
        system = self.settings.system
        first = [{"role": "system", "content": system}] if system else []
        answer = AnswerPrinter(self.settings.wrap)
        stream = self.client.chat(messages=first + self.messages, **self.settings.request())
        try:
            answer.show(after_waiting(stream, self.client, self.settings.model))
        except KeyboardInterrupt:
            if not answer.text:
                say()
        except BaseException:
            self.messages.pop()
            raise
        finally:
            stream.close()
        if answer.text:
            self.messages.append({"role": "assistant", "content": answer.text})
        if self.settings.verbose:
            note(metrics(answer.final))


class AnswerPrinter:
    """Prints a stream of the API: thinking set off, on a terminal in whole words."""

    def __init__(self, wrap: bool = True) -> None:
        self.text = ""
        self.final: dict[str, Any] = {}
        self.thinking = False
        self.faint = sys.stdout.isatty()
        self._wraps = wrap and sys.stdout.isatty()
        self._wrap = WordWrap(columns)

    def show(self, stream: Iterable[dict[str, Any]]) -> None:
        """Print all of ``stream``, of chat or of generate."""
        try:
            for chunk in stream:
                self.take(chunk)
        finally:
            self.stop_thinking()
            say(self._wrap.flush(), end="")
            if self.text and not self.text.endswith("\n"):
                say()

    def take(self, chunk: dict[str, Any]) -> None:
        """Print one chunk."""
        message = chunk.get("message") or {}
        if thought := message.get("thinking") or chunk.get("thinking"):
            self.think(thought)
        if piece := message.get("content") or chunk.get("response"):
            self.stop_thinking()
            self.text += piece
            say(self.wrapped(piece), end="")
        if chunk.get("done"):
            self.final = chunk

    def think(self, thought: str) -> None:
        """Print a piece of thinking."""
        if not self.thinking:
            say("Thinking...")
            self.thinking = True
        self.say_thought(self.wrapped(thought))

    def say_thought(self, text: str) -> None:
        """Print thinking."""
        if text:
            say(f"{FAINT}{text}{PLAIN}" if self.faint else text, end="")

    def wrapped(self, text: str) -> str:
        """Return a piece with line breaks as the terminal needs them."""
        return self._wrap.feed(text) if self._wraps else text

    def stop_thinking(self) -> None:
        """Mark the end of thinking, if there was any."""
        if self.thinking:
            self.say_thought(self._wrap.flush())
            self._wrap = WordWrap(columns)
            say("\n...done thinking.\n")
            self.thinking = False


def columns() -> int:
    """Return the columns of the terminal."""
    return shutil.get_terminal_size().columns


def metrics(final: dict[str, Any]) -> str:
    """Return the numbers of a final chunk, one a line, each only where the server reports it."""
    rows: list[tuple[str, str]] = []
    for name in ("total_duration", "load_duration"):
        if final.get(name):
            rows.append((f"{name.replace('_', ' ')}:", duration(final[name])))
    for name in ("prompt_eval", "eval"):
        count, time = final.get(f"{name}_count", 0), final.get(f"{name}_duration", 0)
        label = name.replace("_", " ")
        if count:
            rows.append((f"{label} count:", f"{count} token(s)"))
        if time:
            rows.append((f"{label} duration:", duration(time)))
        if count and time:
            rows.append((f"{label} rate:", f"{count / time * 1e9:.2f} tokens/s"))
    return "\n".join(f"{label:<22}{value}" for label, value in rows)
