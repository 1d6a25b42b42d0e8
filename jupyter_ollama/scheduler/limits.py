"""Limits on a shared server, for all users, for groups and for single users."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from ..budgets.budget import EVERYONE, GROUP, USER, Budget, Key
from ..budgets.periods import PERIODS
from ..errors import OllamaError

if TYPE_CHECKING:
    from ..library.name import ModelName
    from ..options import Options

Count = Annotated[int, msgspec.Meta(ge=1)]
Table = Mapping[str, Mapping[str, Any]]


class LimitReached(OllamaError):
    """A temporary refusal: 429 for a limit of the user, 503 for one of the server.

    ``retry_after`` is in seconds.
    """

    def __init__(self, message: str, retry_after: float, status: int = 429) -> None:
        super().__init__(status, message)
        self.retry_after = max(1, math.ceil(retry_after))


def _is(text: str) -> msgspec.Meta:
    return msgspec.Meta(description=text)


class TokenLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Limits of tokens in each period, None for unlimited."""

    tokens_per_minute: (
        Annotated[Count, _is("Tokens of prompts and answers in 60 seconds; then requests get 429.")]
        | None
    ) = None
    tokens_per_day: (
        Annotated[Count, _is("Tokens of prompts and answers in 24 hours; then requests get 429.")]
        | None
    ) = None
    tokens_per_week: (
        Annotated[Count, _is("Tokens of prompts and answers in 7 days; then requests get 429.")]
        | None
    ) = None
    tokens_per_month: (
        Annotated[Count, _is("Tokens in a calendar month of time_zone; then requests get 429.")]
        | None
    ) = None
    tokens_per_term: (
        Annotated[Count, _is("Tokens in a term, see terms; then requests get 429.")] | None
    ) = None


