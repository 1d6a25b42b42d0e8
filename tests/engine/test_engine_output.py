"""The output thread, and the first texts that the batch loop sends without it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from steps import Steps

from jupyter_ollama.engine.events import Beat, Done, Event, Text
from jupyter_ollama.engine.output import Output

SECONDS = 20.0


class Sent:
    """The events that were sent, each with the name of the thread that sent it."""

    def __init__(self) -> None:
        self.events: list[tuple[Event, str]] = []
        self.may_go_on = threading.Event()
        self.has_end = threading.Event()

    def __call__(self, batch: list[Event] | bytes) -> None:
        assert isinstance(batch, list)
        if any(isinstance(event, Beat) for event in batch):
            self.may_go_on.wait(SECONDS)
        self.events += [(event, threading.current_thread().name) for event in batch]
        if any(isinstance(event, Done) for event in batch):
            self.has_end.set()


@pytest.fixture
def steps(smollm2_f16: Path) -> Iterator[Steps]:
    steps = Steps(smollm2_f16, parallel=4)
    yield steps
    steps.context.close()


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def output(steps: Steps, sent: Sent) -> Output:
    output = Output(steps.model, sent)
    steps.generator._deliver = output.deliver
    output.start()
    return output


def test_the_batch_loop_sends_a_first_text_and_the_output_thread_the_rest(
    steps: Steps, sent: Sent, output: Output
) -> None:
    answer = steps.add("Once upon a time there was", 12)
    steps.finish()
    assert sent.has_end.wait(SECONDS)
    (first, sender), *others = sent.events
    assert isinstance(first, Text)
    assert sender == threading.current_thread().name
    assert {name for _, name in others} == {output.name}
    texts = [event.text for event, _ in sent.events if isinstance(event, Text)]
    pieces = [steps.model.piece(token, special=False) for token in answer.tokens[-12:]]
    assert "".join(texts) == b"".join(pieces).decode()


def test_a_first_text_waits_for_earlier_events(steps: Steps, sent: Sent, output: Output) -> None:
    output.event(Beat())
    steps.add("Once upon a time there was", 12)
    steps.finish()
    assert not sent.events
    sent.may_go_on.set()
    assert sent.has_end.wait(SECONDS)
    assert isinstance(sent.events[0][0], Beat)
    assert {name for _, name in sent.events} == {output.name}
