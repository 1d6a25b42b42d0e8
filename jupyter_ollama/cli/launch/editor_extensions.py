"""Extensions of editors that write code, and their commands: Continue, Cline."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .config_file import Edit
from .documents import Document, submapping
from .program import PROVIDER, Program, home
from .target import Target

# -- Continue (@continuedev/cli 1.5, and its extensions): docs.continue.dev/reference


def _continue_path() -> Path:
    return home("CONTINUE_GLOBAL_DIR", ".continue") / "config.yaml"


def _continue_edits(target: Target) -> list[Edit]:
    def change(document: Document) -> None:
        for key, value in (("name", "Local"), ("version", "1.0.0"), ("schema", "v1")):
            document.setdefault(key, value)
        model: dict[str, Any] = {
            "name": f"{target.model} ({PROVIDER})",
            "provider": "ollama",
            "model": target.model,
            "apiBase": target.url,
            "roles": ["chat", "edit", "apply"],
        }
        if target.token:
            model["apiKey"] = target.token
        models = document.get("models") or []
        kept = [one for one in models if not _is_ours(one)]
        if isinstance(document.get("models"), list):
            models[:] = [model, *kept]  # in place: comments of the list stay
        else:
            document["models"] = [model]

    return [Edit(_continue_path(), "yaml", change)]


def _is_ours(model: object) -> bool:
    return isinstance(model, Mapping) and str(model.get("name", "")).endswith(f"({PROVIDER})")


CONTINUE = Program(
    "continue",
    "Continue",
    "npm install -g @continuedev/cli, or the extension of VS Code",
    ("cn",),
    edits=_continue_edits,
    paths=lambda: [_continue_path()],
    arguments=lambda target: ["--config", str(_continue_path())],
    after=lambda target: "The extensions of VS Code and JetBrains read this file, too.",
)

# -- Cline (cline 3.0): @cline/core, types/provider-settings.d.ts


def _cline_path() -> Path:
    if given := os.environ.get("CLINE_PROVIDER_SETTINGS_PATH", "").strip():
        return Path(given)
    data = home("CLINE_DATA_DIR", ".cline", "data")
    return data / "settings" / "providers.json"


def _cline_edits(target: Target) -> list[Edit]:
    def change(document: Document) -> None:
        document["version"] = 1
        document["lastUsedProvider"] = "openai-compatible"
        document.setdefault("modes", {})
        entry = submapping(document, "providers", "openai-compatible")
        settings = submapping(entry, "settings")
        before = dict(settings)
        settings["provider"] = "openai-compatible"
        settings["baseUrl"] = target.openai_url
        settings["apiKey"] = target.key
        settings["model"] = target.model
        if settings != before or "updatedAt" not in entry:
            entry["updatedAt"] = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}"
        entry.setdefault("tokenSource", "manual")

    return [Edit(_cline_path(), "json", change)]


CLINE = Program(
    "cline",
    "Cline",
    "npm install -g cline",
    ("cline",),
    edits=_cline_edits,
    paths=lambda: [_cline_path()],
)
