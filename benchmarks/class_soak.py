"""A shared server under a class for an hour: no answer is lost or mixed up, and memory stays flat.

    .venv/bin/python benchmarks/class_soak.py [--minutes 60] [--users 200] [--pause 12]

Each of the users asks at random times for a text that only this user is given, by the API of
Ollama, streamed, or OpenAI's, whole; some hang up, and some have limits and exceed them. The model
has scripted weights: llama.cpp generates the text of the user who is named in the prompt. An
administrator reads the pages meanwhile. Reported are answers that were not the user's, requests
without an answer, refusals by status and those that lack a reason or a time to retry, the quantiles
of the pages, and the memory of the server and its runners by quarters of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx2
import psutil
from attacks.fuzz import memory
from attacks.shared_server import USER, with_server

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from scripted_model import write_scripts  # type: ignore[import-not-found]
from store_models import add_model  # type: ignore[import-not-found]

from jupyter_ollama.library.library import Library
from jupyter_ollama.library.store import Store

MODEL = "class"
LENGTH = 160
"""Characters of an answer, about 40 tokens."""
LIMITED = 10
"""One of so many users has limits, and asks for more than they allow."""
LIMITS = {"tokens_per_minute": 2000, "concurrent": 1, "queue": 1}
AT_ONCE = 4
"""Questions that such a user asks at once."""
WHOLE, HUNG_UP = 0.15, 0.1
"""The parts of the questions whose answers are not streamed, and that are hung up."""
PATIENCE = 600.0
"""Seconds without a byte after which an answer is lost: on a busy host answers are late."""
SAMPLE = 5.0
"""Seconds between two measurements of memory."""


def answer_of(user: str) -> str:
    """Return the text that the model generates for a user."""
    text = "".join(hashlib.sha256(f"{user} {part}".encode()).hexdigest() for part in range(3))
    return text[:LENGTH]


def write_model(folder: Path, users: list[str]) -> str:
    """Put the model into a new store and return the folder of the store."""
    file = write_scripts(
        folder / "class.gguf", {user: answer_of(user) for user in users}, shortest=4
    )
    store = Store(folder / "models")
    add_model(Library(store), MODEL, file)
    return str(store.root)


@dataclass
class Results:
    """What came of the requests."""

    answers: int = 0
    hung_up: int = 0
    refusals: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    page: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    sizes: list[dict[str, float]] = field(default_factory=list)


class Class:
    """The users of a server, who ask until a time."""

    def __init__(self, port: int, end: float, pause: float) -> None:
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=100)
        self.client = httpx2.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE, limits=limits
        )
        self.began = time.monotonic()
        self.end = end
        self.pause = pause
        self.results = Results()

    @property
    def lasts(self) -> bool:
        """True until the end."""
        return time.monotonic() < self.end

    async def ask(self, user: str, chance: random.Random) -> None:
        """Ask one question and judge the answer."""
        results, is_whole = self.results, chance.random() < WHOLE
        try:
            if chance.random() < HUNG_UP:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._answer(user, is_whole), chance.uniform(0, 0.5))
                results.hung_up += 1
                return
            response, text = await self._answer(user, is_whole)
        except (httpx2.HTTPError, ValueError, KeyError) as error:
            when = (time.monotonic() - self.began) / 60
            results.faults.append(f"{user}: no answer at minute {when:.1f}: {error!r}")
            return
        if response.status_code == 200:
            results.answers += 1
            if text != answer_of(user):
                results.faults.append(f"{user}: another answer: {text[:80]!r}")
        elif response.status_code in (429, 503):
            results.refusals[response.status_code] += 1
            if not text or not response.headers.get("Retry-After"):
                results.faults.append(f"{user}: {response.status_code} without a reason or a time")
        else:
            results.faults.append(f"{user}: {response.status_code} {text[:200]}")

    async def _answer(self, user: str, is_whole: bool) -> tuple[httpx2.Response, str]:
        """Return the response, and the text of the answer or of the error."""
        messages = [{"role": "user", "content": f"The text of {user}, please."}]
        body = {"model": MODEL, "messages": messages}
        headers = {USER: f"{user}/class"}
        if is_whole:
            response = await self.client.post("/v1/chat/completions", json=body, headers=headers)
            found = response.json()
            if response.status_code != 200:
                return response, found["error"]["message"]
            return response, found["choices"][0]["message"]["content"]
        text, is_done = "", False
        async with self.client.stream("POST", "/api/chat", json=body, headers=headers) as response:
            async for line in response.aiter_lines():
                found = json.loads(line)
                if "error" in found:
                    return response, found["error"]
                text += found["message"]["content"]
                is_done = found["done"]
        if not is_done:
            raise ValueError(f"the answer ends after {text[-20:]!r}")
        return response, text

    async def attend(self, user: str, at_once: int) -> None:
        """Ask again and again, with pauses."""
        chance = random.Random(user)
        await asyncio.sleep(chance.uniform(0, self.pause))
        while self.lasts:
            await asyncio.gather(*(self.ask(user, chance) for _ in range(at_once)))
            await asyncio.sleep(chance.uniform(0.2, 1.8) * self.pause)

    async def read_page(self, path: str) -> None:
        """Open a page of an administrator every second, as far as the first tables of a stream."""
        while self.lasts:
            start = time.perf_counter()
            async with self.client.stream("GET", path, headers={USER: "manager"}) as response:
                if response.status_code != 200:
                    self.results.faults.append(f"{path}: {response.status_code}")
                async for _ in response.aiter_lines():
                    if path.endswith("changes"):
                        break
            self.results.page[path].append(time.perf_counter() - start)
            await asyncio.sleep(1)

    async def watch_memory(self) -> None:
        """Measure the memory of the server at intervals."""
        (server,) = psutil.Process().children()
        while self.lasts:
            with suppress(psutil.Error):
                self.results.sizes.append(memory(server))
            await asyncio.sleep(SAMPLE)


async def run(port: int, users: list[str], arguments: argparse.Namespace) -> None:
    """Let the users ask, and print the results."""
    end = time.monotonic() + 60 * arguments.minutes
    group = Class(port, end, arguments.pause)
    work = [group.attend(user, AT_ONCE if is_limited(n) else 1) for n, user in enumerate(users)]
    work += [group.read_page(path) for path in arguments.pages]
    await asyncio.gather(*work, group.watch_memory())
    health = (await group.client.get("/health", headers={USER: "manager"})).json()
    await group.client.aclose()
    show(group.results)
    print(f"health at the end: {json.dumps(health)}")


def is_limited(number: int) -> bool:
    """Return whether the user of this number has limits."""
    return number % LIMITED == 0


def show(results: Results) -> None:
    """Print the results."""
    print(f"{results.answers} answers, {results.hung_up} hung up, refusals {results.refusals}")
    print(f"faults: {len(results.faults)}")
    for fault in results.faults[:20]:
        print(f"  {fault}")
    for path, seconds in results.page.items():
        cuts = statistics.quantiles(seconds, n=100)
        row = ", ".join(f"p{at} {cuts[at - 1] * 1e3:.0f}" for at in (50, 95, 99))
        print(f"{path}: {row} ms ({len(seconds)})")
    quarter = len(results.sizes) // 4
    for who in results.sizes[0] if quarter else ():
        values = [one[who] for one in results.sizes]
        parts = [statistics.median(values[n * quarter : (n + 1) * quarter]) for n in range(4)]
        sizes = ", ".join(f"{part:.0f}" for part in parts)
        ratio = parts[3] / parts[1]
        print(f"memory of the {who} by quarters, MiB: {sizes} (last by second {ratio:.3f})")


def main() -> None:
    """Read the arguments, start a server and run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--pause", type=float, default=12, help="mean seconds between questions")
    parser.add_argument("--pages", nargs="*", default=["/page", "/page/changes"])
    arguments = parser.parse_args()
    users = [f"user{number:03}x" for number in range(arguments.users)]
    limits = {f"user:{user}": LIMITS for n, user in enumerate(users) if is_limited(n)}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        models = write_model(Path(folder), users)
        work = partial(run, users=users, arguments=arguments)
        asyncio.run(with_server(work, log, models_dir=models, limits=limits, num_parallel=8))
        log.seek(0)
        print(f"tracebacks in the log of the server: {log.read().count(b'Traceback')}")


if __name__ == "__main__":
    main()
