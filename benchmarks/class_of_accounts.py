"""The cost of prompts that cannot be guessed: 16 accounts under one new system prompt.

    .venv/bin/python benchmarks/class_of_accounts.py [--rounds 5]

Servers that share all prefixes, those of a group (which all accounts are in), only common system
prompts, and none between accounts take turns.
Measured on SmolLM2: the tokens of prompts that were computed, the total time and the median time to
the first token, if all ask at once and if they ask one after another. Ratios compare servers within
a round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import prompts
from attacks.shared_server import USER, NamedExchange
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application

from jupyter_ollama.api.origins import Origins
from jupyter_ollama.api.routes import ROUTES
from jupyter_ollama.config import OllamaServer

POLICIES = ("all", "group", "system", "account")
APART = 0.15
"""Seconds between students who ask one after another."""

WAYS = {"at once": 0.0, f"{APART:.2f} s apart": APART}
"""How a class asks, and the seconds between its students."""

CONTEXT = 1024
"""Tokens of the system prompt, a question and an answer, and some more."""


class Seen(NamedTuple):
    """The results of a class: tokens of prompts that were computed, and seconds."""

    computed: int
    total: float
    first: float


async def listen(stack: AsyncExitStack, models: str, policy: str) -> int:
    """Serve under a policy for as long as the stack lives; return the port."""
    server = OllamaServer(
        models_dir=models, prefix_sharing=policy, prefix_disk_bytes=0, num_parallel=16
    )
    stack.push_async_callback(server.stop)
    application = Application(
        [(r.path + "/?", NamedExchange, {"server": server, "route": r}) for r in ROUTES],
        origins=Origins([]),
        check_host=True,
    )
    (socket,) = bind_sockets(0, "127.0.0.1")
    http_server = HTTPServer(application)
    http_server.add_socket(socket)
    stack.callback(http_server.stop)
    port: int = socket.getsockname()[1]
    return port


async def ask(
    port: int, user: str, system: str, question: str, model: str, predict: int
) -> tuple[int, float, float]:
    """Return the computed tokens of the prompt, and when the first and the last text arrived."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    body = {
        "model": model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
        "options": {"num_predict": predict, "temperature": 0, "num_ctx": CONTEXT},
    }
    data = json.dumps(body).encode()
    head = f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n"
    writer.write(f"{head}{USER}: {user}\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data)
    first, end = 0.0, {}
    async for line in reader:
        if line.startswith(b"{"):
            first, end = first or time.perf_counter(), json.loads(line)
    writer.close()
    read = end["prompt_eval_count"] - end.get("prompt_eval_cached_count", 0)
    return read, first, time.perf_counter()


async def class_of(port: int, tag: str, apart: float, model: str, predict: int) -> Seen:
    """Have every student ask a question under a system prompt that is new."""
    system = f"You are the tutor of physics course {tag}. {prompts.RULES}"
    start = time.perf_counter()

    async def student(number: int, question: str) -> tuple[int, float, float]:
        await asyncio.sleep(number * apart)
        asked = time.perf_counter()
        read, first, last = await ask(
            port, f"student{number}/course", system, question, model, predict
        )
        return read, first - asked, last

    students = (student(number, question) for number, question in enumerate(prompts.QUESTIONS))
    answers = await asyncio.gather(*students)
    reads, firsts, lasts = zip(*answers, strict=True)
    return Seen(sum(reads), max(lasts) - start, statistics.median(firsts))


async def measure(
    models: str,
    model: str,
    ways: Mapping[str, float],
    policies: Sequence[str],
    rounds: int,
    predict: int,
) -> dict[str, dict[str, list[Seen]]]:
    """Return the measurements, by the way of asking and the policy."""
    seen: dict[str, dict[str, list[Seen]]] = {}
    async with AsyncExitStack() as stack:
        ports = {policy: await listen(stack, models, policy) for policy in policies}
        for policy, port in ports.items():
            for user in ("first", "second"):
                await ask(port, f"{user}/course", "", f"Hello {policy}", model, 1)
        for title, apart in ways.items():
            classes = seen[title] = defaultdict(list)
            for number in range(rounds):
                turn = number % len(policies)
                for policy in [*policies[turn:], *policies[:turn]]:
                    tag = f"{title} {number}"
                    one = await class_of(ports[policy], tag, apart, model, predict)
                    classes[policy].append(one)
    return seen


def show(seen: Mapping[str, Mapping[str, list[Seen]]]) -> None:
    """Print medians."""
    for title, by_policy in seen.items():
        rounds = len(by_policy["all"])
        print(f"16 accounts, one new system prompt, {title}, medians of {rounds} rounds:")
        for policy, classes in by_policy.items():
            middle = Seen(*map(statistics.median, zip(*classes, strict=True)))
            ratios = [a.total / b.total for a, b in zip(by_policy["all"], classes, strict=True)]
            print(
                f"  {policy}: {middle.computed} prompt tokens computed, {middle.total:.2f} s, "
                f"TTFT {middle.first * 1e3:.0f} ms; "
                f"{statistics.median(ratios):.2f} of the speed of all"
            )


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--predict", type=int, default=64, help="tokens of an answer")
    parser.add_argument("--models", default=str(Path.home() / ".ollama" / "models"))
    arguments = parser.parse_args()
    rounds, predict = arguments.rounds, arguments.predict
    show(asyncio.run(measure(arguments.models, "smollm2", WAYS, POLICIES, rounds, predict)))


if __name__ == "__main__":
    main()
