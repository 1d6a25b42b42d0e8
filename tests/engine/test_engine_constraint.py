from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import llama_cpp.llama_cpp as llama
import numpy as np
import pytest
from llguidance import LLMatcher
from llguidance.llamacpp import lltokenizer_from_vocab
from numpy.typing import NDArray
from plain_loop import quiet
from tiny_vision import write_language_model

from jupyter_ollama.engine import constraint as constraint_module
from jupyter_ollama.engine.constraint import ConstraintCompiler, TokenConstraint
from jupyter_ollama.engine.llama_model import LlamaModel
from jupyter_ollama.engine.protocol import Constraint
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.library.library import Library

PERSON = {
    "type": "object",
    "properties": {
        "the_full_name_of_this_person": {"type": "string", "maxLength": 30},
        "age_in_whole_years": {"type": "integer", "minimum": 0, "maximum": 130},
        "mood": {"enum": ["happy", "sad", "neutral"]},
    },
    "required": ["mood", "the_full_name_of_this_person", "age_in_whole_years"],
    "additionalProperties": False,
}
MATRIX = {
    "type": "array",
    "items": {
        "type": "array",
        "items": {"type": "integer", "minimum": 1, "maximum": 9},
        "minItems": 2,
        "maxItems": 2,
    },
    "minItems": 2,
    "maxItems": 3,
}
NESTED = {
    "$defs": {
        "value": {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": 9},
                {"type": "array", "items": {"$ref": "#/$defs/value"}, "minItems": 1, "maxItems": 2},
            ]
        }
    },
    "type": "array",
    "$ref": "#/$defs/value",
}
PLATE = {
    "type": "object",
    "properties": {"plate": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3,4}$"}},
    "required": ["plate"],
    "additionalProperties": False,
}
LABEL = {"enum": ["positive", "negative", "neutral"]}
ENDLESS = "^(?:(?:[a-z]{1,1000}){1,1000}){1,1000}$"
"""A pattern that compiles, and that llguidance gives up after some letters."""


class Model:
    """SmolLM2 or Gemma with its compiler, and a plain llama.cpp context to write with."""

    def __init__(self, path: Path) -> None:
        self.model = LlamaModel(str(path))
        self.compiler = ConstraintCompiler(self.model)
        params = llama.llama_context_default_params()
        params.n_ctx = 1024
        params.n_threads = params.n_threads_batch = 2
        self._context = llama.llama_init_from_model(self.model.pointer, params)

    def schema(self, schema: object) -> TokenConstraint:
        return self.compiler.compile(Constraint("schema", json.dumps(schema)))

    def grammar(self, text: str) -> TokenConstraint:
        return self.compiler.compile(Constraint("grammar", text))

    def tokens(self, text: str) -> list[int]:
        return self.model.tokenize(text, special=False)

    def text(self, tokens: list[int]) -> str:
        return b"".join(map(self.model.piece, tokens)).decode()

    def takes(self, constraint: TokenConstraint, text: str) -> bool:
        """Return whether a text is allowed, in any tokens, and may end there."""
        try:
            for token in self.tokens(text):
                constraint.accept(token)
        except ValueError:
            return False
        return all(constraint.allows(end) for end in self.compiler.vocabulary.ends)

    def write(
        self, constraint: TokenConstraint, question: str, *, use_forced: bool, most: int = 150
    ) -> tuple[list[int], int]:
        """Answer greedily; return the tokens and how many were not sampled."""
        prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
        llama.llama_memory_clear(llama.llama_get_memory(self._context), True)
        logits = self._decode(self.tokens(prompt))
        answer: list[int] = []
        unsampled = 0
        while not constraint.is_over and len(answer) < most:
            feed = constraint.forced() if use_forced else []
            unsampled += len(feed)
            if not feed:
                constraint.apply(logits)
                feed = [int(logits.argmax())]
                if self.model.is_end(feed[0]):
                    break
            for token in feed:
                constraint.accept(token)
            answer += feed
            logits = self._decode(feed)
        return answer, unsampled

    def _decode(self, tokens: list[int]) -> NDArray[np.float32]:
        array = (llama.llama_token * len(tokens))(*tokens)
        assert llama.llama_decode(self._context, llama.llama_batch_get_one(array, len(tokens))) == 0
        row = llama.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(row, (self.model.n_vocab,))

    def close(self) -> None:
        llama.llama_free(self._context)
        llama.llama_model_free(self.model.pointer)


