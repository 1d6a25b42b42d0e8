"""How clients are set up for the server: texts to copy from the page.

`jupyter ollama launch` writes the same settings on the machine of a user; the tests compare both.
"""

from __future__ import annotations

import json
from typing import NamedTuple


class Client(NamedTuple):
    """A client: its name and the text to copy, with {url}, {token} and {model} to be filled in."""

    name: str
    text: str


_OPENCODE = {
    "$schema": "https://opencode.ai/config.json",
    "provider": {
        "jupyter-ollama": {
            "npm": "@ai-sdk/openai-compatible",
            "name": "Jupyter",
            "options": {"baseURL": "{url}/v1", "apiKey": "{token}"},
            "models": {"{model}": {"name": "{model}"}},
        }
    },
    "model": "jupyter-ollama/{model}",
}

_CURL = """\
curl {url}/api/chat \\
  -H "Authorization: Bearer {token}" \\
  -d '{"model": "{model}", "messages": [{"role": "user", "content": "Hello"}], "stream": false}'"""

_OPENAI = """\
from openai import OpenAI

client = OpenAI(base_url="{url}/v1", api_key="{token}")
answer = client.chat.completions.create(
    model="{model}",
    messages=[{"role": "user", "content": "Hello"}],
)
print(answer.choices[0].message.content)"""

_OLLAMA = """\
import ollama

client = ollama.Client(host="{url}", headers={"Authorization": "Bearer {token}"})
answer = client.chat("{model}", [{"role": "user", "content": "Hello"}])
print(answer.message.content)"""

_CLAUDE = """\
export ANTHROPIC_BASE_URL='{url}'
export ANTHROPIC_AUTH_TOKEN='{token}'
export ANTHROPIC_API_KEY=''
export ANTHROPIC_MODEL='{model}'
export ANTHROPIC_DEFAULT_OPUS_MODEL='{model}'
export ANTHROPIC_DEFAULT_SONNET_MODEL='{model}'
export ANTHROPIC_DEFAULT_HAIKU_MODEL='{model}'
export CLAUDE_CODE_SUBAGENT_MODEL='{model}'
export CLAUDE_CODE_ATTRIBUTION_HEADER=0
claude"""

CLIENTS = [
    Client("curl", _CURL)._asdict(),
    Client("OpenAI (Python)", _OPENAI)._asdict(),
    Client("Ollama (Python)", _OLLAMA)._asdict(),
    Client("opencode", json.dumps(_OPENCODE, indent=2))._asdict(),
    Client("Claude Code", _CLAUDE)._asdict(),
]
