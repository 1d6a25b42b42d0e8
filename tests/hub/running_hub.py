"""A real JupyterHub with a real proxy, made from one of the examples."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
from cli_process import free_port
from hub_proxy import proxy_command

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "jupyterhub"
DRIVER = "the-token-of-the-tests"
SERVICE = "the-token-of-the-endpoint"
PROXY = "the-token-of-the-proxy"
PASSWORD = "the-password-of-all-users"
START_TIMEOUT = 90.0
WAIT = 0.1

# A site's own settings besides the example: logins, a spawner, ports, and our driver.
SITE = """
load_subconfig({example!r})
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = {password!r}
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"root"}}
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = {home!r}
c.Spawner.env_keep = [*{kept!r}, "PATH", "PYTHONPATH", "LANG"]
c.JupyterHub.bind_url = {url!r}
c.JupyterHub.hub_bind_url = {hub!r}
c.JupyterHub.db_url = "sqlite:///hub.sqlite"
c.JupyterHub.cleanup_proxy = False
c.ConfigurableHTTPProxy.should_start = False
c.ConfigurableHTTPProxy.api_url = {proxy_api!r}
c.ConfigurableHTTPProxy.auth_token = {proxy_token!r}
services = c.JupyterHub.services if "services" in c.JupyterHub else []
for service in services:
    service.setdefault("environment", {{}}).update({environment!r})
