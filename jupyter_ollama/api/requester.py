"""The sender of a request: the one place that maps Jupyter's identity to a name and groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..scheduler.account import OWNER_NAME

if TYPE_CHECKING:
    from jupyter_server.auth.identity import IdentityProvider, User
    from jupyter_server.base.handlers import JupyterHandler

_ANONYMOUS_MODULE = "jupyter_server.auth.identity"
"""The module of Jupyter's own logins, which invent a new name for every request."""


@dataclass(frozen=True)
class Requester:
    """The sender of a request. ``groups`` are the user's groups in the JupyterHub."""

    name: str
    groups: tuple[str, ...] = ()


NO_TOKEN = 'send the server\'s token as "Authorization: Bearer <token>"'

OWNER = Requester(OWNER_NAME)
"""The sender of all requests to a server without a login or with a plain token."""


def requester_of(handler: JupyterHandler, user: User) -> Requester:
    """Return the sender of a handler's request."""
    groups = getattr(user, "hub_user", {}).get("groups", ())
    return Requester(_name(user, handler.identity_provider), tuple(groups))


async def why_refused(handler: JupyterHandler) -> str:
    """Return why a caller is not authenticated: no token, or no access by the JupyterHub."""
    hub_auth = getattr(handler.identity_provider, "hub_auth", None)
    if hub_auth is None:
        return NO_TOKEN
    hub_user = await hub_auth.get_user(handler, sync=False)
    if not hub_user:
        return NO_TOKEN
    scope = max(hub_auth.access_scopes, key=len, default="access")
    return f"the JupyterHub does not give {scope} to user '{hub_user['name']}' and this token"


def _name(user: User, provider: IdentityProvider) -> str:
    """Return a name that is the same for all requests of this user."""
    is_anonymous = type(provider).__module__ == _ANONYMOUS_MODULE
    return OWNER_NAME if is_anonymous else user.username
