"""Models that write text in plain numpy, straight from their papers: the oracle for logits.

Weights and settings are named as in the checkpoints of their makers. No llama.cpp in it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = dict[str, NDArray[np.float32]]


class DecoderReference:
    """A model of the family that ``config["model_type"]`` names.

    Changes by LoRA are given by the module they change: (A, B, scale).
    """

    def __init__(
        self,
        config: dict[str, Any],
        weights: Weights,
        changes: dict[str, tuple[Array, Array, float]] | None = None,
    ) -> None:
        self.config = config
        self.weights = {name: value.astype(np.float64) for name, value in weights.items()}
        self.changes = changes or {}
        self.heads = config["num_attention_heads"]
        self.kv_heads = config["num_key_value_heads"]
        self.width = config.get("head_dim") or config["hidden_size"] // self.heads
        self.is_gemma = config["model_type"].startswith("gemma")

    def logits(self, ids: list[int]) -> Array:
        """Return the logits after each token (tokens, words)."""
        embedding = self.weights["model.embed_tokens.weight"]
        x = embedding[ids] * (math.sqrt(self.config["hidden_size"]) if self.is_gemma else 1.0)
        for layer in range(self.config["num_hidden_layers"]):
            x = self._layer(x, layer)
        x = self._norm(x, "model.norm")
        found = x @ self.weights.get("lm_head.weight", embedding).T
        return _capped(found, self.config.get("final_logit_softcapping"))

    def _layer(self, x: Array, layer: int) -> Array:
        name = f"model.layers.{layer}."
        seen = self._attend(self._norm(x, name + "input_layernorm"), layer)
        if self.is_gemma:
            x = x + self._norm(seen, name + "post_attention_layernorm")
            inner = self._feed(self._norm(x, name + "pre_feedforward_layernorm"), name + "mlp.")
            return x + self._norm(inner, name + "post_feedforward_layernorm")
        x = x + seen
        return x + self._feed(self._norm(x, name + "post_attention_layernorm"), name + "mlp.")

    def _feed(self, x: Array, name: str) -> Array:
        if name + "gate_up_proj.weight" in self.weights:
            gate, up = np.split(self._project(x, name + "gate_up_proj"), 2, axis=-1)
        else:
            gate, up = self._project(x, name + "gate_proj"), self._project(x, name + "up_proj")
        if self.is_gemma:
            turn = np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3))
            active = 0.5 * gate * (1 + turn)
        else:
            active = gate / (1 + np.exp(-gate))
        return self._project(active * up, name + "down_proj")

    def _attend(self, x: Array, layer: int) -> Array:
        name = f"model.layers.{layer}.self_attn."
        is_local = self._is_local(layer)
        query, key, value = self._heads(x, name)
        if name + "q_norm.weight" in self.weights:
            query, key = self._norm(query, name + "q_norm"), self._norm(key, name + "k_norm")
        query, key = self._turn(query, is_local), self._turn(key, is_local)
        key, value = (np.repeat(part, self.heads // self.kv_heads, axis=0) for part in (key, value))
        scale = self.config.get("query_pre_attn_scalar", self.width) ** -0.5
        scores = query @ key.transpose(0, 2, 1) * scale
        scores = _capped(scores, self.config.get("attn_logit_softcapping"))
        distance = np.arange(len(x))[:, None] - np.arange(len(x))
        hidden = distance < 0
        if is_local:
            hidden |= distance >= self.config["sliding_window"]
        scores = np.where(hidden, -np.inf, scores)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        together = (shares @ value).transpose(1, 0, 2).reshape(len(x), -1)
        return self._project(together, name + "o_proj")

    def _heads(self, x: Array, name: str) -> list[Array]:
        sizes = [self.heads * self.width, self.kv_heads * self.width]
        if name + "qkv_proj.weight" in self.weights:
            parts = np.split(self._project(x, name + "qkv_proj"), np.cumsum(sizes), axis=-1)
        else:
            parts = [self._project(x, name + part) for part in ("q_proj", "k_proj", "v_proj")]
        return [part.reshape(len(x), -1, self.width).transpose(1, 0, 2) for part in parts]

    def _is_local(self, layer: int) -> bool:
        kinds = self.config.get("layer_types")
        return bool(kinds) and kinds[layer] == "sliding_attention"

    def _turn(self, heads: Array, is_local: bool) -> Array:
        """Turn the pairs (i, i + half) of each head by its position times their frequencies."""
        frequencies, factor = self._frequencies(is_local)
        turned = 2 * len(frequencies)
        angles = np.arange(heads.shape[1])[:, None] * frequencies
        cos, sin = np.cos(angles) * factor, np.sin(angles) * factor
        first, second = np.split(heads[..., :turned], 2, axis=-1)
        pair = [first * cos - second * sin, second * cos + first * sin]
        return np.concatenate([*pair, heads[..., turned:]], axis=-1)

    def _frequencies(self, is_local: bool) -> tuple[Array, float]:
        """The angles of one step, and a factor for the length of what is turned."""
        config = self.config
        width = int(self.width * config.get("partial_rotary_factor", 1.0))
        places = np.arange(0, width, 2) / width
        if is_local and "rope_local_base_freq" in config:
            return config["rope_local_base_freq"] ** -places, 1.0
        plain = config["rope_theta"] ** -places
        scaling = config.get("rope_scaling") or {}
        kind = scaling.get("rope_type") or scaling.get("type")
        if kind == "linear":
            return plain / scaling["factor"], 1.0
        if kind == "llama3":
            return _llama3(plain, scaling), 1.0
        if kind == "yarn":
            return self._yarn(plain, scaling, width)
        if kind == "longrope":
            trained = config["original_max_position_embeddings"]
            stretch = config["max_position_embeddings"] / trained
            factor = math.sqrt(1 + math.log(stretch) / math.log(trained))
            return plain / np.array(scaling["short_factor"]), factor
        return plain, 1.0

    def _yarn(self, plain: Array, scaling: dict[str, Any], width: int) -> tuple[Array, float]:
        trained, base = scaling["original_max_position_embeddings"], self.config["rope_theta"]

        def place(turns: float) -> float:
            return width * math.log(trained / (turns * 2 * math.pi)) / (2 * math.log(base))

        low, high = max(math.floor(place(32)), 0), min(math.ceil(place(1)), width - 1)
        stretched = np.clip((np.arange(len(plain)) - low) / max(high - low, 0.001), 0, 1)
        mixed = plain / scaling["factor"] * stretched + plain * (1 - stretched)
        return mixed, 0.1 * math.log(scaling["factor"]) + 1.0

    def _project(self, x: Array, name: str) -> Array:
        y = x @ self.weights[f"{name}.weight"].T
        if f"{name}.bias" in self.weights:
            y = y + self.weights[f"{name}.bias"]
        if name in self.changes:
            first, second, scale = self.changes[name]
            y = y + x @ first.T @ second.T * scale
        return y

    def _norm(self, x: Array, name: str) -> Array:
        weight = self.weights[f"{name}.weight"] + (1.0 if self.is_gemma else 0.0)
        mean = (x**2).mean(axis=-1, keepdims=True)
        return x / np.sqrt(mean + self.config["rms_norm_eps"]) * weight


def _capped(x: Array, cap: float | None) -> Array:
    return np.tanh(x / cap) * cap if cap else x


def _llama3(plain: Array, scaling: dict[str, Any]) -> Array:
    trained = scaling["original_max_position_embeddings"]
    low, high = scaling["low_freq_factor"], scaling["high_freq_factor"]
    found = []
    for frequency in plain:
        length = 2 * math.pi / frequency
        if length < trained / high:
            found.append(frequency)
        elif length > trained / low:
            found.append(frequency / scaling["factor"])
        else:
            smooth = (trained / length - low) / (high - low)
            found.append((1 - smooth) * frequency / scaling["factor"] + smooth * frequency)
    return np.array(found)
