"""The output thread: tokens become text and events while the next batch computes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from .llama_model import LlamaModel
from .protocol import Done, Event, Failed, Text
from .sequence import Sequence

log = logging.getLogger(__name__)

Send = Callable[[list[Event], list[bytes]], None]
"""Takes events and the frames that follow them."""

Told = list[tuple[Sequence, int, str]]
"""What steps gave: (sequence, token or -1, reason it ends or "") in the order of the tokens."""

FRAME = 1 / 30
"""Seconds between two messages of running text. Where tokens come faster than anybody can see,
handing over each on its own costs more than making it: on two cores a fifth of a small model's
speed."""


class Output(threading.Thread):
    """Detokenizes, finds stop strings and sends. The only user of ``send``.

    The first text of an answer and its end are handed over at once, what is between in frames.
    """

    def __init__(self, model: LlamaModel, send: Send) -> None:
        super().__init__(name="output", daemon=True)
        self._model = model
        self._send = send
        self._queue: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]]
        self._queue = queue.SimpleQueue()
        self._held: Told = []
        self._handed_over = 0.0
        self._texts: dict[Sequence, Text] = {}

    def deliver(self, step: Told) -> None:
        """Take what a step gave, for this frame or the next. To be called by the batch loop."""
        self._held += step
        now = time.perf_counter()
        urgent = any(reason or (s.stream and not s.told) for s, _, reason in step)
        if urgent or now - self._handed_over >= FRAME:
            self._handed_over = now
            self._hand_over()

    def _hand_over(self) -> None:
        self._queue.put((self._tell_all, (self._held,)))
        self._held = []

    def fail(self, sequence: Sequence, status: int, message: str) -> None:
        """Tell of a sequence that ended by an error. To be called by the batch loop."""
        self._hand_over()
        self.event(Failed(sequence.request, status, message))
        self.cancel(sequence.request)

    def event(self, event: Event, *frames: bytes) -> None:
        """Hand over an event of another kind."""
        self._queue.put((self._send, ([event], list(frames))))

    def cancel(self, request: int) -> None:
        """Drop the text of a request that nobody waits for any more."""
        self._queue.put((self._forget, (request,)))

    def _forget(self, request: int) -> None:
        self._texts = {s: text for s, text in self._texts.items() if s.request != request}

    def run(self) -> None:
        """Work until the process ends."""
        while True:
            work, arguments = self._queue.get()
            work(*arguments)

    def _tell_all(self, told: Told) -> None:
        ends: list[Event] = []
        for sequence, token, reason in told:
            if sequence.score:
                ends += sequence.score.end(sequence) if reason else []
                continue
            # A step may have been under way when a stop string was found.
            if not sequence.text.stopped:
                self._tell(sequence, token, reason, ends)
        over = {event.request for event in ends if isinstance(event, Done)}
        ready = [s for s in self._texts if s.stream or s.request in over]
        parsed = [self._parse(s, self._texts.pop(s), s.request in over) for s in ready]
        events = [event for event in parsed if event != Text(event.request)]
        if events or ends:
            self._send(events + ends, [])

    @staticmethod
    def _parse(sequence: Sequence, text: Text, over: bool) -> Text | Failed:
        """Take text apart into thinking, tool calls and content, as far as that is certain."""
        parser = sequence.parser
        if parser is None:
            return text
        try:
            parts = [parser.feed(text.text)]
            if over:
                parts.append(parser.finish())
        except Exception as error:  # no answer may end those of others
            sequence.over = True
            log.exception("An answer cannot be parsed")
            return Failed(sequence.request, 500, f"the answer cannot be parsed: {error}")
        text.text = "".join(part.content for part in parts)
        text.thinking = "".join(part.thinking for part in parts)
        text.tool_calls = [call for part in parts for call in part.tool_calls]
        return text

    def _tell(self, sequence: Sequence, token: int, reason: str, ends: list[Event]) -> None:
        more = self._texts.get(sequence) or Text(sequence.request)
        if token >= 0:
            sequence.told += 1
            if reason != "stop":  # an end token has no text, whatever its type says
                piece = self._model.piece(token, special=sequence.parser is not None)
                more.text += sequence.text.push(piece)
                if sequence.logprobs:
                    more.logprobs.append(sequence.logprobs.popleft())
        if reason and not sequence.text.stopped:
            more.text += sequence.text.finish()
        if more.text or more.logprobs or (sequence.parser and reason):
            self._texts[sequence] = more
        if sequence.text.stopped:
            reason = "stop"
            sequence.over = True
        if reason:
            ends.append(self._done(sequence, reason))

    @staticmethod
    def _done(sequence: Sequence, reason: str) -> Done:
        text = [token for token in sequence.prompt if token >= 0]
        context = text + sequence.answer[: sequence.told]
        return Done(
            sequence.request,
            reason,
            prompt_eval_count=len(sequence.prompt),
            prompt_eval_duration=sequence.first_token - sequence.started,
            eval_count=sequence.told,
            eval_duration=time.perf_counter_ns() - sequence.first_token,
            truncated=sequence.truncated,
            cached=sequence.reused,
            context=context if sequence.return_context else [],
            stop=sequence.text.stop,
        )
