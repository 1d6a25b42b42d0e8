"""The output thread: tokens become text and events while the next batch computes."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from collections.abc import Sequence as Many
from typing import Any

from .events import Done, Event, Failed, Text
from .llama_model import LlamaModel
from .sequence import FinishReason, Sequence, StepOutput

log = logging.getLogger(__name__)

Send = Callable[[list[Event] | bytes], None]
"""Takes events, perhaps encoded ones."""

FRAME = 1 / 30
"""Seconds between two messages of streamed text. For tokens that arrive faster than a reader can
see, one message each costs more than generating them: on two cores a fifth of a small model's
speed."""


MOST_HERE = 4
"""The most tokens that the batch loop itself makes text of."""


class Output(threading.Thread):
    """Detokenizes, finds stop strings and repetitions, and sends, one thread at a time.

    The first text of an answer and its end are sent at once, the text between them in frames. The
    batch loop itself sends a first text where this thread has no work: to wake a thread takes
    longer.
    """

    def __init__(self, model: LlamaModel, send: Send) -> None:
        super().__init__(name="output", daemon=True)
        self._model = model
        self._send = send
        self._queue: queue.SimpleQueue[tuple[Callable[..., None], tuple[Any, ...]]]
        self._queue = queue.SimpleQueue()
        self._pending = 0
        self._counting = threading.Lock()
        # Held by the thread that sends.
        self._sending = threading.Lock()
        self._held: list[StepOutput] = []
        self._handed_over = 0.0
        self.generated: Counter[int] = Counter()
        """The tokens that were generated with each set of adapters."""
        self._texts: dict[Sequence, Text] = {}

    def deliver(self, step: Many[StepOutput]) -> None:
        """Take the results of a step, for this frame or the next. Called by the batch loop."""
        self._held += step
        for one in step:
            self.generated[one.sequence.params.adapters] += one.token is not None
        now = time.perf_counter()
        is_first = any(
            one.sequence.params.stream and not one.sequence.output.emitted for one in step
        )
        is_last = any(one.finish for one in step)
        if is_first or is_last or now - self._handed_over >= FRAME:
            self._handed_over = now
            if not (is_first and self._emit_here()):
                self._hand_over()

    def _emit_here(self) -> bool:
        """Send the held texts from the calling thread.

        Returns False, and sends nothing, if there are many or if the output thread has work.
        """
        is_much = len(self._held) > MOST_HERE
        if is_much or self._pending or not self._sending.acquire(blocking=False):
            return False
        try:
            held, self._held = self._held, []
            self._emit_all(held)
        finally:
            self._sending.release()
        return True

    def _hand_over(self) -> None:
        self._put(self._emit_all, self._held)
        self._held = []

    def _put(self, work: Callable[..., None], *arguments: Any) -> None:
        with self._counting:
            self._pending += 1
        self._queue.put((work, arguments))

    def fail(self, sequence: Sequence, status: int, message: str) -> None:
        """Report a sequence that ended by an error. Called by the batch loop."""
        self._hand_over()
        self.event(Failed(sequence.params.request, status, message))
        self.cancel(sequence.params.request)

    def event(self, event: Event) -> None:
        """Send an event of another kind."""
        self._put(self._send, [event])

    def answer(self, events: bytes) -> None:
        """Send a list of events that is encoded already."""
        self._put(self._send, events)

    def cancel(self, request: int) -> None:
        """Drop the text of a cancelled request."""
        self._put(self._forget, request)

    def _forget(self, request: int) -> None:
        self._texts = {s: text for s, text in self._texts.items() if s.params.request != request}

    def run(self) -> None:
        """Work until the process ends."""
        while True:
            work, arguments = self._queue.get()
            with self._sending:
                work(*arguments)
            with self._counting:
                self._pending -= 1

    def _emit_all(self, outputs: Many[StepOutput]) -> None:
        ends: list[Event] = []
        for one in outputs:
            sequence = one.sequence
            if sequence.score:
                ends += sequence.score.end(sequence) if one.finish else []
                continue
            # The next step may have begun before a stop string or a repetition was found.
            if not (sequence.output.text.stopped or sequence.output.repeats):
                self._emit(one, ends)
        over = {event.request for event in ends if isinstance(event, Done)}
        ready = [s for s in self._texts if s.params.stream or s.params.request in over]
        parsed = [self._parse(s, self._texts.pop(s), s.params.request in over) for s in ready]
        events = [event for event in parsed if event != Text(event.request)]
        if events or ends:
            self._send(events + ends)

    @staticmethod
    def _parse(sequence: Sequence, text: Text, over: bool) -> Text | Failed:
        """Split text into thinking, tool calls and content, as far as the parser is certain."""
        parser = sequence.output.parser
        if parser is None:
            return text
        try:
            parts = [parser.feed(text.text)]
            if over:
                parts.append(parser.finish())
        except Exception as error:  # one answer must not end the others
            sequence.over = True
            log.exception("An answer cannot be parsed")
            return Failed(text.request, 500, f"the answer cannot be parsed: {error}")
        text.text = "".join(part.content for part in parts)
        text.thinking = "".join(part.thinking for part in parts)
        text.tool_calls = [call for part in parts for call in part.tool_calls]
        return text

    def _emit(self, one: StepOutput, ends: list[Event]) -> None:
        sequence, token, finish = one.sequence, one.token, one.finish
        output = sequence.output
        more = self._texts.get(sequence) or Text(sequence.params.request)
        if token is not None:
            output.emitted += 1
            if finish != FinishReason.STOP:  # an end token has no text, whatever its type says
                piece = self._model.piece(token, special=output.parser is not None)
                more.text += output.text.push(piece)
                if sequence.logprobs:
                    more.logprobs.append(sequence.logprobs.popleft())
                if output.repetition and output.repetition.add(token) and not finish:
                    output.repeats = True
        if (finish or output.repeats) and not output.text.stopped:
            more.text += output.text.finish()
        if output.text.stopped or output.repeats:
            finish = FinishReason.STOP
            sequence.over = True
        if more.text or more.logprobs or (output.parser and finish):
            self._texts[sequence] = more
        if finish:
            ends.append(self._done(sequence, finish))

    @staticmethod
    def _done(sequence: Sequence, finish: FinishReason) -> Done:
        params, output = sequence.params, sequence.output
        text = [token for token in sequence.prompt if token >= 0]
        context = text + sequence.answer[: output.emitted]
        return Done(
            params.request,
            finish,
            prompt_eval_count=len(sequence.prompt),
            prompt_eval_duration=sequence.first_token - sequence.started,
            eval_count=output.emitted,
            eval_duration=time.perf_counter_ns() - sequence.first_token,
            truncated=params.truncated,
            cached=sequence.cache.reused,
            context=context if params.return_context else [],
            stop=output.text.stop,
            repetition=output.repeats,
        )
