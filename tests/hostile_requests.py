"""Requests with invalid and extreme numbers, each made from a seed."""

from __future__ import annotations

import base64
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

from jupyter_ollama.options import TYPES
from jupyter_ollama.scheduler.load_request import LOAD_OPTIONS

Request = tuple[str, dict[str, Any]]

HUGE = [2**31 - 1, 2**31, -(2**31), 2**32, 2**62, 2**63 - 1, -(2**63), 2**64, 10**30]
FLOATS = [0.0, -0.0, 1e-300, 5e-324, 1e-45, 1e-7, 0.5, 1.0, 1.5, -1.0, 1e9, 3.4e38, 3.5e38]
WILD = [*HUGE, *FLOATS, -1e300, 1e300, 1.7e308, -1.7e308, -3.5e38, -1e38, 1e38]
WRONG = ["1", "", "nan", True, False, [], {}, [1], {"1": 1}, None, "\x00", "1e400"]
SMALL = [-2, -1, 0, 1, 2, 3, 7, 40, 64, 100, 1000]

VOCABULARY = 49_152
"""Tokens of SmolLM2."""

LOADING = {"num_ctx", *LOAD_OPTIONS}
SAMPLING = sorted(set(TYPES) - LOADING)

SAMPLED = {"temperature": 0.8, "top_p": 0.9, "repeat_penalty": 1.0, "num_predict": 2}
KNOWN: list[dict[str, Any]] = [
    SAMPLED | {"logit_bias": dict.fromkeys(map(str, range(VOCABULARY)), -1e300)},
    SAMPLED | {"logit_bias": dict.fromkeys(map(str, range(VOCABULARY)), 1e300)},
    SAMPLED | {"temperature": 1e300, "repeat_penalty": 1e300},
]
"""Options of which the first once ended the runner: the samplers were left no candidate."""
KNOWN_EVERY = 50

GRAMMARS = [
    'root ::= "a"*',
    "start: /(a|a)*b/",
    "root ::= root",
    'root ::= ("a" | "a")* "b"',
    "start: " + "(" * 500 + '"a"' + ")" * 500,
]
PATTERNS = [
    "(a+)+$",
    "^(.*)*$",
    "(a{1,1000}){1,1000}",
    "[" + "a-z" * 999 + "]",
    "(?=a)",
    "\\p{L}{999}",
]


def value(chance: random.Random) -> Any:
    """Return any number, or another value in place of one."""
    kind = chance.random()
    if kind < 0.6:
        return chance.choice(WILD)
    if kind < 0.96:
        return chance.choice(SMALL)
    return chance.choice(WRONG)


def option(chance: random.Random, name: str) -> Any:
    """Return a value for an option, most of them of its type."""
    kind = TYPES[name]
    if chance.random() < 0.1:
        return value(chance)
    if kind == "a map of token ids to numbers":
        if chance.random() < 0.3:
            return dict.fromkeys(map(str, range(VOCABULARY)), chance.choice([-1e300, 1e300]))
        if chance.random() < 0.7:
            return {str(chance.randrange(200)): chance.choice(WILD) for _ in range(99)}
        return {str(chance.choice(TOKENS)): value(chance) for _ in range(chance.choice(COUNTS))}
    if kind == "an array of strings":
        return [chance.choice(TEXTS) for _ in range(chance.choice(COUNTS))]
    if kind == "an array of numbers":
        return [value(chance) for _ in range(chance.choice(COUNTS))]
    if kind == "boolean":
        return chance.choice([True, False, None, 1])
    if kind == "string":
        return chance.choice(["f16", "q8_0", "q4_0", "", "f64", "\x00"])
    return value(chance)


TOKENS = [
    0,
    1,
    2,
    5,
    260,
    49151,
    49152,
    2**31 - 1,
    2**31,
    2**63,
    10**50,
    "-1",
    "x",
    "٣",
    "1" * 5000,
]
COUNTS = [0, 1, 1, 2, 3, 40, 400]
TEXTS = ["", " ", "a", "\n", "\x00", "\ud83d\ude00", "x" * 2000, "<|im_end|>", "\u202e"]


def options(chance: random.Random, names: list[str]) -> dict[str, Any]:
    """Return one to six options."""
    chosen = chance.sample(names, min(len(names), chance.choice([1, 1, 2, 3, 6])))
    return {name: option(chance, name) for name in chosen}


def sampled(seed: int) -> Request:
    """Return a request without load options."""
    if seed % KNOWN_EVERY < len(KNOWN):
        return "/api/generate", {"prompt": "Hi", "options": KNOWN[seed % KNOWN_EVERY]}
    chance = random.Random(seed)
    return chance.choice(KINDS)(chance)


def loaded(seed: int) -> Request:
    """Return a request with load options."""
    chance = random.Random(seed)
    asked = options(chance, sorted(LOADING)) | {"num_predict": 1}
    return "/api/generate", {"prompt": "Hi", "stream": False, "options": asked}


