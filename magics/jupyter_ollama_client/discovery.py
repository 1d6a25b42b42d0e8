"""Find the Ollama server of a kernel."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, urlsplit

from .addresses import WILDCARDS, parse_host
from .client import Client
from .credentials import authorization, hidden, split_credentials, token_in
from .errors import OllamaClientError

DEFAULT_PREFIX = "ollama"
PREFIX_VARIABLE = "JUPYTER_OLLAMA_PREFIX"
"""The variable by which a Jupyter server gives its kernels ``OllamaServer.url_prefix``."""

PROBE_TIMEOUT = 2.0


@dataclass(frozen=True)
class ServerAddress:
    """The address of a server.

    Attributes
    ----------
    url : str
        The address that has ``/api/version`` below it, without a user and a password.
    source : str
        How the address was found: ``"given"``, the name of a variable, ….
    token : str or None
        The Bearer token of the server. Its ``repr`` hides it.
    socket : str or None
        Path of the Unix socket to connect to.
    skipped : str
        Why the Jupyter server of the kernel is not used, "" if it is.
    credentials : str or None
        ``"user:password"`` of Basic authentication, also hidden.

    Examples
    --------
    >>> address = ServerAddress("http://ann:secret@127.0.0.1:11434", "given")
    >>> address.url
    'http://127.0.0.1:11434'
    >>> address.headers
    {'Authorization': '…'}
    """

    url: str
    source: str
    token: str | None = field(default=None, repr=False)
    socket: str | None = None
    skipped: str = ""
    credentials: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        # The repr of neither the fields nor the headers shows a secret.
        url, found = split_credentials(self.url)
        object.__setattr__(self, "url", url)
        object.__setattr__(self, "token", hidden(self.token))
        object.__setattr__(self, "credentials", hidden(self.credentials) or found)

    @property
    def headers(self) -> dict[str, str]:
        """The headers that carry the token or the password, for any HTTP client."""
        return authorization(self.token, self.credentials)

    def client(self) -> Client:
        """Return a client of this server."""
        url = self.url
        if self.credentials:
            user, _, password = self.credentials.partition(":")
            url = url.replace("://", f"://{quote(user, safe='')}:{quote(password, safe='')}@", 1)
        return Client(url, self.token, socket=self.socket)


def discover(
    url: str = "", token: str = "", environ: Mapping[str, str] | None = None
) -> ServerAddress:
    """Return the address of the server to use.

    It is the first of these that exists:

    1. ``url``;
    2. ``JUPYTER_OLLAMA_URL``, which an administrator sets to share a server with all users;
    3. the Jupyter server that started this kernel, if it answers as an Ollama server;
    4. ``OLLAMA_HOST``, as Ollama's own clients read it;
    5. http://127.0.0.1:11434.

    Only the Jupyter server is probed. A token is sent only to the server that it belongs to:
    ``JUPYTER_OLLAMA_TOKEN`` to 2, or the kernel's own token of the JupyterHub if 2 is a route of
    that Hub; ``OLLAMA_API_KEY`` to 4 and 5. The token of 3 comes from the file of that server.
    ``url`` gets the token of 2 to 5 if it is the same address.

    Parameters
    ----------
    url : str, optional
        An address. It may have a user and a password, or a token as Jupyter servers print it.
    token : str, optional
        Replaces the token of the environment.
    environ : mapping, optional
        Read in place of ``os.environ``.

    Raises
    ------
    ValueError
        If a value is not an address.

    Examples
    --------
    >>> discover(url).source
    'given'
    >>> discover(environ={"OLLAMA_HOST": "gpu:8080"}).url
    'http://gpu:8080'
    """
    environ = os.environ if environ is None else environ
    if url:
        return _given(url, token, environ)
    named = environ.get("JUPYTER_OLLAMA_URL", "").strip()
    if named:
        shared = shared_server(named, environ)
        return replace(shared, token=token or shared.token)
    parent, skipped = parent_server(environ)
    if parent:
        return parent
    own = _own_server(environ)
    return replace(own, token=token or own.token, skipped=skipped)


def _given(url: str, token: str, environ: Mapping[str, str]) -> ServerAddress:
    """Return the server at an address of the user, with the token of the environment for it."""
    given = ServerAddress(parse_host(url), "given", token or token_in(url))
    if given.token and given.credentials:
        raise ValueError(f"{given.url} has a user and a token was given, too: only one can be sent")
    if given.token or given.credentials:
        return given
    named = environ.get("JUPYTER_OLLAMA_URL", "").strip()
    known = [
        shared_server(named, environ) if named else None,
        _parent(environ),
        _own_server(environ),
    ]
    found = next((one for one in known if one and one.url == given.url), None)
    return replace(found, source="given") if found else given


def _own_server(environ: Mapping[str, str]) -> ServerAddress:
    """Return the server that Ollama's own clients use."""
    host = environ.get("OLLAMA_HOST", "").strip()
    key = token_in(host) or environ.get("OLLAMA_API_KEY")
    return ServerAddress(parse_host(host), "OLLAMA_HOST" if host else "default address", key)


