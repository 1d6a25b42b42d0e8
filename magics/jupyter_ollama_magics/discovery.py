"""How a kernel finds its Ollama server."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from .client import Client
from .errors import OllamaClientError

DEFAULT_PORT = 11434
PROBE_TIMEOUT = 2.0
_WILDCARDS = {"", "*", "0.0.0.0", "::"}


@dataclass(frozen=True)
class Endpoint:
    """Where a server is, how that was found out, and what was passed over on the way."""

    url: str
    source: str
    token: str | None = None
    socket: str | None = None
    skipped: str = ""

    @property
    def headers(self) -> dict[str, str]:
        """The headers of a request that carry the token, for any HTTP client."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    def client(self) -> Client:
        """Return a client of this server."""
        return Client(self.url, self.token, socket=self.socket)


def discover(url: str = "", token: str = "", environ: Mapping[str, str] | None = None) -> Endpoint:
    """Return the server to use, the first of these that there is:

    1. ``url``, the address that the user gave;
    2. ``JUPYTER_OLLAMA_URL``, for an administrator who points everybody at a shared server;
    3. the Jupyter server that started this kernel, if it answers as an Ollama server;
    4. ``OLLAMA_HOST``, as Ollama's own clients read it;
    5. http://127.0.0.1:11434.

    ``token`` overrides the tokens of the environment: ``JUPYTER_OLLAMA_TOKEN`` for 2, with the
    kernel's own token of the JupyterHub where 2 is a route of that Hub, and ``OLLAMA_API_KEY`` for
    4 and 5. The parent server's token comes from its file. No token goes to a server that it was
    not given for. Only the parent server is probed.
    """
    environ = os.environ if environ is None else environ
    named = environ.get("JUPYTER_OLLAMA_URL", "").strip()
    shared = shared_server(named, environ) if named else None
    if url:
        address = parse_host(url)
        known = shared.token if shared and address == shared.url else None
        return Endpoint(address, "given", token or known)
    if shared:
        return replace(shared, token=token or shared.token)
    parent, skipped = parent_server(environ.get("JPY_PARENT_PID", ""))
    if parent:
        return parent
    key = token or environ.get("OLLAMA_API_KEY") or None
    host = environ.get("OLLAMA_HOST", "").strip()
    source = "OLLAMA_HOST" if host else "default address"
    return Endpoint(parse_host(host), source, key, skipped=skipped)


def shared_server(url: str, environ: Mapping[str, str] | None = None) -> Endpoint:
    """Return the server at ``url``, which an administrator has named, with the token for it.

    Raises ValueError for what is no address.
    """
    environ = os.environ if environ is None else environ
    token = environ.get("JUPYTER_OLLAMA_TOKEN") or _hub_token(url, environ)
    return Endpoint(parse_host(url), "JUPYTER_OLLAMA_URL", token)


def parse_host(text: str) -> str:
    """Turn what OLLAMA_HOST may hold (``host``, ``:port``, ``http://host/path``) into a URL.

    As in Ollama's clients, the port is 11434 unless a scheme says otherwise, and the address of
    "all interfaces" stands for this host. Raises ValueError for what is no address.
    """
    text = text.strip().strip("\"'")
    has_scheme = "://" in text
    parts = urlsplit(text if has_scheme else f"http://{text}")
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{text} is no address of an Ollama server: it must begin with http")
    host = parts.hostname or ""
    if host in _WILDCARDS:
        host = "::1" if host == "::" else "127.0.0.1"
    port = parts.port or (None if has_scheme else DEFAULT_PORT)
    netloc = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    return urlunsplit((parts.scheme, netloc, parts.path.rstrip("/"), "", ""))


def parent_server(pid: str) -> tuple[Endpoint | None, str]:
    """Return the Ollama server inside the Jupyter server ``pid``, or None and why not.

    Only the parent's own file in the runtime directory is read: those of other servers may be
    stale, and their tokens are not this kernel's business.
    """
    # On Windows JPY_PARENT_PID holds a handle.
    number = os.getppid() if os.name == "nt" and pid else int(pid) if pid.isdigit() else 0
    if number <= 1 or not _alive(number):
        return None, ""
    try:
        from jupyter_core.paths import jupyter_runtime_dir
    except ImportError:  # a kernel whose environment has no Jupyter
        return None, ""
    try:
        info = json.loads(Path(jupyter_runtime_dir(), f"jpserver-{number}.json").read_text("utf-8"))
        endpoint = _endpoint(info)
    except (OSError, ValueError, KeyError, TypeError):
        return None, ""
    client = endpoint.client()
    try:
        client.version(timeout=PROBE_TIMEOUT)
    except OllamaClientError as error:
        return None, f"The Jupyter server of this kernel has no Ollama API: {error}"
    finally:
        client.close()
    return endpoint, ""


def _hub_token(url: str, environ: Mapping[str, str]) -> str | None:
    """Return this kernel's token of the JupyterHub if ``url`` is a service or server of a Hub."""
    base = environ.get("JUPYTERHUB_BASE_URL", "/").rstrip("/")
    if urlsplit(url).path.startswith((f"{base}/services/", f"{base}/user/")):
        return environ.get("JUPYTERHUB_API_TOKEN") or None
    return None


def _endpoint(info: Mapping[str, str]) -> Endpoint:
    base = str(info["base_url"]).rstrip("/")
    socket = info.get("sock") or None
    if socket:
        url = "http://localhost"
    elif str(info["url"]).startswith("https:"):  # the name that its certificate is for
        url = str(info["url"]).rstrip("/").removesuffix(base)
    else:
        host = str(info["hostname"])
        host = "localhost" if host in _WILDCARDS else host
        url = f"http://{f'[{host}]' if ':' in host else host}:{info['port']}"
    token = info.get("token") or None
    return Endpoint(f"{url}{base}/ollama", "parent Jupyter server", token, socket)


def _alive(pid: int) -> bool:
    if os.name == "nt":  # signal 0 would be a Ctrl-C there; the probe tells enough
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