def _limits(chance: random.Random) -> dict[str, Any]:
    asked = options(chance, SAMPLING)
    number = asked.get("num_predict")
    if number is None or not isinstance(number, int | float) or not 1 <= number < 4:
        asked["num_predict"] = chance.choice([1, 2, 3])
    return asked


def _generate(chance: random.Random) -> Request:
    body: dict[str, Any] = {
        "prompt": chance.choice(["Hi", "Once upon a time", "a" * 50, "\x00"]),
        "stream": chance.random() < 0.3,
        "options": _limits(chance),
    }
    if chance.random() < 0.2:
        body["raw"] = True
    if chance.random() < 0.15 and "raw" not in body:
        body["context"] = [chance.choice([0, 1, 49151, 49152, -1, *HUGE]) for _ in range(3)]
    if chance.random() < 0.2:
        body |= {"logprobs": True, "top_logprobs": chance.choice([0, 1, 20, 21, -1, 2**62])}
    if chance.random() < 0.1:
        body["keep_alive"] = chance.choice(KEEP_ALIVE)
    if chance.random() < 0.1:
        body["suffix"] = chance.choice(["", "x", "\x00"])
    return "/api/generate", body


KEEP_ALIVE = [
    "5m",
    "1e9h",
    "-1",
    "",
    "9" * 50 + "h",
    1e300,
    2**62,
    3600,
    -1,
    [],
    {},
    True,
    "10m\x00",
]


def _chat(chance: random.Random) -> Request:
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": chance.random() < 0.3,
        "options": _limits(chance),
    }
    if chance.random() < 0.3:
        body["format"] = chance.choice(
            ["json", "x", 3, [], {"type": "string", "maxLength": value(chance)}]
        )
    return "/api/chat", body


def _openai_chat(chance: random.Random) -> Request:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    for name in chance.sample(OPENAI, 2):
        body[name] = value(chance)
    if chance.random() < 0.2:
        body["logit_bias"] = {str(chance.choice(TOKENS)): value(chance)}
    body["n"] = body["n"] if body.get("n") in (0, -1, "1", 2**62) else 1
    body["options"] = {"num_predict": 2}
    return "/v1/chat/completions", body


OPENAI = ["temperature", "top_p", "frequency_penalty", "presence_penalty", "seed", "n",
          "top_logprobs", "max_completion_tokens"]  # fmt: skip


def _completions(chance: random.Random) -> Request:
    body: dict[str, Any] = {"prompt": "Hi", "max_tokens": chance.choice([1, 2, -1, 0, 2**62])}
    for name in ("temperature", "top_p", "logprobs", "seed"):
        if chance.random() < 0.4:
            body[name] = value(chance)
    body["options"] = {"num_predict": 2}
    return "/v1/completions", body


def _messages(chance: random.Random) -> Request:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    for name in ("temperature", "top_p", "top_k", "max_tokens"):
        if chance.random() < 0.4:
            body[name] = value(chance)
    body["options"] = {"num_predict": 2}
    return "/v1/messages", body


def _tokens(chance: random.Random) -> Request:
    tokens = [chance.choice([0, 1, 49151, 49152, -1, *HUGE]) for _ in range(chance.choice(COUNTS))]
    return "/api/detokenize", {"tokens": tokens, "special": chance.random() < 0.5}


def _score(chance: random.Random) -> Request:
    texts = [chance.choice([*TEXTS, "b", "c d"]) for _ in range(chance.choice([1, 2, 3]))]
    return "/api/score", {"prompt": "a", "continuations": texts, "options": _limits(chance)}


def _embed(chance: random.Random) -> Request:
    body = {"input": ["Hi"], "dimensions": value(chance), "options": _limits(chance)}
    return "/api/embed", body


def _constrained(chance: random.Random) -> Request:
    if chance.random() < 0.5:
        form: Any = {"type": "string", "pattern": chance.choice(PATTERNS)}
    else:
        form = {"grammar": chance.choice(GRAMMARS)}
    options = {"num_predict": 2}
    return "/api/generate", {"prompt": "Hi", "stream": False, "format": form, "options": options}


def _pictures(chance: random.Random) -> Request:
    image = base64.b64encode(chance.choice(IMAGES)).decode()
    options = {"num_predict": 1}
    body = {"prompt": "What is this?", "images": [image], "stream": False, "options": options}
    return "/api/generate", body


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """Return a PNG whose header claims so many pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + end


IMAGES = [
    png(50_000, 50_000),
    png(2**31 - 1, 2**31 - 1),
    png(0, 0),
    png(1, 1, b"\x00\x01\x02\x03"),
    png(8000, 8000, b"\x00" * 10_000_000),
    png(2**31 - 1, 1),
    b"",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a" + b"\xff" * 40,
    b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 40,
    b"RIFF\xff\xff\xff\xffWAVEfmt " + b"\xff" * 40,
    b"ID3" + b"\xff" * 400,
]

KINDS: list[Callable[[random.Random], Request]] = [
    *[_generate] * 6, *[_chat] * 3, *[_openai_chat] * 2, _completions, _messages, _tokens, _score,
    _embed, _constrained, _pictures,
]  # fmt: skip
