"""The part of a prefill that is an image."""

from __future__ import annotations

from .llama_context import LlamaContext
from .prompting import Span
from .sequence import Sequence


def decode_image(
    context: LlamaContext, sequence: Sequence, span: Span, most: int
) -> tuple[int, int]:
    """Decode what comes next of an image, at most ``most`` tokens where it may be cut.

    Returns the tokens that were decoded and llama_decode's code.
    """
    start, media = span
    done = sequence.cached - start
    end = media.n_tokens if media.non_causal else min(done + most, media.n_tokens)
    positions = media.positions(sequence.position(start))[:, done:end]
    code = context.decode_embeddings(
        media.embeddings[done:end], positions, sequence.slot, causal=not media.non_causal
    )
    return end - done, code
