"""The models on another machine than the Hub, started there by systemd: see the .service file."""

from __future__ import annotations

import os
import secrets

c = get_config()  # noqa: F821 - JupyterHub puts it here

HUB = "http://127.0.0.1:8000"  # the Hub's proxy, as the servers of its users reach it

# For a trial on this machine: every name may log in with the password that is printed at the start.
# A site has an authenticator and a spawner of its own in place of these lines.
c.JupyterHub.bind_url = HUB
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = secrets.token_urlsafe(12)
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = "simple"
print(f"Log in at {HUB} as alice or bob, password {c.DummyAuthenticator.password}")

c.JupyterHub.load_groups = {
    "ollama-users": {"users": ["alice", "bob"]},
    "ollama-managers": {"users": ["bob"]},
}
c.JupyterHub.load_roles = [
    {
        "name": "ollama-users",
        "groups": ["ollama-users"],
        "scopes": ["access:services!service=ollama"],
    },
]

c.JupyterHub.services = [
    {
        "name": "ollama",
        "url": "http://127.0.0.1:9999",  # the machine with the GPU, as the proxy reaches it
        # Any long secret: openssl rand -hex 32. The machine with the GPU has the same one.
        "api_token": os.environ["OLLAMA_SERVICE_TOKEN"],
        "oauth_no_confirm": True,
    },
]

# Running requests continue while the Hub restarts. That requires a proxy of its own process:
# c.ConfigurableHTTPProxy.should_start = False, and configurable-http-proxy as a service.
c.JupyterHub.cleanup_servers = False

c.Spawner.server_token_scopes = [
    "users:activity!user",
    "access:servers!server",
    "access:services!service=ollama",
]
c.Spawner.environment = {
    "JUPYTER_OLLAMA_URL": f"{HUB}/services/ollama/ollama",
    "OLLAMA_HOST": f"{HUB}/services/ollama/ollama",
    "OLLAMA_API_KEY": lambda spawner: spawner.api_token,
}
