"""The knobs of the server, each a trait with Ollama's own variable as its default."""

from __future__ import annotations

import asyncio
import logging
import math
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traitlets import Bool, CaselessStrEnum, Dict, Int, List, TraitError, Unicode, default
from traitlets import validate as validates

from .environment import Duration, bool_variable, duration_variable, int_variable, variable
from .sharing import Sharing
from .web.guard import Guard

if TYPE_CHECKING:
    from .api.remote import Remote
    from .api.requests import RunningRequests
    from .library.model import Library
    from .library.store import Store
    from .registry.transfers import Transfers
    from .scheduler.scheduler import Scheduler

log = logging.getLogger(__name__)


WORKER = re.compile(r"[^:\s]+:\d{1,5}")
"""The address of a worker: llama.cpp knows names and IPv4 here."""


def _or_never(timeout: float) -> float:
    return 0.0 if math.isinf(timeout) else timeout


class OllamaServer(Sharing):
    """The server's settings, and the library and scheduler made from them."""

    models_dir = Unicode(
        help="Keep models in this folder. Default: OLLAMA_MODELS, or ~/.ollama/models."
    ).tag(config=True)
    model_folders = List(
        Unicode(),
        help="""Offer the GGUF files in these folders, too, without copying them: of llama.cpp
        (~/.cache/llama.cpp), LM Studio (~/.lmstudio/models), the Hugging Face hub
        (~/.cache/huggingface/hub), or any other.""",
    ).tag(config=True)
    keep_alive = Duration(
        help="""Keep an idle model loaded for this time: seconds, or a duration such as "5m".
        0 unloads at once, a negative value never. Default: OLLAMA_KEEP_ALIVE, or 5m."""
    ).tag(config=True)
    max_loaded_models = Int(
        min=0,
        help="""Keep at most this many models loaded, 0 for automatic.
        Default: OLLAMA_MAX_LOADED_MODELS, or 0.""",
    ).tag(config=True)
    num_parallel = Int(
        min=0,
        help="""Run at most this many requests at once on a model, 0 for automatic.
        Default: OLLAMA_NUM_PARALLEL, or 0.""",
    ).tag(config=True)
    preload_models = List(
        Unicode(), help="Load these models when the server starts, one after the other."
    ).tag(config=True)
    pinned_models = List(
        Unicode(),
        help="""Load these models too when the server starts, and never unload them, neither after
        a time nor to make room. max_loaded_models does not count them.""",
    ).tag(config=True)
    rpc_servers = List(
        Unicode(),
        help="""Put layers of a model that this host has no room for on these workers, too
        (`jupyter ollama worker`, or llama.cpp's own rpc-server): "host:port". What is sent to them
        is neither encrypted nor signed.""",
    ).tag(config=True)
    max_queue = Int(
        min=0,
        help="""Let at most this many requests wait, answer further ones with 503.
        Default: OLLAMA_MAX_QUEUE, or 512.""",
    ).tag(config=True)
    context_length = Int(
        min=0,
        help="""Give a request this many tokens of context unless it asks for another number,
        0 for 4096. Default: OLLAMA_CONTEXT_LENGTH, or 0.""",
    ).tag(config=True)
    kv_cache_type = CaselessStrEnum(
        ["f16", "q8_0", "q4_0"],
        help="""Store keys and values in this type; all but f16 need flash attention.
        Default: OLLAMA_KV_CACHE_TYPE, or f16.""",
    ).tag(config=True)
    flash_attention = Bool(
        allow_none=True,
        help="""Use flash attention, None for where it is supported.
        Default: OLLAMA_FLASH_ATTENTION, or None.""",
    ).tag(config=True)
    truncate_prompts = Bool(
        help="""Shorten prompts that the context does not hold, where a request does not say
        whether to; else refuse them. Default: OLLAMA_TRUNCATE_PROMPTS, or yes."""
    ).tag(config=True)
    load_timeout = Duration(
        help="""Give up loading a model after this time, 0 or a negative value for never.
        Default: OLLAMA_LOAD_TIMEOUT, or 5m."""
    ).tag(config=True)
    origins = List(
        Unicode(),
        help="""Let pages of these origins call the stand-alone server, besides local ones.
        "*" stands for any text. Default: OLLAMA_ORIGINS, separated by commas.""",
    ).tag(config=True)
    registry_mirrors = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="""Ask these servers in place of registries, for pulls and pushes: {"host of the
        registry": "URL of the mirror"}.""",
    ).tag(config=True)
    registry_logins = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="""Log in to registries that want it: {"host": "user:password"}. All who may pull and
        push use these logins. For other hosts, Ollama's key ~/.ollama/id_ed25519 signs.""",
    ).tag(config=True)
    offline = Bool(
        help="""Never ask a registry: pull only what is there already, push nothing.
        Default: OLLAMA_OFFLINE, or no."""
    ).tag(config=True)
    web_fetch = Bool(
        False,
        help="""Let users fetch pages of the web through this server (POST /api/web_fetch). Pages on
        hosts that are not public are refused. Needs the extra "web".""",
    ).tag(config=True)
    web_allowed_addresses = List(
        Unicode(),
        help="""Fetch pages from these addresses too, though they are not public: "10.1.2.3" or a
        network such as "10.1.0.0/16".""",
    ).tag(config=True)
    web_search_url = Unicode(
        help="""Search the web (POST /api/web_search) by this SearXNG server, which has to allow the
        format JSON: "http://127.0.0.1:8888/search". Without it nothing is searched."""
    ).tag(config=True)
    url_prefix = Unicode("ollama", help="Serve the API below this path of the Jupyter server.").tag(
        config=True
    )
    remote_url = Unicode(
        help="""Run no models here, pass all calls on to the shared server at this address, in the
        name of the user whom this Jupyter server belongs to. Default: JUPYTER_OLLAMA_URL."""
    ).tag(config=True)
    mount_root = Bool(
        False,
        help="""Serve the API at the root of the Jupyter server too (/api/chat and so on), for
        clients that take no path in OLLAMA_HOST.""",
    ).tag(config=True)
    debug = Bool(
        help="Log details, what llama.cpp says among them. Default: OLLAMA_DEBUG, or no."
    ).tag(config=True)

    requests_running = 0
    """How many requests that count as activity are under way."""
    _preloading: asyncio.Task[None] | None = None

    @default("models_dir")
    def _default_models_dir(self) -> str:
        return variable("OLLAMA_MODELS") or str(Path.home() / ".ollama" / "models")

    @default("keep_alive")
    def _default_keep_alive(self) -> float:
        return duration_variable("OLLAMA_KEEP_ALIVE", 300.0)

    @default("max_loaded_models")
    def _default_max_loaded_models(self) -> int:
        return int_variable("OLLAMA_MAX_LOADED_MODELS", 0)

    @default("num_parallel")
    def _default_num_parallel(self) -> int:
        return int_variable("OLLAMA_NUM_PARALLEL", 0)

    @default("max_queue")
    def _default_max_queue(self) -> int:
        return int_variable("OLLAMA_MAX_QUEUE", 512)

    @default("context_length")
    def _default_context_length(self) -> int:
        return int_variable("OLLAMA_CONTEXT_LENGTH", 0)

    @default("kv_cache_type")
    def _default_kv_cache_type(self) -> str:
        text = variable("OLLAMA_KV_CACHE_TYPE").lower() or "f16"
        if text in ("f16", "q8_0", "q4_0"):
            return text
        log.warning("OLLAMA_KV_CACHE_TYPE=%r is unknown, f16 is used", text)
        return "f16"

    @default("flash_attention")
    def _default_flash_attention(self) -> bool | None:
        return bool_variable("OLLAMA_FLASH_ATTENTION", None)

    @default("truncate_prompts")
    def _default_truncate_prompts(self) -> bool:
        return bool(bool_variable("OLLAMA_TRUNCATE_PROMPTS", True))

    @default("load_timeout")
    def _default_load_timeout(self) -> float:
        return _or_never(duration_variable("OLLAMA_LOAD_TIMEOUT", 300.0))

    @default("origins")
    def _default_origins(self) -> list[str]:
        return [text.strip() for text in variable("OLLAMA_ORIGINS").split(",") if text.strip()]

    @default("offline")
    def _default_offline(self) -> bool:
        return bool(bool_variable("OLLAMA_OFFLINE", False))

    @default("remote_url")
    def _default_remote_url(self) -> str:
        return variable("JUPYTER_OLLAMA_URL")

    @default("debug")
    def _default_debug(self) -> bool:
        return bool(bool_variable("OLLAMA_DEBUG", False))

    @validates("load_timeout")
    def _endless_load_timeout(self, proposal: dict[str, Any]) -> float:
        return _or_never(proposal["value"])

    @validates("preload_models", "pinned_models")
    def _model_names(self, proposal: dict[str, Any]) -> list[str]:
        from .library.name import InvalidName, ModelName

        names: list[str] = proposal["value"]
        for name in names:
            try:
                ModelName.parse(name)
            except InvalidName:
                raise TraitError(f"{proposal['trait'].name}: {name!r} is no model's name") from None
        return names

    @validates("rpc_servers")
    def _addresses(self, proposal: dict[str, Any]) -> list[str]:
        addresses: list[str] = proposal["value"]
        for address in addresses:
            if not WORKER.fullmatch(address):
                raise TraitError(f'rpc_servers: {address!r} is not of the form "host:port"')
        return addresses

    @validates("web_allowed_addresses")
    def _networks(self, proposal: dict[str, Any]) -> list[str]:
        try:
            Guard(proposal["value"])
        except ValueError as error:
            raise TraitError(f"web_allowed_addresses: {error}") from None
        networks: list[str] = proposal["value"]
        return networks

    @validates("url_prefix")
    def _own_url_prefix(self, proposal: dict[str, Any]) -> str:
        prefix: str = proposal["value"].strip("/")
        if prefix.split("/")[0] in ("", "api"):
            raise TraitError("url_prefix must be a path of its own, not that of Jupyter's API")
        return prefix

    @cached_property
    def remote(self) -> Remote:
        """The shared server of ``remote_url``."""
        from .api.remote import Remote

        return Remote(self.remote_url)

    @cached_property
    def running_requests(self) -> RunningRequests:
        """The requests that can be ended by their ids."""
        from .api.requests import RunningRequests

        return RunningRequests()

    @cached_property
    def store(self) -> Store:
        """The files of the models, put in order on first use."""
        from .library.store import Store

        store = Store(Path(self.models_dir).expanduser())
        store.prepare()
        return store

    @cached_property
    def library(self) -> Library:
        """The models of the store."""
        from .library.model import Library

        return Library(self.store, self.model_folders)

    @cached_property
    def scheduler(self) -> Scheduler:
        """What is loaded and who goes next."""
        from .scheduler.scheduler import Scheduler

        return Scheduler(self, self.events)

    @cached_property
    def transfers(self) -> Transfers:
        """Pulls and pushes."""
        from .registry.transfers import Transfers

        return Transfers(
            self.store,
            mirrors=self.registry_mirrors,
            logins=self.registry_logins,
            offline=self.offline,
        )

    def preload(self) -> None:
        """Begin to load what is to be there from the start; needs the running event loop."""
        names = dict.fromkeys([*self.pinned_models, *self.preload_models])
        if names:
            from .scheduler.preload import preload

            work = preload(names, lambda name: self.library.find(name), self.scheduler)
            self._preloading = asyncio.create_task(work)

    async def stop(self) -> None:
        """End transfers and unload everything."""
        if self._preloading:
            self._preloading.cancel()
        if "remote" in self.__dict__:
            await self.remote.close()
        if "transfers" in self.__dict__:
            await asyncio.to_thread(self.transfers.stop)
        if "scheduler" in self.__dict__:
            await self.scheduler.close()
        self.close_usage()
