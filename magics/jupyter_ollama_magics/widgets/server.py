"""The server of the widgets."""

from __future__ import annotations

from ..connection import Connection
from ..servers import Servers


def own_connection() -> Connection:
    """Return a connection to the server of the magics for one thread."""
    return Connection(lambda: Servers.find().connections[0].address)


def chosen_model() -> str:
    """Return the model of the magics, "" if none is chosen."""
    return Servers.find().model
