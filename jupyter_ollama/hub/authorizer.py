"""The rights of the users of a JupyterHub at a shared endpoint."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.authorizer import Authorizer
from traitlets import List, Unicode

if TYPE_CHECKING:
    from jupyter_server.auth.identity import User
    from jupyter_server.base.handlers import JupyterHandler


class Right(IntEnum):
    """The right of a user. Each right includes those before it."""

    READ = 0
    RUN = 1
    MANAGE = 2
    ADMIN = 3


NEEDED = {
    "ollama": Right.READ,
    "ollama:run": Right.RUN,
    "ollama:web": Right.RUN,
    "ollama:mcp": Right.RUN,
    "ollama:models": Right.MANAGE,
    "ollama:admin": Right.ADMIN,
}
"""The right that each resource of the API requires, for any action."""


class OllamaAuthorizer(Authorizer):
    """Open Ollama's API to the users of a JupyterHub, and nothing else of a Jupyter server.

    Requests of users without access to the service do not get this far. The lists below name groups
    of the Hub, or scopes if they begin with "custom:"; "*" is every user with access.
    Administrators of the Hub have all rights.
    """

    may_run = List(Unicode(), ["*"], help="Let these run models; other users can list them.").tag(
        config=True
    )
    may_manage = List(
        Unicode(),
        ["custom:ollama:manage"],
        help="Let these change models too: pull, push, create, copy and delete them.",
    ).tag(config=True)
    may_admin = List(
        Unicode(),
        ["custom:ollama:admin"],
        help="Let these administer the server too: see and end the requests of users.",
    ).tag(config=True)

    def is_authorized(
        self, handler: JupyterHandler, user: User, action: str, resource: str
    ) -> bool:
        """Return whether a user has the right for a resource; False for any of another API."""
        needed = NEEDED.get(resource)
        return needed is not None and self.right_of(user) >= needed

    def right_of(self, user: User) -> Right:
        """Return the highest right of a user."""
        hub_user: dict[str, Any] = getattr(user, "hub_user", {})
        if hub_user.get("admin"):
            return Right.ADMIN
        scopes = {scope for scope in hub_user.get("scopes", ()) if scope.startswith("custom:")}
        groups = {group for group in hub_user.get("groups", ()) if not group.startswith("custom:")}
        names = {"*"} | scopes | groups
        for right, listed in (
            (Right.ADMIN, self.may_admin),
            (Right.MANAGE, self.may_manage),
            (Right.RUN, self.may_run),
        ):
            if names & {*listed}:
                return right
        return Right.READ
