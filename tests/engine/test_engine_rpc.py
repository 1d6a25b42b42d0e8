"""Models on several hosts: workers are processes on loopback here."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from runners import running
from workers import working

from jupyter_ollama.engine import llama_internals, rpc
from jupyter_ollama.engine.events import Text
from jupyter_ollama.engine.llama_model import LoadError
from jupyter_ollama.engine.protocol import RawPrompt
from jupyter_ollama.engine.runner_client import RunnerClient
from jupyter_ollama.engine.runner_failures import CRASHED
from jupyter_ollama.errors import OllamaError
from jupyter_ollama.options import Options

MIB = 2**20
SHORT_HOST = """
import json, sys
from pathlib import Path
from jupyter_ollama.engine import devices
from jupyter_ollama.engine.loading import ModelLoader
from jupyter_ollama.engine.protocol import LoadSpec
devices.PROC = Path(sys.argv[1])
spec = LoadSpec(sys.argv[2], num_ctx=256, num_parallel=1, rpc_servers=tuple(sys.argv[3:]))
loaded = ModelLoader(spec)
loaded.generation_context()
log = loaded.log
found = [(one.name, one.total, one.free) for one in devices.devices()]
print(json.dumps([loaded.plan.placement.shares, log.host_bytes, log.device_bytes, found]))
"""
"""Loads a model on a host whose files of the kernel a test has written."""


async def say(runner: RunnerClient, count: int = 24) -> str:
    options = Options(temperature=0, num_predict=count)
    prompt = RawPrompt("Once upon a time there was a lighthouse")
    answer = runner.generate(prompt, options, stream=False)
    return "".join([event.text async for event in answer if isinstance(event, Text)])


def load_on(host: Path, available: int, *arguments: str) -> Any:
    (host / "meminfo").write_text(f"MemAvailable: {available // 1024} kB\n")
    (host / "self").mkdir(exist_ok=True)
    (host / "self/cgroup").write_text("")
    command = [sys.executable, "-c", SHORT_HOST, str(host), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def test_two_workers_say_what_one_host_says(smollm2_f16: Path, tmp_path: Path) -> None:
    async with running(smollm2_f16, num_ctx=512) as runner:
        assert runner.ready.size_vram == 0
        expected = await say(runner)
    with working(2, "--memory=1", f"--cache={tmp_path}") as workers:
        before = [worker.memory for worker in workers]
        spec: Any = {
            "num_ctx": 512,
            "rpc_servers": tuple(worker.endpoint for worker in workers),
            "tensor_split": (1.0, 1.0),
        }
        async with running(smollm2_f16, **spec) as runner:
            assert await say(runner) == expected
            # Layers have 202 MiB of the weights, the table of 54 is here and on the last.
            more = [worker.memory - bytes for worker, bytes in zip(workers, before, strict=True)]
            assert min(more) > 100 * MIB
            assert runner.ready.size_vram > 250 * MIB
            assert runner.ready.size > runner.ready.size_vram + 50 * MIB
            # The second one has the output layer, large enough to be worth keeping.
            assert sum(file.stat().st_size for file in tmp_path.iterdir()) > 50 * MIB
            # A worker has one runner at a time.
            with pytest.raises(OllamaError, match="serves another model"):
                await RunnerClient.start(runner.spec, 60)
        # It is free again at once.
        async with running(smollm2_f16, **spec) as runner:
            assert runner.ready.size_vram > 250 * MIB
            text = say(runner, 500)
            workers[1].kill()
            with pytest.raises(OllamaError, match=CRASHED):
                await text
        refused = f"the worker at {workers[1].endpoint} cannot be reached: Connection refused"
        with pytest.raises(OllamaError, match=refused):
            await RunnerClient.start(runner.spec, 60)


def test_workers_take_what_does_not_fit_the_host(smollm2: Path, tmp_path: Path) -> None:
    with working(2, "--memory=0.75") as workers:
        endpoints = [worker.endpoint for worker in workers]
        shares, _, on_workers, found = load_on(tmp_path, 8192 * MIB, str(smollm2), *endpoints)
        assert (shares, on_workers, len(found)) == ([], 0, 1)
        shares, on_host, on_workers, found = load_on(tmp_path, 240 * MIB, str(smollm2), *endpoints)
        assert sum(shares) == 31
        # Each has as much free as the other.
        assert abs(shares[0] - shares[1]) <= 1
        assert on_workers > 60 * MIB
        assert on_host < 112 * MIB
        (name, total, free), *_ = found
        assert (name, total) == ("RPC0", 768 * MIB)
        assert 600 * MIB < free < (768 - 25) * MIB


def test_an_address_without_a_worker_is_reported() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        closing = threading.Thread(target=lambda: server.accept()[0].close())
        closing.start()
        with pytest.raises(LoadError, match=f"127.0.0.1:{port} does not speak the RPC"):
            rpc.add_workers([f"127.0.0.1:{port}"], 1)
        closing.join()


def test_a_build_without_rpc_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_internals, "RPC_REGISTRY", b"none")
    with pytest.raises(LoadError, match="CMAKE_ARGS=-DGGML_RPC=on"):
        rpc.add_workers(["127.0.0.1:1"], 1)
