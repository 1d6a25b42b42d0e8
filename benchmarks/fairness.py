"""Service of a shared server to its users while one of them sends rows in bulk.

    .venv/bin/python benchmarks/fairness.py [--rows 500] [--seconds 60]

Measured on SmolLM2, one of the starter models: the time to the first token of users who chat, alone
and beside a user who sends rows; the tokens that equal users get when all request more than the
server can generate; and what both cost the server as a whole, against a server that knows no users.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from attacks.shared_server import USER, with_server

CHATTERS = 9
THINKING = 2.0
"""Mean seconds between an answer and the next question of a chat."""
CHAT_TOKENS, ROW_TOKENS = 32, 32
EQUAL_TOKENS = 24, 96
AT_ONCE = 5
"""Requests that each of the equal users has under way."""
INSTRUCTION = (
    "You sort the notes of a school. Read the note, then say in one short sentence what it is "
    "about and whom it concerns. Do not repeat the note. Note: "
)
WORDS = ("market", "river", "garden", "winter", "table", "letter", "window", "doctor", "village")


@dataclass
class Seen:
    """The results of users: seconds to first tokens, tokens, and the statuses of refusals.

    Tokens are generated tokens, and tokens of prompts that were not in the cache.
    """

    first: dict[str, list[float]] = field(default_factory=dict)
    tokens: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def add(self, more: Seen) -> None:
        """Add the results of another time."""
        for user, seconds in more.first.items():
            self.first.setdefault(user, []).extend(seconds)
        self.tokens += more.tokens
        self.refused += more.refused


class Crowd:
    """Users of a server. With ``fair`` off it treats them as one user."""

    numbers = count(1)

    def __init__(self, port: int, *, fair: bool) -> None:
        self.seen = Seen()
        self._port = port
        self._fair = fair
        # Each crowd has prompts of its own: the server has cached the prompts of earlier ones.
        self._chance = random.Random(next(self.numbers))

    def words(self, count: int) -> str:
        return " ".join(self._chance.choices(WORDS, k=count))

    async def ask(self, user: str, prompt: str, tokens: int, *, bulk: bool = False) -> None:
        """Send one request on a connection of its own and count its tokens."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)
        body = {
            "model": "smollm2",
            "messages": [{"role": "user", "content": prompt}],
            "stream": not bulk,
            "options": {"num_predict": tokens, "temperature": 0, "stop": []},
        }
        data = json.dumps(body).encode()
        head = f"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1:{self._port}\r\nConnection: close\r\n"
        head += f"{USER}: {user if self._fair else 'all'}\r\nContent-Length: {len(data)}\r\n"
        head += f"X-Ollama-Priority: {'bulk' if bulk and self._fair else 'interactive'}\r\n\r\n"
        asked = time.perf_counter()
        writer.write(head.encode() + data)
        try:
            status = await reader.readline()
            first, last = 0.0, b"{}"
            async for line in reader:
                if line.startswith(b"{"):
                    first, last = first or time.perf_counter(), line
        finally:
            writer.close()
        if b" 200 " not in status:
            self.seen.refused[status.decode().split()[1]] += 1
            return
        self.seen.first.setdefault(user, []).append(first - asked)
        end = json.loads(last)
        read = end.get("prompt_eval_count", 0) - end.get("prompt_eval_cached_count", 0)
        self.seen.tokens[user] += read + end.get("eval_count", 0)

    async def chat(self, user: str, until: Callable[[], bool]) -> None:
        """Ask, read, think, ask again."""
        chance = random.Random(user)
        await asyncio.sleep(chance.uniform(0, THINKING))
        while not until():
            await self.ask(user, f"{user}: tell me about {self.words(12)}", CHAT_TOKENS)
            await asyncio.sleep(chance.expovariate(1 / THINKING))

    async def rows(self, count: int) -> float:
        """Send rows, all at once as the accessor of a DataFrame might; return the seconds taken."""
        start = time.perf_counter()
        rows = (INSTRUCTION + self.words(10) for _ in range(count))
        await asyncio.gather(*(self.ask("bulk", row, ROW_TOKENS, bulk=True) for row in rows))
        return time.perf_counter() - start

    async def chats(self, until: Callable[[], bool]) -> None:
        """Run all chats."""
        await asyncio.gather(*(self.chat(f"chat{n}", until) for n in range(CHATTERS)))

    async def equals(self, count: int, seconds: float) -> None:
        """Have users request more than the server can generate, each as much as the others."""
        end = time.perf_counter() + seconds

        async def stream(user: str, tokens: int) -> None:
            while time.perf_counter() < end:
                await self.ask(user, f"{user}: {self.words(12)}", tokens)

        # Tokens count, not requests: some answers are four times as long as others.
        streams = (
            stream(f"equal{number}", EQUAL_TOKENS[number % 2])
            for number in range(count)
            for _ in range(AT_ONCE)
        )
        await asyncio.gather(*streams)