@pytest.fixture(scope="module")
def silence() -> Iterator[None]:
    """Hold llama.cpp's log callback for as long as there are models that might call it."""
    callback = quiet()
    yield
    del callback


@pytest.fixture(scope="module")
def smol(smollm2: Path, silence: None) -> Iterator[Model]:
    model = Model(smollm2)
    yield model
    model.close()


@pytest.fixture(scope="module")
def gemma(gemma3_library: Library, silence: None) -> Iterator[Model]:
    model = Model(gemma3_library.find("gemma3").model_path)
    yield model
    model.close()


def bits(constraint: TokenConstraint, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(constraint.mask.view(np.uint8), bitorder="little", count=count).astype(
        bool
    )


def refusal(model: Model, constraint: Constraint) -> str:
    with pytest.raises(OllamaError) as caught:
        model.compiler.compile(constraint)
    assert caught.value.status == 400
    return caught.value.message


@pytest.mark.parametrize(
    ("schema", "question"),
    [
        (LABEL, "How do you feel about rain?"),
        ({"type": "integer", "minimum": 5, "maximum": 31}, "How many days has May?"),
        (PERSON, "Describe a person."),
        (MATRIX, "Give me a matrix of numbers."),
        (NESTED, "Write a nested list like [[1, 2], 3]."),
        (PLATE, "Invent a number plate."),
        ({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"],
          "additionalProperties": False}, "Is water wet?"),
    ],
    ids=["enum", "integer", "object", "arrays", "recursion", "pattern", "boolean"],
)  # fmt: skip
def test_a_model_answers_as_the_schema_wants(
    smol: Model, schema: dict[str, Any], question: str
) -> None:
    answer, _ = smol.write(smol.schema(schema), question, use_forced=False)
    value = json.loads(smol.text(answer))
    jsonschema.validate(value, schema)
    if isinstance(value, dict):
        assert list(value) == list(schema["properties"])


def test_json_means_an_object(smol: Model) -> None:
    constraint = smol.compiler.compile(Constraint("json"))
    answer, _ = smol.write(constraint, "Reply with a JSON object: name and age.", use_forced=False)
    assert isinstance(json.loads(smol.text(answer)), dict)
    for other in ("[1]", "5", '"text"', "null"):
        assert not smol.takes(smol.compiler.compile(Constraint("json")), other)


def test_forced_tokens_are_those_that_sampling_would_give(smol: Model) -> None:
    question = "Describe a person."
    sampled, _ = smol.write(smol.schema(PERSON), question, use_forced=False)
    mixed, unsampled = smol.write(smol.schema(PERSON), question, use_forced=True)
    assert smol.text(mixed) == smol.text(sampled)
    assert mixed == sampled
    assert unsampled > 15


def test_forced_tokens_split_as_the_tokenizer_splits(smol: Model) -> None:
    constraint = smol.schema(PERSON)
    # All except the quote, which might form one token with the following text.
    expected = smol.tokens('{"the_full_name_of_this_person": ')
    assert constraint.forced() == expected[:-1]
    assert constraint.allowed_ids(5).tolist() == expected[:1]  # type: ignore[union-attr]


def test_an_enum_allows_its_first_tokens_and_no_others(smol: Model) -> None:
    labels = ["yellow", "yes", "no", "Ünsure"]
    constraint = smol.schema({"enum": labels})
    assert constraint.forced() == smol.tokens('"')
    constraint.accept(smol.tokens('"')[0])
    rests = [f'{label}"'.encode() for label in labels]
    expected = [
        token
        for token in range(smol.model.n_vocab)
        if (piece := smol.model.piece(token)) and any(rest.startswith(piece) for rest in rests)
    ]
    assert constraint.allowed_ids(100).tolist() == expected  # type: ignore[union-attr]
    assert len(expected) > len(labels)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of llguidance's own loop
def test_masks_are_those_of_llguidance_with_its_own_tokenizer(smol: Model) -> None:
    tokenizer = lltokenizer_from_vocab(smol.model.vocab)
    options = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
    grammar = LLMatcher.grammar_from_json_schema(json.dumps(PERSON), defaults=options)
    other, ours = LLMatcher(tokenizer, grammar), smol.schema(PERSON)
    person = {
        "the_full_name_of_this_person": 'Ada "L" Ünal',
        "age_in_whole_years": 36,
        "mood": "sad",
    }
    for token in smol.tokens(json.dumps(person, ensure_ascii=False)):
        expected = np.frombuffer(other.compute_bitmask(), np.uint8)
        assert np.array_equal(ours.mask.view(np.uint8), expected[: ours.mask.nbytes])
        ours.accept(token)
        assert other.consume_token(token)
    assert ours.is_over
    assert other.is_stopped()


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "integer", "minimum": -5, "maximum": 30}, ["-5", "0", "30"], ["-6", "31", "1.5"]),
        ({"type": "number", "minimum": 0, "maximum": 1}, ["0.25", "1", "0"], ["1.01", "-0.1"]),
        ({"type": "integer", "multipleOf": 7}, ["14", "0", "-21"], ["15"]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"', '"äöü"'], ['"a"', '"abcd"']),
        (PLATE, ['{"plate": "AB-123"}', '{"plate": "AB-1234"}'], ['{"plate": "A-123"}', "{}"]),
        (MATRIX, ["[[1, 2], [3, 4]]", "[[1, 2], [3, 4], [5, 6]]"], ["[[1, 2]]", "[[1, 2], [3]]"]),
        (NESTED, ["[1]", "[[1, [2]], 3]"], ["1", "[]", "[[]]", "[10]", "[1, 2, 3]"]),
        ({"type": "string", "format": "date"}, ['"2024-02-29"'], ['"2024-13-01"', '"x"']),
        ({"anyOf": [{"const": 1}, {"const": "a"}]}, ["1", '"a"'], ["2", '"b"']),
        ({}, ["1", "null", '{"a": []}', '""'], ["nil", "{a: 1}"]),
        (LABEL, ['"neutral"'], ['"neu"', "neutral", '"neutral" ']),
    ],
)  # fmt: skip
def test_texts_pass_if_they_fit(
    smol: Model, schema: dict[str, Any], good: list[str], bad: list[str]
) -> None:
    for text in good:
        assert smol.takes(smol.schema(schema), text), text
    for text in bad:
        assert not smol.takes(smol.schema(schema), text), text


