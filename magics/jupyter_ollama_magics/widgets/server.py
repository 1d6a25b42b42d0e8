"""The server that widgets ask."""

from __future__ import annotations

from ..connection import Connection
from ..servers import Servers


def own_connection() -> Connection:
    """Return a connection to the server of the magics that no other thread uses."""
    return Connection(lambda: Servers.find().connections[0].endpoint)


def chosen_model() -> str:
    """Return the model that the magics use, "" if none is chosen."""
    return Servers.find().model