def shared_server(url: str, environ: Mapping[str, str] | None = None) -> ServerAddress:
    """Return the server at ``url``, the value of JUPYTER_OLLAMA_URL, with the token for it.

    Raises ValueError if ``url`` is not an address.
    """
    environ = os.environ if environ is None else environ
    token = token_in(url) or environ.get("JUPYTER_OLLAMA_TOKEN") or _hub_token(url, environ)
    return ServerAddress(parse_host(url), "JUPYTER_OLLAMA_URL", token)


def parent_server(environ: Mapping[str, str]) -> tuple[ServerAddress | None, str]:
    """Return the Ollama server inside this kernel's Jupyter server, or None and the reason."""
    address = _parent(environ)
    if address is None:
        return None, ""
    client = address.client()
    try:
        client.version(timeout=PROBE_TIMEOUT)
    except OllamaClientError as error:
        return None, f"The Jupyter server of this kernel has no Ollama API: {error}"
    finally:
        client.close()
    return address, ""


def _parent(environ: Mapping[str, str]) -> ServerAddress | None:
    """Return the address of the Ollama server inside this kernel's Jupyter server, if it has one.

    Only the parent's own file in the runtime directory is read: files of other servers may be
    stale, and their tokens do not belong to this kernel.
    """
    pid = environ.get("JPY_PARENT_PID", "")
    # On Windows JPY_PARENT_PID holds a handle.
    number = os.getppid() if os.name == "nt" and pid else int(pid) if pid.isdigit() else 0
    if number <= 1 or not _alive(number):
        return None
    try:
        from jupyter_core.paths import jupyter_runtime_dir
    except ImportError:  # a kernel whose environment has no Jupyter
        return None
    try:
        info = json.loads(Path(jupyter_runtime_dir(), f"jpserver-{number}.json").read_text("utf-8"))
        return address_in(info, environ.get(PREFIX_VARIABLE) or DEFAULT_PREFIX)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _hub_token(url: str, environ: Mapping[str, str]) -> str | None:
    """Return this kernel's token of the JupyterHub if ``url`` is a service or server of a Hub."""
    base = environ.get("JUPYTERHUB_BASE_URL", "/").rstrip("/")
    if urlsplit(url).path.startswith((f"{base}/services/", f"{base}/user/")):
        return environ.get("JUPYTERHUB_API_TOKEN") or None
    return None


def address_in(info: Mapping[str, str], prefix: str) -> ServerAddress:
    """Return the address of the API inside a Jupyter server, from the file that describes it."""
    base = str(info["base_url"]).rstrip("/")
    socket = info.get("sock") or None
    if socket:
        url = "http://localhost"
    elif str(info["url"]).startswith("https:"):  # the name that its certificate is for
        url = str(info["url"]).rstrip("/").removesuffix(base)
    else:
        host = str(info["hostname"])
        host = "localhost" if host in WILDCARDS else host
        url = f"http://{f'[{host}]' if ':' in host else host}:{info['port']}"
    token = info.get("token") or None
    return ServerAddress(f"{url}{base}/{prefix}", "parent Jupyter server", token, socket)


def _alive(pid: int) -> bool:
    if os.name == "nt":  # signal 0 would be a Ctrl-C there; the probe is enough
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
