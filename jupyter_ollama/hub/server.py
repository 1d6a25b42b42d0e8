"""The process of a shared endpoint: a Jupyter server with nothing in it but the API."""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence

from jupyter_server.serverapp import ServerApp
from traitlets.config import Config

from .authorizer import OllamaAuthorizer

CACHE_SECONDS = 60
"""For how long the Hub's word on a token is believed, unless HubOAuth.cache_max_age says."""

_BELONGS_TO_USERS = ("JUPYTER_OLLAMA_URL", "JUPYTER_OLLAMA_TOKEN")


class LaunchError(Exception):
    """What keeps an endpoint from being started."""


class HubServer(ServerApp):
    """A Jupyter server without notebooks, kernels, files and terminals."""

    name = "jupyter-ollama-hub"
    classes = [*ServerApp.classes, OllamaAuthorizer]
    default_services = ("auth",)  # type: ignore[assignment]

    def _config_file_name_default(self) -> str:
        # Not the one of the notebook servers on this host: it may open what is shut here.
        return "jupyter_ollama_config"


def serve(settings: Sequence[str]) -> None:
    """Serve until SIGTERM. ``settings`` are options of the command line. Raises LaunchError."""
    for name in _BELONGS_TO_USERS:
        os.environ.pop(name, None)
    # These go before what configuration files say.
    locks = {"authorizer_class": OllamaAuthorizer, "allow_unauthenticated_access": False}
    config = Config({"ServerApp": locks})
    extensions = {"jupyterhub": True, "jupyter_ollama": True}
    app = HubServer.instance(config=config, jpserver_extensions=extensions)
    app.initialize(argv=[*settings], find_extensions=False)
    check_identity(app)
    if "cache_max_age" not in app.config.HubOAuth:
        app.identity_provider.hub_auth.cache_max_age = CACHE_SECONDS
    app.start()


def check_identity(app: ServerApp) -> None:
    """Raise LaunchError unless it is the Hub that says who asks and our rules who may."""
    if not hasattr(app.identity_provider, "hub_auth"):
        raise LaunchError("the server does not ask the JupyterHub who its users are")
    check_authorizer(app)


def check_authorizer(app: ServerApp) -> None:
    """Raise LaunchError if users of the Hub could get at more than the API."""
    if not isinstance(app.authorizer, OllamaAuthorizer):
        raise LaunchError(
            "a service of a JupyterHub must not open kernels, files and terminals to its users: "
            'start it with "jupyter ollama hub", or with '
            "--ServerApp.authorizer_class=jupyter_ollama.hub.OllamaAuthorizer"
        )


def complete(environment: MutableMapping[str, str], name: str, hub_api: str, listen: str) -> None:
    """Set the variables that a Hub gives to a service that it starts. Raises LaunchError.

    Those that are set stay. ``hub_api`` is the URL of the Hub's API as this host reaches it,
    ``listen`` the address and port that the Hub's proxy sends requests to.
    """
    base = environment.get("JUPYTERHUB_BASE_URL", "/").rstrip("/")
    given = {
        "JUPYTERHUB_API_URL": hub_api.rstrip("/"),
        "JUPYTERHUB_SERVICE_URL": f"http://{listen}" if listen else "",
    }
    if "JUPYTERHUB_SERVICE_PREFIX" not in environment:
        given |= {
            "JUPYTERHUB_SERVICE_NAME": name,
            "JUPYTERHUB_SERVICE_PREFIX": f"{base}/services/{name}/",
            "JUPYTERHUB_CLIENT_ID": f"service-{name}",
            "JUPYTERHUB_BASE_URL": f"{base}/",
        }
    for variable, value in given.items():
        if value:
            environment.setdefault(variable, value)
    missing = [name for name in REQUIRED if not environment.get(name)]
    if missing:
        raise LaunchError(
            f"{' and '.join(missing)} not set. A JupyterHub sets them for a service with a "
            "command; for one without, see jupyter ollama hub --help"
        )


REQUIRED = ("JUPYTERHUB_API_TOKEN", "JUPYTERHUB_API_URL", "JUPYTERHUB_SERVICE_URL")
