"""A model whose labels have known probabilities, by a keyword in the last message.

Its weights are those of ``scripted_model``, a table of logits: the token that begins a label has
the logit of its keyword, and the rest of the label follows. Labels are words without a common
letter, so that each byte has one successor. A label is written plainly or, less likely, as JSON.
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

PLAIN, AS_JSON = math.log(0.6), math.log(0.4)


def write_labels(path: Path, shares: Mapping[str, Mapping[str, float]]) -> Path:
    """Write a GGUF that answers with a label.

    ``shares`` has the probability of each label for each keyword; those of a keyword add up to
    nearly 1. The first keyword holds for messages with none.
    """
    vocabulary = Vocabulary()
    end = vocabulary.add(END, CONTROL)
    keys = {name: vocabulary.add(f"<|{name}|>", CONTROL) for name in shares}
    labels = {label: None for row in shares.values() for label in row}
    quoted = {label: vocabulary.add('"' + label[0], NORMAL) for label in labels}
    successors: dict[int, dict[int, float]] = {ord('"'): {end: CERTAIN}}
    for label, token in quoted.items():
        second, *others = label[1:].encode()
        successors[token] = successors[ord(label[0])] = {second: CERTAIN}
        for byte in others:
            assert second not in successors, f"{label} has a letter of another label"
            successors[second] = {byte: CERTAIN}
            second = byte
        successors[second] = {end: CERTAIN + PLAIN, ord('"'): CERTAIN + AS_JSON}
    for name, row in shares.items():
        # All other tokens have the logit 0; one that is far above them leaves them nothing.
        given = {label: CERTAIN + math.log(share) for label, share in row.items() if share}
        plain = {ord(label[0]): logit + PLAIN for label, logit in given.items()}
        as_json = {quoted[label]: logit + AS_JSON for label, logit in given.items()}
        successors[keys[name]] = plain | as_json
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
