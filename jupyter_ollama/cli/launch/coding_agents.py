"""Programs of the terminal that write code: opencode, Claude Code, Codex, Aider."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .config_file import Edit
from .documents import Document, submapping
from .program import PROVIDER, Program, home
from .target import Target

_LONGEST_ANSWER = 8192
"""The tokens of an answer that opencode is to expect at most."""


# -- opencode (opencode-ai 1.18): https://opencode.ai/docs/config, /docs/providers


def _opencode_path() -> Path:
    return home("XDG_CONFIG_HOME", ".config") / "opencode" / "opencode.json"


def _opencode_config(target: Target, document: Document) -> None:
    document.setdefault("$schema", "https://opencode.ai/config.json")
    provider = submapping(document, "provider", PROVIDER)
    provider["npm"] = "@ai-sdk/openai-compatible"
    provider["name"] = "Jupyter"
    provider["options"] = {"baseURL": target.openai_url, "apiKey": target.key}
    model: dict[str, Any] = {"name": target.model}
    if target.context:  # without it opencode never shortens a conversation
        output = min(_LONGEST_ANSWER, target.context // 4)
        model["limit"] = {"context": target.context, "output": output}
    submapping(provider, "models")[target.model] = model
    document["model"] = f"{PROVIDER}/{target.model}"


def _opencode_edits(target: Target) -> list[Edit]:
    path = _opencode_path()
    commented = path.with_suffix(".jsonc")
    if commented.exists() and not path.exists():
        path = commented
    return [Edit(path, "json", lambda document: _opencode_config(target, document))]


def _opencode_variables(target: Target) -> dict[str, str]:
    document: dict[str, Any] = {}
    _opencode_config(target, document)
    return {"OPENCODE_CONFIG_CONTENT": json.dumps(document)}  # goes before all files


OPENCODE = Program(
    "opencode",
    "opencode",
    "npm install -g opencode-ai",
    ("opencode",),
    edits=_opencode_edits,
    paths=lambda: [_opencode_path(), _opencode_path().with_suffix(".jsonc")],
    variables=_opencode_variables,
    needs_files=False,
)

# -- Claude Code (@anthropic-ai/claude-code 2.1): code.claude.com/docs/en/settings, llm-gateway


def _claude_variables(target: Target) -> dict[str, str]:
    # Claude Code assumes a million tokens for a model that it does not know.
    window = {"CLAUDE_CODE_MAX_CONTEXT_TOKENS": str(target.context)} if target.context else {}
    return {
        **window,
        "ANTHROPIC_BASE_URL": target.url,
        "ANTHROPIC_AUTH_TOKEN": target.key,
        "ANTHROPIC_API_KEY": "",  # a key of Anthropic must not reach this server
        "ANTHROPIC_MODEL": target.model,
        "ANTHROPIC_DEFAULT_OPUS_MODEL": target.model,
        "ANTHROPIC_DEFAULT_SONNET_MODEL": target.model,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": target.model,
        "CLAUDE_CODE_SUBAGENT_MODEL": target.model,
        # The header has a hash of the conversation: no prompt would share the prefix of another.
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    }


def _claude_path() -> Path:
    return home("CLAUDE_CONFIG_DIR", ".claude") / "settings.json"


def _claude_edits(target: Target) -> list[Edit]:
    def change(document: Document) -> None:
        submapping(document, "env").update(_claude_variables(target))

    return [Edit(_claude_path(), "json", change)]


CLAUDE = Program(
    "claude",
    "Claude Code",
    "npm install -g @anthropic-ai/claude-code",
    ("claude",),
    edits=_claude_edits,
    paths=lambda: [_claude_path()],
    variables=_claude_variables,
    needs_files=False,
)

# -- Codex (@openai/codex 0.169): developers.openai.com/codex/config-advanced. A profile is a file
# of its own since 0.134, so config.toml stays as it is.


def _codex_path() -> Path:
    return home("CODEX_HOME", ".codex") / f"{PROVIDER}.config.toml"


def _codex_edits(target: Target) -> list[Edit]:
    def change(document: Document) -> None:
        document["model"] = target.model
        document["model_provider"] = PROVIDER
        if target.context:
            document["model_context_window"] = target.context
        provider = submapping(document, "model_providers", PROVIDER)
        provider["name"] = "Jupyter"
        provider["base_url"] = target.openai_url
        provider["wire_api"] = "responses"
        if target.token:
            headers = submapping(provider, "http_headers")
            headers["Authorization"] = f"Bearer {target.token}"

    return [Edit(_codex_path(), "toml", change)]


CODEX = Program(
    "codex",
    "Codex",
    "npm install -g @openai/codex",
    ("codex",),
    edits=_codex_edits,
    paths=lambda: [_codex_path()],
    arguments=lambda target: ["--profile", PROVIDER],
    after=lambda target: f"Start it with: codex --profile {PROVIDER}",
)

# -- Aider (aider-chat 0.86): aider.chat/docs/llms/ollama.html, /docs/config/aider_conf.html


def _aider_path() -> Path:
    return Path.home() / ".aider.conf.yml"


def _aider_variables(target: Target) -> dict[str, str]:
    variables = {"OLLAMA_API_BASE": target.url}
    return variables | ({"OLLAMA_API_KEY": target.token} if target.token else {})


def _aider_edits(target: Target) -> list[Edit]:
    def change(document: Document) -> None:
        document["model"] = f"ollama_chat/{target.model}"
        ours = _aider_variables(target)
        given = document.get("set-env") or []
        given = [given] if isinstance(given, str) else list(given)
        kept = [one for one in given if str(one).partition("=")[0] not in ours]
        document["set-env"] = [*kept, *(f"{name}={value}" for name, value in ours.items())]

    return [Edit(_aider_path(), "yaml", change)]


AIDER = Program(
    "aider",
    "Aider",
    "python -m pip install aider-install && aider-install",
    ("aider",),
    edits=_aider_edits,
    paths=lambda: [_aider_path()],
    variables=_aider_variables,
    arguments=lambda target: ["--model", f"ollama_chat/{target.model}"],
    needs_files=False,
)