def test_properties_keep_the_order_of_the_schema(smol: Model) -> None:
    schema = {"properties": {"z": {"const": 1}, "a": {"const": 2}}, "required": ["a", "z"]}
    assert smol.takes(smol.schema(schema), '{"z": 1, "a": 2}')
    assert not smol.takes(smol.schema(schema), '{"a": 2, "z": 1}')


def test_endless_whitespace_is_not_allowed(smol: Model) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"const": 1}}},
        "additionalProperties": False,
    }
    for text in ("{}", '{"a": []}', '{"a": [1, 1]}'):
        assert smol.takes(smol.schema(schema), text), text
    for text in ('{"a":[]}', '{"a":  []}', '{ "a": []}', '{"a": [1,\n1]}', " {}", "{} ", "{\n}"):
        assert not smol.takes(smol.schema(schema), text), text


def test_a_schema_can_ask_for_another_layout(smol: Model) -> None:
    schema = {"const": [1, 2], "x-guidance": {"item_separator": ","}}
    assert smol.takes(smol.schema(schema), "[1,2]")
    assert not smol.takes(smol.schema(schema), "[1, 2]")


def test_ends_are_allowed_where_the_grammar_is_satisfied(smol: Model) -> None:
    ends = sorted(smol.compiler.vocabulary.ends)
    assert len(ends) > 1
    assert all(map(smol.model.is_end, ends))
    constraint = smol.schema({"type": "integer", "minimum": 0, "maximum": 300})
    assert not any(map(constraint.allows, ends))
    for token in smol.tokens("12"):
        constraint.accept(token)
    assert all(map(constraint.allows, ends))
    assert not constraint.is_over
    constraint.accept(ends[1])
    assert constraint.is_over
    constraint.rollback(1)
    assert not constraint.is_over
    for token in smol.tokens("0"):
        constraint.accept(token)
    assert constraint.is_over
    assert constraint.allowed_ids(10).tolist() == ends  # type: ignore[union-attr]


