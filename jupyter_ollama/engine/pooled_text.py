"""The tokens of texts to embed, and of documents to rank for a query."""

from __future__ import annotations

from functools import partial

from ..errors import OllamaError
from .llama_model import LlamaModel
from .long_text import beginning
from .rerank_prompt import TOO_LONG, TOO_LONG_CUT, pair_of


def pooled_tokens(
    model: LlamaModel, query: str | None, text: str, num_ctx: int, *, truncate: bool
) -> list[int]:
    """Return the token ids of a text to embed, or of a query and a document to rank for it.

    Raises OllamaError(400) if the model does the other, or the text is too long.
    """
    if query is None:
        if model.is_ranker:
            raise OllamaError(400, "this model ranks documents, it does not embed texts")
        return text_tokens(model, text, num_ctx, truncate=truncate)
    if not model.is_ranker:
        raise OllamaError(400, "this model does not support rerank")
    tokenize = partial(model.tokenize, special=False, parse_special=False)
    pair = pair_of(model, query, beginning(text, num_ctx, tokenize))
    return pair.fit(num_ctx, truncate=truncate)


def text_tokens(model: LlamaModel, text: str, num_ctx: int, *, truncate: bool) -> list[int]:
    """Return the token ids of a text to embed, cut to ``num_ctx`` if ``truncate``.

    The special tokens around a text survive the cut.
    """
    tokenize = partial(model.tokenize, special=True, parse_special=False)
    tokens = tokenize(beginning(text, num_ctx, tokenize))
    if len(tokens) <= num_ctx:
        return tokens or [model.filler_token]
    if not truncate:
        raise OllamaError(400, TOO_LONG)
    around = model.tokenize("", special=True)
    if num_ctx <= len(around):
        raise OllamaError(400, TOO_LONG_CUT)
    ends_special = len(around) > int(model.adds_bos) and tokens[-1] == around[-1]
    last = [tokens[-1]] if ends_special else []
    return tokens[: num_ctx - len(last)] + last
