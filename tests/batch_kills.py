"""A batch through which the server and its runners are killed, and its state at the end."""

from __future__ import annotations

import json
import os
import random
import sqlite3
import time
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from batch_models import question
from cli_process import Served, serving
from jupyter_ollama_client import Client, OllamaClientError
from jupyter_ollama_client.batches import BatchClient

SECONDS = 300.0


@dataclass
class Outcome:
    """A batch at its end: its lines, the rows of the record of usage, and the kills."""

    batch: dict[str, Any]
    lines: list[dict[str, Any]]
    usage: list[tuple[str, int, int]]
    killed: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def faults(self, rows: int) -> list[str]:
        """Return what is wrong: rows without their own answer, or billed otherwise than once."""
        wrong = []
        if self.batch["status"] != "completed":
            wrong.append(f"the batch is {self.batch['status']}")
        answers = {line["custom_id"]: line for line in self.lines}
        if len(answers) != len(self.lines):
            wrong.append(f"{len(self.lines) - len(answers)} rows are answered twice")
        for number in range(rows):
            line = answers.get(f"row-{number}")
            text = line and line["response"]["body"]["choices"][0]["message"]["content"]
            if text != question(number)[1]:
                wrong.append(f"row {number}: {text!r}")
        billed = Counter(once for once, _, _ in self.usage)
        wrong += [f"{once} is billed {times} times" for once, times in billed.items() if times > 1]
        if len(billed) != rows:
            wrong.append(f"{len(billed)} rows are billed")
        spent = [line["response"]["body"]["usage"] for line in self.lines]
        for name, place in (("prompt_tokens", 1), ("completion_tokens", 2)):
            answered = sum(one[name] for one in spent)
            recorded = sum(row[place] for row in self.usage)
            if answered != recorded:
                wrong.append(f"{name}: {answered} answered, {recorded} billed")
        return wrong


class KilledBatch:
    """Runs a batch of ``rows`` rows, and kills processes ``kills`` times while it is under way."""

    def __init__(self, models: Path, folder: Path, rows: int, kills: int, seed: int) -> None:
        self._models = models
        self._folder = folder
        self._rows = rows
        self._chance = random.Random(seed)
        # The kills are spread over the batch: each follows a number of answers.
        self._kills = sorted(self._chance.sample(range(1, rows), kills))
        self.killed: Counter[str] = Counter()

    def run(self) -> Outcome:
        """Return the batch at its end. Raises TimeoutError."""
        began = time.monotonic()
        batch_id = ""
        while True:
            with self._serving() as served:
                client = Client(f"http://{served.host}")
                with closing(client):
                    batches = BatchClient(client)
                    batch_id = batch_id or self._send(batches)
                    batch = self._watch(served, batches, batch_id, began)
                    if batch:
                        lines = list(batches.lines(batch["output_file_id"]))
                        break
        seconds = time.monotonic() - began
        return Outcome(batch, lines, self._usage(), self.killed, seconds)

    def _serving(self) -> Any:
        settings = {
            "batch_dir": self._folder / "batches",
            "usage_file": self._folder / "usage.sqlite",
            "record_usage": True,
        }
        arguments = [f"--OllamaServer.{name}={value}" for name, value in settings.items()]
        environment = {**os.environ, "HOME": str(self._folder)}
        return serving(environment, self._models, self._folder, *arguments)

    def _send(self, batches: BatchClient) -> str:
        url = "/v1/chat/completions"
        rows = []
        for number in range(self._rows):
            messages = [{"role": "user", "content": question(number)[0]}]
            body = {"model": "colours", "messages": messages}
            rows.append({"custom_id": f"row-{number}", "method": "POST", "url": url, "body": body})
        file = batches.upload(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
        batch_id: str = batches.create(file["id"], url)["id"]
        return batch_id

    def _watch(
        self, served: Served, batches: BatchClient, batch_id: str, began: float
    ) -> dict[str, Any] | None:
        """Kill the server or its runner at the next moments; return the batch if it has ended."""
        server = psutil.Process(served.process.pid)
        while time.monotonic() - began < SECONDS:
            try:
                batch = batches.retrieve(batch_id)
            except OllamaClientError:
                return None
            if batch["status"] in ("completed", "failed", "expired", "cancelled"):
                return batch
            done = batch["request_counts"]["completed"]
            if self._kills and done >= self._kills[0]:
                self._kills.pop(0)
                time.sleep(self._chance.uniform(0, 0.05))
                if self._kill(server):
                    return None
            time.sleep(0.002)
        raise TimeoutError(f"{batch_id} has not ended")

    def _kill(self, server: psutil.Process) -> bool:
        """Kill the server, its runners, or both; return whether the server is among them."""
        kind = ("server", "runner", "both")[self.killed.total() % 3]
        self.killed[kind] += 1
        runners = server.children(recursive=True)
        victims = ([server] if kind != "runner" else []) + (runners if kind != "server" else [])
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        if kind == "runner":
            return False
        psutil.wait_procs([server, *runners], timeout=30)
        return True

    def _usage(self) -> list[tuple[str, int, int]]:
        query = "SELECT request, prompt_tokens, generated_tokens FROM usage"
        with closing(sqlite3.connect(self._folder / "usage.sqlite")) as connection:
            return connection.execute(query).fetchall()
