"""JupyterHub and the models on one machine: the Hub starts the endpoint as its service."""

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
if os.geteuid() == 0:  # the servers of all users run as root then, too
    c.Spawner.args = ["--allow-root"]
print(f"Log in at {HUB} as alice or bob, password {c.DummyAuthenticator.password}")

# Who may run models, and who may change them. Groups can as well come from the authenticator.
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
        "url": "http://127.0.0.1:9999",
        "command": [
            "jupyter-ollama",
            "hub",
            "--OllamaAuthorizer.may_manage=ollama-managers",
            # Better for a Hub that is root: "user": "ollama" beside "command", with an account
            # of that name.
            *(["--allow-root"] if os.geteuid() == 0 else []),
        ],
        "environment": {"OLLAMA_MODELS": "/srv/ollama/models"},
        "oauth_no_confirm": True,
    },
]

# Without this the endpoint refuses the token that a notebook has. It grants no more than the role
# above: a server's token has those of these scopes that its user has.
c.Spawner.server_token_scopes = [
    "users:activity!user",
    "access:servers!server",
    "access:services!service=ollama",
]
c.Spawner.environment = {
    # For the magics, and for the extension in each user's server, which passes calls on.
    "JUPYTER_OLLAMA_URL": f"{HUB}/services/ollama/ollama",
    # For Ollama's own clients.
    "OLLAMA_HOST": f"{HUB}/services/ollama/ollama",
    "OLLAMA_API_KEY": lambda spawner: spawner.api_token,
}
