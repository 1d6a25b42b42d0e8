"""The settings of access: who may call the server, and which servers it calls."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Dict, List, TraitError, Unicode
from traitlets import validate as validates
from traitlets.config import LoggingConfigurable

from .environment import bool_variable, from_variable, list_variable, variable
from .web.settings import checked_networks

_NO_TEXTS: list[str] = []


class AccessSettings(LoggingConfigurable):
    """The settings of mounts, clients, registries and the shared server."""

    origins = from_variable(
        List(
            Unicode(),
            help="""Let pages of these origins call the stand-alone server, besides local ones.
            "*" stands for any text.""",
        ),
        "OLLAMA_ORIGINS",
        _NO_TEXTS,
        list_variable,
        shown="separated by commas",
        brief="pages that may call, besides local ones",
    )
    allowed_hosts = from_variable(
        List(
            Unicode(),
            help="""Let clients reach the stand-alone server by these host names, besides IP
            addresses and names of the local network: "gpu.example.org". "*" stands for any text
            and, alone, turns the check of Host headers off, as in Ollama; pages of any domain that
            is pointed at this server can use it then.""",
        ),
        "OLLAMA_ALLOWED_HOSTS",
        _NO_TEXTS,
        list_variable,
        shown="separated by commas",
        brief="host names clients may use, besides local ones; * all",
    )
    access_token = from_variable(
        Unicode(
            help="""Answer only clients of the stand-alone server that send this token, as
            "Authorization: Bearer" (clients: OLLAMA_API_KEY) or X-Api-Key. Host headers are then
            not checked beyond loopback."""
        ),
        "OLLAMA_ACCESS_TOKEN",
        "",
        variable,
        shown="",
        brief="what clients must send (they set OLLAMA_API_KEY)",
    )
    registry_mirrors = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="""Ask these servers in place of registries, for pulls and pushes: {"host of the
        registry": "URL of the mirror"}.""",
    ).tag(config=True)
    registry_logins = Dict(
        value_trait=Unicode(),
        key_trait=Unicode(),
        help="""Log in to registries that require it: {"host": "user:password"}. All users who may
        pull and push use these logins. For other hosts, Ollama's key ~/.ollama/id_ed25519
        signs.""",
    ).tag(config=True)
    registry_allowed_addresses = List(
        Unicode(),
        help="""Follow registries, in pulls and pushes, to these addresses too, though they are not
        public: of an object store inside, "10.1.2.3" or a network such as "10.1.0.0/16". Without
        it a registry sends requests on to public addresses only, and one that was named by an
        address to that, too.""",
    ).tag(config=True)
    offline = from_variable(
        Bool(help="Never ask a registry: pull only what is stored already, push nothing."),
        "OLLAMA_OFFLINE",
        False,
        bool_variable,
        shown="or no",
        brief="1 never asks a registry",
    )
    url_prefix = Unicode(
        "ollama",
        help="""Serve the API below this path of the Jupyter server. JupyterLab and the kernels
        that this server starts use it, too.""",
    ).tag(config=True)
    remote_url = from_variable(
        Unicode(
            help="""Run no models here, pass all calls on to the shared server at this address, in
            the name of the user whom this Jupyter server belongs to."""
        ),
        "JUPYTER_OLLAMA_URL",
        "",
        variable,
        shown="",
    )
    mount_root = Bool(
        False,
        help="""Serve the API at the root of the Jupyter server too (/api/chat and so on), for
        clients that take no path in OLLAMA_HOST.""",
    ).tag(config=True)

    @validates("registry_allowed_addresses")
    def _registry_networks(self, proposal: dict[str, Any]) -> list[str]:
        return checked_networks(proposal)

    @validates("url_prefix")
    def _own_url_prefix(self, proposal: dict[str, Any]) -> str:
        prefix: str = proposal["value"].strip("/")
        if prefix.split("/")[0] in ("", "api"):
            raise TraitError("url_prefix must be a path of its own, not the path of Jupyter's API")
        return prefix
