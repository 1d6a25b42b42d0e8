"""What the users of a JupyterHub may do at a shared endpoint."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from jupyter_server.auth.authorizer import Authorizer
from traitlets import List, Unicode

if TYPE_CHECKING:
    from jupyter_server.auth.identity import User
    from jupyter_server.base.handlers import JupyterHandler


class Right(IntEnum):
    """What somebody may do. Each right includes those before it."""

    READ = 0
    RUN = 1
    MANAGE = 2
    ADMIN = 3


NEEDED = {
    "ollama": Right.READ,
    "ollama:run": Right.RUN,
    "ollama:web": Right.RUN,
    "ollama:models": Right.MANAGE,
    "ollama:admin": Right.ADMIN,
}
"""The right that each resource of the API needs, whatever is done to it."""


class OllamaAuthorizer(Authorizer):
    """Open Ollama's API to the users of a JupyterHub, and nothing else of a Jupyter server.

    Who has no access to the service at all never gets here. A name in the lists below is that of a
    group of the Hub, or of a scope if it begins with "custom:"; "*" is everybody with access.
    Administrators of the Hub have all rights.
    """

    may_run = List(
        Unicode(), ["*"], help="Let these run models; the others see which there are."
    ).tag(config=True)
    may_manage = List(
        Unicode(),
        ["custom:ollama:manage"],
        help="Let these change models too: pull, push, create, copy and delete them.",
    ).tag(config=True)
    may_admin = List(
        Unicode(),
        ["custom:ollama:admin"],
        help="Let these look after the server too: what it does for whom, and end it.",
    ).tag(config=True)

    def is_authorized(
        self, handler: JupyterHandler, user: User, action: str, resource: str
    ) -> bool:
        """Tell whether a user has the right that a resource needs. Others than ours need none."""
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
