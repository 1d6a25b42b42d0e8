"""The knobs of a server that several people share: limits, accounting, figures."""

from __future__ import annotations

import logging
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Bool, Dict, Float, TraitError, Unicode, default
from traitlets import validate as validates
from traitlets.config import LoggingConfigurable

if TYPE_CHECKING:
    from .scheduler.admission import Admission
    from .scheduler.events import Events

log = logging.getLogger(__name__)


class Sharing(LoggingConfigurable):
    """The settings for several users, and what is made from them."""

    limits = Dict(
        help="""Limit what users may do: {"*": {…}, "group:students": {…}, "user:alice": {…}}. A
        user's own limits go before those of groups, these before those of everybody ("*"); of
        several groups the one that allows most counts, for each limit by itself. None lifts a
        limit. Each limit holds for a single user:
        "concurrent": requests that run at once, further ones wait;
        "queue": requests that may wait, further ones get 429;
        "tokens_per_minute", "tokens_per_day": tokens of prompts and answers in the last 60 seconds
        or 24 hours, after which requests get 429;
        "models": patterns of the models that may be used, ["gemma3*", "*:1b"], others get 403;
        "num_ctx", "num_predict": the most tokens of a context, and of an answer."""
    ).tag(config=True)
    record_usage = Bool(
        False,
        help="""Write down who has used which model and how many tokens, but no text, in usage_file.
        Budgets of tokens and blocked users then survive a restart.""",
    ).tag(config=True)
    usage_file = Unicode(
        help="""Keep the record of usage in this SQLite file. Default: ollama/usage.sqlite in
        Jupyter's data folder."""
    ).tag(config=True)
    usage_days = Float(
        90.0, min=1.0, help="Remove from the record of usage what is older than so many days."
    ).tag(config=True)
    metrics_by_user = Bool(
        False,
        help="""Name users in the figures at /metrics, which whoever may reach the server can
        read.""",
    ).tag(config=True)

    @default("usage_file")
    def _default_usage_file(self) -> str:
        from jupyter_core.paths import jupyter_data_dir

        return str(Path(jupyter_data_dir()) / "ollama" / "usage.sqlite")

    @validates("limits")
    def _readable_limits(self, proposal: dict[str, Any]) -> dict[str, Any]:
        from .scheduler.limits import check_limits

        try:
            check_limits(proposal["value"])
        except (ValueError, AttributeError) as error:
            raise TraitError(f"limits: {error}") from None
        limits: dict[str, Any] = proposal["value"]
        return limits

    @cached_property
    def events(self) -> Events:
        """What happens, for those who listen."""
        from .scheduler.events import Events

        return Events()

    @cached_property
    def admission(self) -> Admission:
        """Who may have models work for them."""
        from .scheduler.admission import Admission
        from .usage.store import UsageStore

        store = None
        if self.record_usage:
            store = UsageStore(Path(self.usage_file).expanduser(), self.usage_days)
        return Admission(self, self.events, store)

    def close_usage(self) -> None:
        """Write down what is left to be."""
        if "admission" in self.__dict__ and self.admission.store:
            self.admission.store.close()
