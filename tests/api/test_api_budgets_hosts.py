"""Budgets over three servers that are processes of their own, and over the kill of one."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from cli_process import Served, serving
from redis_servers import RedisServer, redis_server
from scripted_model import write_scripts
from store_models import add_model

from jupyter_ollama.library.library import Library

NAMES = ("one", "two", "three")
ASK = {"model": "teller", "messages": [{"role": "user", "content": "Hello"}]}
SCRIPT = "One, two, three, four, five, six, seven."


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hosts")
    weights = write_scripts(folder / "teller.gguf", {"SAY": SCRIPT})
    add_model(Library.open(folder / "models"), "teller", weights, parameters={"num_ctx": 128})
    return folder / "models"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path / "redis", "secret") as server:
        yield server


class Hosts:
    """Three servers, and the tokens of the answers that clients have received whole."""

    def __init__(
        self,
        stack: ExitStack,
        models: Path,
        folder: Path,
        limits: str,
        store: RedisServer | None,
        names: tuple[str, ...] = NAMES,
    ) -> None:
        env = {"JUPYTER_OLLAMA_BUDGET_STORE": store.url} if store else {}
        self.environment = {**os.environ, **env}
        self.models, self.folder, self.limits = models, folder, limits
        self.stack = stack
        self.served: dict[str, Served] = {}
        self.client = stack.enter_context(httpx2.Client(timeout=120))
        self.received: list[int] = []
        self.codes: Counter[int] = Counter()
        for name in names:
            self.start(name)

    def start(self, name: str) -> None:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        arguments = [
            f"--OllamaServer.budget_host={name}",
            f"--OllamaServer.limits={self.limits}",
            "--OllamaServer.record_usage=True",
            f"--OllamaServer.usage_file={folder / 'usage.sqlite'}",
            "--OllamaServer.budget_timeout=5",
        ]
        self.served[name] = self.stack.enter_context(
            serving(self.environment, self.models, folder, *arguments)
        )

    def kill(self, name: str) -> None:
        """Kill a server; its runner ends by itself."""
        process = psutil.Process(self.served.pop(name).process.pid)
        runners = process.children()
        process.kill()
        process.wait(30)
        psutil.wait_procs(runners, 30)

    def ask(self, name: str) -> int:
        """Ask a host; return the status, 0 if the answer did not end."""
        try:
            response = self.client.post(f"http://{self.served[name].host}/api/chat", json=ASK)
            end = json.loads(response.text.splitlines()[-1])
        except (httpx2.TransportError, KeyError):
            self.codes[0] += 1
            return 0
        if response.status_code == 200 and end.get("done"):
            self.received.append(end["prompt_eval_count"] + end["eval_count"])
        self.codes[response.status_code] += 1
        return int(response.status_code)

    def get(self, name: str, path: str) -> dict[str, Any]:
        found: dict[str, Any] = self.client.get(f"http://{self.served[name].host}{path}").json()
        return found

    def used(self, name: str) -> list[int]:
        return [one["used"] for one in self.get(name, "/usage")["budgets"]]


def all_at_once(hosts: Hosts, names: list[str], each: int) -> list[threading.Thread]:
    """Start threads that each ask a host a number of times."""

    def work(name: str) -> None:
        for _ in range(each):
            hosts.ask(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    return threads


def test_three_hosts_count_to_the_token_and_one_is_killed(
    models: Path, redis: RedisServer, tmp_path: Path
) -> None:
    limits = '{"*": {"tokens_per_day": 1000000, "tokens_per_month": 1000000}}'
    with ExitStack() as stack:
        hosts = Hosts(stack, models, tmp_path, limits, redis)
        for name in NAMES:
            assert hosts.ask(name) == 200
        each = hosts.received[0]
        threads = all_at_once(hosts, [*NAMES] * 2, 8)
        while len(hosts.received) < 12:
            threads[0].join(0.01)
        hosts.kill("two")
        for thread in threads:
            thread.join()
        assert hosts.codes[0] > 0
        total = sum(hosts.received)
        for name in ("one", "three"):
            used = hosts.used(name)
            # Both threads at the killed host may have lost an answer whose cost was recorded.
            assert used[0] == used[1]
            assert used[0] - total in (0, each, 2 * each)
        extra = hosts.used("one")[0] - total
        assert hosts.get("one", "/health")["budgets"]["state"] == "shared"
        hosts.start("two")
        assert hosts.used("two") == [total + extra] * 2
        assert hosts.ask("two") == 200
        assert hosts.used("three") == [total + extra + each] * 2
        logs = "".join(one.log.read_text() for one in hosts.served.values())
        assert "Budgets are shared by" in logs
        assert "secret" not in logs


def test_a_budget_is_exact_to_one_request_over_hosts_and_a_kill(
    models: Path, redis: RedisServer, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        hosts = Hosts(stack, models, tmp_path, '{"*": {"tokens_per_day": 1500}}', redis)
        threads = all_at_once(hosts, [*NAMES] * 3, 12)
        while sum(hosts.received) < 600:
            threads[0].join(0.01)
        hosts.kill("three")
        for thread in threads:
            thread.join()
        assert hosts.codes[429] > 0
        each = hosts.received[0]
        (used,) = hosts.used("one")
        assert hosts.used("two") == [used]
        assert 1500 <= used < 1500 + each
        # The three threads at the killed host may each have lost an answer that was recorded.
        assert used - 3 * each <= sum(hosts.received) <= used


def test_the_store_is_lost_and_comes_back(models: Path, redis: RedisServer, tmp_path: Path) -> None:
    with ExitStack() as stack:
        hosts = Hosts(stack, models, tmp_path, '{"*": {"tokens_per_day": 3000}}', redis)
        for name in NAMES:
            assert hosts.ask(name) == 200
            assert hosts.get(name, "/health")["budgets"]["hosts"] >= 1
        each = hosts.received[0]
        for name in NAMES:
            hosts.used(name)
        redis.kill()
        for name in NAMES:
            while hosts.ask(name) == 200:
                pass
            assert hosts.get(name, "/health")["budgets"]["state"] == "alone"
            log = hosts.served[name].log.read_text()
            assert "Budgets are counted on this host alone, as one of 3" in log
        # A part of what was left for each, and one request more at most.
        assert 3000 - 3 * each <= sum(hosts.received) < 3000 + 3 * each
        redis.start()
        for name in NAMES:
            while hosts.get(name, "/health")["budgets"]["state"] == "alone":
                threading.Event().wait(0.05)
        for name in NAMES:
            assert hosts.used(name) == [sum(hosts.received)]


def test_one_host_is_exact_over_a_kill(models: Path, tmp_path: Path) -> None:
    limits = '{"*": {"tokens_per_day": 1000000, "tokens_per_month": 1000000}}'
    with ExitStack() as stack:
        hosts = Hosts(stack, models, tmp_path, limits, None, ())
        for turn in range(1, 4):
            hosts.start("one")
            assert hosts.used("one") == [sum(hosts.received)] * 2
            assert [hosts.ask("one") for _ in range(turn)] == [200] * turn
            hosts.kill("one")
        hosts.start("one")
        assert hosts.used("one") == [sum(hosts.received)] * 2
