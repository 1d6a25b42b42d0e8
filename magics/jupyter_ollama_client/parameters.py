"""The parameters that a Modelfile may set."""

from __future__ import annotations

from collections.abc import Iterable

_NAMES = {
    "integer": """num_ctx num_parallel num_batch num_gpu num_cpu_moe main_gpu num_thread
        draft_num_predict num_keep seed num_predict top_k repeat_last_n mirostat dry_allowed_length
        dry_penalty_last_n""",
    "float32": """top_p min_p typical_p temperature repeat_penalty presence_penalty
        frequency_penalty mirostat_tau mirostat_eta dry_multiplier dry_base top_n_sigma
        xtc_probability xtc_threshold""",
    "string": "kv_cache_type",
    "boolean": "use_mmap flash_attention repetition_stop",
    "an array of strings": "stop dry_sequence_breakers",
    "an array of numbers": "tensor_split",
}

TYPES = {name: kind for kind, names in _NAMES.items() for name in names.split()}
"""The type of each parameter in the words of Ollama's error texts."""

LEGACY_PARAMETERS = frozenset(
    {
        "penalize_newline",
        "low_vram",
        "f16_kv",
        "logits_all",
        "vocab_only",
        "use_mlock",
    }
)
"""Parameters of old Modelfiles that no longer have an effect."""

REQUESTED = frozenset({"logit_bias", "numa"})
"""Options of requests that a Modelfile must not set."""


def unknown(names: Iterable[str]) -> list[str]:
    """Return a remark for each option that no known server has."""
    from difflib import get_close_matches

    known = [*TYPES, *REQUESTED, *LEGACY_PARAMETERS]
    remarks = []
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f", did you mean {close[0]}?" if close else ""
            remarks.append(f"the option {name} is not known{hint}")
    return remarks