c.JupyterHub.services = [*services, {{"name": "driver", "api_token": {driver!r}}}]
roles = c.JupyterHub.load_roles
scopes = ["admin:users", "admin:servers", "tokens", "access:servers", "groups", "admin:groups"]
c.JupyterHub.load_roles = [*roles, {{"name": "driver", "services": ["driver"], "scopes": scopes}}]
"""


@dataclass
class Hub:
    """The Hub of an example, its proxy, and where they are."""

    folder: Path
    models: Path
    url: str = field(default_factory=lambda: f"http://127.0.0.1:{free_port()}")
    hub: str = field(default_factory=lambda: f"http://127.0.0.1:{free_port()}")
    proxy_api: str = field(default_factory=lambda: f"http://127.0.0.1:{free_port()}")
    endpoint: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    replaced: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        jupyter = {
            name: self.folder / name.lower() for name in ("JUPYTER_CONFIG_DIR", "IPYTHONDIR")
        }
        self.own = {name: str(path) for name, path in jupyter.items()}
        self.own |= {"JUPYTER_RUNTIME_DIR": os.environ["JUPYTER_RUNTIME_DIR"]}
        self.environment = {
            **{name: value for name, value in os.environ.items() if "OLLAMA" not in name},
            **self.own,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "CONFIGPROXY_AUTH_TOKEN": PROXY,
            "OLLAMA_SERVICE_TOKEN": SERVICE,
        }
        jupyter["JUPYTER_CONFIG_DIR"].mkdir()
        for name in ("jupyter_server", "jupyter_ollama"):
            config = jupyter["JUPYTER_CONFIG_DIR"] / f"{name}_config.py"
            config.write_text("c.ServerApp.allow_root = True\n")

    def adapted(self, text: str) -> str:
        """Return a text of the examples with the addresses and folders of this run."""
        for there, here in (
            ("http://127.0.0.1:8000", self.url),
            ("http://127.0.0.1:8081", self.hub),
            ("127.0.0.1:9999", self.endpoint),
            ("/srv/ollama/models", str(self.models)),
            ("/opt/jupyter-ollama/bin", str(Path(sys.executable).parent)),
            *self.replaced.items(),
        ):
            text = text.replace(there, here)
        return text

    def configure(self, example: str) -> None:
        """Write the configuration of a site that uses an example."""
        source = (EXAMPLES / example / "jupyterhub_config.py").read_text(encoding="utf-8")
        copy = self.folder / "example.py"
        copy.write_text(self.adapted(source), encoding="utf-8")
        site = SITE.format(
            example=str(copy),
            home=f"{self.folder}/home/{{username}}",
            kept=[*self.own],
            url=self.url,
            hub=self.hub,
            proxy_api=self.proxy_api,
            proxy_token=PROXY,
            driver=DRIVER,
            password=PASSWORD,
            environment=self.own,
        )
        (self.folder / "jupyterhub_config.py").write_text(site, encoding="utf-8")

    def start(self, name: str, command: list[str], **environment: str) -> None:
        """Start a process with its output in a log of that name."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_proxy(self) -> None:
        """Start the proxy, as an init system would."""
        at, api = self.url.rpartition(":")[2], self.proxy_api.rpartition(":")[2]
        command = [proxy_command(), "--ip=127.0.0.1", f"--port={at}", "--api-ip=127.0.0.1"]
        command += [f"--api-port={api}", f"--default-target={self.hub}"]
        self.start("proxy", [*command, f"--error-target={self.hub}/hub/error"])

    def start_hub(self) -> None:
        """Start the Hub and wait for its API."""
        self.start("hub", [sys.executable, "-m", "jupyterhub", "-f", "jupyterhub_config.py"])
        self.wait_for(self.url + "/hub/api/")

    def stop(self, name: str) -> None:
        """End a process that was started, and wait for it."""
        process = self.processes.pop(name)
        process.send_signal(signal.SIGTERM)
        process.wait(60)

    def wait_for(self, url: str, token: str = DRIVER) -> None:
        """Return when an API answers there, and not the proxy or a page of the Hub."""
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            for name, process in self.processes.items():
                assert process.poll() is None, f"{name} has ended:\n{self.log(name)}"
            with suppress(httpx2.RequestError):
                answer = self.ask("GET", url, token=token)
                if answer.status_code < 500 and "json" in answer.headers.get("content-type", ""):
                    return
            time.sleep(WAIT)
        raise AssertionError(f"{url} does not answer:\n{self.log('hub')}")

    def log(self, name: str) -> str:
        """Return the end of a process's log."""
        return (self.folder / f"{name}.log").read_text(errors="replace")[-8000:]

    def ask(
        self, method: str, url: str, body: Any = None, token: str | None = DRIVER
    ) -> httpx2.Response:
        """Send a request, below the proxy's address unless a whole one is given."""
        with self.client(token) as client:
            return client.request(method, url, json=body)

    def client(self, token: str | None) -> httpx2.Client:
        """Return a client of the proxy that carries a token."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.Client(base_url=self.url, headers=headers, timeout=60, trust_env=False)

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the Hub for something and return its answer."""
        response = self.ask(method, f"/hub/api{path}", body)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return json.loads(response.text) if response.text.strip() else None

    def token(self, user: str) -> str:
        """Return a new token that may do what the user may."""
        token: str = self.api("POST", f"/users/{user}/tokens", {"note": "tests"})["token"]
        return token

    def start_server(self, user: str) -> None:
        """Start a user's server and wait until it is there."""
        self.api("POST", f"/users/{user}/server")
        end = time.monotonic() + START_TIMEOUT
        while time.monotonic() < end:
            servers = self.api("GET", f"/users/{user}?include_stopped_servers")["servers"]
            if servers.get("", {}).get("ready"):
                return
            assert servers.get("", {}).get("pending"), self.log("hub")
            time.sleep(WAIT)
        raise AssertionError(f"the server of {user} does not start:\n{self.log('hub')}")

    def stop_server(self, user: str) -> None:
        """Stop a user's server."""
        self.api("DELETE", f"/users/{user}/server")
        while self.api("GET", f"/users/{user}")["servers"]:
            time.sleep(WAIT)


@contextmanager
def running_hub(
    example: str,
    folder: Path,
    models: Path,
    *,
    settings: str = "",
    replaced: Mapping[str, str] = MappingProxyType({}),
    **variables: str,
) -> Iterator[Hub]:
    """Run the Hub of an example, with alice, bob and carol as its users.

    Its endpoint gets the ``settings``; the Hub and its services get the ``variables``. Texts of the
    example are ``replaced``.
    """
    hub = Hub(folder, models, replaced=replaced)
    hub.own |= variables
    hub.environment |= variables
    with (folder / "jupyter_config_dir" / "jupyter_ollama_config.py").open("a") as config:
        config.write(settings)
    hub.configure(example)
    try:
        hub.start_proxy()
        hub.start_hub()
        hub.api("POST", "/users", {"usernames": ["carol"]})
        yield hub
    finally:
        for name in [*hub.processes][::-1]:
            hub.stop(name)
