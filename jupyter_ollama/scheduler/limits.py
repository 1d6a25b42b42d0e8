"""What users may do on a shared server: limits for everybody, for groups and for single users."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from ..errors import OllamaError

if TYPE_CHECKING:
    from ..library.name import ModelName
    from ..options import Options

Count = Annotated[int, msgspec.Meta(ge=1)]
Table = Mapping[str, Mapping[str, Any]]

EVERYBODY = "*"
GROUP = "group:"
USER = "user:"


class LimitReached(OllamaError):
    """A refusal for now: 429 for one user's limits, 503 for the whole server's.

    ``retry_after`` is in seconds.
    """

    def __init__(self, message: str, retry_after: float, status: int = 429) -> None:
        super().__init__(status, message)
        self.retry_after = max(1, math.ceil(retry_after))


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limits of one user, None where there is none.

    ``concurrent`` requests run at once, ``queue`` more may wait. Tokens are those of prompts and
    of answers. ``models`` are patterns of names, such as ``gemma3*``.
    """

    concurrent: Count | None = None
    queue: Annotated[int, msgspec.Meta(ge=0)] | None = None
    tokens_per_minute: Count | None = None
    tokens_per_day: Count | None = None
    models: list[str] | None = None
    num_ctx: Count | None = None
    num_predict: Count | None = None

    def check_model(self, name: ModelName) -> None:
        """Raise OllamaError(403) unless the model is one of those allowed."""
        if self.models is None:
            return
        names = (name.display.lower(), name.qualified.lower(), name.display.lower().split(":")[0])
        patterns = [pattern.lower() for pattern in self.models]
        if not any(fnmatchcase(one, pattern) for one in names for pattern in patterns):
            allowed = ", ".join(self.models) or "none"
            raise OllamaError(
                403, f'model "{name.display}" is not allowed for you; allowed: {allowed}'
            )

    def cap(self, options: Options, usual_num_ctx: int) -> None:
        """Lower options to what is allowed. ``usual_num_ctx`` is what a request gets unasked."""
        if self.num_ctx:
            options.num_ctx = min(options.num_ctx or usual_num_ctx, self.num_ctx)
        if self.num_predict:
            wanted = options.num_predict
            options.num_predict = min(wanted, self.num_predict) if wanted > 0 else self.num_predict


NO_LIMITS = Limits()


def check_limits(table: Table) -> None:
    """Raise ValueError, which names what is wrong, unless a setting can be read."""
    for who, limits in table.items():
        if who != EVERYBODY and not (who.startswith((GROUP, USER)) and who.partition(":")[2]):
            raise ValueError(f'{who!r} is neither "*" nor "group:NAME" nor "user:NAME"')
        try:
            msgspec.convert(limits, Limits)
        except msgspec.ValidationError as error:
            known = ", ".join(Limits.__struct_fields__)
            raise ValueError(f"{who!r}: {error} (known limits: {known})") from None


def limits_of(table: Table, name: str, groups: Iterable[str]) -> Limits:
    """Return what holds for a user: his own limits, else his groups', else everybody's.

    Of several groups the one that allows most counts, for each limit by itself.
    """
    if not table:
        return NO_LIMITS
    of_groups = [table[key] for group in groups if (key := GROUP + group) in table]
    given = {field: [one[field] for one in of_groups if field in one] for field in _FIELDS}
    merged = {field: _most(values) for field, values in given.items() if values}
    whole = {**table.get(EVERYBODY, {}), **merged, **table.get(USER + name, {})}
    return msgspec.convert(whole, Limits)


_FIELDS = Limits.__struct_fields__


def _most(values: list[Any]) -> Any:
    if None in values:
        return None
    if isinstance(values[0], list):
        return list(dict.fromkeys(pattern for value in values for pattern in value))
    return max(values)
