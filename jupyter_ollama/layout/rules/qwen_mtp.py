"""Multi-token prediction of Qwen 3.5: from ``mtp.*`` to llama.cpp's ``nextn``."""

from __future__ import annotations

import re

from ..convert import add_one
from ..errors import LayoutError
from ..pieces import u32
from ..view import View
from ..virtual_file import TensorView

_LAYER = re.compile(r"mtp\.layers\.(\d+)\.")
_SINGLE_HEAD = (
    ("mtp.fc.weight", "eh_proj"),
    ("mtp.pre_fc_norm_embedding.weight", "enorm"),
    ("mtp.pre_fc_norm_hidden.weight", "hnorm"),
    ("mtp.embed_tokens.weight", "embed_tokens"),
    ("mtp.shared_head.head.weight", "shared_head_head"),
    ("mtp.shared_head.norm.weight", "shared_head_norm"),
    ("mtp.norm.weight", "shared_head_norm"),
)
"""Tensors outside of the layers, and their names within the only layer."""

_MOST_HEADS = 64


def translate(view: View) -> None:
    """Append the layers of multi-token prediction to the blocks of the model."""
    if not view.has_tensor("mtp.") or any(
        name.startswith("blk.") and ".nextn." in name for name in view.tensors
    ):
        return
    layers = [int(found[1]) for found in map(_LAYER.match, view.tensors) if found]
    heads = max(layers, default=0) + 1
    if heads > _MOST_HEADS:
        raise LayoutError(f"tensor mtp.layers.{heads - 1}.* is one of too many layers")
    first = max(view.blocks(), default=-1) + 1
    view.set("nextn_predict_layers", u32(heads))
    view.set("block_count", u32(first + heads))
    before = set(view.tensors)
    for layer in range(heads):
        prefix = f"blk.{first + layer}."
        if view.architecture == "qwen35moe":
            for part in ("gate", "up", "down"):
                _join_experts(view, layer, part, f"{prefix}ffn_{part}_exps.weight")
        view.rename_keys(f"mtp.layers.{layer}.", prefix)
    if heads == 1:
        for name, new in _SINGLE_HEAD:
            target = f"blk.{first}.nextn.{new}.weight"
            if target not in view.tensors:
                view.rename(name, target)
    for name in [name for name in view.tensors if name not in before]:
        if _is_norm(name):
            add_one(view, name)


def _is_norm(name: str) -> bool:
    """Return whether a tensor holds the weights of a norm less 1."""
    if name.endswith((".nextn.enorm.weight", ".nextn.hnorm.weight")):
        return True
    return name.endswith("_norm.weight") and not name.endswith(".ssm_norm.weight")


def _join_experts(view: View, layer: int, part: str, target: str) -> None:
    """Concatenate the matrices of the experts, each a tensor."""
    names: list[str] = []
    while True:
        name = f"mtp.layers.{layer}.mlp.experts.{len(names)}.{part}_proj.weight"
        if name not in view.tensors:
            break
        names.append(name)
    if not names:
        return
    experts = [view.take(name) for name in names]
    first = experts[0]
    for expert in experts:
        if (expert.type_name, expert.shape) != (first.type_name, first.shape):
            raise LayoutError(f"tensor {expert.name} is not like {first.name}")
    pieces = tuple(piece for expert in experts for piece in expert.pieces)
    view.put(TensorView(target, (*first.shape, len(experts)), first.type_name, pieces))
