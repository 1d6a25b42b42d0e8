"""Contenders: servers that are all started, asked and stopped in the same way."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from client import Answer, Line, Refused, get, post

from jupyter_ollama.engine.devices import physical_threads
from jupyter_ollama.engine.load_plan import DEFAULT_CONTEXTS, DEFAULT_PARALLEL
from jupyter_ollama.engine.runner_process import ENVIRONMENT

START_SECONDS, END_SECONDS = 120, 20
ANOTHER = "all-minilm"


@dataclass(frozen=True)
class Setup:
    """How contenders are started: tokens of the longest sequence, and requests run at once.

    Without ``parallel`` it is as jupyter_ollama does by default.
    """

    num_ctx: int = 4096
    parallel: int | None = None

    @property
    def slots(self) -> int:
        """Requests that run at once."""
        return self.parallel or DEFAULT_PARALLEL

    @property
    def cells(self) -> int:
        """Tokens that the KV cache holds for all requests together."""
        return self.num_ctx * (self.parallel or DEFAULT_CONTEXTS)


def free_port() -> int:
    """Return an unused port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Contender:
    """A server process. Subclasses say how to start it and how to talk to it."""

    name: str
    path: str
    """The URL of requests."""
    alive_path: str
    """The path that answers 200 to a GET once requests can be sent."""
    is_visible = True
    """False if its processes cannot be found on this host."""
    ends_answers = False
    """True if it ends answers that the model would continue."""

    def __init__(self, folder: Path) -> None:
        """``folder`` takes the log of the server."""
        self.threads = physical_threads()
        self.setup = Setup()
        self._log = folder / f"{self.name}.log"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def command(self, port: int) -> list[str]:
        """Return the command line of the server for ``self.setup``."""
        raise NotImplementedError

    def variables(self) -> dict[str, str]:
        """Return variables of its environment; the OpenMP of all contenders is the same."""
        return dict(ENVIRONMENT)

    def body(self, prompt: str, predict: int, schema: Any) -> dict[str, Any]:
        """Return the JSON of a greedy request."""
        raise NotImplementedError

    def read(self, asked: float, predict: int, lines: list[Line]) -> Answer:
        """Return the text and the counts in the lines of an answer."""
        raise NotImplementedError

    async def complete(self, prompt: str, predict: int, schema: Any = None) -> Answer:
        """Continue a raw text by at most ``predict`` tokens. Raises Refused."""
        body = self.body(prompt, predict, schema)
        asked = time.perf_counter()
        answer = self.read(asked, predict, await post(self._port, self.path, body))
        if not answer.pieces:
            raise Refused(f"{self.name} gave no text for {prompt[-60:]!r}")
        return answer

    async def start(self, setup: Setup) -> None:
        """Start the server and have it answer once."""
        self.setup = setup
        await self.wake()
        await self.complete("Once upon a time there was", 4)

    async def wake(self) -> None:
        """Start the server and wait until it takes requests. Raises Refused."""
        self._spawn()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.is_alive:
            try:
                get(self._port, self.alive_path)
            except OSError:
                await asyncio.sleep(0.005)
            else:
                return
        tail = self._log.read_text(errors="replace")[-2000:]
        self.stop()
        raise Refused(f"{self.name} did not start:\n{tail}")

    def _spawn(self) -> None:
        self._port = free_port()
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(self._port),
                env={**os.environ, **self.variables()},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    async def unload(self) -> None:
        """Unload the model, so that `wake` and a request load it anew."""
        self.stop()

    async def load_another(self) -> None:
        """Load a second model if the server can hold two."""

    async def unload_another(self) -> None:
        """Undo what `load_another` did."""

    @property
    def is_alive(self) -> bool:
        """True while the server runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the server."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def processes(self) -> list[psutil.Process]:
        """Return the server and its child processes."""
        assert self._process is not None
        server = psutil.Process(self._process.pid)
        return [server, *server.children(recursive=True)]

    def memory(self) -> dict[str, float]:
        """Return bytes of resident memory by owner."""
        return {"all processes": sum(one.memory_info().rss for one in self.processes())}


class OllamaApi(Contender):
    """A server that is asked by Ollama's API."""

    path = "/api/generate"
    alive_path = "/api/version"

    def __init__(self, folder: Path, model: str) -> None:
        """``model`` is the server's name of the model."""
        super().__init__(folder)
        self._model = model

    def body(self, prompt: str, predict: int, schema: Any) -> dict[str, Any]:
        # The other contenders ignore the parameters of the model. The same num_ctx in all requests
        # of a setup: another one would load the model anew.
        fixed = {"temperature": 0, "repeat_penalty": 1.0}
        options = {**fixed, "num_predict": predict, "num_ctx": self.setup.num_ctx}
        constraint = {} if schema is None else {"format": schema}
        named = {"model": self._model, "prompt": prompt, "raw": True}
        return {**named, "options": options, **constraint}

    def read(self, asked: float, predict: int, lines: list[Line]) -> Answer:
        if "error" in lines[-1][1]:
            raise Refused(str(lines[-1][1]["error"]))
        end = lines[-1][1]
        pieces = [(when, line["response"]) for when, line in lines if line["response"]]
        return Answer(asked, pieces, end["eval_count"], end["done_reason"] == "stop")

    async def unload(self) -> None:
        """Unload the model; the server stays."""
        await post(self._port, self.path, {"model": self._model, "keep_alive": 0})


