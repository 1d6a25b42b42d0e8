"""The parts of a rule, and the steps shared by projectors of several families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..errors import LayoutError
from ..pieces import Value, boolean, f32s, i32s, string
from ..view import View

Step = Callable[[View], None]

TOWERS = ("v.", "mm.")
"""The prefixes of the names of a vision tower's tensors."""

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Rule:
    """A rule for files of some architectures.

    ``fits`` detects Ollama's layout, ``text`` edits the view of the language model, ``clip``
    the view of the projector; without it a model has none in the same file.
    """

    architectures: tuple[str, ...]
    fits: Callable[[View], bool]
    text: Step
    clip: Step | None = None


def always(view: View) -> bool:
    """Fit every file of an architecture."""
    return True


def hide_towers(view: View) -> None:
    """Remove the vision tower from the language model."""
    view.hide(*TOWERS)


def has_tower(view: View) -> bool:
    """Return whether the file has a vision tower."""
    return view.has_tensor(*TOWERS)


def copy_vision(view: View, *keys: str) -> None:
    """Copy the dimensions that all projectors have, and ``keys``, to the keys of libmtmd.

    The rows of a projector are as wide as the embeddings of the language model.
    """
    for key in ("block_count", "embedding_length", "attention.head_count", "patch_size", *keys):
        view.copy(f"vision.{key}", f"clip.vision.{key}")
    view.copy("embedding_length", "clip.vision.projection_dim")


def describe_projector(
    view: View,
    kind: str,
    *,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    activation: str = "",
    kind_key: str = "clip.projector_type",
) -> None:
    """Set the type of the projector, the normalisation of pixels, and the activation."""
    view.default("clip.has_vision_encoder", boolean(True))
    view.set(kind_key, string(kind))
    if mean is not None and std is not None:
        view.default("clip.vision.image_mean", f32s(mean))
        view.default("clip.vision.image_std", f32s(std))
    if activation:
        view.default(f"clip.use_{activation}", boolean(True))


def four_sections(view: View, key: str) -> Value | None:
    """Return three sections of a rotary embedding as four, the last one 0; None for others."""
    sections = view.integers(key, [])
    return i32s([*sections[:3], 0]) if len(sections) >= 3 else None


def largest(view: View, key: str, least: int) -> int:
    """Return the largest number of an array, ``least`` if all are 0."""
    values = view.integers(key)
    if min(values, default=0) < 0:
        raise LayoutError(f"{view.full_key(key)} has negative numbers")
    return max(values, default=0) or least
