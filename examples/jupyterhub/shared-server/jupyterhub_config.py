"""The endpoint as the server of a user of its own: wherever the Hub's spawner can start servers.

An administrator starts the server of the user "gpubot" once, at the Hub's admin page or with
POST /hub/api/users/gpubot/server. No person logs in as gpubot.
"""

from __future__ import annotations

import secrets
from typing import Any

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
    {"name": "ollama-users", "groups": ["ollama-users"], "scopes": ["access:servers!user=gpubot"]},
    {"name": "gpubot", "users": ["gpubot"], "scopes": ["self"]},
]


def start_endpoint(spawner: Any) -> None:
    """Start the endpoint in place of a notebook server if the user is gpubot."""
    if spawner.user.name == "gpubot":
        # For a bigger machine, set here what your spawner takes: node_selector, extra resources...
        spawner.cmd = [
            "jupyter-ollama",
            "hub",
            "--OllamaAuthorizer.may_manage=ollama-managers",
        ]
        spawner.args = []
        spawner.environment = {"OLLAMA_MODELS": "/srv/ollama/models"}


c.Spawner.pre_spawn_hook = start_endpoint
c.Spawner.server_token_scopes = [
    "users:activity!user",
    "access:servers!server",
    "access:servers!user=gpubot",
]
c.Spawner.environment = {
    "JUPYTER_OLLAMA_URL": f"{HUB}/user/gpubot/ollama",
    "OLLAMA_HOST": f"{HUB}/user/gpubot/ollama",
    "OLLAMA_API_KEY": lambda spawner: spawner.api_token,
}
