"""A tiny BERT with random weights that ranks, and its scores computed by numpy."""

from __future__ import annotations

import math
from pathlib import Path

import gguf
import numpy as np
from bert_reference import BertReference
from gguf_files import finish
from numpy.typing import NDArray

Array = NDArray[np.float32]

WIDTH, INNER, HEADS, LAYERS, CONTEXT = 64, 128, 2, 2, 128
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CLS, SEP = 2, 3
WORDS = [
    "what", "is", "a", "panda", "the", "giant", "bear", "of", "china", "hi", "paris", "in",
    "france", "city", "eats", "bamboo",
]  # fmt: skip
NAMES = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
"""The names that BERT's weights have in a checkpoint and in a GGUF."""


class TinyRanker(BertReference):
    """Weights, a GGUF of them, and the score of a pair as numpy computes it."""

    def __init__(self) -> None:
        self.config = {"num_attention_heads": HEADS, "layer_norm_eps": 1e-12}
        rng = np.random.default_rng(4)

        def random(*shape: int) -> Array:
            return rng.normal(0, 0.3, shape).astype(np.float32)

        self.weights = {
            "embeddings.word_embeddings.weight": random(len(SPECIAL) + len(WORDS), WIDTH),
            "embeddings.position_embeddings.weight": random(CONTEXT, WIDTH),
            "embeddings.token_type_embeddings.weight": random(2, WIDTH),
            "classifier.dense.weight": random(WIDTH, WIDTH),
            "classifier.dense.bias": random(WIDTH),
            "classifier.out_proj.weight": random(1, WIDTH),
            "classifier.out_proj.bias": random(1),
        }
        layers = [f"encoder.layer.{layer}.{name}" for layer in range(LAYERS) for name in NAMES]
        for name in ["embeddings.LayerNorm", *layers]:
            shape = {"intermediate.dense": (INNER, WIDTH), "output.dense": (WIDTH, INNER)}
            short = name.split(".", 3)[-1]
            is_norm = name.endswith("LayerNorm")
            sizes = (WIDTH,) if is_norm else shape.get(short, (WIDTH, WIDTH))
            self.weights[f"{name}.weight"] = is_norm + random(*sizes)
            self.weights[f"{name}.bias"] = random(sizes[0])

    def pair(self, query: str, document: str) -> list[int]:
        """Return the tokens of a pair of plain texts."""
        first, second = (
            [len(SPECIAL) + WORDS.index(word) for word in text.split()]
            for text in (query, document)
        )
        return [CLS, *first, SEP, *second, SEP]

    def score(self, tokens: list[int]) -> float:
        """Return the score of a pair's tokens."""
        weights = self.weights
        x = weights["embeddings.word_embeddings.weight"][tokens]
        x = x + weights["embeddings.position_embeddings.weight"][: len(tokens)]
        x = x + weights["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            prefix = f"encoder.layer.{layer}."
            attended = self._dense(self._attend(x, prefix), prefix + "attention.output.dense")
            x = self._norm(x + attended, prefix + "attention.output.LayerNorm")
            inner = self._dense(x, prefix + "intermediate.dense")
            gelu = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            outer = self._dense(gelu.astype(np.float32), prefix + "output.dense")
            x = self._norm(x + outer, prefix + "output.LayerNorm")
        pooled = np.tanh(self._dense(x[:1], "classifier.dense"))
        return float(self._dense(pooled, "classifier.out_proj")[0, 0])

    def write(self, path: Path, *, template: str = "") -> Path:
        """Write the GGUF, perhaps with a ``template`` for pairs."""
        writer = gguf.GGUFWriter(path, "bert")
        writer.add_block_count(LAYERS)
        writer.add_context_length(CONTEXT)
        writer.add_embedding_length(WIDTH)
        writer.add_feed_forward_length(INNER)
        writer.add_head_count(HEADS)
        writer.add_layer_norm_eps(1e-12)
        writer.add_causal_attention(False)
        writer.add_pooling_type(gguf.PoolingType.RANK)
        writer.add_tokenizer_model("bert")
        writer.add_token_type_count(2)
        writer.add_token_list([*SPECIAL, *(f"\u2581{word}" for word in WORDS)])
        writer.add_token_types([3] * len(SPECIAL) + [1] * len(WORDS))
        writer.add_bos_token_id(CLS)
        writer.add_sep_token_id(SEP)
        writer.add_pad_token_id(0)
        writer.add_unk_token_id(1)
        writer.add_mask_token_id(4)
        if template:
            writer.add_chat_template([{"name": "rerank", "template": template}])
        return finish(writer, {_gguf_name(name): self.weights[name] for name in self.weights})


def _gguf_name(name: str) -> str:
    module, _, kind = name.rpartition(".")
    fixed = {
        "embeddings.word_embeddings": "token_embd",
        "embeddings.position_embeddings": "position_embd",
        "embeddings.token_type_embeddings": "token_types",
        "embeddings.LayerNorm": "token_embd_norm",
        "classifier.dense": "cls",
        "classifier.out_proj": "cls.output",
    }
    if module in fixed:
        return f"{fixed[module]}.{kind}"
    _, _, layer, short = module.split(".", 3)
    return f"blk.{layer}.{NAMES[short]}.{kind}"
