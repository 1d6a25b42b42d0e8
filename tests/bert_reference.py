"""BERT in plain numpy, straight from the paper: the oracle for embeddings. No llama.cpp in it."""

from __future__ import annotations

import json
import math
import re
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class BertReference:
    """A sentence encoder read from a folder with model.safetensors, config.json and vocab.txt."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        words = (folder / "vocab.txt").read_text().split("\n")
        self.vocab = {word: index for index, word in enumerate(words)}
        data = (folder / "model.safetensors").read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        self.weights: dict[str, Array] = {}
        for name, entry in header.items():
            if entry["dtype"] == "F32":
                start, stop = entry["data_offsets"]
                values = np.frombuffer(data, np.float32, (stop - start) // 4, 8 + length + start)
                self.weights[name] = values.reshape(entry["shape"])

    def tokens(self, text: str) -> list[int]:
        """Split plain ASCII text into word pieces, [CLS] and [SEP] around them."""
        ids = [self.vocab["[CLS]"]]
        for word in re.findall(r"\w+|[^\w\s]", text.lower()):
            start = 0
            while start < len(word):
                for stop in range(len(word), start, -1):
                    piece = ("##" if start else "") + word[start:stop]
                    if piece in self.vocab:
                        ids.append(self.vocab[piece])
                        start = stop
                        break
                else:
                    raise ValueError(f"no word piece for {word}")
        return [*ids, self.vocab["[SEP]"]]

    def embed(self, text: str) -> Array:
        """Return the L2-normalised mean of the last layer."""
        ids = self.tokens(text)
        weights = self.weights
        x = weights["embeddings.word_embeddings.weight"][ids]
        x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
        x = x + weights["embeddings.token_type_embeddings.weight"][0]
        x = self._norm(x, "embeddings.LayerNorm")
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"encoder.layer.{layer}."
            attended = self._dense(self._attend(x, prefix), prefix + "attention.output.dense")
            x = self._norm(x + attended, prefix + "attention.output.LayerNorm")
            inner = self._dense(x, prefix + "intermediate.dense")
            gelu = inner * 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
            x = self._norm(
                x + self._dense(gelu.astype(np.float32), prefix + "output.dense"),
                prefix + "output.LayerNorm",
            )
        mean = x.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _attend(self, x: Array, prefix: str) -> Array:
        heads = self.config["num_attention_heads"]

        def split(name: str) -> Array:
            projected = self._dense(x, f"{prefix}attention.self.{name}")
            return projected.reshape(len(x), heads, -1).transpose(1, 0, 2)

        query, key, value = split("query"), split("key"), split("value")
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        return (scores @ value).transpose(1, 0, 2).reshape(len(x), -1)

    def _dense(self, x: Array, name: str) -> Array:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def _norm(self, x: Array, name: str) -> Array:
        centred = x - x.mean(axis=-1, keepdims=True)
        scale = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + self.config["layer_norm_eps"])
        return centred / scale * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]