class Budgets(TokenLimits, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The budgets of a user, or of all members of a group together."""

    per_model: (
        Annotated[
            dict[str, TokenLimits],
            _is(
                "Limits of tokens with the models that a pattern names, "
                '{"gemma3*": {"tokens_per_day": 1000}}, besides those of all models.'
            ),
        ]
        | None
    ) = None
    soft: (
        Annotated[
            float,
            msgspec.Meta(gt=0, le=1),
            _is("The part of a limit of tokens from which on answers have a warning, 0.8."),
        ]
        | None
    ) = None

    def budgets(self, holder: str) -> list[Budget]:
        """Return the limits of tokens as budgets of "user:NAME", "group:NAME" or "*"."""
        return [
            Budget(Key(holder, models, period), limit, self.soft)
            for models, limits in {"": self, **(self.per_model or {})}.items()
            for period in PERIODS
            if (limit := getattr(limits, f"tokens_per_{period}")) is not None
        ]


class Limits(Budgets, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The limits of one user, None for unlimited.

    The help of the setting ``limits`` and the document of the API describe them from here.
    """

    concurrent: Annotated[Count, _is("Requests that run at once; further ones wait.")] | None = None
    queue: (
        Annotated[int, msgspec.Meta(ge=0), _is("Requests that may wait; further ones get 429.")]
        | None
    ) = None
    models: (
        Annotated[
            list[str],
            _is(
                'Patterns of the models that are shown and may be used or changed, ["gemma3*", '
                '"*:1b"]; others get 403.'
            ),
        ]
        | None
    ) = None
    num_ctx: Annotated[Count, _is("The longest context, in tokens.")] | None = None
    num_predict: Annotated[Count, _is("The longest answer, in tokens.")] | None = None

    def allows(self, name: ModelName) -> bool:
        """Return whether the user may use a model."""
        if self.models is None:
            return True
        names = (name.display.lower(), name.qualified.lower(), name.display.lower().split(":")[0])
        patterns = [pattern.lower() for pattern in self.models]
        return any(fnmatchcase(one, pattern) for one in names for pattern in patterns)

    def check_model(self, name: ModelName) -> None:
        """Raise OllamaError(403) unless the user may use a model."""
        if not self.allows(name):
            allowed = ", ".join(self.models or ()) or "none"
            raise OllamaError(
                403, f'model "{name.display}" is not allowed for you; allowed: {allowed}'
            )

    def cap(self, options: Options, usual_num_ctx: int) -> None:
        """Lower options to the limits.

        A request without num_ctx gets ``usual_num_ctx`` or more: a lower limit is set in its place.
        The caller applies a higher limit once the model is loaded and its length known.
        """
        if self.num_ctx and (options.num_ctx or self.num_ctx < usual_num_ctx):
            options.num_ctx = min(options.num_ctx or self.num_ctx, self.num_ctx)
        if self.num_predict:
            wanted = options.num_predict
            options.num_predict = min(wanted, self.num_predict) if wanted > 0 else self.num_predict


NO_LIMITS = Limits()


def limit_schemas(kind: type[Budgets] = Limits) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of each limit that is set."""
    components = msgspec.json.schema_components([kind])[1]
    schema = components[kind.__name__]
    found = {name: field["anyOf"][0] for name, field in schema["properties"].items()}
    each = components[TokenLimits.__name__]["properties"]
    properties = {name: {"type": "integer", "minimum": 1} for name in each}
    found["per_model"]["additionalProperties"] = {"type": "object", "properties": properties}
    return found


def check_limits(table: Table) -> None:
    """Raise ValueError, which names the faulty entry, unless a setting is valid."""
    for key, limits in table.items():
        if key != EVERYONE and not (key.startswith((GROUP, USER)) and key.partition(":")[2]):
            raise ValueError(f'{key!r} is neither "*" nor "group:NAME" nor "user:NAME"')
        _check(key, limits, Limits)


def check_shared(table: Table) -> None:
    """Raise ValueError, which names the faulty entry, unless shared budgets are valid."""
    for key, limits in table.items():
        if key != EVERYONE and not (key.startswith(GROUP) and key.partition(":")[2]):
            raise ValueError(f'{key!r} is neither "*" nor "group:NAME"')
        _check(key, limits, Budgets)


def _check(key: str, limits: Any, kind: type[Budgets]) -> None:
    try:
        msgspec.convert(limits, kind)
    except msgspec.ValidationError as error:
        known = ", ".join(kind.__struct_fields__)
        raise ValueError(f"{key!r}: {error} (known limits: {known})") from None


def shared_budgets(table: Table, groups: Iterable[str]) -> list[Budget]:
    """Return the budgets that a user shares with the members of their groups, and with all."""
    keys = (*(GROUP + group for group in groups), EVERYONE)
    return [
        budget
        for key in keys
        if key in table
        for budget in msgspec.convert(table[key], Budgets).budgets(key)
    ]


def limits_of(table: Table, name: str, groups: Iterable[str]) -> Limits:
    """Return the limits of a user: their own, else those of their groups, else those of all users.

    Of several groups the highest limit counts, for each limit by itself.
    """
    if not table:
        return NO_LIMITS
    of_groups = [table[key] for group in groups if (key := GROUP + group) in table]
    given = {field: [one[field] for one in of_groups if field in one] for field in _FIELDS}
    merged = {field: _most(values) for field, values in given.items() if values}
    whole = {**table.get(EVERYONE, {}), **merged, **table.get(USER + name, {})}
    return msgspec.convert(whole, Limits)


def names_limit(table: Table, limit: str, name: str, groups: Iterable[str]) -> bool:
    """Return whether a table names a limit of a user, including an explicit None."""
    keys = (EVERYONE, USER + name, *(GROUP + group for group in groups))
    return any(limit in table.get(key, ()) for key in keys)


_FIELDS = Limits.__struct_fields__


def _most(values: list[Any]) -> Any:
    if None in values:
        return None
    if isinstance(values[0], list):
        return list(dict.fromkeys(pattern for value in values for pattern in value))
    if isinstance(values[0], Mapping):
        patterns = dict.fromkeys(pattern for value in values for pattern in value)
        return {pattern: _most_of_each(pattern, values) for pattern in patterns}
    return max(values)


def _most_of_each(pattern: str, values: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the highest of each limit that several groups have for a pattern of models."""
    found = [value[pattern] for value in values if pattern in value]
    names = dict.fromkeys(name for one in found for name in one)
    return {name: _most([one[name] for one in found if name in one]) for name in names}
