"""The choice of an upstream for each request, among those that offer a model."""

from __future__ import annotations

from collections.abc import Sequence

from ..scheduler.limits import LimitReached
from .member import Member
from .offers import Offer

Source = tuple[Member, Offer]
"""An upstream, and what it says about the model."""


class Choice:
    """The upstreams of a model, of which each request gets one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources

    @property
    def described(self) -> str:
        """The model and its upstreams, as the beginning of a sentence."""
        names = ", ".join(f'"{member.spec.name}"' for member, _ in self._sources)
        model = self._sources[0][1].name.display
        return f'model "{model}" runs on the upstream {names}'

    def has_other(self, tried: Sequence[Member]) -> bool:
        """Return whether an upstream that was not tried may be asked now."""
        return bool(self._open(tried))

    def next(self, tried: Sequence[Member]) -> tuple[Member, str]:
        """Return the upstream for a request and the model's name there.

        It is the one with the least load, the longest unused of equals. Raises LimitReached(503) if
        all are left out.
        """
        sources = self._open(tried) or [one for one in self._sources if one[0] in tried]
        if not sources:
            wait = min(member.breaker.wait for member, _ in self._sources)
            reasons = {member.error: None for member, _ in self._sources if member.error}
            raise LimitReached("; ".join(reasons) or "no upstream answers", wait, 503)
        member, offer = min(sources, key=lambda one: (one[0].load, one[0].chosen_at))
        return member, offer.listed.name

    def _open(self, tried: Sequence[Member]) -> list[Source]:
        """Return the sources that may be asked: those that work, else one that is due for a try."""
        others = [one for one in self._sources if one[0] not in tried]
        working = [one for one in others if one[0].breaker.is_closed]
        due = [one for one in others if one[0].breaker.is_due]
        if working:  # a request tries an upstream that answers polls again, not any other
            due = [one for one in due if not one[0].error]
        return due[:1] or working
