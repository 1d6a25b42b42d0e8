"""`jupyter ollama worker`: refusals and warnings. Its work is tested in test_engine_rpc."""

from __future__ import annotations

import signal

import pytest
from cli_process import Ollama, Served
from workers import working


def test_a_port_in_use(ollama: Ollama, server: Served) -> None:
    port = server.host.rpartition(":")[2]
    done = ollama("worker", "--port", port)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == f"Error: cannot listen at 127.0.0.1:{port}"
    assert "Warning" not in done.stderr


def test_an_address_that_others_reach_is_warned_of(ollama: Ollama) -> None:
    done = ollama("worker", "--host", "192.0.2.1", "--port", "50052")  # no host has this address
    warning = "Warning: any client that reaches 192.0.2.1:50052 can read and change"
    assert done.stderr.startswith(warning)
    assert done.stderr.splitlines()[-1] == "Error: cannot listen at 192.0.2.1:50052"


@pytest.mark.parametrize("host", ["localhost", "::1", "10.0.0"])
def test_an_address_that_llama_cpp_does_not_know(ollama: Ollama, host: str) -> None:
    done = ollama("worker", "--host", host)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: argument --host: invalid IPv4Address value: '{host}'")


def test_ctrl_c_ends_it() -> None:
    with working(1) as (worker,):
        worker.process.send_signal(signal.SIGINT)
        assert worker.process.wait(30) == -signal.SIGINT
