"""Constraints as llguidance's grammars, tried first where they can do no harm.

What people write compiles in milliseconds, but a few regular expressions take minutes and
gigabytes, and a compile that has begun cannot be stopped. So whatever could be of that kind is
compiled in a child process with limits before it may be compiled in the runner.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

_LONGEST = 1 << 20
"""How long a schema or grammar may be, in characters."""
_LONGEST_UNTRIED = 1 << 15
_LONGEST_REASON = 600
_OPENING = {"additionalProperties", "unevaluatedProperties", "patternProperties"}
"""Keywords that say what other properties an object may have."""
_COSTLY = ('"pattern"', '"patternProperties"', '"multipleOf"', '"x-guidance"')
_TRIAL_CPU_SECONDS = 4
_TRIAL_SECONDS = 15
_TRIAL_BYTES = 512 << 20
_REFUSED = 3
"""The exit status of a trial that llguidance refused; its output tells why."""

_SCHEMA_OPTIONS: JsonCompileOptions = {
    # Ollama takes schemas with keywords that nobody can enforce.
    "lenient": True,
    "coerce_one_of": True,
    # All on one line, as json.dumps writes: small models that may choose write blanks and line ends
    # for ever, and what is fixed need not be sampled.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


class GrammarError(Exception):
    """A schema or grammar that cannot be compiled; the text says why."""


def compile_grammar(tokenizer: LLTokenizer, kind: str, text: str) -> LLMatcher:
    """Return a matcher for a constraint, at its start. Raises GrammarError, within seconds.

    ``kind`` and ``text`` are those of protocol.Constraint.
    """
    if len(text) > _LONGEST:
        raise GrammarError(f"it is longer than {_LONGEST} characters")
    if _is_costly(kind, text):
        grammar = _try_apart(kind, text, tokenizer.vocab_size)
    else:
        grammar = to_grammar(kind, text)
    return start(tokenizer, grammar)


def to_grammar(kind: str, text: str) -> str:
    """Return a constraint in a form that llguidance takes. Raises GrammarError."""
    from llguidance import LLMatcher
    from llguidance.gbnf_to_lark import gbnf_to_lark, is_lark_syntax

    if kind == "grammar":
        if is_lark_syntax(text) or "::=" not in text:
            return LLMatcher.grammar_from_lark(text)
        try:
            return LLMatcher.grammar_from_lark(gbnf_to_lark(text))
        except Exception as error:  # the converter raises bare exceptions, too
            raise GrammarError(f"not GBNF: {error}") from None
    # Like Ollama's own grammar, "json" means an object.
    schema = _closed(text) if kind == "schema" else '{"type": "object"}'
    try:
        return LLMatcher.grammar_from_json_schema(schema, defaults=_SCHEMA_OPTIONS)
    except ValueError as error:
        raise GrammarError(str(error)) from None


def _closed(schema: str) -> str:
    """Forbid properties that an object's schema does not name, unless it says otherwise.

    JSON Schema would allow them. Ollama's grammar does not, and a model that may add them goes on
    for ever. With ``allOf`` an object is described in parts, which must not forbid each other's.
    """
    if '"allOf"' in schema:
        return schema

    def close(value: Any) -> Any:
        if isinstance(value, list):
            return [close(item) for item in value]
        if not isinstance(value, dict):
            return value
        closed = {
            key: item if key in ("const", "enum") else close(item) for key, item in value.items()
        }
        if isinstance(value.get("properties"), dict) and not _OPENING & value.keys():
            closed["additionalProperties"] = False
        return closed

    try:
        return json.dumps(close(json.loads(schema)))
    except (ValueError, RecursionError) as error:
        raise GrammarError(str(error)) from None


def start(tokenizer: LLTokenizer, grammar: str) -> LLMatcher:
    """Return a matcher that can name the first tokens. Raises GrammarError."""
    from llguidance import LLMatcher, LLParserLimits

    # Nothing is computed in advance: a trial with another vocabulary could not foresee the cost.
    limits = LLParserLimits(precompute_large_lexemes=False, verbose_errors=False)
    matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=limits)
    if not matcher.is_error():
        matcher.compute_bitmask()
    if matcher.is_error():
        raise GrammarError(reason(matcher))
    return matcher


def reason(matcher: LLMatcher) -> str:
    """Return why a matcher failed."""
    message = matcher.get_error().removesuffix("\n<non-verbose/>")
    # This is how llguidance puts it that no token could ever follow.
    return message.replace("NoExtensionBias", "nothing matches it")[:_LONGEST_REASON]


def _is_costly(kind: str, text: str) -> bool:
    if kind == "schema":
        return len(text) > _LONGEST_UNTRIED or any(keyword in text for keyword in _COSTLY)
    return kind == "grammar"


def _try_apart(kind: str, text: str, n_vocab: int) -> str:
    """Compile in a child process and return the grammar. Raises GrammarError."""
    # -P: a folder of notebooks must not shadow modules.
    command = [sys.executable, "-P", "-m", __name__, kind, str(n_vocab)]
    try:
        child = subprocess.run(
            command,
            input=text.encode("utf-8", "replace"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_TRIAL_SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise GrammarError("it is too complex") from None
    if child.returncode == _REFUSED:
        raise GrammarError(child.stdout.decode("utf-8", "replace"))
    if child.returncode:
        raise GrammarError("it is too complex")
    return child.stdout.decode()


class _Bytes:
    """A vocabulary of single bytes, and of the special tokens that a grammar names."""

    eos_token_id = 256
    bos_token_id = None

    def __init__(self, grammar: str, n_vocab: int) -> None:
        names = [name.encode() for name in re.findall(r"<[^<>\s]+>", grammar)]
        self.tokens = [bytes([byte]) for byte in range(256)]
        self.tokens += [b"\xff" + name for name in [b"<end>", *names]]
        self.tokens += [b""] * (n_vocab - len(self.tokens))

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


def _trial(kind: str, n_vocab: int) -> int:
    """Compile what standard input holds for another vocabulary, since there is no model here."""
    try:
        import resource
    except ImportError:
        pass  # Windows: only the parent's timeout is left.
    else:
        resource.setrlimit(resource.RLIMIT_CPU, (_TRIAL_CPU_SECONDS, _TRIAL_CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_TRIAL_BYTES, _TRIAL_BYTES))
    from llguidance import LLTokenizer, TokenizerWrapper

    try:
        grammar = to_grammar(kind, sys.stdin.buffer.read().decode())
        start(LLTokenizer(TokenizerWrapper(_Bytes(grammar, n_vocab)), slices=[]), grammar)
    except GrammarError as error:
        sys.stdout.buffer.write(str(error).encode("utf-8", "replace"))
        return _REFUSED
    sys.stdout.buffer.write(grammar.encode())
    return 0


if __name__ == "__main__":
    sys.exit(_trial(sys.argv[1], int(sys.argv[2])))
