"""The runner process: ``python -m jupyter_ollama.engine.runner FOLDER``.

It has one model and three threads: the main thread runs the batch loop and sleeps while it is idle,
the intake reads commands, renders and tokenizes, the output detokenizes and sends. The folder holds
the two sockets of the parent, which ends the runner by closing its stdin, or by a signal.
"""

from __future__ import annotations

import gc
import sys
import threading
import time
from functools import partial

from ..heap import share_one_heap
from .background_prefill import BackgroundPrefill
from .confinement import confine
from .devices import available_memory, devices_now
from .embed_job import EmbedJob
from .embed_lane import PACK_TOKENS, can_split
from .embedder import Embedder
from .events import (
    AdaptersLoaded,
    AdaptersRefused,
    DeviceMemory,
    Done,
    Failed,
    LoadFailed,
    Memory,
    Placed,
    Ready,
    Resized,
)
from .generator import Generator
from .intake import Intake
from .llama_context import LlamaContext
from .llama_model import LoadError
from .load_plan import EMBED_PARALLEL
from .loading import ModelLoader
from .memory_plan import MemoryShortage
from .output import Output, Send
from .preemption import Preemption
from .preparation import Longest
from .protocol import FreeAdapters, LoadAdapters, LoadSpec, Resize
from .pulse import Pulse
from .sequence import FinishReason, Sequence
from .server_connection import ServerConnection, end_with_thread
from .state_key import prefix_files
from .step_costs import ALONE
from .work_loop import WorkLoop

IDLE_TOKENS_ON_CPU = 0
"""Tokens of finished sequences in the KV cache of a CPU beside one running sequence. Each hundred
of them takes 2 to 3 % of its speed; copying them back takes less than a tenth of a step (measured
on SmolLM2)."""

IDLE_CELLS_ON_GPU = 8
"""The same for a GPU, as a multiple of all KV cells: half of them beside 16 sequences."""

STORED_BYTES = 8 * 2**30
"""Host memory for finished sequences that had to leave the KV cache, where there is enough."""

MEMORY_SECONDS = 1.0
"""The interval at which a busy model reports its memory."""

CONTEXT_SECONDS = 15.0
"""Expected time of a new context: its memory is cleared and a few tokens are decoded."""

ADAPTER_SECONDS = 30.0
"""The same of reading adapters from a slow disk."""

SWITCH_SECONDS = 2e-4
"""The longest time for which a Python thread holds the interpreter's lock while another waits."""


