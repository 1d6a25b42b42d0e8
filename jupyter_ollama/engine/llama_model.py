"""A GGUF loaded by llama.cpp: weights, vocabulary, metadata. Runner process only."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import llama_cpp.llama_cpp as llama

from ..layout.errors import LayoutError
from ..layout.model_file import ModelFile
from ..prompt.control_marks import ControlMarks
from .llama_file import LOAD_MODES, keep_experts, load_file
from .llama_internals import extra_buffers_are_safe

_CONTROL = llama.LLAMA_TOKEN_ATTR_CONTROL | llama.LLAMA_TOKEN_ATTR_UNKNOWN
"""Tokens that llama.cpp finds by name only where it parses special tokens."""

MARKUP_PIECE = 2**14
"""Characters that are tokenized at once in a prompt with control tokens."""

_CONTROL_TYPE = 3
"""The type of a control token in a GGUF."""

RANK_POOLING = llama.LLAMA_POOLING_TYPE_RANK


class LoadError(Exception):
    """llama.cpp refused a model or a context; the text has the reason if llama.cpp logged one.

    ``required`` and ``available`` are bytes of memory, 0 if memory is not the reason.
    """

    required = 0
    available = 0


class LlamaModel:
    """Weights and vocabulary. Lives as long as its process, so nothing is ever freed by hand."""

    def __init__(
        self,
        file: ModelFile | str,
        *,
        gpu_layers: int = 0,
        only_gpu: int | None = None,
        tensor_split: Sequence[float] = (),
        use_mmap: bool | None = None,
        no_alloc: bool = False,
        with_heads: bool = False,
        vocab_only: bool = False,
        cpu_experts: int = 0,
    ) -> None:
        """Load a GGUF or the path of one, the last ``gpu_layers`` to ``only_gpu`` or to several.

        Without any layers there, no GPU is used.

        The routed experts of the first ``cpu_experts`` layers stay on the host.

        With ``no_alloc`` there are no weights: contexts report the memory they would take. The
        layers that predict further tokens are left out unless ``with_heads``. With ``vocab_only``
        only the vocabulary and the metadata are loaded.
        """
        params = llama.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        # Without layers a GPU would still compute long prompts, in a buffer that no plan counts.
        none = (ctypes.c_void_p * 1)()
        if not gpu_layers:
            params.devices = ctypes.cast(none, ctypes.c_void_p)
        if only_gpu is not None:
            params.split_mode = llama.LLAMA_SPLIT_MODE_NONE
            params.main_gpu = only_gpu
        elif any(tensor_split):
            # llama.cpp reads one part for each device that it could have.
            parts = (ctypes.c_float * llama.llama_max_devices())(*tensor_split)
            params.tensor_split = parts
        params.load_mode = LOAD_MODES[False if no_alloc else use_mmap]
        params.no_alloc = no_alloc
        params.use_extra_bufts = extra_buffers_are_safe()
        params.load_mtp = with_heads
        params.vocab_only = vocab_only
        # llama.cpp reads the list during the load.
        self._kept = keep_experts(params, cpu_experts)
        file = file if isinstance(file, ModelFile) else ModelFile(Path(file))
        try:
            self.pointer = load_file(file, params)
        except (LayoutError, OSError) as error:
            raise LoadError(f"unable to load model: {file.path}: {error}") from error
        if not self.pointer:
            raise LoadError(f"unable to load model: {file.path}")
        self._file = file
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
    def mixes_tokens(self) -> bool:
        """True if the kernel that multiplies a token may depend on the other tokens of its batch.

        llama.cpp uses another one where many of them are routed to one expert of such a type.
        """
        types = (t.type_name for t in self._file.header.tensors if "_exps" in t.name)
        return any(name.startswith("IQ") or name.endswith("_K") for name in types)

    @property
    def filler_token(self) -> int:
        """A token in place of an empty text: BOS, else EOS, else any token."""
        return self.bos if self.bos >= 0 else max(self.eos, 0)

    @property
    def chat_template(self) -> str | None:
        """The Jinja template inside the GGUF, if there is one."""
        text: bytes | None = llama.llama_model_chat_template(self.pointer, None)
        if text:
            return text.decode("utf-8", "replace")
        # A text too long for an override: llama.cpp does not know it.
        added = self._file.header.metadata.get("tokenizer.chat_template")
        return str(added) if added else None

    @property
    def infill_marks(self) -> tuple[str, str, str]:
        """The tokens before a prefix, before a suffix, and before the text between them."""
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

        ``special`` adds the vocabulary's tokens around a text (BOS, EOS, CLS, SEP).
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

        Without ``special`` the vocabulary's tokens around a text are left out. Raises ValueError
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

    @cached_property
    def control_marks(self) -> ControlMarks:
        """The names of control tokens, which the text of a user must not become."""
        names, strips, insistent = [], {}, []
        # Some that the file calls control tokens, llama.cpp finds in every text (gpt-oss).
        declared = self._file.token_types
        for token in range(self.n_vocab):
            attributes = llama.llama_vocab_get_attr(self.vocab, token)
            is_control = attributes & _CONTROL
            if not is_control and declared[token : token + 1] != [_CONTROL_TYPE]:
                continue
            name = self.text_of(token)
            names.append(name)
            insistent += [] if is_control else [name]
            blanks = (
                bool(attributes & llama.LLAMA_TOKEN_ATTR_LSTRIP),
                bool(attributes & llama.LLAMA_TOKEN_ATTR_RSTRIP),
            )
            if any(blanks):
                strips[name] = blanks
        return ControlMarks(names, strips, insistent)

    def tokenize_prompt(self, prompt: str, *, special: bool) -> list[int]:
        """Return the token ids of a prompt whose guarded texts are no markup.

        ``special`` adds the vocabulary's tokens around a text.
        """
        pieces = self.control_marks.pieces(prompt)
        if len(pieces) == 1 and pieces[0].is_markup and len(prompt) <= MARKUP_PIECE:
            return self.tokenize(pieces[0].text, special=special)
        begin, end = self.around if special else ([], [])
        tokens = list(begin)
        for piece in pieces:
            # llama.cpp takes time quadratic in the number of control tokens in a text.
            parts = self.control_marks.parts(piece.text, MARKUP_PIECE) if piece.is_markup else ()
            for part in parts or (piece.text,):
                tokens += self.tokenize(part, special=False, parse_special=piece.is_markup)
        return tokens + end

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

    def is_control(self, token: int) -> bool:
        """True if a token is markup, which no text around it merges with."""
        return bool(llama.llama_vocab_is_control(self.vocab, token))

    def is_end(self, token: int) -> bool:
        """True if a token ends a generation (EOS, end of turn and their like)."""
        return bool(llama.llama_vocab_is_eog(self.vocab, token))
