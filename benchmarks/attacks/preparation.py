"""The effect of requests that take long to prepare on the first tokens of another user.

    .venv/bin/python benchmarks/hostile.py preparation [--requests 300] [--seconds 600]

One user sends conversations of 20,000 messages, megabytes without blanks, thousands of stop
strings, lists of a million tokens, long texts to embed and to score, and schemas that compile for
seconds; a third of these requests is hung up. Another user asks short questions, before and
meanwhile. Measured on SmolLM2 by one server. The attack comes from a process of its own with the
lowest priority: clients of a shared server compute on other machines.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from shared_server import USER, with_server

MODEL = "smollm2"
AT_ONCE = 12
"""Hostile requests under way."""
HUNG_UP = 3
"""One of so many hostile requests is hung up."""
PAUSE = 0.2
"""Seconds between two questions."""
ALONE = 40
"""Questions before the attack."""
WORDS = "market river garden winter table letter window doctor village "
SHORT = {"num_predict": 1, "temperature": 0}

Request = tuple[str, dict[str, Any]]


def messages(number: int) -> Request:
    """Twenty thousand messages."""
    asked = [{"role": "user", "content": f"{number} {WORDS}"} for _ in range(20_000)]
    return "/api/chat", {"messages": asked}


def no_blanks(number: int) -> Request:
    """Ten megabytes without a blank."""
    return "/api/generate", {"prompt": str(number) + "x" * 10_000_000, "raw": True}


def stops(number: int) -> Request:
    """As many stop strings as are accepted."""
    options = SHORT | {"stop": [f"{number}-{one}" for one in range(100_000)]}
    return "/api/generate", {"prompt": "Once", "options": options}


def tokens(number: int) -> Request:
    """A million tokens to make a text of."""
    return "/api/detokenize", {"tokens": [1000 + number] * 1_000_000}


def text(number: int) -> Request:
    """Two megabytes of words to cut into tokens."""
    return "/api/tokenize", {"content": f"{number} " + WORDS * 30_000}


def schema(number: int) -> Request:
    """A schema with a pattern that takes until its limit to compile."""
    pattern = f"^((a|b|ab|ba){{1,30}}c){{1,30}}{number}$"
    form = {"type": "object", "properties": {"a": {"type": "string", "pattern": pattern}}}
    return "/api/generate", {"prompt": "Go", "format": form}


def scores(number: int) -> Request:
    """A long prompt that is cut into tokens once for each of its continuations."""
    texts = [f" {number} {one}" for one in range(200)]
    return "/api/score", {"prompt": WORDS * 2000, "continuations": texts}


def embeddings(number: int) -> Request:
    """A text of three megabytes to embed."""
    return "/api/embed", {"input": [f"{number} " + WORDS * 50_000]}


KINDS: dict[str, Callable[[int], Request]] = {
    kind.__name__: kind
    for kind in (messages, no_blanks, stops, tokens, text, schema, scores, embeddings)
}


async def send(port: int, user: str, path: str, body: dict[str, Any]) -> tuple[str, float]:
    """Send a request on a connection of its own; return the status and the seconds to a line."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**28)
    data = json.dumps({"model": MODEL, "options": SHORT} | body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
    head += f"{USER}: {user}\r\nContent-Length: {len(data)}\r\n\r\n"
    start = time.perf_counter()
    try:
        writer.write(head.encode() + data)
        status = (await reader.readline()).decode().split()[1]
        first = 0.0
        while line := await reader.readline():
            if line.startswith(b"{"):
                first = first or time.perf_counter() - start
        return status, first
    finally:
        writer.close()


async def attack(port: int, names: list[str], count: int, seconds: float) -> None:
    """Send hostile requests for ``seconds`` at most; print the outcomes by kind."""
    kinds = [KINDS[name] for name in names]
    end = time.perf_counter() + seconds
    chance = random.Random(1)
    found: Counter[str] = Counter()
    waiting = iter(range(count))

    async def worker() -> None:
        for number in waiting:
            kind = kinds[number % len(kinds)]
            timeout = end - time.perf_counter()
            if timeout <= 0:
                return
            if number % HUNG_UP == 0:
                timeout = min(timeout, chance.uniform(0.1, 3))
            outcome = "hung up"
            with suppress(TimeoutError, OSError, IndexError):
                async with asyncio.timeout(timeout):
                    outcome, _ = await send(port, "eve", *kind(number))
            found[f"{kind.__name__} {outcome}"] += 1

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    print(json.dumps(found))


async def question(port: int, number: int) -> float:
    """Ask something short; return the seconds to the first token."""
    prompt = f"{number}: {WORDS}"
    status, first = await send(port, "ann", "/api/generate", {"prompt": prompt, "raw": True})
    if status != "200":
        raise RuntimeError(f"a question was answered with {status}")
    return first


def print_quantiles(name: str, seconds: list[float]) -> None:
    """Print the quantiles of delays."""
    cuts = statistics.quantiles(seconds, n=100)
    row = ", ".join(f"p{at} {cuts[at - 1] * 1e3:.0f}" for at in (50, 90, 95, 99))
    print(f"{name}: {row}, most {max(seconds) * 1e3:.0f} ms ({len(seconds)} questions)")


async def measure(port: int, kinds: list[str], requests: int, seconds: float) -> None:
    """Measure and print."""
    await send(port, "eve", "/api/embed", {"input": ["Hello"]})
    alone = []
    for number in range(ALONE):
        alone.append(await question(port, number))
        await asyncio.sleep(PAUSE)
    command = [sys.executable, __file__, "--attack", str(port), "--kinds", *kinds]
    command += ["--requests", str(requests), "--seconds", str(seconds)]
    attacker = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    ending = asyncio.create_task(attacker.communicate())
    beside = []
    while not ending.done():
        beside.append(await question(port, ALONE + len(beside)))
        await asyncio.sleep(PAUSE)
    print_quantiles("time to the first token, alone", alone)
    print_quantiles(f"beside {requests} hostile requests", beside)
    late = sum(one - statistics.median(alone) > 0.3 for one in beside)
    print(f"later than alone by more than 300 ms: {late} of {len(beside)}")
    output, _ = await ending
    print(f"hostile requests: {json.loads(output)}")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--models", default=str(Path.home() / ".ollama" / "models"))
    parser.add_argument("--attack", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work = (arguments.kinds, arguments.requests, arguments.seconds)
    if arguments.attack:
        os.nice(19)
        asyncio.run(attack(arguments.attack, *work))
    else:
        run = lambda port: measure(port, *work)  # noqa: E731
        asyncio.run(with_server(run, models_dir=arguments.models))


if __name__ == "__main__":
    main()