def test_an_end_after_the_end_can_be_taken_back(smol: Model) -> None:
    constraint = smol.schema({"const": "a"})
    for token in smol.tokens('"a"'):
        constraint.accept(token)
    constraint.accept(smol.model.eos)
    with pytest.raises(ValueError, match="may not follow"):
        constraint.accept(smol.model.eos)
    constraint.rollback(2)
    assert not constraint.is_over
    assert constraint.allowed_ids(10).tolist() == smol.tokens('"')  # type: ignore[union-attr]


def test_tokens_that_are_not_text_are_in_no_string(smol: Model) -> None:
    constraint = smol.schema({"type": "string"})
    constraint.accept(smol.tokens('"')[0])
    for name in ("<|im_start|>", "<|im_end|>", "<file_sep>"):
        assert not constraint.allows(smol.tokens(name)[0])
    assert constraint.allows(smol.tokens("<")[0])


def test_a_refused_token_changes_nothing(smol: Model) -> None:
    constraint = smol.schema(LABEL)
    before = constraint.mask.copy()
    with pytest.raises(ValueError, match="may not follow"):
        constraint.accept(smol.tokens("x")[0])
    assert np.array_equal(constraint.mask, before)
    constraint.accept(smol.tokens('"')[0])


def test_rollback_restores_every_mask(smol: Model) -> None:
    constraint, masks = smol.schema(PERSON), []
    tokens = smol.tokens('{"the_full_name_of_this_person": "Ada", "age')
    for token in tokens:
        masks.append(constraint.mask.copy())
        constraint.accept(token)
    constraint.rollback(0)
    for count in (1, 2, len(tokens) - 3):
        constraint.rollback(count)
        masks = masks[: -count + 1] if count > 1 else masks
        assert np.array_equal(constraint.mask, masks.pop())
    assert masks == []


def test_sequences_of_one_schema_do_not_disturb_each_other(smol: Model) -> None:
    first, second = smol.schema(PERSON), smol.schema(PERSON)
    start = second.mask.copy()
    for token in smol.tokens('{"the_full_name_of_this_person": "'):
        first.accept(token)
    assert np.array_equal(second.mask, start)
    assert np.array_equal(smol.schema(PERSON).mask, start)
    assert not np.array_equal(first.mask, start)