class Runner:
    """A loaded model and its threads."""

    def __init__(self, spec: LoadSpec, send: Send) -> None:
        self._loaded = ModelLoader(
            spec, lambda plan, faults: send([Placed(plan.gpu_layers, faults)])
        )
        self._model = self._loaded.model
        self._preemption = Preemption()
        self._loop = WorkLoop(self._preemption, self._send_memory)
        self._output = Output(self._model, send)
        on_gpu = self._loaded.plan.placement.gpu_layers > 0
        self._pulse = Pulse(self._output.event, compiles=on_gpu)
        self.num_ctx = self._loaded.plan.num_ctx
        if self._model.is_embedding_only:
            self._loop.embedder = self._make_embedder()
            slots = EMBED_PARALLEL
        else:
            self._loop.generator = self._make_generator()
            slots = self._loaded.plan.parallel
        self._output.start()
        loaded, sizes = self._loaded, self._sizes()
        default = loaded.plan.default_num_ctx
        ready = Ready(self.num_ctx, slots, *sizes, default, loaded.placement)
        self._output.event(ready)
        self._send_memory()

    def _sizes(self) -> tuple[int, int]:
        """Return the bytes that llama.cpp holds: all of them, and those not on the host."""
        log = self._loaded.log
        return int(log.host_bytes + log.device_bytes), int(log.device_bytes)

    def _send_memory(self) -> None:
        self._memory_sent = time.monotonic()
        memory = Memory(devices=[DeviceMemory(d.name, d.free, d.total) for d in devices_now()])
        if self._loop.generator:
            memory.used = self._loop.generator.tokens_in_cells
            memory.cells = self._loop.generator.context.cells
            memory.stored = self._loop.generator.stored_bytes
            memory.drafted = dict(self._loop.generator.selector.drafted)
            memory.accepted = dict(self._loop.generator.selector.accepted)
        memory.generated = dict(self._output.generated)
        self._output.event(memory)

    def _make_generator(self) -> Generator:
        context = self._loaded.generation_context()
        on_cpu = not self._loaded.log.device_bytes
        memory = available_memory()
        return Generator(
            self._model,
            context,
            self._output.deliver,
            self._output.fail,
            parallel=self._loaded.plan.parallel,
            idle_tokens=IDLE_TOKENS_ON_CPU if on_cpu else IDLE_CELLS_ON_GPU * context.cells,
            stored_bytes=STORED_BYTES if memory is None else min(STORED_BYTES, memory // 8),
            drafter=self._loaded.drafter(),
            preemption=self._preemption if on_cpu else None,
            expect=self._pulse.expect,
            is_repeatable=on_cpu,
            prefix_files=partial(prefix_files, self._loaded),
            background=self._make_background() if on_cpu else None,
        )

    def _make_background(self) -> BackgroundPrefill:
        def make(cells: int) -> LlamaContext:
            context = self._loaded.prefill_context(cells)
            self._send_sizes()
            return context

        def free(context: LlamaContext) -> None:
            self._loaded.free_prefill_context(context)
            self._send_sizes()

        return BackgroundPrefill(make, free, self._loop.has_work, self._pulse.expect)

    def _make_embedder(self) -> Embedder:
        context = self._loaded.embedding_context(max(self.num_ctx, PACK_TOKENS))
        splits = can_split(context, is_causal=self._loaded.plan.is_causal)
        generator = self._loop.generator
        return Embedder(
            self._model,
            context,
            self.longest_text,
            self._output,
            self._loaded.contexts_beside(PACK_TOKENS),
            splits=splits,
            seconds=lambda: generator.seconds_beside if generator else ALONE,
            expect=self._pulse.expect,
            preemption=None if self._loaded.log.device_bytes else self._preemption,
            can_start=lambda: generator is not None and generator.has_slot,
        )

    def run(self, commands: ServerConnection) -> None:
        """Run the batch loop for ever; block without using the CPU while there is no work."""
        spec = self._loaded.spec
        Intake(
            commands,
            self._model,
            self,
            self._loop.hand_over,
            self._output,
            self._loaded.vision,
            path=spec.model,
            seconds=spec.preparation_seconds,
            limits=spec.limits,
        ).start()
        while True:
            self._loop.run_once()
            if time.monotonic() - self._memory_sent > MEMORY_SECONDS:
                self._send_memory()

    def ping(self) -> None:
        """Have the main thread report that it works."""
        self._loop.put(self._pulse.answer)

    @property
    def longest(self) -> Longest | None:
        """The lengths of sequences in tokens, None if the model only embeds."""
        if self._loop.generator is None:
            return None
        return self.num_ctx, self._loop.generator.context.cells

    @property
    def longest_text(self) -> int:
        """The most tokens of a text to embed."""
        if self._loop.embedder:
            return self._loop.embedder.longest
        return min(max(self.num_ctx, PACK_TOKENS), self._model.n_ctx_train)

    def generate(self, sequence: Sequence) -> None:
        """Queue a sequence."""
        assert self._loop.generator
        self._loop.generator.add(sequence)

    def resize(self, command: Resize) -> None:
        """Grow the contexts to longer sequences and texts; running requests continue."""
        generator, num_ctx = self._loop.generator, command.num_ctx
        if generator is None:
            num_ctx = min(num_ctx, self._model.n_ctx_train)
        try:
            self._grow_embedder(num_ctx)
            if generator and num_ctx > generator.context.cells:
                self._pulse.expect(CONTEXT_SECONDS)
                self._grow_generator(generator, num_ctx)
        except LoadError as error:
            self._output.event(Failed(command.request, 500, str(error)))
        else:
            self.num_ctx = num_ctx
            self._output.event(Resized(command.request, self.num_ctx, *self._sizes()))

    def _grow_generator(self, generator: Generator, num_ctx: int) -> None:
        """Make a longer context for sequences, in place of the former where both do not fit.

        Raises LoadError.
        """
        make = self._loaded.generation_context
        try:
            generator.replace_context(partial(make, num_ctx))
        except MemoryShortage:
            if not self._loaded.fits_in_place(num_ctx):
                raise
            generator.replace_context(partial(make, num_ctx), partial(make, self.num_ctx))

    def load_adapters(self, command: LoadAdapters) -> None:
        """Load a set of adapters; running requests continue."""
        if self._loop.embedder:
            self._loop.embedder.settle()  # llama.cpp's list of adapters has no lock
        self._pulse.expect(ADAPTER_SECONDS)
        try:
            sizes = self._loaded.load_adapters(command.number, command.paths)
        except (LoadError, OSError) as error:
            refused = AdaptersRefused(command.request, str(error))
            if isinstance(error, MemoryShortage):
                refused.required, refused.available = error.required, error.available
            self._output.event(refused)
        else:
            self._send_sizes()
            self._output.event(AdaptersLoaded(command.request, *sizes))

    def free_adapters(self, command: FreeAdapters) -> None:
        """Free a set of adapters, and what was computed with it."""
        for part in (self._loop.generator, self._loop.embedder):
            if part is not None:
                part.leave(command.number)
        self._loaded.free_adapters(command.number)
        self._send_sizes()

    def _send_sizes(self) -> None:
        self._output.event(Resized(0, self.num_ctx, *self._sizes()))

    def _grow_embedder(self, num_ctx: int) -> None:
        """Let longer texts be embedded, if any were embedded so far. Raises LoadError."""
        longest = min(num_ctx, self._model.n_ctx_train)
        if self._loop.embedder and longest > self._loop.embedder.longest:
            self._pulse.expect(CONTEXT_SECONDS)
            make = partial(self._loaded.embedding_context, longest)
            self._loop.embedder.replace_context(make, longest)

    def embed(self, job: EmbedJob) -> None:
        """Queue texts to embed."""
        try:
            if self._loop.embedder is None:
                self._pulse.expect(CONTEXT_SECONDS)
                self._loop.embedder = self._make_embedder()
                self._send_sizes()
        except LoadError as error:
            self._output.event(Failed(job.command.request, 500, str(error)))
        else:
            self._loop.embedder.add(job)

    def cancel(self, request: int) -> None:
        """Drop a request and report its cost."""
        is_reported = self._loop.generator is not None and self._loop.generator.cancel(request)
        if self._loop.embedder:
            self._loop.embedder.cancel(request)
        self._output.cancel(request)
        if not is_reported:
            self._output.event(Done(request, FinishReason.CANCEL, 0, 0, 0, 0))


def main() -> None:
    """Connect, load, serve."""
    # The batch loop must not wait for the output thread longer than it has to.
    sys.setswitchinterval(SWITCH_SECONDS)
    share_one_heap()
    runner: Runner | None = None

    def ping() -> None:
        if runner:  # the parent watches a load in another way
            runner.ping()

    threading.excepthook = end_with_thread
    connection = ServerConnection(int(sys.argv[1]), ping)
    spec = connection.receive_spec()
    confine(spec.limits)
    try:
        runner = Runner(spec, connection.send)
    except (LoadError, OSError, ValueError) as error:
        failed = LoadFailed(str(error))
        if isinstance(error, MemoryShortage):
            failed.required, failed.available = error.required, error.available
        connection.send([failed])
        sys.exit(1)
    # Modules are never garbage; examining them takes longer than a token of a small model.
    gc.freeze()
    runner.run(connection)


if __name__ == "__main__":
    main()
