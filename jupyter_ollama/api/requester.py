"""Who asks: the one place where Jupyter's identity becomes a name, groups and rights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jupyter_core.utils import ensure_async

if TYPE_CHECKING:
    from jupyter_server.auth.authorizer import Authorizer
    from jupyter_server.auth.identity import IdentityProvider, User
    from jupyter_server.base.handlers import JupyterHandler

_MAKES_UP_NAMES = "jupyter_server.auth.identity"
"""The module of Jupyter's own logins, to which every request comes from somebody new."""

OWNER_NAME = "owner"
"""The name of the person whom a server belongs to, where the login does not tell names."""


@dataclass(frozen=True)
class Requester:
    """Who has sent a request. ``groups`` are those of the JupyterHub.

    ``may_manage`` is the right to change models, ``may_admin`` that to look after the server.
    """

    name: str
    groups: tuple[str, ...] = ()
    may_manage: bool = True
    may_admin: bool = True


NO_TOKEN = 'send the server\'s token as "Authorization: Bearer <token>"'

OWNER = Requester(OWNER_NAME)
"""Who asks a server without a login, or one that a token opens."""


async def requester_of(handler: JupyterHandler, user: User, authorizer: Authorizer) -> Requester:
    """Return who has sent the request of a handler."""
    manage = authorizer.is_authorized(handler, user, "write", "ollama:models")
    admin = authorizer.is_authorized(handler, user, "write", "ollama:admin")
    return Requester(
        name=_name(user, handler.identity_provider),
        groups=tuple(getattr(user, "hub_user", {}).get("groups", ())),
        may_manage=await ensure_async(manage),
        may_admin=await ensure_async(admin),
    )


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
