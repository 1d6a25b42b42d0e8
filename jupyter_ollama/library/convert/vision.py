"""The vision tower of Gemma 3 (a SigLIP encoder and a projection), kept as Ollama keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import gguf

from .family import MOST_LAYERS
from .model_folder import Config, ConversionError
from .rope import Rope, add_no_scaling
from .safetensors import Stored
from .tensors import Tensor

_ENCODER, _PROJECTOR = "vision_tower.vision_model.", "multi_modal_projector."
_ACTIVATIONS = ("gelu_pytorch_tanh", "gelu_tanh")
_COLOURS = 3
_POOLED = 4
"""The side of the square of patches whose mean is a token; libmtmd assumes this one."""


class _Part(NamedTuple):
    """A tensor of the tower: its name in the new file, and its shape by the config."""

    name: str
    shape: tuple[int, ...]


class Tower:
    """The tower that a config describes. Raises ConversionError for values that do not fit."""

    def __init__(self, config: Config, vision: Config) -> None:
        self._config, self._vision = config, vision
        self._layers = self._count("num_hidden_layers")
        self._width = self._count("hidden_size")
        self._inner = self._count("intermediate_size")
        self._heads = self._count("num_attention_heads")
        self._side = self._count("image_size")
        self._patch = self._count("patch_size")
        self._epsilon = vision.get("layer_norm_eps", 1e-6)
        self._tokens = config.get("mm_tokens_per_image", 256)
        self._check()

    @classmethod
    def read(cls, config: Config) -> Tower | None:
        """Return the tower of a model, None without a vision config."""
        vision = config.part("vision_config")
        return None if vision is None else cls(config, vision)

    def describe(self, writer: gguf.GGUFWriter) -> None:
        """Write the metadata."""
        prefix = f"{writer.arch}.vision"
        for key, value in (
            ("block_count", self._layers),
            ("embedding_length", self._width),
            ("feed_forward_length", self._inner),
            ("attention.head_count", self._heads),
            ("image_size", self._side),
            ("patch_size", self._patch),
            ("num_channels", _COLOURS),
        ):
            writer.add_uint32(f"{prefix}.{key}", value)
        writer.add_float32(f"{prefix}.attention.layer_norm_epsilon", self._epsilon)
        writer.add_uint32(f"{writer.arch}.mm.tokens_per_image", int(self._tokens))
        # In a file with a tower, no scaling means the factor of the models that Google published.
        add_no_scaling(writer, Rope.read(self._config))

    def tensors(self, stored: Mapping[str, Stored]) -> list[Tensor]:
        """Plan the tensors of the tower. Raises ConversionError."""
        parts = dict(self._parts())
        planned: dict[str, Tensor] = {}
        for name, source in stored.items():
            older = _older_name(name)
            if older is None or name.endswith(".position_ids"):
                continue
            part = parts.get(older)
            if part is None:
                raise ConversionError(f'unexpected tensor "{name}"')
            if source.shape != part.shape:
                raise ConversionError(
                    f'tensor "{name}" has the shape {list(source.shape)}, '
                    f"by config.json it is {list(part.shape)}"
                )
            # Only this norm is Gemma's own, which stores the difference from 1.
            shift = 1.0 if part.name == "mm.mm_soft_emb_norm.weight" else 0.0
            planned[part.name] = Tensor(part.name, source, half=len(part.shape) > 1, shift=shift)
        for name, part in parts.items():
            if part.name not in planned:
                raise ConversionError(f'tensor "{name}" is missing')
        return list(planned.values())

    def _parts(self) -> Iterator[tuple[str, _Part]]:
        """All tensors by their names in the first checkpoints."""
        width, inner = self._width, self._inner
        places = (self._side // self._patch) ** 2
        patch = (width, _COLOURS, self._patch, self._patch)
        layer: dict[str, tuple[str, tuple[int, ...]]] = {
            f"self_attn.{kind}_proj": (f"attn_{kind}", (width, width)) for kind in "qkv"
        }
        layer |= {
            "self_attn.out_proj": ("attn_output", (width, width)),
            "layer_norm1": ("layer_norm1", (width,)),
            "layer_norm2": ("layer_norm2", (width,)),
            "mlp.fc1": ("mlp.fc1", (inner, width)),
            "mlp.fc2": ("mlp.fc2", (width, inner)),
        }
        weights: dict[str, tuple[str, tuple[int, ...]]] = {
            "embeddings.patch_embedding": ("patch_embedding", patch),
            "post_layernorm": ("post_layernorm", (width,)),
        }
        for number in range(self._layers):
            for old, (new, shape) in layer.items():
                weights[f"encoder.layers.{number}.{old}"] = (f"blk.{number}.{new}", shape)
        for old, (new, shape) in weights.items():
            yield f"{_ENCODER}{old}.weight", _Part(f"v.{new}.weight", shape)
            yield f"{_ENCODER}{old}.bias", _Part(f"v.{new}.bias", shape[:1])
        position = "position_embedding.weight"
        yield f"{_ENCODER}embeddings.{position}", _Part(f"v.{position}", (places, width))
        norm = "mm_soft_emb_norm.weight"
        yield f"{_PROJECTOR}{norm}", _Part(f"mm.{norm}", (width,))
        # Stored as it is multiplied, inputs before outputs; libmtmd expects this order too.
        yield (
            f"{_PROJECTOR}mm_input_projection_weight",
            _Part("mm.mm_input_projection.weight", (width, self._config.number("hidden_size"))),
        )

    def _count(self, key: str) -> int:
        value = self._vision.number(key)
        if value < 1:
            raise ConversionError(f"invalid vision_config.{key}: {value}")
        return value

    def _check(self) -> None:
        if self._layers > MOST_LAYERS:
            raise ConversionError(f"invalid vision_config.num_hidden_layers: {self._layers}")
        if self._width % self._heads:
            raise ConversionError(f"invalid vision_config.num_attention_heads: {self._heads}")
        if not isinstance(self._epsilon, int | float):
            raise ConversionError(f"invalid vision_config.layer_norm_eps: {self._epsilon}")
        if self._vision.get("num_channels", _COLOURS) != _COLOURS:
            raise ConversionError("vision_config.num_channels must be 3")
        activation = self._vision.get("hidden_act", _ACTIVATIONS[0])
        if activation not in _ACTIVATIONS:
            raise ConversionError(f'unsupported vision_config.hidden_act "{activation}"')
        side = self._side // self._patch
        if side < _POOLED or side % _POOLED or self._tokens != (side // _POOLED) ** 2:
            raise ConversionError(
                f"mm_tokens_per_image {self._tokens} is not supported with {side} patches a side"
            )


def _older_name(name: str) -> str | None:
    """Return the name of a tensor in the first checkpoints; None if it is not of the tower.

    Newer checkpoints have a prefix more, the newest ones one level less.
    """
    tower = "vision_tower."
    name = name.removeprefix("model.")
    if name.startswith(tower):
        return _ENCODER + name.removeprefix(_ENCODER).removeprefix(tower)
    return name if name.startswith(_PROJECTOR) else None
