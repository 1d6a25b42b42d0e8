"""A model that answers by scripts, with texts that no small model generates reliably.

Its weights are a table of successors: embeddings are one-hot, attention and feed-forward add
nothing, and the output matrix names the token that follows each token. So llama.cpp itself
generates a script token by token, whatever the prompt.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import gguf
import numpy as np
from gguf_files import add_keys, finish
from numpy.typing import NDArray

NORMAL, CONTROL = 1, 3
CERTAIN = 30.0
"""The approximate distance of a successor's logit above all others."""
END = "<|end|>"
GAP = {
    "tokenizer.ggml.fim_pre_token_id": "<|fim_before|>",
    "tokenizer.ggml.fim_suf_token_id": "<|fim_after|>",
    "tokenizer.ggml.fim_mid_token_id": "<|fim_gap|>",
}
"""The keys and words of the tokens around a gap."""

MESSAGES = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
"""A template that shows the messages."""
CHOICE = (
    "{%% set ns = namespace(name='%s') %%}"
    "{%% for name in %s %%}{%% if name in messages[-1].content %%}"
    "{%% set ns.name = name %%}{%% endif %%}{%% endfor %%}<|{{ ns.name }}|>"
)
"""Ends a prompt with the token that begins a script."""


def write_scripts(
    path: Path,
    scripts: Mapping[str, str],
    *,
    template: str | None = MESSAGES,
    special: Sequence[str] = (),
    architecture: str = "llama",
    begins_after: str = "",
    otherwise: str = "",
    infill: bool = False,
    endless: Collection[str] = (),
    choice: str | None = None,
    shortest: int = 2,
) -> Path:
    """Write a GGUF that answers with the script whose name is in the last message, else the first.

    ``template`` (Jinja) renders the messages before; None leaves the file without one. What is in
    ``special`` becomes one control token, which no script may have twice. The first script also
    follows a prompt that ends with the character ``begins_after``, and one with a gap if the model
    can ``infill``.
    The scripts named in ``endless`` begin again at their end.
    The character ``otherwise`` follows where no script goes on, as after what a grammar forced.
    ``choice`` (Jinja) replaces what ends the prompt with the token ``<|name|>`` of a script. Tokens
    of scripts have ``shortest`` characters at least, but for the last of a script.
    """
    vocabulary = Vocabulary()
    end = vocabulary.add(END, CONTROL)
    marks = {text: vocabulary.add(text, CONTROL) for text in special}
    gap = {key: vocabulary.add(word, CONTROL) for key, word in GAP.items() if infill}
    successors: dict[int, int] = {}
    for name, script in scripts.items():
        last = begin = vocabulary.add(f"<|{name}|>", CONTROL)
        for token in vocabulary.script(script, marks, shortest):
            assert successors.setdefault(last, token) == token, "a special token comes twice"
            last = token
        successors[last] = successors[begin] if name in endless else end
    first = next(iter(scripts))
    for token in [*begins_after.encode(), *[*gap.values()][-1:]]:
        successors[token] = successors[vocabulary.words.index(f"<|{first}|>")]
    if otherwise:
        for token in range(len(vocabulary.words)):
            successors.setdefault(token, ord(otherwise))
    numbers = gap | {"tokenizer.ggml.eos_token_id": end}
    if template is not None:
        template += CHOICE % (first, [*scripts]) if choice is None else choice
    table = {token: {following: CERTAIN} for token, following in successors.items()}
    write_table(path, vocabulary, table, numbers, template, architecture)
    return path


class Vocabulary:
    """Words of a byte-level BPE without merges: bytes, and words that only scripts use."""

    def __init__(self) -> None:
        self.words = [_byte(byte) for byte in range(256)]
        self.kinds = [NORMAL] * 256
        self._known = set(self.words)

    def add(self, word: str, kind: int) -> int:
        """Add a word and return its token."""
        assert word not in self._known, f"{word!r} comes twice"
        self._known.add(word)
        self.words.append(word)
        self.kinds.append(kind)
        return len(self.words) - 1

    def script(self, text: str, marks: Mapping[str, int], shortest: int = 2) -> list[int]:
        """Cut a text into unused tokens of ``shortest`` characters at least, and marks."""
        tokens = []
        while text:
            mark = next((mark for mark in marks if text.startswith(mark)), None)
            if mark:
                tokens.append(marks[mark])
                text = text.removeprefix(mark)
                continue
            ahead = min((at for mark in marks if (at := text.find(mark)) > 0), default=len(text))
            pieces = self._new_pieces(text[:ahead], frozenset(), shortest)
            assert pieces, f"{text[:ahead]!r} cannot be cut into words that nothing else uses"
            tokens += [self.add(_encoded(piece), NORMAL) for piece in pieces]
            text = text[ahead:]
        return tokens

    def _new_pieces(self, text: str, taken: frozenset[str], shortest: int) -> list[str] | None:
        """Cut a text into pieces that are no words yet; None if it cannot be done."""
        if not text:
            return []
        for length in range(min(shortest, len(text)), len(text) + 1):
            piece = text[:length]
            if piece in taken or _encoded(piece) in self._known:
                continue
            others = self._new_pieces(text[length:], taken | {piece}, shortest)
            if others is not None:
                return [piece, *others]
        return None


def _byte(byte: int) -> str:
    """Return the character that stands for a byte in such vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in printable:
        return chr(byte)
    return chr(256 + [other for other in range(256) if other not in printable].index(byte))


def _encoded(text: str) -> str:
    return "".join(map(_byte, text.encode()))


def write_table(
    path: Path,
    vocabulary: Vocabulary,
    table: Mapping[int, Mapping[int, float]],
    numbers: Mapping[str, int],
    template: str | None,
    architecture: str = "llama",
    merges: Sequence[str] = ("! !",),
    splits: str = "gpt-2",
) -> None:
    """Write a GGUF by the logits of the tokens that follow each token; those of others are 0.

    ``splits`` names how llama.cpp splits texts before it applies the ``merges``.
    """
    width = -(-len(vocabulary.words) // 32) * 32
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_context_length(4096)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(32)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_key_length(32)
    writer.add_value_length(32)
    writer.add_rope_dimension_count(32)
    writer.add_block_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(splits)
    writer.add_token_list(vocabulary.words)
    writer.add_token_types(vocabulary.kinds)
    writer.add_token_merges(list(merges))
    add_keys(writer, numbers)
    writer.add_add_bos_token(False)
    if template is not None:
        writer.add_chat_template(template)
    finish(writer, _tensors(len(vocabulary.words), width, table))


def _tensors(
    words: int, width: int, table: Mapping[int, Mapping[int, float]]
) -> dict[str, NDArray[np.float32]]:
    output = np.zeros((words, width), np.float32)
    for token, logits in table.items():
        for following, logit in logits.items():
            # The norm before it makes a one-hot row as long as the square root of its width.
            output[following, token] = logit / np.sqrt(width)
    zeros = {
        "attn_q": (32, width),
        "attn_k": (32, width),
        "attn_v": (32, width),
        "attn_output": (width, 32),
        "ffn_gate": (32, width),
        "ffn_up": (32, width),
        "ffn_down": (width, 32),
    }
    ones = np.ones(width, np.float32)
    return {
        "token_embd.weight": np.eye(words, width, dtype=np.float32),
        "output_norm.weight": ones,
        "output.weight": output,
        "blk.0.attn_norm.weight": ones,
        "blk.0.ffn_norm.weight": ones,
        **{f"blk.0.{name}.weight": np.zeros(shape, np.float32) for name, shape in zeros.items()},
    }
