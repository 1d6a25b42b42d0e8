"""Constraints as grammars of llguidance, tried first in a child process if they may be costly.

Usual schemas compile in milliseconds, but a few regular expressions take minutes and gigabytes, and
a compile that has begun cannot be stopped. So a schema or grammar that could be of that kind is
compiled in a child process with limits before it may be compiled in the runner.
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ..schema.closing import closed
from ..schema.document import SchemaError

if TYPE_CHECKING:
    from llguidance._lib import JsonCompileOptions

    from .account_queue import Job
    from .guidance import Matcher, Tokenizer

_LONGEST = 1 << 20
"""The longest schema or grammar in characters."""
_LONGEST_UNTRIED = 1 << 15
_LONGEST_REASON = 600
_DEEPEST = 128
"""The deepest JSON of a schema: llguidance reads no deeper."""
_COSTLY = ('"pattern"', '"patternProperties"', '"multipleOf"', '"x-guidance"')
_TRIAL_CPU_SECONDS = 4
_TRIAL_SECONDS = 15
_TRIAL_BYTES = 512 << 20
_SPECIAL = b"\xff"
_REFUSED = 3
"""The exit status of a trial that llguidance refused; its output has the reason."""

_SCHEMA_OPTIONS: JsonCompileOptions = {
    # Ollama accepts schemas with keywords that cannot be enforced.
    "lenient": True,
    "coerce_one_of": True,
    # All on one line, as json.dumps writes: small models that may choose write blanks and line ends
    # without end, and fixed text need not be sampled.
    "whitespace_flexible": False,
    "item_separator": ", ",
    "key_separator": ": ",
}


class GrammarError(Exception):
    """A schema or grammar that cannot be compiled; the text has the reason."""


def compile_grammar(tokenizer: Tokenizer, kind: str, text: str, job: Job) -> Matcher:
    """Return a matcher for a constraint, at its start. Raises GrammarError, within seconds.

    ``kind`` and ``text`` are those of protocol.Constraint. Raises Cancelled once the job is
    cancelled.
    """
    if len(text) > _LONGEST:
        raise GrammarError(f"it is longer than {_LONGEST} characters")
    job.check()
    if kind == "schema":
        text = closed_schema(text)
    if _is_costly(kind, text):
        grammar = _try_apart(kind, text, tokenizer.vocab_size, job)
    else:
        grammar = to_grammar(kind, text)
    job.check()
    return start(tokenizer, grammar)


def to_grammar(kind: str, text: str) -> str:
    """Return a constraint in llguidance's format. Raises GrammarError."""
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
    schema = text if kind == "schema" else '{"type": "object"}'
    try:
        return LLMatcher.grammar_from_json_schema(schema, defaults=_SCHEMA_OPTIONS)
    except ValueError as error:
        raise GrammarError(str(error)) from None


def closed_schema(text: str) -> str:
    """Return a schema whose answers end and have only its own properties. Raises GrammarError."""
    try:
        schema = json.loads(text)
        if not isinstance(schema, dict | bool):
            raise GrammarError("a schema must be an object or a boolean")
        if _is_deeper(schema, _DEEPEST):
            raise GrammarError("recursion limit exceeded")
        found = closed(schema)
    except (ValueError, RecursionError, SchemaError) as error:
        raise GrammarError(str(error)) from None
    if found is False:
        raise GrammarError("nothing matches it: no answer that ends would fit")
    return json.dumps(found)


def _is_deeper(value: Any, most: int) -> bool:
    level = [value]
    for _ in range(most):
        level = [
            item
            for one in level
            if isinstance(one, dict | list)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return False
    return True


def start(tokenizer: Tokenizer, grammar: str) -> Matcher:
    """Return a matcher that has computed the first tokens. Raises GrammarError."""
    from .guidance import Matcher

    matcher = Matcher(tokenizer, grammar)
    if matcher.error is None:
        mask = ctypes.create_string_buffer((tokenizer.vocab_size + 31) // 32 * 4)
        matcher.compute_mask(ctypes.addressof(mask), len(mask))
    if matcher.error is not None:
        raise GrammarError(reason(matcher))
    return matcher


def reason(matcher: Matcher) -> str:
    """Return why a matcher failed."""
    message = (matcher.error or "").removesuffix("\n<non-verbose/>")
    # llguidance's error if no token can follow.
    return message.replace("NoExtensionBias", "nothing matches it")[:_LONGEST_REASON]


def _is_costly(kind: str, text: str) -> bool:
    if kind == "schema":
        return len(text) > _LONGEST_UNTRIED or any(keyword in text for keyword in _COSTLY)
    return kind == "grammar"


def _try_apart(kind: str, text: str, n_vocab: int, job: Job) -> str:
    """Compile in a child process and return the grammar. Raises GrammarError."""
    # -P: modules in a folder of notebooks must not shadow others.
    command = [sys.executable, "-P", "-m", __name__, kind, str(n_vocab)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        try:
            with job.stoppable(child.kill):
                found, _ = child.communicate(text.encode("utf-8", "replace"), _TRIAL_SECONDS)
        except subprocess.TimeoutExpired:
            raise GrammarError("it is too complex") from None
        finally:
            child.kill()
    if child.returncode == _REFUSED:
        raise GrammarError(found.decode("utf-8", "replace"))
    if child.returncode:
        raise GrammarError("it is too complex")
    return found.decode()


def _bytes_alone(grammar: str, n_vocab: int) -> list[bytes]:
    """Return a vocabulary of single bytes and of the special tokens that a grammar names."""
    names = [name.encode() for name in re.findall(r"<[^<>\s]+>", grammar)]
    pieces = [bytes([byte]) for byte in range(256)]
    pieces += [_SPECIAL + name for name in [b"<end>", *names]]
    return pieces + [b""] * (n_vocab - len(pieces))


def _trial(kind: str, n_vocab: int) -> int:
    """Compile standard input for a substitute vocabulary, since no model is loaded here."""
    try:
        import resource
    except ImportError:
        pass  # Windows: only the parent's timeout applies.
    else:
        resource.setrlimit(resource.RLIMIT_CPU, (_TRIAL_CPU_SECONDS, _TRIAL_CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (_TRIAL_BYTES, _TRIAL_BYTES))
    from .guidance import Tokenizer

    try:
        grammar = to_grammar(kind, sys.stdin.buffer.read().decode())
        start(Tokenizer(_bytes_alone(grammar, n_vocab), [256]), grammar)
    except GrammarError as error:
        sys.stdout.buffer.write(str(error).encode("utf-8", "replace"))
        return _REFUSED
    sys.stdout.buffer.write(grammar.encode())
    return 0


if __name__ == "__main__":
    sys.exit(_trial(sys.argv[1], int(sys.argv[2])))
