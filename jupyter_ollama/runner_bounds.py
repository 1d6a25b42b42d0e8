"""The settings that limit runner processes: memory, time, preparation, silence, environment."""

from __future__ import annotations

from traitlets import Float, Int, List, Unicode
from traitlets.config import LoggingConfigurable

from .engine.runner_limits import RunnerLimits


class RunnerBounds(LoggingConfigurable):
    """Limits of runners, and when one counts as hung."""

    template_seconds = Float(
        5.0,
        min=0.1,
        help="""Seconds of processor time that the template of a prompt may take. A conversation of
        10,000 messages takes less than one.""",
    ).tag(config=True)
    template_memory = Int(
        2**30,
        min=2**27,
        help="""Bytes of address space of the process that renders templates which come with
        requests or take long. Python and the template engines need 150 MB, a prompt may have
        64 MB of text in several copies.""",
    ).tag(config=True)
    preparation_threads = Int(
        4,
        min=1,
        help="""Threads of a runner for requests that take up to a second to prepare: constraints,
        images, texts of 32 to 256 KB. An account uses one at a time, so with four, five accounts
        must send such requests at once before one of them waits.""",
    ).tag(config=True)
    preparation_processes = Int(
        2,
        min=1,
        help="""Processes of a runner for requests of more than preparation_bytes, and for long
        conversations, scores and texts to embed. An account uses one at a time. Each holds the
        vocabulary of the model, some 100 MB.""",
    ).tag(config=True)
    preparation_bytes = Int(
        2**18,
        min=2**15,
        help="""Bytes of a request above which a process of its own prepares it. In a thread, single
        calls on longer texts would hold Python's lock for as long as a step of the model takes.""",
    ).tag(config=True)
    preparation_idle = Float(
        60.0,
        min=0.0,
        help="""Seconds without work after which such a process ends. The next one takes half a
        second to start.""",
    ).tag(config=True)
    runner_memory = Int(
        0,
        help="""Bytes of private memory of a runner (RLIMIT_DATA): 0 for nine tenths of the memory
        of the host or its control group, so that a runner fails alone and the host does not swap;
        negative for no limit. Mapped weights, and addresses that a GPU driver reserves, do not
        count.""",
    ).tag(config=True)
    runner_oom_score_adj = Int(
        500,
        min=0,
        max=1000,
        help="""Added to the score by which the kernel chooses a process to kill when memory is
        short: runners, which are replaced at the next request, before the Jupyter server and
        kernels.""",
    ).tag(config=True)
    runner_silence = Float(
        10.0,
        min=1.0,
        help="""Seconds for which a runner with requests may be silent beyond the expected time of
        its step. Then it is killed, its requests end with an error, and the next request starts
        another. A step takes less than a second on most hosts.""",
    ).tag(config=True)
    load_silence = Float(
        30.0,
        min=1.0,
        help="""Seconds for which a load may neither read nor allocate, in addition to the time to
        read all bytes of the model at load_rate. Then it is aborted. load_timeout limits the whole
        load.""",
    ).tag(config=True)
    load_rate = Int(
        20 * 10**6,
        min=1,
        help="""Bytes a second at which models can be read at least: a slow network file system
        has 20 MB/s.""",
    ).tag(config=True)
    load_turn = Float(
        10.0,
        min=0.1,
        help="""Seconds for which a load may neither read nor allocate before the next one starts
        beside it. Models load one at a time, since each is placed by the free memory.""",
    ).tag(config=True)
    runner_kill = Float(
        10.0,
        min=0.1,
        help="""Seconds to wait for the end of a killed runner. A process that waits for a dead disk
        or driver cannot end; it is abandoned then, so that other models can load.""",
    ).tag(config=True)
    runner_environment = List(
        Unicode(),
        help="""Names of environment variables that runners receive in addition to those of Python,
        locales, threads and GPUs. Tokens and keys are not passed on unless they are named here.""",
    ).tag(config=True)

    @property
    def runner_limits(self) -> RunnerLimits:
        """The bounds as runners get them."""
        return RunnerLimits(
            template_seconds=self.template_seconds,
            template_memory=self.template_memory,
            preparation_threads=self.preparation_threads,
            preparation_processes=self.preparation_processes,
            preparation_bytes=self.preparation_bytes,
            preparation_idle=self.preparation_idle,
            memory=self.runner_memory,
            oom_score_adj=self.runner_oom_score_adj,
            silence=self.runner_silence,
            load_silence=self.load_silence,
            load_rate=self.load_rate,
            load_turn=self.load_turn,
            kill=self.runner_kill,
            environment=tuple(self.runner_environment),
        )
