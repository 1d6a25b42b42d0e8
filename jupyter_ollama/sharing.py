"""The settings of a server with several users: limits, accounting, metrics."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from traitlets import Bool, CaselessStrEnum, Float, Int, Unicode, default

from .budget_settings import BudgetSettings

if TYPE_CHECKING:
    from .flow_control.free_memory import FreeMemory
    from .flow_control.long_work import LongWork
    from .flow_control.outbox import Outboxes
    from .scheduler.admission import Admission
    from .scheduler.events import Events
    from .scheduler.running_requests import RunningRequests
    from .usage.store import UsageStore

log = logging.getLogger(__name__)


class Sharing(BudgetSettings):
    """The settings for several users, and the objects that are made from them."""

    shared = Bool(
        None,
        allow_none=True,
        help="""Isolate users from each other. Requests of users who may not change models then
        cannot choose how models are loaded, which of them stay loaded and for how long, and
        concurrent_part applies. None: for `jupyter ollama hub`, and once a second user has
        sent a request.""",
    ).tag(config=True)
    concurrent_part = Float(
        0.5,
        min=0.0,
        max=1.0,
        help="""On a shared server, let a user run this part of the concurrent requests of a model,
        one request at least, unless limits set a number ("concurrent", null for no limit). With a
        half, the requests of one user never make others wait for the end of a long answer.""",
    ).tag(config=True)
    min_residence = Float(
        30.0,
        min=0.0,
        help="""On a shared server, keep a model loaded for this many seconds, if others use
        it, before the request of a user who may not change models evicts it. Loading takes
        seconds: without it, users who request more models than fit would only cause loads.""",
    ).tag(config=True)
    preparation_seconds = Float(
        30.0,
        min=0.0,
        help="""Let rendering and tokenizing the long texts of a request take this many seconds of
        processor time, 0 for no limit, then answer it with 400. Ten million characters take some
        seconds; texts that take longer are crafted to do so.""",
    ).tag(config=True)
    lost_slot_seconds = Float(
        10.0,
        min=0.0,
        help="""Take back the slot of a request that ended this many seconds ago. No slot is known
        to get lost; a cancelled request may hold its slot for a step of its model.""",
    ).tag(config=True)
    record_usage = Bool(
        False,
        help="""Record users, models and numbers of tokens, but no text, in usage_file.
        Budgets of tokens and blocked users then survive a restart.""",
    ).tag(config=True)
    usage_file = Unicode(
        help="""Keep the record of usage in this SQLite file. Default: ollama/usage.sqlite in
        Jupyter's data folder."""
    ).tag(config=True)
    usage_days = Float(
        90.0, min=1.0, help="Remove usage older than this many days from the record."
    ).tag(config=True)
    metrics_by_user = Bool(
        False,
        help="""Name users in the metrics at /metrics, which every client that reaches the server
        can read.""",
    ).tag(config=True)

    stalled_seconds = Float(
        30.0,
        min=0.0,
        help="""Close a connection whose client has read nothing of its answer for this many
        seconds, and end its request; 0 for no limit. Unread answers take memory.""",
    ).tag(config=True)
    max_unread_bytes = Int(
        8 * 2**20,
        min=2**16,
        help="""Let at most this many bytes of a stream wait for a client that reads more slowly
        than a model writes, then close its connection. The longest usual answers are smaller, those
        with log-probabilities of their tokens, too.""",
    ).tag(config=True)
    max_unread_total = Int(
        512 * 2**20,
        min=2**20,
        help="""Let at most this many bytes of answers wait for all clients together; beyond that
        the connection without progress for longest is closed. Whole answers count as well: ten
        times the vectors of 10,000 texts fit.""",
    ).tag(config=True)
    prefix_sharing = CaselessStrEnum(
        ["system", "account", "group", "all"],
        default_value="system",
        help="""The extent to which users share computed prefixes of prompts. "system": the prompts
        of one user share any prefix, those of several users only whole system prompts (with
        tools) that prefix_accounts others have sent. "account": nothing is shared between
        users. "group": users who are in the same groups of the JupyterHub, in all of them, share
        any prefix, and nothing with others; a user without a group shares with no other user.
        "all": all is shared; answers start sooner, but prompt_eval_cached_count and the time to
        the first token then reveal what others have sent.
        A server with one user shares all.""",
    ).tag(config=True)
    prefix_accounts = Int(
        3,
        min=1,
        help="""Share a system prompt between users once this many other accounts have sent it.
        A person with as many accounts can test guesses of whole system prompts that another user
        alone has sent; each of these accounts reads a new system prompt once.""",
    ).tag(config=True)

    prefix_disk_bytes = Int(
        2**30,
        min=0,
        help="""Keep what models have computed of long system prompts (from 512 tokens) in
        prefix_dir, so that the first request after a restart does not read its own again: at most
        this many bytes, of which the ones used last stay; 0 keeps none. Two of 4,000 tokens of a
        model of 8B fit. On a server with several users, only those that prefix_sharing shares
        between users are kept, for the same users.""",
    ).tag(config=True)
    prefix_dir = Unicode(
        help="""Keep these system prompts in this folder, which must be closed to others (mode
        0700). Their text can be read from the files. Servers with other users need another folder.
        Default: the folder "prefixes" beside usage_file."""
    ).tag(config=True)

    @default("prefix_dir")
    def _default_prefix_dir(self) -> str:
        return str(Path(self.usage_file).expanduser().parent / "prefixes")

    @default("usage_file")
    def _default_usage_file(self) -> str:
        from jupyter_core.paths import jupyter_data_dir

        return str(Path(jupyter_data_dir()) / "ollama" / "usage.sqlite")

    @cached_property
    def events(self) -> Events:
        """Publishes the events of the server."""
        from .scheduler.events import Events

        return Events()

    @cached_property
    def running_requests(self) -> RunningRequests:
        """The requests under way."""
        from .scheduler.running_requests import RunningRequests

        return RunningRequests(self.events)

    @property
    def requests_running(self) -> int:
        """The number of requests under way that count as activity."""
        return len(self.running_requests.open)

    @cached_property
    def admission(self) -> Admission:
        """Admits requests by the limits of their users."""
        from .scheduler.admission import Admission

        ledger = self.make_ledger()
        store = self._usage_store() if self.record_usage else None
        return Admission(self, self.events, self.running_requests, store, ledger)

    def _usage_store(self) -> UsageStore:
        """Return the record of usage, which is read back over each period of a budget."""
        from .budgets.periods import PERIODS
        from .usage.records import Since
        from .usage.store import UsageStore

        now, calendar = time.time(), self.calendar
        periods = {}
        for name, period in PERIODS.items():
            span = None if period.slides else calendar.span(period)
            if period.slides or span:
                start = span.start if span else now - period.seconds
                periods[name] = Since(start, period.bucket if period.slides else now)
        path = Path(self.usage_file).expanduser()
        host = self.budget_host if self.budget_store else ""
        return UsageStore(path, self.usage_days, periods, host)

    def open_usage(self) -> None:
        """Begin to read the recorded usage, and to count together with other hosts.

        Needs the running event loop.
        """
        if self.record_usage or self.budget_store:
            self.admission.ledger.open()

    @cached_property
    def outboxes(self) -> Outboxes:
        """The answers that clients have not read yet."""
        from .flow_control.outbox import Outboxes

        return Outboxes(self)

    @cached_property
    def long_work(self) -> LongWork:
        """Decodes long bodies."""
        from .flow_control.long_work import LongWork

        return LongWork()

    @cached_property
    def free_memory(self) -> FreeMemory:
        """Returns the memory that requests have freed."""
        from .flow_control.free_memory import FreeMemory

        return FreeMemory()

    async def close_usage(self) -> None:
        """Write the pending usage."""
        if "admission" in self.__dict__:
            await self.admission.ledger.close()
            if self.admission.store:
                await asyncio.to_thread(self.admission.store.close)
