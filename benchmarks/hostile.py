"""Effects of hostile requests and accidents on a shared server.

    .venv/bin/python benchmarks/hostile.py fuzz [--calls 20000] [--seed 1]
    .venv/bin/python benchmarks/hostile.py kills [--kills 100]
    .venv/bin/python benchmarks/hostile.py soak [--minutes 60]
    .venv/bin/python benchmarks/hostile.py outward
    .venv/bin/python benchmarks/hostile.py bodies | preparation | runners [--help]

`fuzz` sends calls of any shape to all routes by three users at once. It reports the statuses, lost
slots, runners that died, and memory before and after. `soak` does so for a time and reports memory
after each round. `kills` kills runners, then servers, at random moments, and reports the faults
after a new start. `outward` fetches pages through the server, of hosts inside as well. `bodies`
sends requests that are small or plain and cost much. `preparation` sends requests that take long to
prepare while another user asks short questions. `runners` sends requests that could end the runner
of all users. All work on a copy of the starter models.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import IO, Any

import psutil
from attacks.fuzz import USERS, Answers, Request, fuzz, memory, send
from attacks.kills import kill_runners, kill_server
from attacks.outward import outward
from attacks.shared_server import USER, with_server

from jupyter_ollama.flow_control.free_memory import PAUSE

LIMITS = {"*": {"num_predict": 8, "num_ctx": 1024, "concurrent": 4}}
QUESTION = {"model": "smollm2", "prompt": "Hello", "stream": False, "options": {"num_predict": 2}}
EMBEDDING = {"model": "all-minilm", "input": "Hello"}
CALLS_OF_A_ROUND = 1000
SCRIPTS = ("bodies", "preparation", "runners")
"""Attacks with arguments of their own."""


def get(port: int, path: str) -> Any:
    """Return the JSON of an answer."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={USER: USERS[0]})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


async def warm_up(port: int) -> None:
    """Ask both models a question, which loads them. Raises AssertionError without an answer."""
    for path, body in (("/api/generate", QUESTION), ("/api/embed", EMBEDDING)):
        request = Request(USERS[0], "POST", path, {}, json.dumps(body).encode())
        assert await send(port, request) == 200, path


async def at_rest(port: int) -> Any:
    """Wait for the end of all requests and the return of their memory; return the health."""
    for _ in range(600):
        health = await asyncio.to_thread(get, port, "/health")
        if not health["running"] and not health["waiting"]:
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(PAUSE + 2)
    return health


def runners(server: psutil.Process) -> set[int]:
    """Return the process ids of the runners; the server has other processes for short tasks."""
    found = server.children(recursive=True)
    return {one.pid for one in found if "jupyter_ollama.engine.runner" in one.cmdline()}


def show(answers: Answers) -> None:
    """Print the results of calls."""
    print(f"{answers.statuses.total()} answers in {answers.seconds:.0f} s: ", end="")
    print(", ".join(f"{status}: {n}" for status, n in sorted(answers.statuses.items())))
    print(f"calls without an answer or with an error of the server: {len(answers.faults)}")
    kinds = Counter((fault, request.path.partition("?")[0]) for request, fault in answers.faults)
    for (fault, path), count in kinds.most_common(30):
        one = next(r for r, f in answers.faults if f == fault and r.path.startswith(path))
        print(f"  {count} x {fault} {path}, such as {one.body[:300]!r}")


async def run_fuzz(port: int, server: psutil.Process, arguments: argparse.Namespace) -> None:
    """Fuzz twice and print the results of the second time; the first one fills the caches."""
    await warm_up(port)
    print(f"memory at the start, in MiB: {memory(server)}")
    await fuzz(port, arguments.calls, arguments.seed + 1)
    await warm_up(port)
    await at_rest(port)
    before, there = memory(server), runners(server)
    show(await fuzz(port, arguments.calls, arguments.seed))
    health = await at_rest(port)
    await warm_up(port)
    print(f"health at the end: {json.dumps(health)}")
    kept = len(there & runners(server))
    print(f"runners that were there before and are after: {kept} of {len(there)}")
    for who, size in memory(server).items():
        ratio = size / before[who]
        print(f"memory of the {who}: {before[who]:.0f}, then {size:.0f} MiB ({ratio:.2f})")


async def run_soak(port: int, server: psutil.Process, arguments: argparse.Namespace) -> None:
    """Fuzz for a time and print the results of each round."""
    await warm_up(port)
    there = runners(server)
    end, seed = time.monotonic() + 60 * arguments.minutes, arguments.seed
    while time.monotonic() < end:
        seed += 1
        show(await fuzz(port, CALLS_OF_A_ROUND, seed))
        health = await at_rest(port)
        sizes = {who: round(size) for who, size in memory(server).items()}
        print(f"  health {health['status']}, MiB {sizes}", flush=True)
    await warm_up(port)
    print(f"runners that were there before and are after: {len(there & runners(server))}")


async def run_kills(port: int, server: psutil.Process, arguments: argparse.Namespace) -> None:
    """Kill runners and print the results."""
    await warm_up(port)
    count = 2 * arguments.kills
    statuses = await kill_runners(port, server, count, arguments.seed)
    health = await at_rest(port)
    await warm_up(port)
    print(f"{count} runners killed, answers: {dict(sorted(statuses.items()))}")
    print(f"health at the end: {json.dumps(health)}")


async def main_kills(arguments: argparse.Namespace, models: str, log: IO[bytes]) -> None:
    """Kill runners of one server, then servers."""
    await served(run_kills, arguments, models, log)
    wrong = await kill_server(models, Path(log.name), arguments.kills, arguments.seed)
    print(f"{arguments.kills} servers killed, wrong after a new start: {len(wrong)}")
    for line in wrong[:20]:
        print(f"  {line}")


Work = Callable[[int, psutil.Process, argparse.Namespace], Coroutine[Any, Any, None]]


async def served(
    work: Work, arguments: argparse.Namespace, models: str, log: IO[bytes], **traits: Any
) -> None:
    """Do something with a server of its own."""

    async def begin(port: int) -> None:
        (server,) = psutil.Process().children()
        await work(port, server, arguments)

    await with_server(begin, log, models_dir=models, **traits)


def main() -> None:
    """Read the arguments and run the attack that they name."""
    if sys.argv[1:2] and sys.argv[1] in SCRIPTS:
        script = Path(__file__).parent / "attacks" / f"{sys.argv[1]}.py"
        sys.exit(subprocess.run([sys.executable, script, *sys.argv[2:]], check=False).returncode)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("what", choices=["fuzz", "soak", "kills", "outward", *SCRIPTS])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--kills", type=int, default=100, help="kill so many servers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models", default=str(Path.home() / ".ollama" / "models"))
    arguments = parser.parse_args()
    if arguments.what == "outward":
        print(json.dumps(asyncio.run(outward()), indent=2))
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.NamedTemporaryFile(suffix=".log", delete=False) as log,
    ):
        models = shutil.copytree(arguments.models, f"{folder}/models")
        if arguments.what == "kills":
            asyncio.run(main_kills(arguments, models, log))
        else:
            work = run_soak if arguments.what == "soak" else run_fuzz
            # A model that stays loaded changes its runner only if the runner died.
            traits = {"limits": LIMITS, "keep_alive": -1, "spare_runner_seconds": 0}
            asyncio.run(served(work, arguments, models, log, **traits))
    tracebacks = Path(log.name).read_text("utf-8", "replace").count("Traceback")
    print(f"tracebacks in the log of the server: {tracebacks} ({log.name})")


if __name__ == "__main__":
    main()
