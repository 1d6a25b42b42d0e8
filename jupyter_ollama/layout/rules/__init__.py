"""The rules of known layouts, by the architecture that a file names.

Each module has the rules of a family of models. A rule edits a view of the file in place: ``text``
produces the language model for llama.cpp, ``clip`` the projector for libmtmd.
"""

from __future__ import annotations

from . import deepseek, gemma, glm, llama, mistral, nemotron, plain, qwen
from .rule import Rule

RULES: tuple[Rule, ...] = (
    *gemma.RULES,
    *llama.RULES,
    *mistral.RULES,
    *qwen.RULES,
    *glm.RULES,
    *deepseek.RULES,
    *nemotron.RULES,
    *plain.RULES,
)
"""The rules in the order in which they are tried."""

ARCHITECTURES = frozenset(name for rule in RULES for name in rule.architectures)
"""The names of architectures in files of Ollama's layout."""
