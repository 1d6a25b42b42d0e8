"""A model whose labels have known probabilities, by a keyword in the last message.

Its weights are those of ``scripted_model``, a table of logits: the token that begins a label has
the logit of its keyword, and the rest of the label follows with certainty. A label is one of
words without a common letter, so that each byte has one successor.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from scripted_model import (
    CERTAIN,
    CHOICE,
    CONTROL,
    END,
    MESSAGES,
    NORMAL,
    Vocabulary,
    write_table,
)


def write_labels(path: Path, shares: Mapping[str, Mapping[str, float]]) -> Path:
    """Write a GGUF that answers the JSON string of a label.

    ``shares`` has the probability of each label for each keyword; those of a keyword add up to
    nearly 1. The first keyword holds for messages with none.
    """
    vocabulary = Vocabulary()
    end = vocabulary.add(END, CONTROL)
    keys = {name: vocabulary.add(f"<|{name}|>", CONTROL) for name in shares}
    labels = {label: None for row in shares.values() for label in row}
    first = {label: vocabulary.add('"' + label[0], NORMAL) for label in labels}
    successors: dict[int, dict[int, float]] = {ord('"'): {end: CERTAIN}}
    for label, token in first.items():
        for byte in f'{label[1:]}"'.encode():
            assert successors.setdefault(token, {byte: CERTAIN}) == {byte: CERTAIN}, label
            token = byte
    for name, row in shares.items():
        # All other tokens have the logit 0; one that is far above them leaves them nothing.
        successors[keys[name]] = {
            first[label]: CERTAIN + math.log(share) for label, share in row.items() if share
        }
    write_table(
        path,
        vocabulary,
        successors,
        {"tokenizer.ggml.eos_token_id": end},
        MESSAGES + CHOICE % (next(iter(shares)), [*shares]),
        merges=[f'" {label[0]}' for label in labels],
        splits="llama-bpe",  # a quotation mark stays with the letters after it
    )
    return path
