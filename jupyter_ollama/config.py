"""The settings of the server, and the objects that are made from them."""

from __future__ import annotations

import asyncio
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from .access_settings import AccessSettings
from .agent_settings import AgentSettings
from .audit.settings import AuditSettings
from .batches.settings import BatchSettings
from .bounds import Bounds
from .mcp_client.settings import McpSettings
from .model_settings import ModelSettings
from .notebook_tools.settings import NotebookToolSettings
from .page_settings import PageSettings
from .runner_bounds import RunnerBounds
from .sharing import Sharing
from .upstreams.settings import UpstreamSettings
from .web.settings import WebSettings

if TYPE_CHECKING:
    from .audit.log import AuditLog
    from .batches.batches import Batches
    from .engine.device_list import DeviceList
    from .errors import PathRedactor
    from .library.library import Library
    from .library.store import Store
    from .mcp_client.servers import McpServers
    from .registry.transfers import Transfers
    from .scheduler.scheduler import Scheduler
    from .upstream import Upstream
    from .upstreams.pool import Upstreams
    from .web.pages import Pages


class OllamaServer(
    ModelSettings,
    AccessSettings,
    AgentSettings,
    Sharing,
    Bounds,
    RunnerBounds,
    UpstreamSettings,
    WebSettings,
    McpSettings,
    NotebookToolSettings,
    BatchSettings,
    AuditSettings,
    PageSettings,
):
    """The server's settings, and the library and scheduler made from them."""

    _preloading: asyncio.Task[None] | None = None
    audit: AuditLog | None = None
    """The audit log, if it is on and the server has started."""
    batches: Batches | None = None
    """The batches, once a request or a start has asked for them: see `api.openai.batch_rows`."""

    @cached_property
    def upstream(self) -> Upstream:
        """The shared server of ``remote_url``."""
        from .upstream import Upstream

        return Upstream(self.remote_url)

    @cached_property
    def upstream_pool(self) -> Upstreams:
        """The upstreams and their state; empty where the settings name none."""
        from .upstreams.pool import Upstreams

        return Upstreams(self)

    @cached_property
    def redactor(self) -> PathRedactor:
        """Removes paths of this server's files from errors."""
        from .errors import PathRedactor

        usage = str(Path(self.usage_file).parent)
        kept = usage, self.batch_dir, self.prefix_dir
        return PathRedactor([self.models_dir, *self.model_folders, *kept])

    @cached_property
    def store(self) -> Store:
        """The files of the models, repaired on first use."""
        from .library.store import Store

        store = Store(Path(self.models_dir).expanduser())
        store.prepare()
        return store

    @cached_property
    def library(self) -> Library:
        """The models of the store."""
        from .library.library import Library

        return Library(self.store, self.model_folders)

    @cached_property
    def scheduler(self) -> Scheduler:
        """Loads models and orders requests."""
        from .scheduler.scheduler import Scheduler

        return Scheduler(self, self.library, self.events)

    @cached_property
    def transfers(self) -> Transfers:
        """Pulls and pushes."""
        from .registry.transfers import Transfers

        return Transfers(
            self.store,
            mirrors=self.registry_mirrors,
            logins=self.registry_logins,
            offline=self.offline,
            allowed=self.registry_allowed_addresses,
        )

    @cached_property
    def devices(self) -> DeviceList:
        """The devices of this host."""
        from .engine.device_list import DeviceList

        return DeviceList(self.backend_folders)

    @cached_property
    def pages(self) -> Pages:
        """Fetches and searches of the web."""
        from .web.pages import Pages

        return Pages(self)

    @cached_property
    def mcp(self) -> McpServers:
        """The MCP servers of the settings; none of them runs before it is used."""
        from .mcp_client.servers import McpServers

        return McpServers(self)

    def open_audit(self) -> None:
        """Begin the audit log, if it is on. Raises OSError if its folder cannot be made."""
        if self.audit_file:
            from .audit.log import AuditLog

            path = Path(self.audit_file).expanduser()
            self.audit = AuditLog(path, self.audit_days, self.events)

    @property
    def audits_text(self) -> bool:
        """Whether the texts of requests are written into the audit log."""
        return self.audit is not None and self.audit_text

    def preload(self) -> None:
        """Start to load the pinned and preloaded models; needs the running event loop.

        The variables of the environment that decide about devices are logged before.
        """
        from .engine.device_variables import effects

        for effect in effects():
            self.log.info("%s", effect.text)
        names = dict.fromkeys([*self.pinned_models, *self.preload_models])
        if names:
            self._preloading = asyncio.create_task(self.scheduler.preload(names))

    async def stop(self) -> None:
        """End transfers and unload everything."""
        if self._preloading:
            self._preloading.cancel()
        if self.batches:
            await self.batches.close()
        if "upstream" in self.__dict__:
            await self.upstream.close()
        if "upstream_pool" in self.__dict__:
            await self.upstream_pool.close()
        if "transfers" in self.__dict__:
            await asyncio.to_thread(self.transfers.stop)
        if "scheduler" in self.__dict__:
            await self.scheduler.close()
        if "long_work" in self.__dict__:
            self.long_work.close()
        if "free_memory" in self.__dict__:
            self.free_memory.close()
        if "pages" in self.__dict__:
            await self.pages.close()
        if "mcp" in self.__dict__:
            await self.mcp.close()
        await self.close_usage()
        if self.audit:
            await asyncio.to_thread(self.audit.close)
