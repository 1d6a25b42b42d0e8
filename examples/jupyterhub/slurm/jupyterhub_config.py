"""The models in a Slurm job that starts on demand: the Hub starts a small front as its service."""

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

# The job asks the Hub who its users are. From another node it needs an address that it reaches,
# this and hub_api below:
# c.JupyterHub.hub_ip = "0.0.0.0"

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
        # All settings of this command are those of the job, too.
        "command": [
            "jupyter-ollama",
            "hub",
            "--slurm",
            "--SlurmEndpoint.gpus=gpu:1",  # as in sbatch --gres; empty for a cluster without GPUs
            "--SlurmEndpoint.time_limit=8:00:00",
            "--SlurmEndpoint.idle_minutes=15",
            # "--SlurmEndpoint.hub_api=http://hub.cluster.example.org:8081/hub/api",
            # One for each further option: "--SlurmEndpoint.options=--partition=gpu",
            "--OllamaAuthorizer.may_manage=ollama-managers",
            # Better for a Hub that is root: "user": "ollama" beside "command", with an account
            # of that name here and on the nodes.
            *(["--allow-root"] if os.geteuid() == 0 else []),
        ],
        # The models are on a file system that the nodes see as well. Slurm's own variables, such as
        # SLURM_CONF, belong here if your programs need them.
        "environment": {"OLLAMA_MODELS": "/srv/ollama/models"},
        "oauth_no_confirm": True,
    },
]

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
