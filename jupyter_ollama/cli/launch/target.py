"""The server and the model that a program is set up for."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_runtime_dir
from jupyter_ollama_client.client import Client
from jupyter_ollama_client.discovery import (
    DEFAULT_PREFIX,
    PREFIX_VARIABLE,
    ServerAddress,
    address_in,
    discover,
)
from jupyter_ollama_client.errors import OllamaResponseError

from ..command import CommandError, say

NO_TOKEN = "none"
"""What clients get that insist on a token, for a server without one."""


@dataclass(frozen=True)
class Target:
    """A server, and a model of it. ``token`` is "" for a server without one.

    ``context`` is the tokens that the server gives the model, if it is loaded, else the longest
    context of the model; 0 where neither is known.
    """

    url: str
    token: str
    model: str = ""
    context: int = 0

    @property
    def openai_url(self) -> str:
        """The base URL of OpenAI's API."""
        return f"{self.url}/v1"

    @property
    def key(self) -> str:
        """The token, or a word in its place for clients that insist on one."""
        return self.token or NO_TOKEN


def find_server(environ: Mapping[str, str] | None = None) -> ServerAddress:
    """Return the server of OLLAMA_HOST, else the Jupyter server of this terminal or kernel.

    Raises CommandError for a server that other programs cannot reach, or a wrong address.
    """
    environ = os.environ if environ is None else environ
    if environ.get("OLLAMA_HOST", "").strip():
        # As for all other commands of this program: the variable decides.
        environ = {
            name: value
            for name, value in environ.items()
            if name not in ("JUPYTER_OLLAMA_URL", "JPY_PARENT_PID", "JUPYTER_SERVER_URL")
        }
    try:
        address = _server_of_terminal(environ) or discover(environ=environ)
    except ValueError as error:
        raise CommandError(f"that is no address of a server: {error}") from error
    if address.socket:
        raise CommandError(
            f"the Jupyter server listens at {address.socket} only; other programs need a port"
        )
    if address.credentials:
        raise CommandError(
            f"{address.url} takes a user and a password; other programs send a token"
        )
    return address


def _server_of_terminal(environ: Mapping[str, str]) -> ServerAddress | None:
    """Return the Jupyter server whose terminal this is; it sets JUPYTER_SERVER_URL there."""
    url = environ.get("JUPYTER_SERVER_URL", "")
    if not url:
        return None
    for path in Path(jupyter_runtime_dir()).glob("jpserver-*.json"):
        try:
            info = json.loads(path.read_text("utf-8"))
            if str(info["url"]).rstrip("/") == url.rstrip("/"):
                address = address_in(info, environ.get(PREFIX_VARIABLE) or DEFAULT_PREFIX)
                token = address.token or environ.get("JUPYTERHUB_API_TOKEN") or None
                return ServerAddress(address.url, "Jupyter server", token, address.socket)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None


def find_target(name: str) -> Target:
    """Return the server and the model ``name``; without a name the only one, or the user's choice.

    Raises CommandError if there is no such model, or several and no terminal to choose in.
    """
    address = find_server()
    client = address.client()
    try:
        chosen = _checked(client, name) if name else _chosen(client)
        loaded = {_short(str(model["name"])): model.get("context_length") for model in client.ps()}
        context = loaded.get(_short(chosen)) or _longest_context(client.show(chosen))
    finally:
        client.close()
    return Target(address.url, str(address.token or ""), chosen, int(context))


def _checked(client: Client, name: str) -> str:
    try:
        abilities = client.show(name).get("capabilities") or ["completion"]
    except OllamaResponseError as error:
        if error.status != 404:
            raise
        raise CommandError(
            f"model '{name}' is not on {client.url}. Get it: jupyter ollama pull {name}"
        ) from error
    if "completion" not in abilities:
        raise CommandError(f"{name} only makes embeddings: name a model that answers")
    return name


def _chosen(client: Client) -> str:
    names = [_short(model["name"]) for model in client.list() if _answers(model)]
    if not names:
        raise CommandError(f"{client.url} has no model that answers. Get one: jupyter ollama pull")
    if len(names) == 1:
        return names[0]
    if not sys.stdin.isatty():
        raise CommandError(f"which model? --model NAME, one of: {', '.join(sorted(names))}")
    for number, name in enumerate(names, 1):
        say(f"  {number:>2}  {name}")
    text = input(f"Which model? [1-{len(names)}] ").strip()
    if text in names:
        return text
    if not text.isdigit() or not 1 <= int(text) <= len(names):
        raise CommandError(f"{text!r} is none of them")
    return names[int(text) - 1]


def _answers(model: Mapping[str, Any]) -> bool:
    return "completion" in (model.get("capabilities") or ["completion"])


def _short(name: str) -> str:
    return name.removesuffix(":latest")


def _longest_context(shown: Mapping[str, Any]) -> int:
    info = shown.get("model_info") or {}
    found = info.get(f"{info.get('general.architecture')}.context_length")
    return found if isinstance(found, int) else 0
