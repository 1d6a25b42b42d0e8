"""The route by which JupyterLab's chat panel keeps its conversations on the Jupyter server.

It belongs to the page as Jupyter's own routes for settings and workspaces do: the stand-alone
server does not have it, and in remote mode the conversations stay on the user's own server.
JupyterLab's state database would not do: each browser tab has one of its own, and the page reads
all of them every ten seconds.
"""

from __future__ import annotations

import asyncio
import re
from functools import cache
from pathlib import Path
from typing import Any

import orjson
from jupyter_core.paths import jupyter_data_dir
from jupyter_core.utils import ensure_async
from jupyter_server.base.handlers import APIHandler
from tornado import web

from .conversation_files import MAX_BYTES, NAME, ConversationFiles, StaleError
from .requester import requester_of


class ConversationsHandler(APIHandler):
    """List, write and delete the conversations of the user, who must be allowed to run models."""

    def initialize(self, folder: Path) -> None:
        """Take the folder of all users' conversations."""
        self.folder = folder

    async def prepare(self) -> None:  # type: ignore[override]
        """Let Jupyter find the user, then authorize before the method runs."""
        await super().prepare()
        user = self.current_user
        if not user:
            return  # the method answers
        allowed = self.authorizer.is_authorized(self, user, "execute", "ollama:run")
        if not await ensure_async(allowed):
            raise web.HTTPError(403, "user is not authorized to run models")

    @property
    def files(self) -> ConversationFiles:
        """The conversations of the user who asks."""
        return files_of(self.folder, requester_of(self, self.current_user).name)

    @web.authenticated
    async def get(self, name: str | None = None) -> None:
        """Answer with all conversations."""
        if name:
            raise web.HTTPError(405)
        found = await asyncio.to_thread(self.files.read_all)
        self.finish(orjson.dumps({"conversations": found}))

    @web.authenticated
    async def put(self, name: str | None = None) -> None:
        """Write a conversation; 409 if another page has changed it, 413 if it is too long."""
        body = self.request.body
        if len(body) > MAX_BYTES:
            raise web.HTTPError(413, f"a conversation has at most {MAX_BYTES} bytes")
        try:
            await asyncio.to_thread(self.files.write, checked(name), body)
        except ValueError as error:
            raise web.HTTPError(400, str(error)) from None
        except StaleError:
            raise web.HTTPError(409, "another page has changed the conversation") from None
        except OSError as error:
            raise web.HTTPError(
                507, f"conversations cannot be written: {error.strerror}"
            ) from error
        self.set_status(204)

    @web.authenticated
    async def delete(self, name: str | None = None) -> None:
        """Delete a conversation, if it exists."""
        await asyncio.to_thread(self.files.delete, checked(name))
        self.set_status(204)


@cache
def files_of(folder: Path, user: str) -> ConversationFiles:
    """Return the one store of a user, whose lock orders the writes."""
    return ConversationFiles(folder, user)


def checked(name: str | None) -> str:
    """Return a name that can be a file's; 400 if it cannot."""
    if not name or not NAME.fullmatch(name):
        raise web.HTTPError(400, "no name of a conversation")
    return name


def conversation_handlers(prefix: str) -> list[tuple[str, type[APIHandler], dict[str, Any]]]:
    """Return the routing table, paths relative to the server's base URL."""
    folder = Path(jupyter_data_dir()) / "jupyter_ollama" / "conversations"
    route = rf"/{re.escape(prefix)}/conversations(?:/([^/]+))?/?"
    return [(route, ConversationsHandler, {"folder": folder})]