def medians(seen: Seen) -> dict[str, float]:
    """Return the median time to the first token of each user who chats."""
    return {user: statistics.median(all_) for user, all_ in seen.first.items() if user != "bulk"}


async def undisturbed(port: int, seconds: float) -> Seen:
    """Chat for a while; return the results."""
    crowd = Crowd(port, fair=True)
    end = time.perf_counter() + seconds
    await crowd.chats(lambda: time.perf_counter() > end)
    return crowd.seen


async def beside_rows(port: int, rows: int, *, fair: bool) -> tuple[Seen, float]:
    """Chat while rows are sent; return the results, and the tokens a second of all."""
    crowd = Crowd(port, fair=fair)
    done = asyncio.Event()
    chats = asyncio.create_task(crowd.chats(done.is_set))
    seconds = await crowd.rows(rows)
    speed = sum(crowd.seen.tokens.values()) / seconds
    done.set()
    await chats
    return crowd.seen, speed


async def measure(port: int, rows: int, seconds: float) -> None:
    """Measure and print."""
    await Crowd(port, fair=True).ask("first", "Hello", 8)
    # In turns, since the load of the host changes.
    alone, fair, unfair = Seen(), Seen(), Seen()
    speeds: dict[bool, list[float]] = {True: [], False: []}
    for order in ((True, False), (False, True)):
        alone.add(await undisturbed(port, seconds / 3))
        for is_fair in order:
            seen, speed = await beside_rows(port, rows // 2, fair=is_fair)
            speeds[is_fair].append(speed)
            (fair if is_fair else unfair).add(seen)
    before = medians(alone)
    fair_speed, unfair_speed = (statistics.mean(speeds[is_fair]) for is_fair in (True, False))
    beside, queued = medians(fair), medians(unfair)
    print(f"median time to first token of {CHATTERS} users who chat, in ms:")
    for user, first in before.items():
        row = f"  {user}: alone {first * 1e3:.0f}, beside {rows} rows {beside[user] * 1e3:.0f}"
        row += f" ({beside[user] / first:.2f} times)"
        print(row + f", in one queue for all {queued.get(user, float('nan')) * 1e3:.0f}")
    ratios = [beside[user] / first for user, first in before.items()]
    print(f"worst ratio {max(ratios):.2f}, median {statistics.median(ratios):.2f}")
    share = fair_speed / unfair_speed
    print(f"tokens/s of all: {fair_speed:.0f}, in one queue {unfair_speed:.0f} ({share:.3f})")
    print(f"refused: {dict(fair.refused)} {dict(unfair.refused)}")
    totals = {True: Seen(), False: Seen()}
    for is_fair in (True, False, False, True):
        equal = Crowd(port, fair=is_fair)
        await equal.equals(10, seconds / 2)
        totals[is_fair].add(equal.seen)
    served = sorted(totals[True].tokens.values())
    jain = sum(served) ** 2 / (len(served) * sum(one * one for one in served))
    print(f"tokens of 10 equal users in {seconds:.0f} s: {served}, Jain index {jain:.4f}")
    together, queue = totals[True].tokens.total(), totals[False].tokens.total()
    print(f"tokens of all: {together}, in one queue {queue} ({together / queue:.3f})")


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--models", default=str(Path.home() / ".ollama" / "models"))
    arguments = parser.parse_args()
    work = lambda port: measure(port, arguments.rows, arguments.seconds)  # noqa: E731
    asyncio.run(with_server(work, models_dir=arguments.models, max_queue=2000))


if __name__ == "__main__":
    main()
