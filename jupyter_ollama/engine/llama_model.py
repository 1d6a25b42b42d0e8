"""A GGUF loaded by llama.cpp: weights, vocabulary, metadata. Runner process only."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence

import llama_cpp.llama_cpp as llama

LOAD_MODES = {
    None: llama.LLAMA_LOAD_MODE_AUTO,
    True: llama.LLAMA_LOAD_MODE_MMAP,
    False: llama.LLAMA_LOAD_MODE_NONE,
}


RANK_POOLING = llama.LLAMA_POOLING_TYPE_RANK


class LoadError(Exception):
    """llama.cpp refused a model or a context; the text says why as far as it told.

    Where memory is short, ``required`` and ``available`` are bytes of it.
    """

    required = 0
    available = 0


class LlamaModel:
    """Weights and vocabulary. Lives as long as its process, so nothing is ever freed by hand."""

    def __init__(
        self,
        path: str,
        *,
        gpu_layers: int = 0,
        only_gpu: int | None = None,
        tensor_split: Sequence[float] = (),
        use_mmap: bool | None = None,
        no_alloc: bool = False,
    ) -> None:
        """Load a GGUF, the last ``gpu_layers`` to ``only_gpu`` or in parts to several.

        With ``no_alloc`` there are no weights: contexts tell what they would take.
        """
        params = llama.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        if only_gpu is not None:
            params.split_mode = llama.LLAMA_SPLIT_MODE_NONE
            params.main_gpu = only_gpu
        elif any(tensor_split):
            # llama.cpp reads as many parts as it could have devices.
            parts = (ctypes.c_float * llama.llama_max_devices())(*tensor_split)
            params.tensor_split = parts
        params.load_mode = LOAD_MODES[False if no_alloc else use_mmap]
        params.no_alloc = no_alloc
        self.pointer = llama.llama_model_load_from_file(path.encode(), params)
        if not self.pointer:
            raise LoadError(f"unable to load model: {path}")
        self.vocab = llama.llama_model_get_vocab(self.pointer)
        self.n_vocab: int = llama.llama_vocab_n_tokens(self.vocab)
        self.n_ctx_train: int = llama.llama_model_n_ctx_train(self.pointer)
        self.n_embd_out: int = llama.llama_model_n_embd_out(self.pointer)
        self.bos: int = llama.llama_vocab_bos(self.vocab)
        self.eos: int = llama.llama_vocab_eos(self.vocab)
        self.adds_bos: bool = llama.llama_vocab_get_add_bos(self.vocab)
        self._pieces: tuple[dict[int, bytes], dict[int, bytes]] = ({}, {})

    def metadata(self, key: str) -> str | None:
        """Return one metadata value as text, or None if the GGUF has no such key."""
        size = 1 << 10
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama.llama_model_meta_val_str(self.pointer, key.encode(), buffer, size)
            if length < 0:
                return None
            if length < size:
                return buffer.raw[:length].decode("utf-8", "replace")
            size = length + 1

    @property
    def architecture(self) -> str:
        """The GGUF's general.architecture."""
        return self.metadata("general.architecture") or ""

    @property
    def is_embedding_only(self) -> bool:
        """True for encoders: they have a pooling type of their own and cannot generate."""
        return self.metadata(f"{self.architecture}.pooling_type") is not None

    @property
    def is_ranker(self) -> bool:
        """True if texts are pooled to how well a document fits a query."""
        return self.metadata(f"{self.architecture}.pooling_type") == str(RANK_POOLING)

    @property
    def filler_token(self) -> int:
        """What stands for an empty text: BOS, else EOS, else any token."""
        return self.bos if self.bos >= 0 else max(self.eos, 0)

    @property
    def chat_template(self) -> str | None:
        """The Jinja template inside the GGUF, if there is one."""
        text = llama.llama_model_chat_template(self.pointer, None)
        return text.decode("utf-8", "replace") if text else None

    @property
    def infill_marks(self) -> tuple[str, str, str]:
        """The tokens before a prefix, before a suffix, and before what fills the gap."""
        vocab = self.vocab
        marks = (
            llama.llama_vocab_fim_pre(vocab),
            llama.llama_vocab_fim_suf(vocab),
            llama.llama_vocab_fim_mid(vocab),
        )
        before, after, gap = (self.text_of(mark) for mark in marks)
        return before, after, gap

    def tokenize(self, text: str, *, special: bool, parse_special: bool = True) -> list[int]:
        """Return the token ids of a text; special tokens in it are recognised if ``parse_special``.

        ``special`` adds what the vocabulary wants around a text (BOS, EOS, CLS, SEP).
        """
        data = text.encode("utf-8", "replace")
        capacity = len(data) + 8
        while True:
            tokens = (llama.llama_token * capacity)()
            count = llama.llama_tokenize(
                self.vocab, data, len(data), tokens, capacity, special, parse_special
            )
            if count >= 0:
                return list(tokens[:count])
            capacity = -count

    def detokenize(self, tokens: list[int], *, special: bool) -> str:
        """Return the text of tokens.

        Without ``special`` what the vocabulary wants around a text is left out. Raises ValueError
        for tokens that the vocabulary does not have.
        """
        if any(not 0 <= token < self.n_vocab for token in tokens):
            raise ValueError("no such token")
        if not special:
            begin, end = self.around
            tokens = tokens[len(begin) * (tokens[: len(begin)] == begin) :]
            tokens = tokens[: len(tokens) - len(end) * (tokens[len(tokens) - len(end) :] == end)]
        count, size = len(tokens), 8 * len(tokens) + 64
        data = (llama.llama_token * count)(*tokens)
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama.llama_detokenize(self.vocab, data, count, buffer, size, False, True)
            if length >= 0:
                break
            size = -length
        text = buffer.raw[:length].decode("utf-8", "replace")
        # WordPiece has a space before each word, the first one too.
        is_wordpiece = llama.llama_vocab_type(self.vocab) == llama.LLAMA_VOCAB_TYPE_WPM
        return text.removeprefix(" ") if is_wordpiece else text

    @property
    def around(self) -> tuple[list[int], list[int]]:
        """The tokens that the vocabulary puts before and behind a text."""
        tokens = self.tokenize("", special=True)
        count = int(self.adds_bos)
        return tokens[:count], tokens[count:]

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """Return the bytes a token stands for, perhaps a part of a character.

        A special token has none unless ``special``.
        """
        piece = self._pieces[special].get(token)
        if piece is None:
            piece = self._pieces[special][token] = self._read_piece(token, special=special)
        return piece

    def text_of(self, token: int) -> str:
        """Return the text of a token, special ones included ("<|im_end|>"); "" if there is none."""
        return self.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""

    def _read_piece(self, token: int, *, special: bool) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = llama.llama_token_to_piece(self.vocab, token, buffer, size, 0, special)
            if length >= 0:
                return buffer.raw[:length]
            size = -length

    def is_end(self, token: int) -> bool:
        """True if a token ends a generation (EOS, end of turn and their like)."""
        return bool(llama.llama_vocab_is_eog(self.vocab, token))


def load_adapters(model: LlamaModel, paths: Iterable[str]) -> list[llama.llama_adapter_lora_p]:
    """Load LoRA adapters for a model."""
    adapters = []
    for path in paths:
        adapter = llama.llama_adapter_lora_init(model.pointer, path.encode())
        if not adapter:
            raise LoadError(f"unable to load adapter: {path}")
        adapters.append(adapter)
    return adapters
