"""What the server does at one moment, as the tables of administrators and of single users."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..api.model_views import tag
from ..api.requester import Requester
from ..api.usage import overrides
from ..budgets.budget import EVERYONE, GROUP, USER, Key
from ..budgets.ledger import holders
from .consumption import Row, group_row, keys_of, user_row
from .problems import Problems
from .rates import Rates
from .tables import (
    Table,
    Tables,
    batch_rows,
    device_rows,
    model_rows,
    request_rows,
    server_row,
    upstream_rows,
)

if TYPE_CHECKING:
    from ..batches.records import BatchRecord
    from ..config import OllamaServer
    from ..library.model import Model
    from ..scheduler.request import ModelRequest

SLICES = 5
"""Users without requests are looked at in turns: each of them every so many looks."""

SLOW_SECONDS = 5.0
"""The time between two looks at files: stored models, batches, recorded users."""

KEYS_AT_ONCE = 50
"""Counters that the store of several hosts is asked for in one call, a few ms of its time."""

BATCHES_OF_USER = 50
"""The batches of a user that the page shows, besides those under way."""

DAY = 86400.0


class View:
    """The tables of the last `look`."""

    def __init__(self, server: OllamaServer) -> None:
        self._server = server
        self._problems = Problems(server.events)
        self._rates = Rates()
        self._stored: list[tuple[Model, dict[str, Any]]] = []
        self._batches: Table = {}
        self._recorded: dict[str, tuple[str, ...]] = {}
        self._users: dict[str, Row] = {}
        self._overrides: list[str] = []
        self._requests: list[ModelRequest] = []
        self._models: Table = {}
        self._common: Tables = {}
        self._looked_at_files = 0.0
        self.looks = 0

    def restart(self) -> None:
        """Forget what was seen before a pause."""
        self._rates.restart()
        self._looked_at_files = 0.0
        self._users = {}
        self._common = {}

    @property
    def is_ready(self) -> bool:
        """True once there was a look since the last pause."""
        return bool(self._common)

    async def look(self, administrators: Mapping[str, tuple[str, ...]]) -> None:
        """Look at the server; at other users only for administrators, given with their groups."""
        server, admission = self._server, self._server.admission
        await admission.restored()
        if time.monotonic() - self._looked_at_files > SLOW_SECONDS:
            await self._look_at_files()
            self._looked_at_files = time.monotonic()
        if administrators:
            await self._look_at_users(administrators)
        self._requests = [one for one in admission.requests if not one.closed]
        rates = self._rates.measure(server.scheduler.loaded())
        self._models = model_rows(server, self._stored, self._requests, rates)
        self._common = {"server": {"server": server_row(server, rates)}}
        self.looks += 1

    def all_tables(self) -> Tables:
        """Return the tables of administrators."""
        admission = self._server.admission
        members: dict[str, list[Row]] = {EVERYONE: [*self._users.values()]}
        for row in self._users.values():
            for group in row["groups"]:
                members.setdefault(group, []).append(row)
        return self._common | {
            "models": self._models,
            "upstreams": upstream_rows(self._server.upstream_pool),
            "devices": device_rows(self._server.scheduler.loaded()),
            "requests": request_rows(self._requests),
            "users": self._users,
            "groups": {name: group_row(admission, name, rows) for name, rows in members.items()},
            "batches": self._batches,
            "problems": self._problems.of(None),
            "overrides": self._limits_until(None),
        }

    async def tables_of(self, requester: Requester) -> Tables:
        """Return the tables of one user, without anything of others."""
        admission, name, groups = self._server.admission, requester.name, requester.groups
        await self._learn(keys_of(USER + name, admission.budgets(name, groups)))
        limits = admission.limits(name, groups)
        allowed = {model.name.display for model, _ in self._stored if limits.allows(model.name)}
        shown = ("name", "state", "parameters", "quantization", "embeds", "file")
        return self._common | {
            "models": {
                key: {field: row[field] for field in shown if field in row}
                for key, row in self._models.items()
                if key in allowed
            },
            "requests": request_rows(one for one in self._requests if one.user == name),
            "users": {name: user_row(admission, name, groups)},
            "batches": {key: row for key, row in self._batches.items() if row["user"] == name},
            "problems": self._problems.of(name),
            "overrides": self._limits_until(holders(name, groups)),
        }

    def _limits_until(self, of: tuple[str, ...] | None) -> Table:
        return {
            f"{'shared ' if one['shared'] else ''}{one['of']}": one
            for one in overrides(self._server.admission, of)
        }

    async def _look_at_users(self, administrators: Mapping[str, tuple[str, ...]]) -> None:
        """Bring rows of users up to date: all busy ones, and a part of the others."""
        admission = self._server.admission
        known = self._recorded | dict.fromkeys(admission.blocked, ()) | admission.known_users()
        known |= administrators
        current = [one.field + one.value for one in admission.overrides.current()]
        if current != self._overrides:
            self._users, self._overrides = {}, current
        due = {
            name: groups
            for number, (name, groups) in enumerate(known.items())
            if number % SLICES == self.looks % SLICES or self._has_changed(name)
        }
        keys = [
            key
            for name, groups in due.items()
            for key in keys_of(USER + name, admission.budgets(name, groups))
        ]
        all_groups = dict.fromkeys(group for groups in known.values() for group in groups)
        keys += [key for group in all_groups for key in keys_of(GROUP + group, ())]
        await self._learn(keys + keys_of(EVERYONE, ()))
        rows = {name: user_row(admission, name, groups) for name, groups in due.items()}
        self._users = {name: rows.get(name) or self._users[name] for name in known}

    def _has_changed(self, name: str) -> bool:
        row = self._users.get(name)
        if row is None or row["blocked"] != (name in self._server.admission.blocked):
            return True
        account = self._server.admission.accounts.get(name)
        now = account.running + account.waiting if account else 0
        return bool(now or row["running"] or row["waiting"])

    async def _learn(self, keys: list[Key]) -> None:
        """Learn what other hosts have spent, with calls that keep their store busy for a moment."""
        found = [*dict.fromkeys(keys)]
        for start in range(0, len(found), KEYS_AT_ONCE):
            await self._server.admission.ledger.look(found[start : start + KEYS_AT_ONCE])

    async def _look_at_files(self) -> None:
        """Read what is in files: stored models, batches, the users of the record of usage."""
        server = self._server
        store = server.admission.store

        def read() -> list[tuple[Model, dict[str, Any]]]:
            return [(model, tag(model)) for model in server.library.list()]

        local = await asyncio.to_thread(read)
        server.upstream_pool.refresh()
        names = {model.name for model, _ in local}
        remote = [one for one in server.upstream_pool.known_models() if one.name not in names]
        self._stored = local + [(one, tag(one)) for one in remote]
        if store:
            since = time.time() - server.usage_days * DAY
            self._recorded = await asyncio.to_thread(store.users, since)
        if batches := server.batches:
            self._batches = batch_rows(_shown(await batches.batches("")), batches.pause_of)


def _shown(batches: list[BatchRecord]) -> list[BatchRecord]:
    """Return the batches under way, and the newest ones of each user; the newest come first."""
    numbers: dict[str, int] = {}
    found = []
    for one in batches:
        number = numbers[one.user] = numbers.get(one.user, 0) + 1
        if number <= BATCHES_OF_USER or not one.is_finished:
            found.append(one)
    return found