class JupyterOllama(OllamaApi):
    """Ours, as `jupyter ollama serve` runs it."""

    name = "jupyter_ollama"

    def __init__(self, folder: Path, store: Path, model: str) -> None:
        """``store`` is the folder of models, ``model`` a name in it."""
        super().__init__(folder, model)
        self._store = store
        self._others: list[psutil.Process] = []

    def command(self, port: int) -> list[str]:
        program = str(Path(sys.executable).with_name("jupyter-ollama"))
        # Each server reads the system prompts itself, also in a second run.
        return [program, "serve", "--OllamaServer.prefix_disk_bytes=0"]

    def variables(self) -> dict[str, str]:
        """Return Ollama's variables; our runners set their OpenMP themselves."""
        parallel = str(self.setup.parallel or 0)
        return {
            "OLLAMA_MODELS": str(self._store),
            "OLLAMA_HOST": f"127.0.0.1:{self._port}",
            "OLLAMA_NUM_PARALLEL": parallel,
            "OLLAMA_KEEP_ALIVE": "-1",
        }

    def share_on_gpus(self) -> float:
        """Return the part of the loaded model that is on GPUs, in percent."""
        (model,) = get(self._port, "/api/ps")["models"]
        return float(model["size_vram"] / model["size"] * 100)

    async def unload(self) -> None:
        """Unload the model; the server stays."""
        runners = self.processes()[1:]
        await super().unload()
        await asyncio.to_thread(psutil.wait_procs, runners, END_SECONDS)

    async def wake(self) -> None:
        """Start the server unless it runs: its models come and go without it."""
        if not self.is_alive:
            await super().wake()

    async def load_another(self) -> None:
        """Load a model that embeds."""
        before = self.processes()
        await post(self._port, "/api/embed", {"model": ANOTHER, "input": "Once"})
        self._others = [one for one in self.processes() if one not in before]

    async def unload_another(self) -> None:
        """Unload it."""
        await post(self._port, "/api/embed", {"model": ANOTHER, "input": "Once", "keep_alive": 0})
        await asyncio.to_thread(psutil.wait_procs, self._others, END_SECONDS)

    def memory(self) -> dict[str, float]:
        """Return bytes: the server, the runners, and their part beyond llama.cpp's buffers."""
        server, *runners = (one.memory_info().rss for one in self.processes())
        models = get(self._port, "/api/ps")["models"]
        buffers = sum(model["size"] + model.get("size_stored", 0) for model in models)
        others = (sum(runners) - buffers) / max(len(runners), 1)
        return {
            "all processes": server + sum(runners),
            "the server": server,
            "a runner beyond weights, KV cache, stored prefixes and compute": others,
        }
