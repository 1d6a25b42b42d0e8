"""The benchmarks with a server that runs already: `run.py --other-url`."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest
from cli_process import Served, serving

from jupyter_ollama._version import OLLAMA_API_VERSION
from jupyter_ollama.backends.command_log import Failure
from jupyter_ollama.library.library import Library

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import other_server  # noqa: E402
import upkeep  # noqa: E402
import workloads  # noqa: E402
from bare import BareLoop  # noqa: E402
from contender import Contender  # noqa: E402
from other_server import OtherServer  # noqa: E402
from report import settings  # noqa: E402
from run import Comparison, Workload, contenders, is_whole, parse  # noqa: E402
from table import OURS  # noqa: E402
from workloads import FIRST_TOKEN  # noqa: E402

LOAD = "model not loaded: time to the first token, s"
MEMORY = "resident memory, all processes, MiB"
IDLE = "idle: use of one core, %"

Answers = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with Ollama's API that has no model yet: ours."""
    folder = tmp_path_factory.mktemp("other")
    environment = {**os.environ, "HOME": str(folder)}
    with serving(environment, folder / "models", folder) as served:
        yield served


@pytest.fixture
def small_server() -> Iterator[Callable[[Answers], str]]:
    """Start a server that answers the lines of each path, 404 to other paths; return its URL."""
    started: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(answers: Answers) -> str:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(200 if self.path in answers else 404)
                self.end_headers()
                for line in answers.get(self.path, []):
                    self.wfile.write(json.dumps(line).encode() + b"\n")

            do_GET = do_POST = answer

            def log_message(self, *arguments: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        started.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in started:
        server.shutdown()
        thread.join()
        server.server_close()


def loaded(one: OtherServer) -> set[str]:
    return other_server.names(one._port, "/api/ps")


async def test_a_running_server_takes_part_and_stays(
    served: Served, library: Library, tmp_path: Path
) -> None:
    other = OtherServer(tmp_path, f"http://{served.host}", "smollm2")
    assert other.name == f"Ollama {OLLAMA_API_VERSION}"
    assert other.processes()[0] == psutil.Process(served.process.pid)
    other.upload(library.find("smollm2").model_path)
    runners: list[list[psutil.Process]] = []

    async def generate(one: Contender, tag: str) -> dict[str, float]:
        runners.append(one.processes())
        answer = await one.complete("The capital of France is", 16)
        runners.append(one.processes())
        assert answer.count == 16
        return await workloads.first_token(one, tag, 2)

    async def load(one: Contender, tag: str) -> dict[str, float]:
        assert loaded(other)
        await one.unload()
        assert not loaded(other)
        return await upkeep.load(one)

    chosen = [
        Workload("first-token", generate),
        Workload("memory", lambda one, _: upkeep.memory(one)),
        Workload("idle", lambda one, _: upkeep.idle(one, 0.2), at_once=True, asleep=True),
        Workload("load", load),
    ]
    comparison = Comparison([other], BareLoop(Path()), math.inf)
    await comparison.run(chosen, 1)
    assert comparison.samples.notes == []
    figures = comparison.samples.figures
    assert figures.keys() == {FIRST_TOKEN, MEMORY, IDLE, LOAD}
    assert all(by_name.keys() == {other.name} for by_name in figures.values())
    assert figures[MEMORY][other.name][0] > 100
    assert runners[0] == runners[1]  # it was not loaded anew
    assert len(runners[0]) > 1
    # It runs on, without the model.
    assert loaded(other) == set()
    assert served.process.poll() is None
    assert settings(other) == f"{other.name}: a running server at {other._url}, num_ctx=4096"


def test_the_model_is_given_once(
    served: Served, library: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [library.find(name).model_path for name in ("all-minilm", "smollm2")]
    for file in [*files, *files]:
        OtherServer(tmp_path, f"http://{served.host}", "twice").upload(file)
    assert capsys.readouterr().out.count("Giving the model to Ollama ") == 2
    port = int(served.host.rpartition(":")[2])
    expected = {
        f"jupyter-ollama-bench-twice:{file.name.removeprefix('sha256-')[:12]}" for file in files
    }
    listed = other_server.names(port, "/api/tags")
    assert {name for name in listed if "twice" in name} == expected


def test_a_server_that_refuses_the_model(
    small_server: Callable[[Answers], str], library: Library, tmp_path: Path
) -> None:
    url = small_server({"/api/tags": [{"models": []}], "/api/version": [{"version": "9.9"}]})
    other = OtherServer(tmp_path, url, "smollm2")
    with pytest.raises(Failure, match=r"^Ollama 9\.9 does not take the model: "):
        other.upload(library.find("all-minilm").model_path)


def test_a_server_of_an_unknown_version(
    small_server: Callable[[Answers], str], tmp_path: Path
) -> None:
    url = small_server({"/api/tags": [{"models": []}]})
    assert OtherServer(tmp_path, url, "smollm2").name == f"the server at {url}"


@pytest.mark.parametrize("answers", [{}, {"/api/tags": [{}]}, {"/api/tags": [{"models": 1}]}])
def test_a_server_without_the_api(
    answers: Answers, small_server: Callable[[Answers], str], tmp_path: Path
) -> None:
    url = small_server(answers)
    with pytest.raises(Failure, match=f"^the server at {url} does not have Ollama's API: "):
        contenders(parse(["--other-url", url]), tmp_path)


@pytest.mark.parametrize(
    "url", ["127.0.0.1:11434", "https://127.0.0.1", "http://example.com", "http://127.0.0.1:99999"]
)
def test_a_url_that_is_not_of_this_host(url: str, tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"^--other-url is not like http://127\.0\.0\.1:11434: "):
        contenders(parse(["--other-url", url]), tmp_path)


def test_no_server_is_an_error_of_one_line() -> None:
    command = [sys.executable, "run.py", "--quick", "--other-url", "http://localhost:1"]
    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: no server answers at http://localhost:1: ")


async def test_an_answer_that_the_server_ends(
    small_server: Callable[[Answers], str], tmp_path: Path
) -> None:
    """Ollama sends no last line after a token was repeated 30 times."""
    lines = [{"response": "a", "done": False}] * 3
    url = small_server({"/api/tags": [{"models": []}], "/api/generate": lines})
    other = OtherServer(tmp_path, url, "smollm2")
    answer = await other.complete("Once", 64)
    assert (answer.text, answer.count, answer.ended) == ("aaa", 3, True)
    comparison = Comparison([other], BareLoop(Path()), math.inf)
    await comparison.run([Workload("streams", lambda one, tag: workloads.streams(one, tag, 2))], 1)
    assert comparison.samples.figures == {}
    assert comparison.samples.notes == [f"streams: {other.name} ended an answer early"]


async def test_a_server_whose_processes_are_unknown(
    small_server: Callable[[Answers], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_server, "listener", lambda port: None)
    end = {"response": "", "done": True, "eval_count": 4, "done_reason": "length"}
    lines = [{"response": "text", "done": False}, end]
    url = small_server({"/api/tags": [{"models": []}], "/api/generate": lines})
    other = OtherServer(tmp_path, url, "smollm2")
    comparison = Comparison([other], BareLoop(Path()), 0.0)
    chosen = [
        Workload("memory", lambda one, _: upkeep.memory(one)),
        Workload("idle", lambda one, _: upkeep.idle(one, 0.2), at_once=True, asleep=True),
    ]
    await comparison.run(chosen, 1)
    assert comparison.samples.figures == {}
    noise, *others = comparison.samples.notes
    assert noise.startswith(f"noise: the processes of {other.name} were not found on this host")
    assert others == [
        f"{name}: {other.name}: its processes were not found on this host"
        for name in ("memory", "idle")
    ]


def test_a_run_with_another_server_is_no_whole_one() -> None:
    assert is_whole(parse([]))
    assert not is_whole(parse(["--other-url", "http://127.0.0.1:11434"]))
    assert not is_whole(parse(["--without", "llama-cpp-python"]))


def test_the_table_compares_with_the_other_server() -> None:
    samples = Comparison([], BareLoop(Path()), math.inf).samples
    for name, value in ((OURS, 30.0), ("Ollama 9.9", 20.0), ("llama-server, other flags", 10.0)):
        samples.add(name, 0, {"tokens/s": value})
    names = [OURS, "llama-server, other flags", "Ollama 9.9"]
    head, _, row = samples.table(names, ["Ollama 9.9"])
    assert head.endswith("| Ollama 9.9 | against Ollama 9.9 |")
    assert row.endswith("| 20.0 | 1.50 |")
