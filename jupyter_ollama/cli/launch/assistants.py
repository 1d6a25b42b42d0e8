"""Assistants with pages: Open WebUI, Jupyter AI and Notebook Intelligence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_core.paths import jupyter_data_dir

from .config_file import Edit
from .documents import Document, submapping
from .program import PROVIDER, Program
from .target import Target

# -- Open WebUI (open-webui 0.12): docs.openwebui.com/getting-started/env-configuration


def _open_webui_variables(target: Target) -> dict[str, str]:
    # Its connection to Ollama takes a token on its pages only, the one to OpenAI by a variable.
    if target.token:
        return {
            "ENABLE_OLLAMA_API": "false",
            "ENABLE_OPENAI_API": "true",
            "OPENAI_API_BASE_URL": target.openai_url,
            "OPENAI_API_KEY": target.token,
            "DEFAULT_MODELS": target.model,
        }
    return {
        "ENABLE_OLLAMA_API": "true",
        "OLLAMA_BASE_URL": target.url,
        "DEFAULT_MODELS": target.model,
    }


OPEN_WEBUI = Program(
    "open-webui",
    "Open WebUI",
    "python -m pip install open-webui",
    ("open-webui",),
    variables=_open_webui_variables,
    first_arguments=("serve",),
    needs_files=False,
)

# -- Jupyter AI (jupyter-ai 3.2 with jupyter-ai-jupyternaut 0.1): the settings of Jupyternaut


def _jupyter_ai_path() -> Path:
    return Path(jupyter_data_dir()) / "jupyter_ai" / "config.json"


def _jupyter_ai_edits(target: Target) -> list[Edit]:
    def change(document: Document) -> None:
        model = f"openai/{target.model}"
        parameters = {"api_base": target.openai_url, "api_key": target.key}
        document["model_provider_id"] = model
        submapping(document, "fields")[model] = parameters
        custom: list[Any] = document.get("custom_models") or []
        kept = [
            one for one in custom if not str(one.get("id", "")).startswith(f"custom-{PROVIDER}/")
        ]
        ours = {
            "id": f"custom-{PROVIDER}/{target.model}",
            "name": f"{target.model} (Jupyter)",
            "description": None,
            "model_id": model,
            "params": parameters,
        }
        document["custom_models"] = [ours, *kept]

    return [Edit(_jupyter_ai_path(), "json", change)]


def _jupyter_ai_magic(target: Target) -> str:
    return (
        "Restart JupyterLab: Jupyternaut then answers by this model. For %%ai in a notebook:\n"
        f"  %ai alias here openai/{target.model} --api-base {target.openai_url}"
        " --api-key-name OPENAI_API_KEY\n"
        "  %%ai here\n"
        "with OPENAI_API_KEY in the environment of the kernel, or in .env beside the notebook."
    )


JUPYTER_AI = Program(
    "jupyter-ai",
    "Jupyter AI",
    "python -m pip install jupyter-ai",
    edits=_jupyter_ai_edits,
    paths=lambda: [_jupyter_ai_path()],
    after=_jupyter_ai_magic,
)

# -- Notebook Intelligence (notebook-intelligence 6.2): ~/.jupyter/nbi/config.json


def _nbi_path() -> Path:
    return Path.home() / ".jupyter" / "nbi" / "config.json"


def _nbi_edits(target: Target) -> list[Edit]:
    def model(kind: str) -> dict[str, Any]:
        properties = {
            "api_key": target.key,
            "model_id": target.model,
            "base_url": target.openai_url,
            "context_window": str(target.context or 4096),
        }
        return {
            "provider": "openai-compatible",
            "model": f"openai-compatible-{kind}-model",
            "properties": [{"id": name, "value": value} for name, value in properties.items()],
        }

    def change(document: Document) -> None:
        document["chat_model"] = model("chat")
        document["inline_completion_model"] = model("inline-completion")

    return [Edit(_nbi_path(), "json", change)]


NOTEBOOK_INTELLIGENCE = Program(
    "notebook-intelligence",
    "Notebook Intelligence",
    "python -m pip install notebook-intelligence",
    edits=_nbi_edits,
    paths=lambda: [_nbi_path()],
    after=lambda target: "Restart JupyterLab: its chat and completions then use this model.",
)