def test_sequences_run_in_threads_side_by_side(smol: Model) -> None:
    text = '{"the_full_name_of_this_person": "Ada", "age_in_whole_years": 36, "mood": "sad"}'
    finished = []

    def follow() -> None:
        constraint = smol.schema({**PERSON, "title": "threads"})
        for token in smol.tokens(text):
            constraint.prepare()
            constraint.accept(token)
        finished.append(constraint.is_over)

    threads = [threading.Thread(target=follow) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert finished == [True] * 4


@pytest.mark.parametrize("text", ["", '"', '"a', '"abcde'])
def test_apply_forbids_what_the_mask_forbids(smol: Model, text: str) -> None:
    constraint = smol.schema({"type": "string", "maxLength": 5})
    for token in smol.tokens(text):
        constraint.accept(token)
    # Also where a vocabulary fills neither its last word nor its last byte.
    for count in (smol.model.n_vocab, smol.model.n_vocab - 3):
        logits = np.random.default_rng(1).standard_normal(count).astype(np.float32)
        expected = np.where(bits(constraint, count), logits, -np.inf)
        constraint.apply(logits)
        assert np.array_equal(logits, expected)
    allowed = np.flatnonzero(bits(constraint, smol.model.n_vocab))
    assert 0 < allowed.size < smol.model.n_vocab
    assert np.array_equal(constraint.allowed_ids(allowed.size), allowed)
    assert constraint.allowed_ids(allowed.size - 1) is None
    assert [constraint.allows(token) for token in range(500)] == bits(constraint, 500).tolist()


@pytest.mark.parametrize(
    "text",
    [
        'start: "the answer is " ("yes" | "no")',
        'root ::= "the answer is " answer\nanswer ::= "yes" | "no"',
        '%llguidance {}\nstart: "the answer is " ANSWER\nANSWER: /yes|no/',
    ],
    ids=["lark", "gbnf", "llguidance"],
)
def test_grammars(smol: Model, text: str) -> None:
    assert smol.takes(smol.grammar(text), "the answer is no")
    assert not smol.takes(smol.grammar(text), "the answer is maybe")
    answer, _ = smol.write(smol.grammar(text), "Is the sky green?", use_forced=True)
    assert smol.text(answer) in ("the answer is yes", "the answer is no")


def test_a_grammar_can_name_special_tokens(smol: Model) -> None:
    constraint = smol.grammar('start: "a" <|im_start|> "b"')
    for token in [*smol.tokens("a"), *smol.tokens("<|im_start|>"), *smol.tokens("b")]:
        constraint.accept(token)
    assert constraint.is_over


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("schema", '{"type": "strnig"}', "invalid JSON schema in format: Invalid type: strnig"),
        ("schema", '{"type": "integer", "minimum": 2, "maximum": 1}', "Unsatisfiable schema"),
        ("schema", '{"$ref": "#/$defs/nowhere"}', "'/$defs/nowhere' does not exist"),
        ("schema", '{"$ref": "#"}', "invalid JSON schema in format: nothing matches it"),
        ("schema", '{"type": "string", "pattern": "("}', "unclosed group"),
        ("schema", '{"a": ' * 150 + "{}" + "}" * 150, "recursion limit exceeded"),
        ("schema", "[1]", "invalid JSON schema in format: "),
        ("schema", '{"const": "%s"}' % ("x" * (1 << 20)), "it is longer than 1048576 characters"),
        ("grammar", 'start: "a" missing', 'invalid grammar in format: .*unknown name: "missing"'),
        ("grammar", "start: /(/", "unclosed group"),
        ("grammar", "root ::= missing", "not GBNF: Rule 'missing' not found"),
        ("grammar", 'root ::= ("a"', "not GBNF: Expected '\\)'"),
        ("grammar", 'start: <|no_such_token|> "a"', "unknown special token"),
        ("grammar", "", "invalid grammar in format: Empty grammar"),
    ],
)
def test_schemas_that_cannot_be_compiled_are_refused(
    smol: Model, kind: Any, text: str, message: str
) -> None:
    found = refusal(smol, Constraint(kind, text))
    assert re.search(message.replace("$", r"\$"), found), found
    assert len(found) < 1000


def test_a_schema_that_would_take_minutes_is_refused(smol: Model) -> None:
    message = refusal(smol, Constraint("schema", '{"type": "integer", "multipleOf": 99999989}'))
    assert message == "invalid JSON schema in format: it is too complex"


def test_a_constraint_that_becomes_too_complex_fails_its_sequence_alone(
    smol: Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "jupyter_ollama")
    schema = {"type": "string", "pattern": ENDLESS, "not": {}}
    constraint = smol.schema(schema)
    constraint.accept(smol.tokens('"')[0])

    def go_on() -> None:
        for _ in range(100):
            constraint.accept(smol.tokens("a")[0])
            constraint.prepare()

    with pytest.raises(OllamaError, match="constrained no further: lexer error") as caught:
        go_on()
    assert caught.value.status == 500
    # The state that it shared with others is broken, so the next one starts with a fresh one.
    assert smol.takes(smol.schema(schema), '"ab"')
    assert len(caplog.records) == 2


