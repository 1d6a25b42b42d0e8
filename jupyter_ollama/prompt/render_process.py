"""Rendering in a child process with limits: ``python -m jupyter_ollama.prompt.render_process``.

A template that comes with a request, or takes long, can do no harm there: the memory of the child
and the processor time of each rendering are limited, and it may be killed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import lru_cache
from typing import Any

import msgspec

from ..child_environment import child_environment
from ..pipe_messages import ModuleProcess, read_message, write_message
from .budget import OverBudget, Spending
from .errors import TemplateError
from .go_template import GoTemplate
from .jinja_template import JinjaTemplate
from .messages import Message
from .rendering import render_chat

WAITING = 3
"""Multiple of its processor time that a rendering may last, since other programs use the host."""

STARTING = 30.0
"""Seconds for the start of a child, whose imports take half a second on an idle host."""


class RenderJob(msgspec.Struct, omit_defaults=True):
    """A rendering. ``bos`` and ``eos`` are for Jinja templates; Go templates have neither.

    With a ``suffix`` the texts before and after a gap are rendered, else ``messages``.
    """

    source: str
    seconds: float
    steps: int
    characters: int
    is_jinja: bool = False
    bos: str = ""
    eos: str = ""
    messages: list[Message] = []
    tools: list[dict[str, Any]] = []
    think: bool | str | None = None
    suffix: tuple[str, str] | None = None

    @property
    def allowed(self) -> Spending:
        """The budget of the rendering."""
        return Spending(self.seconds, self.steps, self.characters)


class Outcome(msgspec.Struct, omit_defaults=True):
    """The text of a rendering, or its error."""

    text: str = ""
    error: str | None = None
    is_over_budget: bool = False


# Made before any thread runs: msgspec inspects a type at its first use, without a lock.
_outcomes = msgspec.msgpack.Decoder(Outcome)


class RenderPool:
    """The child processes of one runner, of which one may be idle.

    Several threads may render at once, ``most`` of which have a child; others wait for one.
    """

    def __init__(self, memory: int, most: int = 2) -> None:
        """``memory`` is the limit of a child's address space in bytes."""
        self._memory = memory
        self._places = threading.BoundedSemaphore(most)
        self._idle: list[_RenderProcess] = []

    def render(self, job: RenderJob) -> str:
        """Return the text of a rendering. Raises TemplateError."""
        with self._places:
            child = self._take()
            try:
                outcome = child.render(job)
            except BaseException:
                child.close()
                raise
            if self._idle:
                child.close()
            else:
                self._idle.append(child)
        if outcome.error is None:
            return outcome.text
        raise (OverBudget if outcome.is_over_budget else TemplateError)(outcome.error)

    def _take(self) -> _RenderProcess:
        while self._idle:
            child = self._idle.pop()
            if child.is_alive:
                return child
            child.close()
        return _RenderProcess(self._memory)


class _RenderProcess(ModuleProcess):
    def __init__(self, memory: int) -> None:
        super().__init__(__name__, str(memory), env=child_environment(), stderr=subprocess.DEVNULL)
        self._is_new = True

    def render(self, job: RenderJob) -> Outcome:
        """Return the outcome. Raises OverBudget if the process does not answer in time, or dies."""
        patience = WAITING * job.seconds + (STARTING if self._is_new else 1.0)
        self._is_new = False
        timer = threading.Timer(patience, self.kill)
        timer.daemon = True
        timer.start()
        try:
            answer = self.ask(msgspec.msgpack.encode(job))
        finally:
            timer.cancel()
        if answer is None:
            raise OverBudget(f"it takes more than {job.seconds:g} s or too much memory")
        return _outcomes.decode(answer)


@lru_cache(maxsize=8)
def _go_template(source: str) -> GoTemplate:
    return GoTemplate(source)


@lru_cache(maxsize=2)
def _jinja_template(source: str, bos: str, eos: str) -> JinjaTemplate:
    return JinjaTemplate(source, bos, eos)


def _outcome(job: RenderJob) -> Outcome:
    try:
        if job.suffix is not None:
            return Outcome(_go_template(job.source).render_suffix(*job.suffix, allowed=job.allowed))
        if job.is_jinja:
            template: GoTemplate | JinjaTemplate = _jinja_template(job.source, job.bos, job.eos)
        else:
            template = _go_template(job.source)
        return Outcome(render_chat(template, job.messages, job.tools, job.think, job.allowed))
    except TemplateError as error:
        return Outcome(error=str(error), is_over_budget=isinstance(error, OverBudget))
    except MemoryError:
        return Outcome(error="it takes too much memory", is_over_budget=True)


def _limit_memory(size: int) -> None:
    try:
        import resource
    except ImportError:  # Windows: the parent's timer is left
        return
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _limit_time(seconds: float) -> None:
    """End this process after so many more seconds of processor time, even in C code."""
    try:
        import resource
    except ImportError:
        return
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(usage.ru_utime + usage.ru_stime + seconds) + 2
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def main() -> None:
    """Render the jobs on standard input until it ends."""
    _limit_memory(int(sys.argv[1]))
    requests = sys.stdin.buffer
    # Text that a template prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "wb")
    decoder = msgspec.msgpack.Decoder(RenderJob)
    while (message := read_message(requests)) is not None:
        job = decoder.decode(message)
        _limit_time(job.seconds)
        try:
            outcome = _outcome(job)
        except Exception as error:
            outcome = Outcome(error=f"{type(error).__name__}: {error}")
        write_message(answers, msgspec.msgpack.encode(outcome))


if __name__ == "__main__":
    main()
