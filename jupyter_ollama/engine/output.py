"""The output thread: tokens become text and events while the next batch computes."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from .llama_model import LlamaModel
from .protocol import Done, Event, Failed, Text
from .sequence import Sequence

Send = Callable[[list[Event], list[bytes]], None]
"""Takes events and the frames that follow them."""


class Output(threading.Thread):
    """Detokenizes, finds stop strings and sends. The only user of ``send``."""

    def __init__(self, model: LlamaModel, send: Send) -> None:
        super().__init__(name="output", daemon=True)
        self._model = model
        self._send = send
        self._queue: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]]
        self._queue = queue.SimpleQueue()

    def deliver(self, step: list[tuple[Sequence, int, str]]) -> None:
        """Hand over what a step gave: (sequence, token or -1, reason it ends or "")."""
        if step:
            self._queue.put((self._tell_step, (step,)))

    def fail(self, sequence: Sequence, status: int, message: str) -> None:
        """Hand over a sequence that ended by an error."""
        self.event(Failed(sequence.request, status, message))

    def event(self, event: Event, *frames: bytes) -> None:
        """Hand over an event of another kind."""
        self._queue.put((self._send, ([event], list(frames))))

    def run(self) -> None:
        """Work until the process ends."""
        while True:
            work, arguments = self._queue.get()
            work(*arguments)

    def _tell_step(self, step: list[tuple[Sequence, int, str]]) -> None:
        events: list[Event] = []
        for sequence, token, reason in step:
            # A step may have been under way when a stop string was found.
            if not sequence.text.stopped:
                self._tell(sequence, token, reason, events)
        if events:
            self._send(events, [])

    def _tell(self, sequence: Sequence, token: int, reason: str, events: list[Event]) -> None:
        text = ""
        if token >= 0:
            sequence.told += 1
            if reason != "stop":  # an end token has no text, whatever its type says
                text = sequence.text.push(self._model.piece(token))
        if reason and not sequence.text.stopped:
            text += sequence.text.finish()
        if text:
            events.append(Text(sequence.request, text))
        if sequence.text.stopped:
            reason = "stop"
            sequence.over = True
        if reason:
            events.append(self._done(sequence, reason))

    @staticmethod
    def _done(sequence: Sequence, reason: str) -> Done:
        context = sequence.prompt + sequence.answer[: sequence.told]
        return Done(
            sequence.request,
            reason,
            prompt_eval_count=len(sequence.prompt),
            prompt_eval_duration=sequence.first_token - sequence.started,
            eval_count=sequence.told,
            eval_duration=time.perf_counter_ns() - sequence.first_token,
            truncated=sequence.truncated,
            context=context if sequence.return_context else [],
        )