def test_keywords_that_are_not_enforced_are_logged_once(
    smol: Model, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "jupyter_ollama")
    schema = {"type": "array", "items": {"type": "string", "format": "iban"}, "uniqueItems": True}
    for _ in range(3):
        assert smol.takes(smol.schema(schema), '["a", "a"]')
    assert len(caplog.records) == 1
    assert "uniqueItems" in caplog.text
    assert "iban" in caplog.text
    smol.schema(LABEL)
    assert len(caplog.records) == 1


def test_a_large_vocabulary(gemma: Model) -> None:
    assert gemma.takes(gemma.schema(PLATE), '{"plate": "AB-123"}')
    assert not gemma.takes(gemma.schema(PLATE), '{"plate": "ab-123"}')
    constraint = gemma.schema(LABEL)
    constraint.accept(gemma.tokens('"')[0])
    rests = [f'{label}"'.encode() for label in LABEL["enum"]]
    expected = [
        token
        for token in range(gemma.model.n_vocab)
        if (piece := gemma.model.piece(token)) and any(rest.startswith(piece) for rest in rests)
    ]
    assert constraint.allowed_ids(100).tolist() == expected  # type: ignore[union-attr]
    logits = np.zeros(gemma.model.n_vocab, np.float32)
    constraint.apply(logits)
    assert np.flatnonzero(logits == 0).tolist() == expected


def test_others_go_on_while_a_large_vocabulary_is_read(gemma: Model) -> None:
    beats, is_read = [time.perf_counter()], threading.Event()

    def beat() -> None:
        while not is_read.wait(0.001):
            beats.append(time.perf_counter())

    thread = threading.Thread(target=beat)
    thread.start()
    began = time.perf_counter()
    ConstraintCompiler(gemma.model).compile(Constraint("schema", json.dumps(LABEL)))
    took = time.perf_counter() - began
    is_read.set()
    thread.join()
    longest = max(after - before for before, after in pairwise(beats))
    # More than half of the time passes within one call. A busy host is slower in both.
    assert longest < max(0.25, took / 5)


def test_tokens_of_markup_are_text(gemma: Model) -> None:
    markup = gemma.tokens("<b>bold</b>")
    assert len(markup) == 3
    constraint = gemma.schema({"const": "<b>bold</b> "})
    assert constraint.forced()[1:4] == markup
    constraint = gemma.schema({"type": "string"})
    constraint.accept(gemma.tokens('"')[0])
    assert constraint.allows(markup[0])
    # "</s>" is text by its type, but Gemma takes it for an end.
    for name in ("<start_of_turn>", "<end_of_turn>", "</s>"):
        assert not constraint.allows(gemma.tokens(name)[0])


def test_a_vocabulary_without_ends(smol: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smol.model, "is_end", lambda token: False)
    constraint = ConstraintCompiler(smol.model).compile(Constraint("schema", '{"const": 1}'))
    logits = np.zeros(smol.model.n_vocab, np.float32)
    constraint.apply(logits)
    assert np.flatnonzero(logits == 0).tolist() == smol.tokens("1")
    constraint.accept(smol.tokens("1")[0])
    assert constraint.is_over


def test_another_account_waits_as_if_a_schema_were_new(
    smol: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Any] = []
    compile_grammar = constraint_module.compile_grammar

    def counted(*args: Any) -> Any:
        compiled.append(args)
        return compile_grammar(*args)

    monkeypatch.setattr(constraint_module, "compile_grammar", counted)
    schema = Constraint("schema", '{"const": "4711"}')
    for account in (1, 2, 1, 2):
        smol.compiler.compile(schema, account)
    assert len(compiled) == 2
    for account in (1, 2):
        smol.compiler.compile(Constraint("json"), account)
    assert len(compiled) <= 3


def test_a_vocabulary_without_a_token_for_a_blank(tmp_path: Path) -> None:
    # Its tokenizer makes the three bytes of "▁" of a blank.
    model = LlamaModel(str(write_language_model(tmp_path / "bytes.gguf")))
    schema = json.dumps({"const": "a b\n\nc"})
    constraint = ConstraintCompiler(model).compile(Constraint("schema", schema))
    forced = constraint.forced()
    assert b"".join(map(model.piece, forced)).startswith(b'"a b')
    for token in forced:
        constraint.accept(token)
