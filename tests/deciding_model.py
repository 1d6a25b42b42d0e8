"""A model that gives known probabilities to known answers, by what is in the last message.

Like the models of ``scripted_model`` its weights are a table of successors, here with the logits of
several tokens that may follow.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from scripted_model import CERTAIN, CHOICE, CONTROL, END, MESSAGES, Vocabulary, write_table

USER_DEFINED = 4
"""Tokens that a tokenizer finds in every text: each answer is one."""


def write_decisions(
    path: Path, decisions: Mapping[str, Mapping[str, float]], *, choice: str = ""
) -> Path:
    """Write a GGUF whose next token has the probabilities of one of the ``decisions``.

    It is the last one whose name is in the last message, else the first, or the one that ``choice``
    (Jinja) writes as ``<|name|>``. The answers are texts without spaces.
    """
    vocabulary = Vocabulary()
    end = vocabulary.add(END, CONTROL)
    tokens: dict[str, int] = {}
    for answer in (one for odds in decisions.values() for one in odds):
        if answer not in vocabulary.words:  # a single character is a token already
            vocabulary.add(answer, USER_DEFINED)
        tokens[answer] = vocabulary.words.index(answer)
    table = {token: {end: CERTAIN} for token in tokens.values()}
    for name, odds in decisions.items():
        begin = vocabulary.add(f"<|{name}|>", CONTROL)
        table[begin] = {tokens[one]: CERTAIN + math.log(share) for one, share in odds.items()}
    template = MESSAGES + (choice or CHOICE % (next(iter(decisions)), [*decisions]))
    write_table(path, vocabulary, table, {"tokenizer.ggml.eos_token_id": end}, template)
    return path
