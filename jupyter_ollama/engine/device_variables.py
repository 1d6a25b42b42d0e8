"""The environment variables that select devices, and the effects of the ones that are set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

from ..child_environment import hides_vulkan, is_off

EFFECTS = {
    "CUDA_VISIBLE_DEVICES": "other GPUs of NVIDIA are hidden",
    "HIP_VISIBLE_DEVICES": "other GPUs of AMD are hidden",
    "ROCR_VISIBLE_DEVICES": "other GPUs of AMD are hidden",
    "GPU_DEVICE_ORDINAL": "other GPUs of AMD are hidden",
    "HSA_OVERRIDE_GFX_VERSION": "the driver takes GPUs of AMD for this version",
    "GGML_VK_VISIBLE_DEVICES": "other devices of Vulkan are hidden",
    "OLLAMA_GPU_OVERHEAD": "so many bytes of each GPU stay free",
    "OLLAMA_SCHED_SPREAD": "layers of each model are put on all GPUs",
}
"""Variables for processes that use devices, and variables that are defaults of settings."""

IGNORED = {
    "OLLAMA_LLM_LIBRARY": "it has no effect: llama.cpp uses all backends it has",
    "OLLAMA_IGPU_ENABLE": "it has no effect: an integrated GPU is used if there is no other",
}
"""Variables of Ollama without an effect on this server."""


class Effect(NamedTuple):
    """A variable that is set, as NAME=VALUE and what follows from that."""

    text: str
    is_ignored: bool


def effects() -> Iterator[Effect]:
    """Yield the effect of each variable that is set; an empty list hides all devices, too."""
    for name, effect in (EFFECTS | IGNORED).items():
        value = os.environ.get(name)
        if value is None or (name.startswith("OLLAMA_") and not value.strip()):
            continue
        if name == "OLLAMA_SCHED_SPREAD" and is_off(value):
            continue
        yield Effect(f"{name}={value.strip()}: {effect}", name in IGNORED)
    if hides_vulkan(os.environ):
        text = f"OLLAMA_VULKAN={os.environ['OLLAMA_VULKAN'].strip()}: no device of Vulkan is used"
        yield Effect(text, is_ignored=False)
