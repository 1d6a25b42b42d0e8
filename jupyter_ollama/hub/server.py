"""The process of a shared endpoint: a Jupyter server with nothing in it but the API."""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from jupyter_server.serverapp import ServerApp
from traitlets.config import Config

from ..api.connections import BoundedServer
from ..config import OllamaServer
from .authorizer import OllamaAuthorizer
from .open_routes import close_routes
from .slurm.inside_job import JobSettings, listening, register
from .slurm.settings import SlurmEndpoint

CACHE_SECONDS = 60
"""The seconds for which the Hub's answer on a token is cached; HubOAuth.cache_max_age overrides."""

_BELONGS_TO_USERS = ("JUPYTER_OLLAMA_URL", "JUPYTER_OLLAMA_TOKEN")


class LaunchError(Exception):
    """The reason why an endpoint cannot start."""


class HubServer(ServerApp):
    """A Jupyter server without notebooks, kernels, files and terminals."""

    name = "jupyter-ollama-hub"
    classes = [*ServerApp.classes, OllamaAuthorizer, SlurmEndpoint]
    default_services = ("auth",)  # type: ignore[assignment]

    is_front = False
    """Whether calls are passed on to an endpoint in a Slurm job."""
    job: JobSettings | None = None
    """Where this endpoint registers, if it is the one in the job."""
    settings: Sequence[str] = ()
    """The settings of the command line, which a front passes on to its job."""

    def init_httpserver(self) -> None:
        """Listen with a server that closes idle connections for new ones."""
        super().init_httpserver()
        # It listens only once the event loop runs.
        self._http_server = BoundedServer(
            self.web_app,
            bounds=OllamaServer(parent=self),
            ssl_options=self.ssl_options,
            xheaders=self.trust_xheaders,
            max_body_size=self.max_body_size,
            max_buffer_size=self.max_buffer_size,
        )

    def _bind_http_server(self) -> None:
        """Listen, and in a job say where."""
        super()._bind_http_server()
        if self.job is not None:
            register(self, self.job)

    def _config_file_name_default(self) -> str:
        # Not the configuration of notebook servers on this host: it may open routes closed here.
        return "jupyter_ollama_config"


def serve(
    settings: Sequence[str], *, is_front: bool = False, job: JobSettings | None = None
) -> None:
    """Serve until SIGTERM. ``settings`` are options of the command line. Raises LaunchError.

    With ``is_front`` the models run in a Slurm job; with ``job`` this is the process in it.
    """
    if job is None:
        make(settings, is_front=is_front).start()
        return
    with TemporaryDirectory(prefix="jupyter-ollama-job-") as folder:
        more = listening(Path(folder))
        make([*settings, *more], job=job).start()


def make(
    settings: Sequence[str], *, is_front: bool = False, job: JobSettings | None = None
) -> HubServer:
    """Return the server, ready to start. Raises LaunchError."""
    for name in _BELONGS_TO_USERS:
        os.environ.pop(name, None)
    # These override configuration files.
    locks = {"authorizer_class": OllamaAuthorizer, "allow_unauthenticated_access": False}
    config = Config({"ServerApp": locks, "OllamaServer": {"shared": True}})
    extensions = {"jupyterhub": True, "jupyter_ollama": True}
    app = HubServer.instance(config=config, jpserver_extensions=extensions)
    app.is_front, app.job, app.settings = is_front, job, settings
    app.initialize(argv=[*settings], find_extensions=False)
    check_identity(app)
    check_user(app)
    close_routes(app.web_app, _ollama_server(app))
    if "cache_max_age" not in app.config.HubOAuth:
        app.identity_provider.hub_auth.cache_max_age = CACHE_SECONDS
    return app  # type: ignore[no-any-return]


def _ollama_server(app: ServerApp) -> OllamaServer:
    """Return the settings and objects of the extension."""
    (extension,) = app.extension_manager.extension_apps["jupyter_ollama"]
    server: OllamaServer = extension.server
    return server


def check_identity(app: ServerApp) -> None:
    """Raise LaunchError unless the Hub authenticates users and our rules authorize them."""
    if not hasattr(app.identity_provider, "hub_auth"):
        raise LaunchError("the server does not ask the JupyterHub who its users are")
    check_authorizer(app)


def check_user(app: ServerApp) -> None:
    """Raise LaunchError for root unless the settings allow it; Jupyter would exit without advice.

    A service that exits ends its Hub, too, so the message states the remedy.
    """
    if hasattr(os, "geteuid") and os.geteuid() == 0 and not app.allow_root:
        raise LaunchError(
            "it does not run as root. In c.JupyterHub.services, give the service a user of its own "
            '("user": "ollama"), or add --allow-root to its command'
        )


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
