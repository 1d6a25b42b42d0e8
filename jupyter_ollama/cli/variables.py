"""The environment variables by which clients find a server, in the languages of shells."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping

SHELLS = ("sh", "fish", "powershell", "json")


def client_variables(url: str, token: str) -> dict[str, str]:
    """Return the variables of Ollama's, OpenAI's, Anthropic's and LiteLLM's clients.

    ``ANTHROPIC_API_KEY`` becomes empty: the key of another service must not reach this server.
    """
    key = token or "none"
    variables = {"OLLAMA_HOST": url, "OLLAMA_API_BASE": url}
    if token:
        variables["OLLAMA_API_KEY"] = token
    return variables | {
        "OPENAI_BASE_URL": f"{url}/v1",
        "OPENAI_API_BASE": f"{url}/v1",
        "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_AUTH_TOKEN": key,
        "ANTHROPIC_API_KEY": "",
    }


def shell_of(path: str) -> str:
    """Return the language of the shell that SHELL names."""
    return "fish" if path.rpartition("/")[2] == "fish" else "sh"


def statements(variables: Mapping[str, str], shell: str) -> str:
    """Return the commands that set variables in a shell, or one JSON object."""
    if shell == "json":
        return json.dumps(dict(variables), indent=2)
    return "\n".join(_statement(name, value, shell) for name, value in variables.items())


def _statement(name: str, value: str, shell: str) -> str:
    if shell == "fish":
        quoted = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"set -gx {name} '{quoted}'"
    if shell == "powershell":
        quoted = value.replace("'", "''")
        return f"$env:{name} = '{quoted}'"
    return f"export {name}={shlex.quote(value)}"
