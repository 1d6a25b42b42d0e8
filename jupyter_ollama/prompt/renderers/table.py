"""The renderers that a model's config may name: a template for each family, and its variants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OLMO_ABOUT = (
    "You are Olmo, a helpful AI assistant built by Ai2. Your date cutoff is December 2024, and "
    "your model weights are available at https://huggingface.co/allenai."
)

POOLSIDE_ABOUT = (
    "You are a helpful, conversationally-fluent assistant made by Poolside. You are here to be "
    "helpful to users through natural language conversations."
)


@dataclass(frozen=True)
class Variant:
    """The file of a template without its suffix, and the values of this variant."""

    template: str
    values: dict[str, Any] = field(default_factory=dict)


RENDERERS: dict[str, Variant] = {
    "qwen3-coder": Variant("qwen3-coder"),
    "qwen3-vl-instruct": Variant("qwen3-vl", {"thinks": False}),
    "qwen3-vl-thinking": Variant("qwen3-vl", {"thinks": True}),
    "qwen3.5": Variant("qwen3.5", {"all_think": False, "qwen38": False}),
    "qwen3.8": Variant("qwen3.5", {"all_think": True, "qwen38": True}),
    "ornith": Variant("qwen3.5", {"all_think": True, "qwen38": False}),
    "nemotron-3-nano": Variant("nemotron-3", {"inline": True}),
    "nemotron-3.5-nano": Variant("nemotron-3", {"inline": False}),
    "olmo3": Variant(
        "olmo3", {"default_system": "You are a helpful function-calling AI assistant."}
    ),
    "olmo3.1": Variant("olmo3", {"default_system": OLMO_ABOUT}),
    "olmo3-think": Variant("olmo3-think", {"default_system": OLMO_ABOUT}),
    "olmo3-32b-think": Variant(
        "olmo3-think", {"default_system": "You are a helpful AI assistant."}
    ),
    "lfm2": Variant("lfm2", {"thinks": False}),
    "lfm2-thinking": Variant("lfm2", {"thinks": True}),
    "cogito": Variant("cogito"),
    "deepseek3.1": Variant("deepseek3.1"),
    "cohere": Variant("cohere"),
    "functiongemma": Variant("functiongemma"),
    "gemma4": Variant("gemma4", {"empty_thought": False}),
    "gemma4-small": Variant("gemma4", {"empty_thought": False}),
    "gemma4-large": Variant("gemma4", {"empty_thought": True}),
    "glimmer": Variant("glimmer"),
    "glm-4.7": Variant("glm-4.7"),
    "glm-ocr": Variant("glm-ocr"),
    "laguna": Variant("laguna", {"default_system": POOLSIDE_ABOUT}),
    "poolside-v1": Variant("poolside-v1", {"default_system": POOLSIDE_ABOUT}),
}
