"""Who asks: the one place where Jupyter's identity becomes a name and groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jupyter_server.auth.identity import IdentityProvider, User
    from jupyter_server.base.handlers import JupyterHandler

_MAKES_UP_NAMES = "jupyter_server.auth.identity"
"""The module of Jupyter's own logins, to which every request comes from somebody new."""

OWNER_NAME = "owner"
"""The name of the person whom a server belongs to, where the login does not tell names."""


@dataclass(frozen=True)
class Requester:
    """Who has sent a request. ``groups`` are those of the JupyterHub."""

    name: str
    groups: tuple[str, ...] = ()


NO_TOKEN = 'send the server\'s token as "Authorization: Bearer <token>"'

OWNER = Requester(OWNER_NAME)
"""Who asks a server without a login, or one that a token opens."""


def requester_of(handler: JupyterHandler, user: User) -> Requester:
    """Return who has sent the request of a handler."""
    groups = getattr(user, "hub_user", {}).get("groups", ())
    return Requester(_name(user, handler.identity_provider), tuple(groups))


async def why_refused(handler: JupyterHandler) -> str:
    """Say what a caller lacks who is nobody here: a token, or the leave of the JupyterHub."""
    hub_auth = getattr(handler.identity_provider, "hub_auth", None)
    if hub_auth is None:
        return NO_TOKEN
    hub_user = await hub_auth.get_user(handler, sync=False)
    if not hub_user:
        return NO_TOKEN
    scope = max(hub_auth.access_scopes, key=len, default="access")
    return f"the JupyterHub does not give {scope} to user '{hub_user['name']}' and this token"


def _name(user: User, provider: IdentityProvider) -> str:
    """Return a name that is the same for the next request of this person."""
    made_up = type(provider).__module__ == _MAKES_UP_NAMES
    return OWNER_NAME if made_up else user.username
