"""The Jupyter server extension: it adds routes and settings, and unloads models at the end."""

from __future__ import annotations

import logging
import os
from typing import Any

from jupyter_ollama_client.discovery import PREFIX_VARIABLE
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import default

from .api.events import emit_events
from .api.jupyter import JupyterExchange, jupyter_handlers
from .api.metrics import ServerCollector
from .config import OllamaServer
from .flow_control.free_memory import bound_heaps


def close_idle(serverapp: ServerApp, seconds: float) -> None:
    """Set the time after which a Jupyter server closes idle connections; its default is an hour."""
    server = getattr(serverapp, "_http_server", None)
    if server is not None:
        settings = server.conn_params
        settings.header_timeout = min(seconds, settings.header_timeout or seconds)


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
        exchange = JupyterExchange
        if self.server.remote_url:
            from .api.remote import RemoteExchange

            exchange = RemoteExchange
        self.handlers.extend(jupyter_handlers(self.server, exchange))
        self._publish_prefix(self.serverapp)
        emit_events(self.server.events, self.serverapp.event_logger)
        self.collector = ServerCollector(self.server)
        self.collector.register()

    def _publish_prefix(self, serverapp: ServerApp) -> None:
        """Send the path of the API to pages, by their configuration, and to kernels."""
        pages = serverapp.web_app.settings.setdefault("page_config_data", {})
        pages["ollamaPrefix"] = self.server.url_prefix
        os.environ[PREFIX_VARIABLE] = self.server.url_prefix  # kernels inherit it

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Start to load the preloaded models; the event loop is running."""
        close_idle(serverapp, self.server.idle_timeout)
        bound_heaps()
        if not self.server.remote_url:
            self.server.open_usage()
            self.server.preload()

    def current_activity(self) -> dict[str, Any] | None:
        """Return the activity that keeps an idle server from shutting down: requests under way."""
        running = self.server.requests_running
        return {"ollama_requests": running} if running else None

    async def stop_extension(self) -> None:
        """End all runners."""
        self.collector.unregister()
        await self.server.stop()
