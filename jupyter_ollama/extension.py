"""The Jupyter server extension: routes and settings in, everything unloaded at the end."""

from __future__ import annotations

import logging
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import default

from .api.jupyter import jupyter_handlers
from .config import OllamaServer


class OllamaExtension(ExtensionApp):
    """Serve Ollama's API from a Jupyter server."""

    name = "jupyter_ollama"
    description = "Ollama's API, served by Jupyter"
    load_other_extensions = True
    classes = [ServerApp, OllamaServer]  # type: ignore[list-item]

    server: OllamaServer

    @default("config_file_name")
    def _default_config_file_name(self) -> str:
        return "jupyter_ollama_config"  # the one that `jupyter ollama` reads, too

    def initialize_settings(self) -> None:
        """Read the settings and log where Jupyter logs; no model is loaded yet."""
        self.server = OllamaServer(parent=self)
        assert self.serverapp is not None
        package_log = logging.getLogger("jupyter_ollama")
        package_log.parent = self.serverapp.log
        package_log.setLevel(logging.DEBUG if self.server.debug else logging.INFO)

    def initialize_handlers(self) -> None:
        """Add the routes, relative to the server's base URL."""
        self.handlers.extend(jupyter_handlers(self.server))

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Begin to load what is to be there from the start; the event loop runs by now."""
        self.server.preload()

    def current_activity(self) -> dict[str, Any] | None:
        """Return what keeps an idle server from shutting down: answers under way."""
        running = self.server.requests_running
        return {"ollama_requests": running} if running else None

    async def stop_extension(self) -> None:
        """End all runners."""
        await self.server.stop()
