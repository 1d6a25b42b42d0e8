"""The Jupyter server extension: routes and settings in, everything unloaded at the end."""

from __future__ import annotations

import logging
import os
from typing import Any

from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import default

from .api.events import emit_events
from .api.jupyter import jupyter_handlers
from .api.metrics import ServerCollector
from .config import OllamaServer


class OllamaExtension(ExtensionApp):
    """Serve Ollama's API from a Jupyter server."""

    name = "jupyter_ollama"
    description = "Ollama's API, served by Jupyter"
    load_other_extensions = True
    classes = [ServerApp, OllamaServer]  # type: ignore[list-item]

    server: OllamaServer
    collector: ServerCollector

    @default("config_file_name")
    def _default_config_file_name(self) -> str:
        return "jupyter_ollama_config"  # the one that `jupyter ollama` reads, too

    def initialize_settings(self) -> None:
        """Read the settings and log where Jupyter logs; no model is loaded yet."""
        assert self.serverapp is not None
        if os.environ.get("JUPYTERHUB_SERVICE_NAME"):
            self._check_authorizer(self.serverapp)
        self.server = OllamaServer(parent=self)
        package_log = logging.getLogger("jupyter_ollama")
        package_log.parent = self.serverapp.log
        package_log.setLevel(logging.DEBUG if self.server.debug else logging.INFO)

    def _check_authorizer(self, serverapp: ServerApp) -> None:
        """End the process if this is a service of a Hub that opens more than the API."""
        from .hub.server import LaunchError, check_authorizer

        try:
            check_authorizer(serverapp)
        except LaunchError as error:
            serverapp.log.critical("%s", error)
            self.exit(1)

    def initialize_handlers(self) -> None:
        """Add the routes, relative to the server's base URL."""
        assert self.serverapp is not None
        assert self.serverapp.event_logger is not None
        self.handlers.extend(jupyter_handlers(self.server))
        emit_events(self.server.events, self.serverapp.event_logger)
        self.collector = ServerCollector(self.server)
        self.collector.register()

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Begin to load what is to be there from the start; the event loop runs by now."""
        if not self.server.remote_url:
            self.server.preload()

    def current_activity(self) -> dict[str, Any] | None:
        """Return what keeps an idle server from shutting down: answers under way."""
        running = self.server.requests_running
        return {"ollama_requests": running} if running else None

    async def stop_extension(self) -> None:
        """End all runners."""
        self.collector.unregister()
        await self.server.stop()
