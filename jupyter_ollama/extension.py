"""The Jupyter server extension: it adds routes and settings, and unloads models at the end."""

from __future__ import annotations

import asyncio
import logging
import os
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from jupyter_ollama_client.discovery import PREFIX_VARIABLE
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import default

from .api.conversations import conversation_handlers
from .api.events import emit_events
from .api.jupyter import JupyterExchange, jupyter_handlers
from .api.metrics import ServerCollector
from .api.openai.batch_rows import resume
from .config import OllamaServer
from .flow_control.free_memory import bound_heaps
from .page import jupyter_page_handlers

if TYPE_CHECKING:
    from .library.model import Model

if TYPE_CHECKING:
    from .hub.slurm.front import JobUpstream


def close_idle(serverapp: ServerApp, seconds: float) -> None:
    """Set the time after which a Jupyter server closes idle connections; its default is an hour."""
    server = getattr(serverapp, "_http_server", None)
    if server is not None:
        settings = server.conn_params
        settings.header_timeout = min(seconds, settings.header_timeout or seconds)


def _count_as_activity(serverapp: ServerApp) -> None:
    """Keep the culler of idle servers from ending the server."""
    serverapp.web_app.settings["api_last_activity"] = datetime.now(UTC)


class OllamaExtension(ExtensionApp):
    """Serve Ollama's API from a Jupyter server."""

    name = "jupyter_ollama"
    description = "Ollama's API, served by Jupyter"
    load_other_extensions = True
    classes = [ServerApp, OllamaServer]  # type: ignore[list-item]

    server: OllamaServer
    collector: ServerCollector
    job_upstream: JobUpstream | None = None
    """The endpoint that this server is the front of, if it runs as a Slurm job."""

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
        exchange = self._choose_exchange(self.serverapp)
        if not os.environ.get("JUPYTERHUB_SERVICE_NAME"):
            self.handlers.extend(conversation_handlers(self.server.url_prefix))
        if not self.server.remote_url:
            self.handlers.extend(jupyter_page_handlers(self.server))
        self.handlers.extend(jupyter_handlers(self.server, exchange))
        self._configure_pages(self.serverapp)
        if self.server.notebook_tools:
            self._give_notebook_tools(self.serverapp)
        emit_events(self.server.events, self.serverapp.event_logger)
        self.collector = ServerCollector(self.server)
        self.collector.register()

    def _choose_exchange(self, serverapp: ServerApp) -> type[JupyterExchange]:
        """Return the handler of calls: it runs them, or passes them on to another server."""
        if os.environ.get("JUPYTERHUB_SERVICE_NAME"):
            from .hub.server import HubServer

            if isinstance(serverapp, HubServer) and serverapp.is_front:
                from .hub.slurm.front import FrontExchange, JobUpstream

                try:
                    upstream = JobUpstream(self.server, serverapp.settings)
                except OSError as error:
                    serverapp.log.critical("%s", error)
                    self.exit(1)
                self.server.upstream = self.job_upstream = upstream
                return FrontExchange
        if self.server.remote_url:
            from .api.remote import RemoteExchange

            return RemoteExchange
        return JupyterExchange

    def _give_notebook_tools(self, serverapp: ServerApp) -> None:
        """Let Jupyter's MCP server find the tools that the settings allow."""
        from .api.model_views import tag
        from .api.models import all_models
        from .notebook_tools.access import Access, install

        def listed(models: list[Model]) -> list[dict[str, Any]]:
            kept = ("name", "size", "capabilities")
            return [{key: one[key] for key in kept if key in one} for one in map(tag, models)]

        async def models() -> list[dict[str, Any]]:
            return await asyncio.to_thread(listed, await all_models(self.server))

        install(Access(serverapp, self.server, models))

    def _configure_pages(self, serverapp: ServerApp) -> None:
        """Send the path of the API to pages and kernels, and the rules of the agent to pages."""
        pages = serverapp.web_app.settings.setdefault("page_config_data", {})
        pages["ollamaPrefix"] = self.server.url_prefix
        pages["ollamaAgent"] = self.server.agent_policy()
        os.environ[PREFIX_VARIABLE] = self.server.url_prefix  # kernels inherit it

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Start to load the preloaded models; the event loop is running."""
        close_idle(serverapp, self.server.idle_timeout)
        bound_heaps()
        if self.job_upstream:
            self.job_upstream.job.watch()
        elif not self.server.remote_url:
            self.server.open_usage()
            self.server.open_audit()
            self.server.preload()
            resume(self.server, partial(_count_as_activity, serverapp))

    def current_activity(self) -> dict[str, Any] | None:
        """Return the activity that keeps an idle server from shutting down: requests under way."""
        running = self.server.requests_running
        batches = self.server.batches.under_way if self.server.batches else 0
        found = {"ollama_requests": running} if running else {}
        return found | ({"ollama_batches": batches} if batches else {}) or None

    async def stop_extension(self) -> None:
        """End all runners."""
        self.collector.unregister()
        await self.server.stop()
