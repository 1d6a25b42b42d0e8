"""The prompt of a ranking model: a query and a document."""

from __future__ import annotations

from typing import NamedTuple

import llama_cpp.llama_cpp as llama

from ..errors import OllamaError
from .llama_model import LlamaModel

TOO_LONG = "the input length exceeds the context length"
TOO_LONG_CUT = "input after truncation exceeds maximum context length"

TEMPLATE = b"rerank"
"""The name of the chat template with places for both, where a GGUF has one."""


class Pair(NamedTuple):
    """The tokens up to the end of the document, how many are before it, and those after it."""

    tokens: list[int]
    before: int
    after: list[int]

    def fit(self, num_ctx: int, *, truncate: bool) -> list[int]:
        """Return all tokens, with the document cut to fit ``num_ctx``. Raises OllamaError."""
        most = num_ctx - len(self.after)
        if len(self.tokens) > most:
            if not truncate:
                raise OllamaError(400, TOO_LONG)
            if most <= self.before:
                raise OllamaError(400, TOO_LONG_CUT)
        return self.tokens[:most] + self.after


def pair_of(model: LlamaModel, query: str, document: str) -> Pair:
    """Tokenize a pair by the model's template, else with the vocabulary's tokens around both."""
    template = llama.llama_model_chat_template(model.pointer, TEMPLATE)
    if template:
        return _rendered(model, template.decode("utf-8", "replace"), query, document)
    vocab = model.vocab
    end = model.eos if model.eos >= 0 else llama.llama_vocab_sep(vocab)
    ends = [end] if llama.llama_vocab_get_add_eos(vocab) else []
    before = [model.bos] if model.adds_bos else []
    before += model.tokenize(query, special=False, parse_special=False) + ends
    # WordPiece ends every text with SEP, whether the GGUF says so or not.
    ends = ends or model.around[1]
    if llama.llama_vocab_get_add_sep(vocab):
        before.append(llama.llama_vocab_sep(vocab))
    words = model.tokenize(document, special=False, parse_special=False)
    return Pair(before + words, len(before), ends)


def _rendered(model: LlamaModel, template: str, query: str, document: str) -> Pair:
    """Fill a template with both, which are tokenized together with the text around them."""
    query, document = model.control_marks.guarded([query, document])
    head, _, tail = template.partition("{document}")
    head, tail = head.replace("{query}", query), tail.replace("{query}", query)
    before, after = (model.tokenize_prompt(text, special=False) for text in (head, tail))
    whole = model.tokenize_prompt(head + document + tail, special=False)
    if whole[len(whole) - len(after) :] == after:
        return Pair(whole[: len(whole) - len(after)], len(before), after)
    return Pair(model.tokenize_prompt(head + document, special=False), len(before), after)
